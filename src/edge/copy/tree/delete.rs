//! Deletes what a directory has and the sender's does not. No symlink is followed, and files of this daemon itself
//! stay.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::compare::modified;
use super::settle::names;
use crate::edge::copy::left_over;
use crate::edge::copy::own_files::refuse_own;
use crate::edge::copy::text::words;

/// Maximum depth of a deleted directory.
const DEPTH_MAX: usize = 1_024;

/// The names of one directory that have not been met in the manifest yet, the next one last.
#[derive(Default)]
pub(super) struct Deleting {
    open: Option<(OwnedFd, PathBuf)>,
    left: Vec<OsString>,
    /// When the directory was modified before something in it was deleted.
    modified: Option<Timespec>,
}

impl Deleting {
    /// Begins with the directory `path`, which is open.
    pub(super) fn begin(place: &OwnedFd, path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {}", path.display(), words(&error));
        let mut left = names(place).map_err(failed)?;
        left.reverse();
        let open = Some((place.try_clone().map_err(failed)?, path.to_owned()));
        Ok(Self { open, left, modified: None })
    }

    /// Keeps the next name of the manifest, and deletes those before it.
    pub(super) fn keep(&mut self, name: &OsStr) -> Result<(), String> {
        while let Some(next) = self.left.pop() {
            match next.as_os_str().cmp(name) {
                Ordering::Less => self.delete(&next)?,
                Ordering::Equal => return Ok(()),
                Ordering::Greater => {
                    self.left.push(next);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Deletes the names behind the last one of the manifest.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        while let Some(next) = self.left.pop() {
            self.delete(&next)?;
        }
        if let (Some((place, _)), Some(time)) = (self.open.take(), self.modified.take()) {
            let times = Timestamps { last_access: time, last_modification: time };
            // Whether it is right is looked at later.
            let _not_permitted = rustix::fs::futimens(&place, &times);
        }
        Ok(())
    }

    fn delete(&mut self, name: &OsStr) -> Result<(), String> {
        let Some((place, path)) = &self.open else { return Ok(()) };
        // Another copy may be putting something in place here.
        if left_over::is_ours(name) {
            return Ok(());
        }
        if self.modified.is_none() {
            let stat = rustix::fs::fstat(place).ok();
            let time = stat.map(|stat| Timespec { tv_sec: stat.st_mtime, tv_nsec: modified(&stat).1.into() });
            self.modified = time;
        }
        remove(place, name, 0).map_err(|why| {
            let shown = path.join(name).display().to_string();
            format!("'{}' could not be deleted: {why}", shown.escape_debug())
        })
    }
}

/// Removes a file, or a directory with all that is in it.
fn remove(place: &impl AsFd, name: &OsStr, depth: usize) -> Result<(), String> {
    let of = |error: Errno| words(&error.into());
    refuse_own(place.as_fd(), name)?;
    match rustix::fs::unlinkat(place, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // What a directory answers depends on the system.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(of(error)),
    }
    if depth >= DEPTH_MAX {
        return Err(of(Errno::NAMETOOLONG));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(place, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => of(Errno::PERM),
        error => of(error),
    })?;
    for name in names(&inner).map_err(|error| words(&error))? {
        remove(&inner, &name, depth + 1)?;
    }
    rustix::fs::unlinkat(place, name, AtFlags::REMOVEDIR).map_err(of)
}
