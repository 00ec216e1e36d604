//! The history, the sealed sessions, sync marks and fingerprints in SQLite, in the original's schema (docs/protocol.md
//! section 4).
//!
//! [`HistoryStore`] is the one writer and lives on the loop's thread: one [`HistoryStore::apply`] a turn, one
//! transaction. [`HistoryReader`], [`checkpoint`] and [`check_integrity`] use connections of their own and belong on
//! worker threads. Out of scope: retries, decisions what is kept, any repair of a damaged file.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::edge::random::SystemRandom;
use crate::model::history::{Origins, SyncMark};
use crate::model::legacy::LegacyStored;
use crate::model::node_id::NodeId;
use crate::model::session::StoredSession;
use crate::model::token::Token;

mod apply;
mod column;
mod error;
mod identity;
mod legacy;
mod load;
mod lock;
mod maintenance;
mod purge;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod time_order;

pub use apply::Applied;
pub use error::{StoreError, StoreErrorKind};
pub use lock::holder;
pub use maintenance::{CheckpointReport, check_integrity, checkpoint, has_room, wal_size_bytes};
pub use reader::{HistoryReader, query_kept};

/// How long a commit waits for somebody else's lock, which holds up the loop: a checkpoint of ours holds it for
/// moments. Who holds it for longer is waited for elsewhere.
const WRITE_PATIENCE: Duration = Duration::from_millis(20);
/// How long a start, a reader, and the last commit wait.
const LONG_PATIENCE: Duration = Duration::from_secs(1);
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// SQLite's page size unless somebody changed it; for estimates only.
const PAGE_SIZE: u64 = 4_096;
/// A file that cannot shrink is written anew at a start up to this size, which takes a fraction of a second.
const REWRITTEN_MAX_BYTES: u64 = 32 << 20;
/// Prepared statements that are kept.
const STATEMENTS: usize = 24;

/// Lets the plan of a prepared statement stay as it is. A SQLite that knows statistics (STAT4) would else plan a
/// statement anew whenever another value is bound, which takes longer than most statements. `.cargo/config.toml` builds
/// ours without them; a build from elsewhere, which does not read that file, has them.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// How the database is opened.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Make tables that are missing (`gorgone_db_autocreate_schema`); columns and indexes are always added.
    pub create_schema: bool,
    /// Each commit waits for the disk. Without it a power failure may cost the last commits; a crash of the daemon does
    /// not.
    pub synchronous_full: bool,
    /// KiB of the database's pages that are kept in memory. A quarter of a page's size comes on top, with some C
    /// libraries a whole.
    pub cache_kib: u32,
}

/// What a start takes over.
#[derive(Clone, Default)]
pub struct Stored {
    /// Sessions, the least recently used first.
    pub sessions: Vec<StoredSession>,
    /// How far each node's history was taken over.
    pub marks: Vec<(NodeId, SyncMark)>,
    /// Target and thumbprint of its key.
    pub fingerprints: Vec<(String, String)>,
    /// SSH hosts and the known-hosts lines of their keys.
    pub host_keys: Vec<(String, String)>,
    /// The number of this history, and how far others were taken over.
    pub origins: Origins,
    /// Tokens without an end, and the node that has not confirmed them.
    pub open_tokens: Vec<(Token, Option<NodeId>)>,
    /// Hashes of the tokens that were taken for work here, the oldest first.
    pub taken_tokens: Vec<i64>,
    /// What Centreon Web has ordered and no node has confirmed.
    pub legacy: LegacyStored,
    /// Rows that were skipped and why; never more than a few lines.
    pub warnings: Vec<String>,
}

/// The writer. Holds a lock that keeps a second daemon off the database.
pub struct HistoryStore {
    connection: Connection,
    path: PathBuf,
    number: i64,
    last_row_id: i64,
    clock: apply::CommitClock,
    /// See [`time_order`].
    is_ordered: bool,
    patience: Duration,
    identity: identity::Identity,
    _lock: lock::DatabaseLock,
}

impl HistoryStore {
    /// Opens the database, or makes it, with its directory, where there is none. Reads next to nothing of a large file.
    ///
    /// # Errors
    /// Another daemon uses it, or it cannot be used: the sentence names the file and the remedy. A damaged file is
    /// never replaced or changed.
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
        let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        connection.busy_timeout(LONG_PATIENCE).map_err(sqlite)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        keep_plans(&connection).map_err(sqlite)?;
        if connection.is_readonly("main").map_err(sqlite)? {
            return Err(StoreError::new(path, StoreErrorKind::ReadOnly, ""));
        }
        // Of a new file; an old one takes it over with `shrinkable`.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(sqlite)?;
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
        let (path, patience) = (path.to_owned(), LONG_PATIENCE);
        Ok(Self { connection, path, number, last_row_id, clock, is_ordered, patience, identity, _lock: lock })
    }

    /// The greatest row id so far; 0 for an empty history. The newest row is never purged, so ids do not come back.
    #[must_use]
    pub const fn last_row_id(&self) -> i64 {
        self.last_row_id
    }

    /// The id that the next inserted row gets; the rows of one [`HistoryStore::apply`] get consecutive ids.
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

    /// The database's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether purges make the file shorter. A file that somebody else made has to be written anew for that: a small
    /// one is, here and now; a large one only keeps its free space for later rows.
    ///
    /// # Errors
    /// It is not, and why.
    pub fn make_shrinkable(&self) -> Result<(), String> {
        let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(&self.path, &error).to_string();
        if purge::number(&self.connection, "auto_vacuum").map_err(sqlite)? == purge::INCREMENTAL {
            return Ok(());
        }
        let pages = purge::number(&self.connection, "page_count").map_err(sqlite)?;
        if u64::try_from(pages).unwrap_or(0).saturating_mul(PAGE_SIZE) > REWRITTEN_MAX_BYTES {
            let path = self.path.display();
            return Err(format!(
                "{path} keeps its size when rows are purged, and uses the space again; to let it shrink, stop the \
                    daemon once and run: \
                 sqlite3 '{path}' 'PRAGMA auto_vacuum = 2; VACUUM'"
            ));
        }
        self.connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").map_err(sqlite)
    }

    /// Leaves a note for the next start, which then need not look at the rows that are there.
    ///
    /// # Errors
    /// It cannot be written; the next start takes a little longer.
    pub fn note_order(&self) -> Result<(), StoreError> {
        if !self.is_ordered {
            return Ok(());
        }
        time_order::note_order(&self.connection).map_err(|error| StoreError::from_sqlite(&self.path, &error))
    }

    /// Bytes of the write-ahead log that wait for a [`checkpoint`]. Costs microseconds; above some megabytes, start one
    /// as a job (one at a time). The log's file keeps its size, since writing over it is faster than growing it.
    #[must_use]
    pub fn wal_backlog_bytes(&self) -> u64 {
        let sql = "PRAGMA wal_checkpoint(NOOP)";
        let backlog = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row([], |row| Ok(row.get::<_, i64>(1)?.saturating_sub(row.get::<_, i64>(2)?)))
        });
        backlog.map_or(0, |pages| u64::try_from(pages).unwrap_or(0).saturating_mul(PAGE_SIZE))
    }

    /// Gives memory back after a burst; call it once when the daemon has become idle.
    pub fn release_memory(&self) {
        // It cannot fail in a way that matters.
        let _ = self.connection.execute_batch("PRAGMA shrink_memory");
    }

    /// What a start takes over. Odd rows are skipped and told of in [`Stored::warnings`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(&self) -> Result<Stored, StoreError> {
        load::load(&self.connection, self.number).map_err(|error| StoreError::from_sqlite(&self.path, &error))
    }
}

/// Makes a database that is not there yet as a file that other users cannot read: it holds the keys of sessions. SQLite
/// gives its other files the same mode. A file that is there keeps the mode that somebody gave it.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists && !path.exists() => Err(error),
        _ => Ok(()),
    }
}

/// Adds what an older or an empty file lacks.
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
