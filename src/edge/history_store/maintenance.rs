//! What keeps the file in shape, on connections of its own: for worker threads.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{StoreError, StoreErrorKind};

/// How long the writer may be held up by the end of a checkpoint, which waits for readers.
const READER_PATIENCE: Duration = Duration::from_millis(50);

/// A log that grew beyond this (a reader held up the checkpoints) is cut; otherwise its file is written over.
const MAX_LOG_BYTES: u64 = 64 << 20;

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Pages moved from the write-ahead log into the database.
    pub moved_pages: u64,
    /// Pages that stay in the log because somebody reads or writes; 0 when the next commit begins the log anew.
    pub left_pages: u64,
}

/// Moves the write-ahead log into the database, so that the next commit writes it from its beginning. Most of it goes
/// beside the writer; only the rest that came in meanwhile holds it up for a moment.
///
/// # Errors
/// The disk is full or broken; nothing is lost, the log only stays.
pub fn checkpoint(path: &Path) -> Result<CheckpointReport, StoreError> {
    let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(READER_PATIENCE).map_err(sqlite)?;
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -64;").map_err(sqlite)?;
    let run = |mode: &str| {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        connection.query_row(&sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
    };
    let pages = |number: i64| u64::try_from(number).unwrap_or(0);
    let (_, _, moved) = run("PASSIVE").map_err(sqlite)?;
    let mode = if wal_size_bytes(path) > MAX_LOG_BYTES { "TRUNCATE" } else { "RESTART" };
    let (busy, in_log, moved_in_log) = run(mode).map_err(sqlite)?;
    let left_pages = if busy == 0 { 0 } else { pages(in_log).saturating_sub(pages(moved_in_log)).max(1) };
    Ok(CheckpointReport { moved_pages: pages(moved).max(pages(moved_in_log)), left_pages })
}

/// Size of the write-ahead log's file; 0 if it does not exist. Cheap: one `stat(2)`. See
/// [`super::HistoryStore::wal_backlog_bytes`] for how much of it waits for a checkpoint.
#[must_use]
pub fn wal_size_bytes(path: &Path) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(name).map_or(0, |metadata| metadata.len())
}

/// Whether the disk has room for the next commits: 16 MiB. One that does not tell is taken to have it. Cheap: one
/// `statvfs(2)`.
#[must_use]
pub fn has_room(path: &Path) -> bool {
    const ROOM_BYTES: u64 = 16 << 20;
    let Ok(disk) = rustix::fs::statvfs(path) else { return true };
    disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM_BYTES
}

/// Reads the whole file and checks its structure; takes seconds on a large one.
///
/// # Errors
/// The first fault found.
pub fn check_integrity(path: &Path) -> Result<(), StoreError> {
    let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if answer == "ok" { Ok(()) } else { Err(StoreError::new(path, StoreErrorKind::Corrupt, answer)) }
}
