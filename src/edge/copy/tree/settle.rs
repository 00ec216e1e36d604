//! The receiver's side, when all content is in place: what the sender does not have is deleted if it wants that, and
//! permissions, owners and times become those of the manifest.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};

use super::compare::{enter, look, modified};
use super::delete::Deleting;
use super::format::{Entry, Head, Kind, Reader, Record};
use crate::edge::copy::attributes::umask;
use crate::edge::copy::inside::Inside;
use crate::edge::copy::text::words;
use crate::edge::system;

/// Maximum number of notes, and of directories whose permissions are set at the end.
const NOTES_MAX: usize = 16;
const LATE_MAX: usize = 65_536;

/// The work; see the module's documentation.
struct Settling<'a> {
    inside: &'a Inside,
    is_root: bool,
    umask: u32,
    owner: Option<u32>,
    group: Option<u32>,
    /// Directories whose attributes differ. They are set last, the inner ones first, because one may forbid to write.
    late: Vec<(PathBuf, Entry)>,
    notes: Vec<String>,
}

/// Settles the destination. Returns notes about what could not be set.
///
/// # Errors
/// Something could not be deleted, or the manifest cannot be read.
pub(in crate::edge::copy) fn settle(manifest: File, inside: &Inside) -> Result<Vec<String>, String> {
    let of = |error: io::Error| words(&error);
    let mut reader = Reader::new(manifest).map_err(of)?;
    let head = reader.head().clone();
    let mut settling = Settling::new(inside, &head);
    let mut deleting = Deleting::default();
    let (mut directory, mut place) = (PathBuf::new(), None);
    while let Some(record) = reader.next().map_err(of)? {
        match record {
            Record::Directory(path) => {
                deleting.finish()?;
                place = enter(inside, &path);
                if let Some(place) = place.as_ref().filter(|_| head.delete) {
                    deleting = Deleting::begin(place, &path)?;
                }
                directory = path;
            }
            Record::Entry(entry) => {
                deleting.keep(&entry.name)?;
                if let Some(place) = &place {
                    settling.entry(place, &directory, entry);
                }
            }
        }
    }
    deleting.finish()?;
    Ok(settling.finish())
}

impl<'a> Settling<'a> {
    fn new(inside: &'a Inside, head: &Head) -> Self {
        let id = |name: &str, look_up: fn(&str) -> Option<u32>| (!name.is_empty()).then(|| look_up(name)).flatten();
        Self {
            inside,
            is_root: rustix::process::geteuid().is_root(),
            umask: umask(),
            owner: id(&head.owner, system::user_id),
            group: id(&head.group, system::group_id),
            late: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn mode(&self, entry: &Entry) -> u32 {
        if self.is_root { entry.mode } else { entry.mode & !self.umask }
    }

    fn owners(&self, entry: &Entry) -> (u32, u32) {
        (self.owner.unwrap_or(entry.uid), self.group.unwrap_or(entry.gid))
    }

    fn is_settled(&self, entry: &Entry, stat: &Stat) -> bool {
        let is_owned = !self.is_root || (stat.st_uid, stat.st_gid) == self.owners(entry);
        stat.st_mode & 0o7777 == self.mode(entry) && modified(stat) == entry.modified && is_owned
    }

    fn entry(&mut self, place: &OwnedFd, directory: &Path, entry: Entry) {
        let wanted = match entry.kind {
            Kind::File { .. } => FileType::RegularFile,
            Kind::Directory => FileType::Directory,
            Kind::Symlink(_) => return,
        };
        let Some(stat) = look(place, &entry.name) else { return };
        if FileType::from_raw_mode(stat.st_mode) != wanted || self.is_settled(&entry, &stat) {
            return;
        }
        if wanted == FileType::Directory {
            if self.late.len() < LATE_MAX {
                self.late.push((directory.to_owned(), entry));
            }
            return;
        }
        self.set(place, directory, &entry);
    }

    fn set(&mut self, place: &impl AsFd, directory: &Path, entry: &Entry) {
        if let Err(error) = self.try_to_set(place, entry)
            && self.notes.len() < NOTES_MAX
        {
            let shown = directory.join(&entry.name).display().to_string().escape_debug().to_string();
            self.notes.push(format!("can't change permission of file {shown}: {}", words(&error)));
        }
    }

    fn try_to_set(&self, place: &impl AsFd, entry: &Entry) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(place, &entry.name, flags, Mode::empty())?;
        if self.is_root {
            let (owner, group) = self.owners(entry);
            rustix::fs::fchown(&file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(group)))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode(entry)))?;
        let (seconds, nanoseconds) = entry.modified;
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
        Ok(())
    }

    fn finish(mut self) -> Vec<String> {
        for (directory, entry) in std::mem::take(&mut self.late).into_iter().rev() {
            if let Some(place) = enter(self.inside, &directory) {
                self.set(&place, &directory, &entry);
            }
        }
        self.notes
    }
}

/// Returns the names in a directory, sorted.
pub(super) fn names(place: &impl AsFd) -> io::Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(place)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}
