//! Checks whether the database is still the file that was opened. SQLite continues to write into a file that was
//! deleted or replaced, and every row acknowledged then is lost.
//!
//! The kernel reports changes of the file (`inotify(7)`), so an idle daemon is not woken; without this support, each
//! commit and checkpoint checks. The file is never opened here, because closing it would release SQLite's locks.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::inotify::WatchFlags;

use super::HistoryStore;
use crate::edge::event_file::EventFile;
use crate::edge::system;

/// How long a check of the content waits for other programs.
const PATIENCE: Duration = Duration::from_secs(10);

const NEWEST_ID: &str = "SELECT coalesce(max(id), 0) FROM gorgone_history";

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
    /// When it was last written, as far as is known.
    written: (i64, i64),
    /// The write-ahead log and its index, once they exist, in the order of [`BESIDE`].
    beside: [Option<FileId>; 2],
    events: Option<EventFile>,
}

impl Identity {
    pub(super) fn new(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let events = system::watch_descriptor().ok().map(EventFile::new);
        let (file, written) = (FileId::of(&metadata), written(&metadata));
        let identity = Self { file, size_bytes: metadata.len(), written, beside: [None; 2], events };
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

fn written(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
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
            self.identity.written = written(&metadata);
        }
    }

    /// The greatest row id in the pages that the writer has read, whatever has become of the file since.
    pub fn newest_id(&self) -> i64 {
        self.connection.query_row(NEWEST_ID, [], |row| row.get(0)).unwrap_or(0)
    }

    /// Returns whether another program has written to the file since the last call: only checkpoints of ours do, and
    /// none may be in progress. It may be harmless (a checkpoint of a shell) or another content (`cp` onto the file),
    /// which [`verify`] tells apart.
    pub fn was_written_by_others(&mut self) -> bool {
        let Ok(metadata) = fs::metadata(&self.path) else { return false };
        let now = written(&metadata);
        std::mem::replace(&mut self.identity.written, now) != now
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

/// Checks the content of the database after another program has written to its file: it must be sound, and have the
/// rows up to `newest_id`, as the writer sees them. Reads all of it; for a worker.
///
/// # Errors
/// Says what is wrong. Nothing may be written any more.
pub fn verify(path: &Path, newest_id: i64) -> Result<(), String> {
    let wrong = |what: &str| format!("{}: the file was overwritten while the daemon runs ({what})", path.display());
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|error| wrong(&error.to_string()))?;
    let busy = connection.busy_timeout(PATIENCE);
    let ask = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let known = busy.and_then(|()| ask(NEWEST_ID)).map_err(|error| wrong(&error.to_string()))?;
    if known < newest_id {
        return Err(wrong(&format!("it ends with row {known}, and row {newest_id} was stored")));
    }
    let sound = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match sound {
        Ok(answer) if answer == "ok" => Ok(()),
        Ok(answer) => Err(wrong(&answer)),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::history_store::tests::{insert, open};
    use crate::edge::temp_dir::TempDir;
    use crate::model::time::WallTime;

    const WALL: WallTime = WallTime::from_micros(1_770_000_000_000_000);

    #[test]
    fn an_older_copy_of_the_content_in_the_same_file_is_noticed_and_a_checkpoint_of_a_shell_is_not() {
        let dir = TempDir::new();
        let (path, copy) = (dir.join("h.sdb"), dir.join("copy.sdb"));
        let mut store = open(&path);
        let checkpoint =
            || Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        store.apply(&[insert("a", 2)], WALL).unwrap();
        checkpoint().unwrap();
        store.note_checkpoint();
        assert!(!store.was_written_by_others());
        fs::copy(&path, &copy).unwrap();
        for _ in 0..300 {
            store.apply(&[insert("b", 2)], WALL).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
        checkpoint().unwrap();
        assert!(store.was_written_by_others());
        assert_eq!(verify(&path, store.newest_id()), Ok(()));
        assert!(!store.was_written_by_others(), "once");
        std::thread::sleep(Duration::from_millis(20));
        // `cp` does this: the file stays, and its content changes.
        fs::write(&path, fs::read(&copy).unwrap()).unwrap();
        assert!(store.was_written_by_others());
        let reason = verify(&path, store.newest_id()).unwrap_err();
        assert!(reason.contains("the file was overwritten while the daemon runs"), "{reason}");
    }
}
