//! SQLite with the settings of this daemon, without the daemon.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::{Memory, once};
use crate::Outcome;
use crate::load::{per_second, percentile_ms};

const BATCHES: usize = 50;
const ROWS_A_COMMIT: usize = 1_000;
const SINGLE_COMMITS: usize = 1_000;
const QUESTIONS: usize = 100_000;
const DELETED_A_COMMIT: usize = 1_000;
const INSERT: &str =
    "INSERT INTO gorgone_history (token, code, etime, ctime, instant, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Figures of commits of one row each.
#[derive(Clone, Copy)]
pub struct Commits {
    /// Percentile in ms, one operation at a time.
    pub p50_ms: f64,
    /// Percentile in ms, one operation at a time.
    pub p99_ms: f64,
}

/// Figures of queries for the rows of a token without rows, on one connection.
#[derive(Clone, Copy)]
pub struct Questions {
    /// Queries per second.
    pub rate: f64,
    /// Percentile in ms, one operation at a time.
    pub p50_ms: f64,
    /// Percentile in ms, one operation at a time.
    pub p99_ms: f64,
}

/// A database with the table and the indexes of the history, removed when dropped.
struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    fn new(name: &str) -> Outcome<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("floor-{name}-{}.sdb", std::process::id()));
        let connection = Connection::open(&path)?;
        let _mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096; PRAGMA wal_autocheckpoint = 2000;
             CREATE TABLE gorgone_history (id INTEGER PRIMARY KEY, token varchar(2048), code int(11), etime int(11),
                                           ctime FLOAT, instant int(11), data TEXT);
             CREATE INDEX by_id ON gorgone_history (id); CREATE INDEX by_token ON gorgone_history (token);
             CREATE INDEX by_etime ON gorgone_history (etime); CREATE INDEX by_code ON gorgone_history (code);
             CREATE INDEX by_ctime ON gorgone_history (ctime); CREATE INDEX by_instant ON gorgone_history (instant);",
        )?;
        Ok(Self { connection, path })
    }

    fn insert(&mut self, first: usize, count: usize) -> Outcome<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(INSERT)?;
            for number in first..first.saturating_add(count) {
                let data = format!(r#"{{"message":"row {number}","metadata":{{"kind":"measurement"}}}}"#);
                statement.execute(params![format!("load-{number}"), 100, 1_700_000_000, 1.7e9, 0, data])?;
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = self.path.clone().into_os_string();
            file.push(suffix);
            std::fs::remove_file(file).unwrap_or_default();
        }
    }
}

/// Inserted rows per second, with 1,000 rows per commit.
///
/// # Errors
/// The error of SQLite.
pub fn rows_per_second() -> Outcome<f64> {
    static MEMORY: Memory<f64> = Memory::new(None);
    once(&MEMORY, || {
        let mut database = Database::new("rows")?;
        let begun = Instant::now();
        for batch in 0..BATCHES {
            database.insert(batch.saturating_mul(ROWS_A_COMMIT), ROWS_A_COMMIT)?;
        }
        Ok(per_second(BATCHES.saturating_mul(ROWS_A_COMMIT), begun.elapsed()))
    })
}

/// Measures commits of one row, one at a time.
///
/// # Errors
/// The error of SQLite.
pub fn commits() -> Outcome<Commits> {
    static MEMORY: Memory<Commits> = Memory::new(None);
    once(&MEMORY, || {
        let mut database = Database::new("commits")?;
        let mut measurements: Vec<Duration> = Vec::new();
        for number in 0..SINGLE_COMMITS {
            let begun = Instant::now();
            database.insert(number, 1)?;
            measurements.push(begun.elapsed());
        }
        let (p50_ms, p99_ms) = (percentile_ms(&mut measurements, 50), percentile_ms(&mut measurements, 99));
        Ok(Commits { p50_ms, p99_ms })
    })
}

/// Seconds for reading `count` rows from one database and inserting them into another, with 1,000 rows per commit.
///
/// # Errors
/// The error of SQLite.
pub fn copy_s(count: usize) -> Outcome<f64> {
    let (mut source, mut destination) = (Database::new("source")?, Database::new("destination")?);
    source.insert(0, count)?;
    let begun = Instant::now();
    let mut select =
        source.connection.prepare("SELECT token, code, etime, ctime, instant, data FROM gorgone_history")?;
    let mut rows = select.query([])?;
    let mut is_complete = false;
    while !is_complete {
        let transaction = destination.connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(INSERT)?;
            for _ in 0..ROWS_A_COMMIT {
                let Some(row) = rows.next()? else {
                    is_complete = true;
                    break;
                };
                let (token, data): (String, String) = (row.get(0)?, row.get(5)?);
                let (code, etime, instant): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(4)?);
                statement.execute(params![token, code, etime, row.get::<_, f64>(3)?, instant, data])?;
            }
        }
        transaction.commit()?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Measures the query of `rest_log` with a statement that is prepared once.
///
/// # Errors
/// The error of SQLite.
pub fn questions() -> Outcome<Questions> {
    static MEMORY: Memory<Questions> = Memory::new(None);
    once(&MEMORY, || {
        let database = Database::new("questions")?;
        // Otherwise SQLite plans the statement again for each value.
        database.connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let mut statement = database.connection.prepare(
            "SELECT id, token, code, etime, ctime, instant, data FROM gorgone_history WHERE token = ?1 ORDER BY id",
        )?;
        let mut measurements: Vec<Duration> = Vec::with_capacity(QUESTIONS);
        let begun = Instant::now();
        for _ in 0..QUESTIONS {
            let asked = Instant::now();
            if statement.query(["no-such-token"])?.next()?.is_some() {
                return Err("there is a row".into());
            }
            measurements.push(asked.elapsed());
        }
        let rate = per_second(QUESTIONS, begun.elapsed());
        let (p50_ms, p99_ms) = (percentile_ms(&mut measurements, 50), percentile_ms(&mut measurements, 99));
        Ok(Questions { rate, p50_ms, p99_ms })
    })
}

/// Seconds for deleting rows of these sizes, with 1,000 rows per commit, without the checkpoints of the log.
///
/// # Errors
/// The error of SQLite.
pub fn deleted_s(rows: usize, len_bytes: impl Fn(usize) -> usize) -> Outcome<f64> {
    let mut database = Database::new("deleted")?;
    database.connection.execute_batch("PRAGMA wal_autocheckpoint = 0")?;
    let checkpoint = |database: &Database| -> Outcome<()> {
        database.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    };
    let mut number = 0;
    while number < rows {
        let transaction = database.connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(INSERT)?;
            for number in number..rows.min(number + DELETED_A_COMMIT) {
                let data = "x".repeat(len_bytes(number));
                statement.execute(params![format!("{number:0128x}"), 100, 1_700_000_000, 1.7e9, 0, data])?;
            }
        }
        transaction.commit()?;
        number += DELETED_A_COMMIT;
        checkpoint(&database)?;
    }
    let mut took = Duration::ZERO;
    let mut last = 0_usize;
    while last < rows {
        last += DELETED_A_COMMIT;
        let begun = Instant::now();
        database.connection.execute("DELETE FROM gorgone_history WHERE id <= ?1", [i64::try_from(last)?])?;
        took += begun.elapsed();
        checkpoint(&database)?;
    }
    Ok(took.as_secs_f64())
}

/// Stores `rows` rows, each in a separate commit.
///
/// # Errors
/// The error of SQLite.
pub fn commit_each(rows: usize) -> Outcome<()> {
    let mut database = Database::new("each")?;
    (0..rows).try_for_each(|number| database.insert(number, 1))
}
