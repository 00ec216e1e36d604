//! Goes through a directory that is read: one component at a time, so that no symlink is followed, and names in order,
//! so that an unchanged directory is read in the same order again.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use super::text::{about, failure};
use crate::model::copy::CopyFailure;

/// Maximum length of a symlink's target in bytes: Perl's Archive::Tar stops at a longer one.
const LINK_BYTES_MAX: usize = 100;

/// Why a directory could not be read.
pub(super) enum Problem {
    /// What is written of it cannot be written.
    Archive(io::Error),
    Source(PathBuf, io::Error),
    Changed(PathBuf),
}

impl Problem {
    /// The failure of a copy, with a message; `written` is what could not be written.
    pub(super) fn into_failure(self, message: &str, written: &Path) -> CopyFailure {
        let detail = match self {
            Self::Archive(error) => about(written, &error),
            Self::Source(path, error) => format!("cannot read {}", about(&path, &error)),
            Self::Changed(path) => format!("{} changed while it was read", path.display()),
        };
        failure(message, detail)
    }
}

/// Opens a directory below `root`, which is open.
pub(super) fn enter(root: &Path, open: &File, directory: &Path) -> Result<File, Problem> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(open, ".", flags, Mode::empty()).and_then(|mut place| {
        for name in directory {
            place = rustix::fs::openat(&place, name, flags, Mode::empty())?;
        }
        Ok(place)
    });
    opened.map(File::from).map_err(|error| Problem::Source(root.join(directory), error.into()))
}

/// Calls `take` for each directory, beginning with `root`: with its open file, its path below the root, and the names
/// in it in order. What it returns are the directories in it to go on with.
pub(super) fn each_directory(
    root: &Path,
    open: &File,
    mut take: impl FnMut(&File, &Path, Vec<OsString>) -> Result<Vec<PathBuf>, Problem>,
) -> Result<(), Problem> {
    // Unread directories, the next one last.
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        let place = enter(root, open, &directory)?;
        let unreadable = |error: Errno| Problem::Source(root.join(&directory), error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&place).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort_unstable();
        waiting.extend(take(&place, &directory, names)?.into_iter().rev());
    }
    Ok(())
}

/// Opens an entry to look at it, and nothing else.
pub(super) fn open_entry(place: &File, name: &OsStr, full: &Path) -> Result<(File, Metadata), Problem> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(place, name, flags, Mode::empty()).map_err(io::Error::from);
    let looked = opened.and_then(|entry| {
        let entry = File::from(entry);
        let metadata = entry.metadata()?;
        Ok((entry, metadata))
    });
    looked.map_err(|error| Problem::Source(full.to_owned(), error))
}

/// Returns where a symlink leads, or a note that it leads too far.
pub(super) fn symlink_target(entry: &File, full: &Path) -> Result<Result<PathBuf, String>, Problem> {
    let target = rustix::fs::readlinkat(entry, "", Vec::new())
        .map_err(|error| Problem::Source(full.to_owned(), error.into()))?;
    let len = target.to_bytes().len();
    if len > LINK_BYTES_MAX {
        let full = full.display();
        return Ok(Err(format!("{full} is left out: the symlink's target has {len} bytes, allowed: {LINK_BYTES_MAX}")));
    }
    Ok(Ok(PathBuf::from(OsString::from_vec(target.into_bytes()))))
}

/// Opens a file for reading if it is still the one in `metadata`: another user may have put a link or a FIFO in its
/// place.
pub(super) fn open_same(place: &File, name: &OsStr, metadata: &Metadata, full: &Path) -> Result<File, Problem> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(place, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(Problem::Changed(full.to_owned())),
        Err(error) => return Err(Problem::Source(full.to_owned(), error.into())),
    };
    let now = file.metadata().map_err(|error| Problem::Source(full.to_owned(), error))?;
    if (now.dev(), now.ino()) == (metadata.dev(), metadata.ino()) {
        Ok(file)
    } else {
        Err(Problem::Changed(full.to_owned()))
    }
}
