//! Packs a directory as a tar.gz. Names are written as bytes, directories precede their content, and entries are sorted
//! by name, so that an unchanged directory gives the same archive again.
//!
//! Only forms that Perl's Archive::Tar reads are written: it stops at a long target of a symlink, and reads a number
//! that is not octal as 0, which is root.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header, HeaderMode};

use super::attributes::octal;
use super::own_files::refuse_own_reading;
use super::place;
use super::text::{about, failure, words};
use super::tree::format::Entry;
use super::tree::select::{Selection, is_unchanged};
use super::walk::{self, Problem, open_same};
use crate::edge::system;
use crate::model::copy::{Attributes, CopyFailure, SourceSpec};

/// The largest ids of seven and of eight octal digits.
const SHORT_ID_MAX: u64 = 0o777_7777;
const LONG_ID_MAX: u64 = 0o7777_7777;
/// The owner written in place of a larger id: nobody.
const NOBODY: u64 = 65_534;

/// Owner, group and mode that every entry gets.
struct Changes {
    owner: Option<(String, Option<u32>)>,
    group: Option<(String, Option<u32>)>,
    mode: Option<u32>,
}

impl Changes {
    fn of(attributes: &Attributes) -> Self {
        let named =
            |name: &str, look_up: fn(&str) -> Option<u32>| (!name.is_empty()).then(|| (name.to_owned(), look_up(name)));
        Self {
            owner: named(&attributes.owner, system::user_id),
            group: named(&attributes.group, system::group_id),
            mode: octal(&attributes.mode),
        }
    }

    fn apply(&self, header: &mut Header) -> io::Result<()> {
        if let Some((name, id)) = &self.owner {
            header.set_username(name)?;
            if let Some(id) = id {
                header.set_uid(u64::from(*id));
            }
        }
        if let Some((name, id)) = &self.group {
            header.set_groupname(name)?;
            if let Some(id) = id {
                header.set_gid(u64::from(*id));
            }
        }
        match self.mode {
            // A directory that may be read may also be searched.
            Some(mode) if header.entry_type() == EntryType::Directory => header.set_mode(mode | (mode & 0o444) >> 2),
            Some(mode) => header.set_mode(mode),
            None => {}
        }
        Ok(())
    }
}

/// What of a directory is packed.
pub(super) enum What<'a> {
    All,
    /// The selected entries of a manifest, as far as they are still what it says.
    Selected(File, &'a Selection),
}

/// Packs the directory, which may be open. Returns also notes about what was left out or changed meanwhile. The file no
/// longer has a name on return, so nothing is left behind.
pub(super) fn pack(
    spec: &SourceSpec,
    opened: Option<File>,
    what: What<'_>,
) -> Result<(File, Vec<String>), CopyFailure> {
    let source = &spec.source;
    if opened.is_none() {
        fs::read_dir(source)
            .map_err(|error| failure(format!("cannot chdir: {}", words(&error)), source.display().to_string()))?;
    }
    let (path, mut file) = scratch(spec)?;
    let failed = |error: &io::Error| failure("tar failed", about(&path, error));
    let directory = opened.map_or_else(|| File::open(source), Ok);
    let directory = directory.map_err(|error| failure("tar failed", about(source, &error)))?;
    let (changes, is_for_reader) = (Changes::of(&spec.attributes), spec.below.is_some());
    let mut packing = Packing { root: source, directory, changes, is_for_reader, notes: Vec::new() };
    packing.write(&mut file, what).map_err(|problem| problem.into_failure("tar failed", &path))?;
    file.rewind().map_err(|error| failed(&error))?;
    Ok((file, packing.notes))
}

/// Makes a file without a name where a directory is packed. Returns also the name that it had.
pub(super) fn scratch(spec: &SourceSpec) -> Result<(PathBuf, File), CopyFailure> {
    let allowed = spec.below.as_ref().map(|below| place::scratch(spec.cache_dir.as_deref(), &below.pack_roots));
    let Some(cache_dir) = allowed.as_deref().or(spec.cache_dir.as_deref()) else {
        return Err(failure("cannot chdir: no cache_dir was given", ""));
    };
    fs::read_dir(cache_dir)
        .map_err(|error| failure(format!("cannot chdir: {}", words(&error)), cache_dir.display().to_string()))?;
    let path = cache_dir.join(&spec.archive_name);
    let file = create(&path, spec.below.is_none()).map_err(|error| failure("tar failed", about(&path, &error)))?;
    Ok((path, file))
}

/// A new file that is unlinked at once. One of this name is removed before if it `replaces` any.
fn create(path: &Path, replaces: bool) -> io::Result<File> {
    if replaces
        && let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Writes mode and ids in a form that every reader accepts, without set-user-id and set-group-id bits.
fn simplify(header: &mut Header) -> io::Result<()> {
    header.set_mode(header.mode()? & 0o777);
    let (uid, gid) = (header.uid()?, header.gid()?);
    let old = header.as_old_mut();
    put_id(&mut old.uid, uid);
    put_id(&mut old.gid, gid);
    Ok(())
}

/// Uses eight digits if seven and a terminator are not enough.
fn put_id(field: &mut [u8; 8], id: u64) {
    let id = if id <= LONG_ID_MAX { id } else { NOBODY };
    let text = if id <= SHORT_ID_MAX { format!("{id:07o}\0") } else { format!("{id:08o}") };
    if let Some(digits) = text.as_bytes().first_chunk() {
        *field = *digits;
    }
}

struct Packing<'a> {
    root: &'a Path,
    /// The open root. A directory that takes its place later is not read.
    directory: File,
    changes: Changes,
    /// Whether another daemon reads it: files of this daemon itself are left out.
    is_for_reader: bool,
    notes: Vec<String>,
}

impl Packing<'_> {
    fn write(&mut self, file: &mut File, what: What<'_>) -> Result<(), Problem> {
        let buffered = BufWriter::with_capacity(64 << 10, file);
        let mut builder = Builder::new(GzEncoder::new(buffered, Compression::fast()));
        let (root, directory) = (self.root, self.directory.try_clone().map_err(Problem::Archive)?);
        match what {
            What::All => walk::each_directory(root, &directory, |place, path, names| {
                let mut inner = Vec::new();
                for name in names {
                    let relative = path.join(name);
                    if self.write_entry(&mut builder, place, &relative, None)? {
                        inner.push(relative);
                    }
                }
                Ok(inner)
            })?,
            What::Selected(manifest, selection) => {
                let mut open: Option<(PathBuf, File)> = None;
                selection.each(manifest, |path, entry| {
                    let place = match &open {
                        Some((there, place)) if there == path => place,
                        _ => &open.insert((path.to_owned(), walk::enter(root, &directory, path)?)).1,
                    };
                    self.write_entry(&mut builder, place, &path.join(&entry.name), Some(entry)).map(drop)
                })?;
            }
        }
        let mut buffered = builder.into_inner().and_then(GzEncoder::finish).map_err(Problem::Archive)?;
        buffered.flush().map_err(Problem::Archive)
    }

    /// Writes one entry of the directory `place`. Returns whether it is a directory.
    fn write_entry(
        &mut self,
        builder: &mut Builder<impl Write>,
        place: &File,
        relative: &Path,
        expected: Option<&Entry>,
    ) -> Result<bool, Problem> {
        let full = self.root.join(relative);
        let name = relative.file_name().unwrap_or_default();
        let (entry, metadata) = walk::open_entry(place, name, &full)?;
        if expected.is_some_and(|expected| !is_unchanged(expected, &metadata)) {
            return Err(Problem::Changed(full));
        }
        let kind = metadata.file_type();
        let mut header = Header::new_gnu();
        header.set_metadata_in_mode(&metadata, HeaderMode::Complete);
        self.changes.apply(&mut header).and_then(|()| simplify(&mut header)).map_err(Problem::Archive)?;
        if kind.is_symlink() {
            let target = match walk::symlink_target(&entry, &full)? {
                Ok(target) => target,
                Err(note) => {
                    self.notes.push(note);
                    return Ok(false);
                }
            };
            header.set_size(0);
            builder.append_link(&mut header, relative, target).map_err(Problem::Archive)?;
        } else if kind.is_dir() {
            header.set_size(0);
            builder.append_data(&mut header, relative, io::empty()).map_err(Problem::Archive)?;
        } else if kind.is_file()
            && self.is_for_reader
            && let Err(why) = refuse_own_reading(place.as_fd(), name)
        {
            self.notes.push(format!("{} is left out: {why}", full.display()));
        } else if kind.is_file() {
            self.write_file(builder, &open_same(place, name, &metadata, &full)?, (relative, &metadata), header)?;
        } else {
            self.notes.push(format!("{} is left out: it is not a file, directory or symlink", full.display()));
        }
        Ok(kind.is_dir())
    }

    /// Writes the content of a file up to the size in `metadata`. Of a growing file this is the beginning.
    fn write_file(
        &mut self,
        builder: &mut Builder<impl Write>,
        file: &File,
        (relative, metadata): (&Path, &Metadata),
        mut header: Header,
    ) -> Result<(), Problem> {
        let full = self.root.join(relative);
        let size = metadata.size();
        header.set_size(size);
        let mut bytes = Exact { file: file.take(size), left: size, short: false, error: None };
        let written = builder.append_data(&mut header, relative, &mut bytes);
        if bytes.short {
            return Err(Problem::Changed(full));
        }
        if let Some(error) = bytes.error {
            return Err(Problem::Source(full, error));
        }
        written.map_err(Problem::Archive)?;
        let now = file.metadata().map_err(|error| Problem::Source(full.clone(), error))?;
        if now.size() > size {
            self.notes.push(format!("{} grew while it was packed: its first {size} bytes are sent", full.display()));
        } else if now.size() < size || now.modified().ok() != metadata.modified().ok() {
            return Err(Problem::Changed(full));
        }
        Ok(())
    }
}

/// Reads exactly as many bytes of a file as its header says. Distinguishes errors of reading and of writing.
struct Exact<'a> {
    file: io::Take<&'a File>,
    left: u64,
    short: bool,
    error: Option<io::Error>,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(0) if self.left > 0 && !buffer.is_empty() => {
                self.short = true;
                Err(io::Error::from(io::ErrorKind::UnexpectedEof))
            }
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.error = Some(io::Error::from(error.kind()));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use std::ffi::OsStr;

    use rustix::fs::Mode;

    use super::*;
    use crate::edge::temp_dir::TempDir;

    #[test]
    fn what_was_put_in_the_place_of_a_file_is_not_read() {
        let folder = TempDir::new();
        let (file, secret) = (folder.join("file"), folder.join("secret"));
        fs::write(&secret, "secret").unwrap();
        let place = File::open(folder.path()).unwrap();
        let open = |metadata: &Metadata| open_same(&place, OsStr::new("file"), metadata, &file);
        fs::write(&file, "public").unwrap();
        let seen = fs::symlink_metadata(&file).unwrap();
        assert!(open(&seen).is_ok());
        fs::rename(&file, folder.join("before")).unwrap();
        symlink("secret", &file).unwrap();
        assert!(matches!(open(&seen), Err(Problem::Changed(_))), "a symlink");
        fs::remove_file(&file).unwrap();
        fs::hard_link(&secret, &file).unwrap();
        assert!(matches!(open(&seen), Err(Problem::Changed(_))), "another file");
        fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(&place, "file", rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(matches!(open(&seen), Err(Problem::Changed(_))), "a FIFO, which nobody writes to");
    }

    #[test]
    fn a_directory_that_became_a_symlink_is_not_entered() {
        let folder = TempDir::new();
        fs::create_dir_all(folder.join("source/inner")).unwrap();
        fs::create_dir(folder.join("secrets")).unwrap();
        let source = folder.join("source");
        let directory = File::open(&source).unwrap();
        assert!(walk::enter(&source, &directory, Path::new("inner")).is_ok());
        fs::remove_dir(source.join("inner")).unwrap();
        symlink("../secrets", source.join("inner")).unwrap();
        assert!(walk::enter(&source, &directory, Path::new("inner")).is_err());
    }

    #[test]
    fn ids_and_modes_are_written_as_every_reader_takes_them() {
        let field = |id: u64| {
            let mut header = Header::new_gnu();
            header.set_mode(0o104_755);
            header.set_uid(id);
            header.set_gid(id);
            simplify(&mut header).unwrap();
            assert_eq!(header.mode().unwrap(), 0o755);
            assert_eq!(header.as_old().uid, header.as_old().gid);
            (String::from_utf8(header.as_old().uid.to_vec()).unwrap(), header.uid().unwrap())
        };
        assert_eq!(field(1_000), ("0001750\0".to_owned(), 1_000));
        assert_eq!(field(3_000_000), ("13343300".to_owned(), 3_000_000));
        assert_eq!(field(16_777_215), ("77777777".to_owned(), 16_777_215));
        assert_eq!(field(16_777_216), ("0177776\0".to_owned(), NOBODY));
    }
}
