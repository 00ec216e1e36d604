//! One daemon per database: an advisory lock on a file beside it, held for the life of the process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::{StoreError, StoreErrorKind};
use crate::edge::system;

/// The lock; released when dropped or when the process ends in whatever way.
///
/// Not on the database itself, whose own locks SQLite would lose with the first descriptor that is closed.
pub(super) struct DatabaseLock(File);

impl DatabaseLock {
    /// Takes the lock without waiting and leaves our process id in the file.
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

/// The process that has the lock of `database` now, as the kernel tells it (`/proc/locks`, proc(5)); nothing is taken.
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
        // Closing it is not enough: a command that is just being started holds a copy of the descriptor for a moment.
        let _closed_anyway = rustix::fs::flock(&self.0, rustix::fs::FlockOperation::Unlock);
    }
}

/// The same file for every name that leads to the database.
fn lock_path(database: &Path) -> PathBuf {
    let real = database.canonicalize().unwrap_or_else(|_| database.to_owned());
    let mut name = real.into_os_string();
    name.push(".stheno-lock");
    name.into()
}
