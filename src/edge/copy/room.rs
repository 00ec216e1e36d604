//! Whether an archive still fits where it is unpacked: the free disk space less a reserve, and the maximum unpacked
//! size for an archive of its size.

use rustix::io::Errno;

use super::inside::Inside;
use super::text::words;

/// Maximum reserve in bytes. The reserve is a twentieth of the file system.
const RESERVE_MAX: u64 = 1 << 30;
/// Unpacked size that any archive may have: a few kilobytes of repetitive text are not an attack.
const ALWAYS_ALLOWED: u64 = 64 << 20;
/// Number of written bytes after which the free space is read again.
const LOOK_EVERY: u64 = 16 << 20;

/// The remaining room; see the module's documentation.
pub(super) struct Room<'a> {
    inside: &'a Inside,
    unpacked: u64,
    /// Number of bytes that may be written before the free space is read again.
    free: u64,
    max_bytes: u64,
}

/// The maximum unpacked size of an archive if its content may be `max_ratio` times as large; 0 means no limit.
pub(super) const fn max_unpacked_bytes(archive_bytes: u64, max_ratio: u64) -> u64 {
    if max_ratio == 0 {
        return u64::MAX;
    }
    archive_bytes.saturating_mul(max_ratio).saturating_add(ALWAYS_ALLOWED)
}

impl<'a> Room<'a> {
    /// The room for an archive whose maximum unpacked size is `max_bytes` ([`max_unpacked_bytes`]).
    pub(super) const fn new(inside: &'a Inside, max_bytes: u64) -> Self {
        Self { inside, unpacked: 0, free: 0, max_bytes }
    }

    /// Takes room for the next file of `size` bytes.
    ///
    /// # Errors
    /// Why it must not be written, as part of a sentence.
    pub(super) fn take(&mut self, size: u64) -> Result<(), String> {
        self.unpacked = self.unpacked.saturating_add(size);
        if self.unpacked > self.max_bytes {
            return Err(format!(
                "the unpacked files are larger than the {} bytes that an archive of this size may become; if that is \
                 right, raise max_unpack_ratio",
                self.max_bytes
            ));
        }
        if size > self.free {
            self.free = self.ask_disk(size)?;
        }
        self.free -= size;
        Ok(())
    }

    fn ask_disk(&self, size: u64) -> Result<u64, String> {
        // A file system that does not report free space still refuses writes when it is full.
        let Ok(disk) = rustix::fs::fstatvfs(self.inside.root()) else { return Ok(u64::MAX) };
        let available = disk.f_bavail.saturating_mul(disk.f_frsize);
        let reserve = (disk.f_blocks.saturating_mul(disk.f_frsize) / 20).min(RESERVE_MAX);
        let usable = available.saturating_sub(reserve);
        if size > available {
            return Err(words(&Errno::NOSPC.into()));
        }
        if size > usable {
            return Err(format!("{size} bytes, but only {available} are free, of which {reserve} stay so"));
        }
        Ok(size.max(LOOK_EVERY).min(usable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::temp_dir::TempDir;

    #[test]
    fn what_does_not_fit_beside_the_reserve_is_refused_before_it_is_written() {
        let folder = TempDir::new();
        let inside = Inside::open(folder.path()).unwrap();
        let disk = rustix::fs::fstatvfs(inside.root()).unwrap();
        let mut room = Room::new(&inside, max_unpacked_bytes(1, 0));
        assert_eq!(room.take(1_000), Ok(()));
        let available = disk.f_bavail * disk.f_frsize;
        let refused = room.take(available - 1_000).unwrap_err();
        assert!(refused.contains("stay so"), "{refused}");
        assert_eq!(room.take(available * 2), Err("No space left on device".to_owned()));
    }

    #[test]
    fn little_that_becomes_very_much_is_refused_by_the_ratio() {
        let folder = TempDir::new();
        let inside = Inside::open(folder.path()).unwrap();
        let mut room = Room::new(&inside, max_unpacked_bytes(1_000, 100));
        assert_eq!(room.take(ALWAYS_ALLOWED + 100_000), Ok(()), "however little of the archive was read by then");
        assert!(room.take(1).unwrap_err().contains("max_unpack_ratio"));
    }
}
