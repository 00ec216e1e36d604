//! The files that this daemon depends on. A received copy must not replace them, nor add one that it would read.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use rustix::fs::{AtFlags, Stat};

use crate::config::Sources;

static OWN: RwLock<Own> =
    RwLock::new(Own { files: Vec::new(), log: None, sources: Sources { files: Vec::new(), patterns: Vec::new() } });

struct Own {
    files: Vec<PathBuf>,
    /// The log, which holds no secrets and may be read.
    log: Option<PathBuf>,
    sources: Sources,
}

/// Names the files of this process, at the start and whenever the configuration was read again: keys, configuration,
/// database, log. Files that stand beside the database with a longer name belong to it.
pub fn set_own_files(files: Vec<PathBuf>, log: Option<PathBuf>, database: &Path, sources: &Sources) {
    let mut files = files;
    files.extend(std::env::current_exe());
    for suffix in ["", "-wal", "-shm", ".stheno-lock"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        files.push(name.into());
    }
    if let Ok(mut own) = OWN.write() {
        *own = Own { files, log, sources: sources.clone() };
    }
}

/// Refuses a name in a directory if it is one of these files, also under another name, or would be included in the
/// configuration.
///
/// # Errors
/// It is one of these files.
pub(super) fn refuse_own(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), String> {
    let Ok(own) = OWN.read() else { return Ok(()) };
    let Ok(there) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
        let would_be_read = !own.sources.patterns.is_empty()
            && path_of(directory).is_some_and(|path| own.sources.would_include(&path, name));
        return match would_be_read {
            true => Err("the configuration of this daemon would include it".to_owned()),
            false => Ok(()),
        };
    };
    match own.files.iter().chain(&own.log).any(|path| is_same(path, &there)) {
        true => {
            Err("it is a file of this daemon itself: its key, certificate, configuration, database, log or program"
                .to_owned())
        }
        false => Ok(()),
    }
}

/// Refuses a name in a directory if it is one of these files, also under another name, except the log.
///
/// # Errors
/// It is one of these files.
pub(super) fn refuse_own_reading(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), String> {
    let Ok(own) = OWN.read() else { return Ok(()) };
    let Ok(there) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    match own.files.iter().any(|path| is_same(path, &there)) {
        true => Err("it is a file of the daemon itself, which is not given away: its key, configuration, database or \
                     program"
            .to_owned()),
        false => Ok(()),
    }
}

fn is_same(path: &Path, there: &Stat) -> bool {
    rustix::fs::stat(path).is_ok_and(|own| (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino))
}

/// Where an open directory is; `None` without `/proc`.
fn path_of(directory: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd())).ok()
}
