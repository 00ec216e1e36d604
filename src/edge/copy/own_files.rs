//! The files that this daemon depends on. A received copy must not replace them.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, Stat};

static OWN: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Names the files of this process, once, before any copy: keys, configuration, database, log. Files that stand beside
/// the database with a longer name belong to it.
pub fn set_own_files(files: Vec<PathBuf>, database: &Path) {
    let mut files = files;
    for suffix in ["", "-wal", "-shm", ".stheno-lock"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        files.push(name.into());
    }
    // Only a process with two daemons comes here twice; tests do.
    let _first_ones_stay = OWN.set(files);
}

/// Refuses a name in a directory if it is one of these files, also under another name.
///
/// # Errors
/// It is one of these files.
pub(super) fn refuse_own(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), String> {
    let Ok(there) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    let is_same = |own: &Stat| (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino);
    let own = OWN.get().into_iter().flatten();
    match own.filter_map(|path| rustix::fs::stat(path).ok()).any(|own| is_same(&own)) {
        true => Err("it is a file of this daemon itself: its key, configuration, database or log".to_owned()),
        false => Ok(()),
    }
}
