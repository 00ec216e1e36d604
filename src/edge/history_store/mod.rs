//! Stores the history, the sealed sessions, sync marks and fingerprints in SQLite, in the original's schema
//! (docs/protocol.md section 4).
//!
//! [`HistoryStore`] is the only writer and lives on the loop's thread: one [`HistoryStore::apply`] per turn is one
//! transaction. [`HistoryReader`], [`checkpoint`] and [`check_integrity`] use separate connections and run on worker
//! threads. Out of scope: retries, the decision what is kept, the repair of a damaged file.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::edge::random::SystemRandom;
use crate::model::stored::Stored;

mod apply;
mod column;
mod error;
mod identity;
mod legacy;
mod load;
mod lock;
mod log_file;
mod looking;
mod maintenance;
mod marks;
#[cfg(feature = "centreon")]
mod moving;
mod purge;
mod queue;
mod reader;
mod rewrite;
mod schema;
mod taken;
#[cfg(test)]
mod tests;
mod time_order;

pub use apply::{Applied, CommitClock, passing_tokens};
pub use error::{StoreError, StoreErrorKind};
pub use identity::verify;
pub use lock::{DatabaseLock, holder};
pub use looking::{Seen, known_key, look, newest_session};
pub use maintenance::{CheckpointReport, check_integrity, checkpoint, has_room, wal_size_bytes};
#[cfg(feature = "centreon")]
pub use moving::FileTables;
pub use queue::query_queue;
pub use reader::{HistoryReader, query_kept};

/// How long a commit waits for a lock, which delays the loop. Our checkpoints hold it only briefly; `daemon` handles
/// longer waits for other programs.
const WRITE_PATIENCE: Duration = Duration::from_millis(20);
/// How long a start, a reader, and the last commit wait for a lock.
const LONG_PATIENCE: Duration = Duration::from_secs(1);
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// Size in bytes of the pages of a new file. A commit writes whole pages, and most commits change some hundred bytes in
/// each of a few; with smaller pages a row of a COMMAND would not fit into one.
const PAGE_SIZE: u64 = 1_024;
/// Number of prepared statements that are cached.
const STATEMENTS: usize = 24;

/// Keeps the plans of prepared statements. With statistics (STAT4), SQLite would otherwise plan a statement again
/// whenever another value is bound, which takes longer than most statements. `.cargo/config.toml` disables STAT4, but
/// builds that do not read that file have it.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Options for opening the database.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Whether to create missing tables (`gorgone_db_autocreate_schema`); columns and indexes are always added.
    pub create_schema: bool,
    /// Whether each commit waits for the disk. Without it a power failure may lose the last commits; a crash of the
    /// daemon does not.
    pub synchronous_full: bool,
    /// Size of the page cache in KiB. Each page needs an additional quarter of its size, or with some C libraries its
    /// full size.
    pub cache_kib: u32,
    /// Maximum size of the content in bytes; the oldest rows are deleted above it. `None` for no limit.
    pub max_bytes: Option<u64>,
}

/// The writer. It holds a lock that prevents a second daemon from using the database.
pub struct HistoryStore {
    connection: Connection,
    path: PathBuf,
    number: i64,
    last_row_id: i64,
    clock: apply::CommitClock,
    /// Whether row ids increase with `ctime` (see [`time_order`]).
    is_ordered: bool,
    page_size: u64,
    /// The value of `PRAGMA synchronous`.
    synchronous: &'static str,
    max_bytes: Option<u64>,
    patience: Duration,
    identity: identity::Identity,
    _lock: lock::DatabaseLock,
}

impl HistoryStore {
    /// Opens the database, or creates it and its directory. It reads very little of a large file.
    ///
    /// # Errors
    /// Another daemon uses the database, or it is unusable; the message names the file and the remedy. A damaged file
    /// is never replaced or changed.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(|error| StoreError::from_io(path, &error))?;
        }
        if path.is_dir() {
            return Err(StoreError::new(path, StoreErrorKind::PermissionDenied, "it is a directory"));
        }
        let lock = lock::DatabaseLock::take(path)?;
        make_private(path).map_err(|error| StoreError::from_io(path, &error))?;
        let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = match log_file::vfs() {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
            None => Connection::open_with_flags(path, flags),
        }
        .map_err(sqlite)?;
        connection.busy_timeout(LONG_PATIENCE).map_err(sqlite)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        keep_plans(&connection).map_err(sqlite)?;
        if connection.is_readonly("main").map_err(sqlite)? {
            return Err(StoreError::new(path, StoreErrorKind::ReadOnly, ""));
        }
        // This applies to a new file; an old one is converted by `make_shrinkable`.
        connection
            .execute_batch(&format!("PRAGMA page_size = {PAGE_SIZE}; PRAGMA auto_vacuum = INCREMENTAL"))
            .map_err(sqlite)?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(sqlite)?;
        if mode != "wal" {
            return Err(StoreError::new(path, StoreErrorKind::WalUnsupported, format!("journal mode '{mode}'")));
        }
        let synchronous = if options.synchronous_full { "FULL" } else { "NORMAL" };
        let pragmas = format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; \
             PRAGMA cache_size = -{};",
            options.cache_kib
        );
        connection.execute_batch(&pragmas).map_err(sqlite)?;
        complete_schema(path, &mut connection, options)?;
        let number = schema::history_number(&connection, &mut SystemRandom::new()).map_err(sqlite)?;
        let is_ordered = time_order::settle(&connection).map_err(sqlite)?;
        let (last_row_id, clock) = apply::resume(&connection, is_ordered).map_err(sqlite)?;
        let identity = identity::Identity::new(path).map_err(|error| StoreError::from_io(path, &error))?;
        let page_size = page_size(&connection).map_err(sqlite)?;
        let (path, patience, max_bytes) = (path.to_owned(), LONG_PATIENCE, options.max_bytes);
        Ok(Self {
            connection,
            path,
            number,
            last_row_id,
            clock,
            is_ordered,
            page_size,
            synchronous,
            max_bytes,
            patience,
            identity,
            _lock: lock,
        })
    }

    /// The greatest row id so far; 0 for an empty history. The newest row is never purged, so ids are not reused.
    #[must_use]
    pub const fn last_row_id(&self) -> i64 {
        self.last_row_id
    }

    /// The id of the next inserted row; the rows of one [`HistoryStore::apply`] get consecutive ids.
    #[must_use]
    #[cfg(test)]
    pub const fn next_row_id(&self) -> i64 {
        self.last_row_id.saturating_add(1)
    }

    /// The `ctime` of the newest row in seconds; 0 for an empty history.
    #[must_use]
    pub fn newest_ctime(&self) -> f64 {
        self.clock.seconds()
    }

    /// The path of the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes the order of the rows for the next start, which then need not check the existing rows, and the marks of
    /// histories for an earlier version.
    ///
    /// # Errors
    /// The note cannot be written; the next start takes a little longer.
    pub fn note_order(&self) -> Result<(), StoreError> {
        let noted = if self.is_ordered { time_order::note_order(&self.connection) } else { Ok(()) };
        let noted = noted.and_then(|()| marks::write_said(&self.connection));
        noted.map_err(|error| StoreError::from_sqlite(&self.path, &error))
    }

    /// Number of bytes of the write-ahead log that wait for a [`checkpoint`]. Takes microseconds. Above some megabytes,
    /// start a checkpoint as a job (one at a time). The log's file keeps its size, because overwriting it is faster
    /// than growing it.
    #[must_use]
    pub fn wal_backlog_bytes(&self) -> u64 {
        let sql = "PRAGMA wal_checkpoint(NOOP)";
        let backlog = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row([], |row| Ok(row.get::<_, i64>(1)?.saturating_sub(row.get::<_, i64>(2)?)))
        });
        backlog.map_or(0, |pages| u64::try_from(pages).unwrap_or(0).saturating_mul(self.page_size))
    }

    /// Tries whether a transaction that writes could begin now. Takes microseconds, and changes nothing.
    ///
    /// # Errors
    /// Another program holds the database, or it cannot be written.
    #[cfg(feature = "status")]
    pub fn try_to_write(&self) -> Result<(), StoreError> {
        let tried = self.connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
        tried.map_err(|error| StoreError::from_sqlite(&self.path, &error))
    }

    /// Releases memory after a burst; call it once when the daemon has become idle.
    pub fn release_memory(&self) {
        // A failure has no consequences.
        let _ = self.connection.execute_batch("PRAGMA shrink_memory");
    }

    /// Reads the state that a start continues from. Invalid rows are skipped and reported in [`Stored::warnings`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(&self) -> Result<Stored, StoreError> {
        load::load(&self.connection, self.number).map_err(|error| StoreError::from_sqlite(&self.path, &error))
    }
}

/// Size of a database with its write-ahead log in bytes; `None` if it cannot be read.
#[cfg(feature = "status")]
#[must_use]
pub fn size_bytes(path: &Path) -> Option<u64> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log_bytes = std::fs::metadata(log).map_or(0, |log| log.len());
    Some(std::fs::metadata(path).ok()?.len().saturating_add(log_bytes))
}

/// Creates a missing database as a file that other users cannot read, because it holds the keys of sessions. SQLite
/// gives its other files the same mode. An existing file keeps its mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists && !path.exists() => Err(error),
        _ => Ok(()),
    }
}

fn page_size(connection: &Connection) -> rusqlite::Result<u64> {
    purge::number(connection, "page_size").map(|size| u64::try_from(size).unwrap_or(PAGE_SIZE))
}

/// Adds the parts of the schema that an older or an empty file lacks.
fn complete_schema(path: &Path, connection: &mut Connection, options: StoreOptions) -> Result<(), StoreError> {
    let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
    let missing = schema::missing(connection).map_err(sqlite)?;
    if missing.tables && !options.create_schema {
        return Err(StoreError::new(path, StoreErrorKind::SchemaMissing, ""));
    }
    if !missing.is_empty() {
        missing.create(connection).map_err(sqlite)?;
    }
    if !schema::has_version(connection).map_err(sqlite)? {
        schema::put_version(connection).map_err(sqlite)?;
    }
    Ok(())
}
