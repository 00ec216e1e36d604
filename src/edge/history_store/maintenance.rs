//! Maintenance of the file on separate connections, for worker threads.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{StoreError, StoreErrorKind};

/// How long the end of a checkpoint may wait for readers, which delays the writer.
const READER_PATIENCE: Duration = Duration::from_millis(50);

/// Size in bytes above which the log is truncated (it grows while a reader delays checkpoints); otherwise its file is
/// overwritten.
const MAX_LOG_BYTES: u64 = 64 << 20;

/// The result of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Number of pages moved from the write-ahead log into the database.
    pub moved_pages: u64,
    /// Number of pages left in the log because of readers or writers; 0 if the next commit starts from the beginning of
    /// the log.
    pub left_pages: u64,
}

/// Moves the write-ahead log into the database, so that the next commit starts from the beginning of the log. Most of
/// it runs in parallel with the writer; only the rest that was written meanwhile delays the writer briefly.
///
/// # Errors
/// The disk is full or faulty. Nothing is lost; the log is kept.
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

/// Size in bytes of the file of the write-ahead log; 0 if it does not exist. It costs one `stat(2)`.
/// [`super::HistoryStore::wal_backlog_bytes`] returns how much of it waits for a checkpoint.
#[must_use]
pub fn wal_size_bytes(path: &Path) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(name).map_or(0, |metadata| metadata.len())
}

/// Whether the disk has space for the next commits: 16 MiB. If the system does not report the space, it counts as
/// sufficient. It costs one `statvfs(2)`.
#[must_use]
pub fn has_room(path: &Path) -> bool {
    const ROOM_BYTES: u64 = 16 << 20;
    let Ok(disk) = rustix::fs::statvfs(path) else { return true };
    disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM_BYTES
}

/// Reads the whole file and checks its structure, which takes seconds for a large file.
///
/// # Errors
/// The first fault that was found.
pub fn check_integrity(path: &Path) -> Result<(), StoreError> {
    let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if answer == "ok" { Ok(()) } else { Err(StoreError::new(path, StoreErrorKind::Corrupt, answer)) }
}
