//! Checks whether the database is still the file that was opened. SQLite continues to write into a file that was
//! deleted or replaced, and every row acknowledged then is lost.
//!
//! The kernel reports changes of the file (`inotify(7)`), so an idle daemon is not woken; without this support, each
//! commit and checkpoint checks. The file is never opened here, because closing it would release SQLite's locks.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::WatchFlags;

use super::HistoryStore;
use crate::edge::event_file::EventFile;
use crate::edge::system;

/// Identifies a file independently of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The files of the database at the last check.
pub(super) struct Identity {
    file: FileId,
    /// Size in bytes of the file after the last checkpoint; only checkpoints write to it.
    size_bytes: u64,
    /// The write-ahead log and its index, once they exist, in the order of [`BESIDE`].
    beside: [Option<FileId>; 2],
    events: Option<EventFile>,
}

impl Identity {
    pub(super) fn new(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let events = system::watch_descriptor().ok().map(EventFile::new);
        let identity = Self { file: FileId::of(&metadata), size_bytes: metadata.len(), beside: [None; 2], events };
        identity.watch(path, WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::MODIFY);
        Ok(identity)
    }

    /// Watches a file. If that fails, each commit checks instead.
    fn watch(&self, path: &Path, mask: WatchFlags) {
        if let Some(events) = &self.events {
            let _not_on_this_file_system = system::watch_path(events.file(), path, mask);
        }
    }
}

/// Suffixes of the files beside an open database. A program that opens the database without our index would overwrite
/// our data.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl HistoryStore {
    /// The watch of the files, for the event loop.
    pub const fn watch(&mut self) -> Option<&mut EventFile> {
        self.identity.events.as_mut()
    }

    /// Discards the events of the kernel, so that the loop can wait again.
    pub fn take_events(&mut self) {
        let mut buffer = [0_u8; 4_096];
        if let Some(events) = &mut self.identity.events {
            events.read_all(&mut buffer, |_| {});
        }
    }

    /// Checks whether the files are those that were opened. Takes microseconds.
    ///
    /// # Errors
    /// Says what happened to the files. Nothing may be written any more.
    pub fn check_identity(&mut self) -> Result<(), String> {
        let found =
            |path: &Path, what: &str| Err(format!("{}: the file was {what} while the daemon runs", path.display()));
        let path = &self.path;
        let Ok(metadata) = fs::metadata(path) else { return found(path, "deleted") };
        if FileId::of(&metadata) != self.identity.file {
            return found(path, "replaced by another");
        }
        if metadata.len() < self.identity.size_bytes && metadata.len() < self.needed_bytes() {
            return found(path, "cut short");
        }
        for (index, suffix) in BESIDE.into_iter().enumerate() {
            let file = beside(path, suffix);
            let now = fs::metadata(&file).ok().map(|metadata| FileId::of(&metadata));
            match (now, self.identity.beside.get(index).copied().flatten()) {
                (None, None) => {}
                (None, Some(_)) => return found(&file, "deleted"),
                (Some(now), Some(before)) if now != before => return found(&file, "replaced by another"),
                (Some(_), Some(_)) => {}
                (Some(_), None) => {
                    self.identity.watch(&file, WatchFlags::ATTRIB | WatchFlags::MOVE_SELF);
                    if let Some(known) = self.identity.beside.get_mut(index) {
                        *known = now;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes that a checkpoint has written to the file.
    pub fn note_checkpoint(&mut self) {
        if let Ok(metadata) = fs::metadata(&self.path) {
            self.identity.size_bytes = metadata.len();
        }
    }

    /// Size in bytes of the database including the write-ahead log; another program may have made it smaller with
    /// `VACUUM`.
    fn needed_bytes(&self) -> u64 {
        let number = |pragma: &str| {
            let number = self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
            number.ok().and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
        };
        number("page_count").saturating_mul(number("page_size"))
    }
}
