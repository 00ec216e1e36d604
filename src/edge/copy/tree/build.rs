//! Writes the manifest of a directory.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::brief;
use super::format::{Entry, Head, Kind, Writer};
use crate::edge::copy::attributes::octal;
use crate::edge::copy::walk::{Problem, each_directory, open_entry, open_same, symlink_target};
use crate::model::copy::{Attributes, TreeOptions};

/// What is written for every entry.
struct Building<'a> {
    root: &'a Path,
    options: TreeOptions,
    mode: Option<u32>,
    count: u64,
    notes: Vec<String>,
}

/// Writes the manifest of the directory `root`, which is open. Returns the number of its entries, and notes about what
/// is left out.
pub(in crate::edge::copy) fn write(
    out: &mut File,
    (root, directory): (&Path, &File),
    attributes: &Attributes,
    options: TreeOptions,
) -> Result<(u64, Vec<String>), Problem> {
    let head = Head { delete: options.delete, owner: attributes.owner.clone(), group: attributes.group.clone() };
    let mut writer = Writer::new(out, &head).map_err(Problem::Archive)?;
    let mut building = Building { root, options, mode: octal(&attributes.mode), count: 0, notes: Vec::new() };
    each_directory(root, directory, |place, path, names| {
        writer.directory(path).map_err(Problem::Archive)?;
        let mut inner = Vec::new();
        for name in names {
            let relative = path.join(&name);
            if building.entry(&mut writer, place, (&name, &relative))? {
                inner.push(relative);
            }
        }
        Ok(inner)
    })?;
    writer.finish().map_err(Problem::Archive)?;
    Ok((building.count, building.notes))
}

impl Building<'_> {
    /// Writes an entry. Returns whether it is a directory.
    fn entry(
        &mut self,
        writer: &mut Writer<impl Write>,
        place: &File,
        (name, relative): (&OsStr, &Path),
    ) -> Result<bool, Problem> {
        let full = self.root.join(relative);
        let (entry, metadata) = open_entry(place, name, &full)?;
        let kind = metadata.file_type();
        let kind = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            match symlink_target(&entry, &full)? {
                Ok(target) => Kind::Symlink(target),
                Err(note) => {
                    self.notes.push(note);
                    return Ok(false);
                }
            }
        } else if kind.is_file() {
            let digest = self.options.checksum.then(|| self.digest(place, name, (&metadata, &full))).transpose()?;
            Kind::File { size: metadata.size(), digest }
        } else {
            self.notes.push(format!("{} is left out: it is no file, directory or symlink", full.display()));
            return Ok(false);
        };
        let is_directory = kind == Kind::Directory;
        let mode = match self.mode {
            // A directory that may be read may also be searched.
            Some(mode) if is_directory => mode | (mode & 0o444) >> 2,
            Some(mode) => mode,
            None => metadata.mode(),
        };
        let modified = (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0));
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let entry = Entry { name: name.to_owned(), kind, mode: mode & 0o777, uid, gid, modified };
        writer.entry(&entry).map_err(Problem::Archive)?;
        self.count += 1;
        Ok(is_directory)
    }

    fn digest(
        &self,
        place: &File,
        name: &OsStr,
        (metadata, full): (&Metadata, &Path),
    ) -> Result<super::Brief, Problem> {
        let mut file = open_same(place, name, metadata, full)?;
        let (digest, len_bytes) = brief(&mut file).map_err(|error| Problem::Source(full.to_owned(), error))?;
        if len_bytes == metadata.size() { Ok(digest) } else { Err(Problem::Changed(full.to_owned())) }
    }
}
