//! Ensures that only one daemon uses a database: an advisory lock on a file beside it, held for the life of the
//! process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::{StoreError, StoreErrorKind};
use crate::edge::system;

/// The lock; released when dropped or when the process ends.
///
/// The database itself is not locked, because SQLite would lose its locks when the first descriptor of the file is
/// closed.
pub struct DatabaseLock(File);

impl DatabaseLock {
    /// Takes the lock without waiting and writes our process id into the file.
    ///
    /// # Errors
    /// Another daemon has it, or the file cannot be made.
    pub fn take(database: &Path) -> Result<Self, StoreError> {
        let path = lock_path(database);
        let failed = |error: &std::io::Error| {
            let mut error = StoreError::from_io(database, error);
            error.detail = format!("{}: {}", path.display(), error.detail);
            error
        };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|error| failed(&error))?;
        if !system::try_lock_exclusive(&file).map_err(|error| failed(&error))? {
            let mut text = String::new();
            let _ = (&mut file).take(20).read_to_string(&mut text);
            return Err(StoreError::new(database, StoreErrorKind::InUse(text.trim().parse().ok()), ""));
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| failed(&error))?;
        Ok(Self(file))
    }
}

/// Returns the process that holds the lock of `database`, according to `/proc/locks` (proc(5)), without taking the
/// lock.
#[must_use]
pub fn holder(database: &Path) -> Option<u32> {
    let inode = std::fs::metadata(lock_path(database)).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, file, ..] = fields.as_slice() else { return None };
        let is_ours = file.rsplit_once(':').is_some_and(|(_, number)| number.parse() == Ok(inode));
        if is_ours { process.parse().ok() } else { None }
    })
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        // Closing the file is not enough, because a command that is just being started briefly holds a copy of the
        // descriptor.
        let _closed_anyway = rustix::fs::flock(&self.0, rustix::fs::FlockOperation::Unlock);
    }
}

/// Path of the lock file, which is the same for every path of the database.
fn lock_path(database: &Path) -> PathBuf {
    let real = database.canonicalize().unwrap_or_else(|_| database.to_owned());
    let mut name = real.into_os_string();
    name.push(".stheno-lock");
    name.into()
}
