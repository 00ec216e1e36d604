//! Looks into a database that a daemon may be using, without writing to it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::error::{StoreError, StoreErrorKind};

/// How long to wait for a writer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a look into a database shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Number of rows ever stored in the history.
    pub rows: i64,
    /// `ctime` of the newest row in seconds.
    pub newest_seconds: i64,
}

/// Opens the database read-only and reads a little of it. A missing file is an empty database.
///
/// # Errors
/// [`StoreError`], if the file cannot be used.
pub fn look(path: &Path) -> Result<Seen, StoreError> {
    let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
    let Some(connection) = open(path)? else { return Ok(Seen::default()) };
    let tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'gorgone_history'";
    let count: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(sqlite)?;
    if count == 0 {
        return Ok(Seen::default());
    }
    let newest = "SELECT id, CAST(ctime AS INTEGER) FROM gorgone_history ORDER BY id DESC LIMIT 1";
    let read = connection.query_row(newest, [], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)));
    let (rows, newest) = read.optional().map_err(sqlite)?.unwrap_or((0, None));
    Ok(Seen { rows, newest_seconds: newest.unwrap_or(0) })
}

/// The known thumbprint of the key of `target` (`tcp://address:port`); `None` also if the database cannot be read.
#[must_use]
pub fn known_key(path: &Path, target: &str) -> Option<String> {
    let sql = "SELECT fingerprint FROM gorgone_target_fingerprint WHERE target = ?1 ORDER BY id LIMIT 1";
    open(path).ok()??.query_row(sql, [target], |row| row.get(0)).optional().ok()?
}

/// The number of the newest session that is stored; 0 if there is none, or the database cannot be read.
#[must_use]
pub fn newest_session(path: &Path) -> i64 {
    let read = |connection: Connection| {
        connection.query_row("SELECT max(id) FROM gorgone_identity", [], |row| row.get::<_, Option<i64>>(0)).ok()?
    };
    open(path).ok().flatten().and_then(read).unwrap_or(0)
}

fn open(path: &Path) -> Result<Option<Connection>, StoreError> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err(StoreError::from_io(path, &error)),
    }
    let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(PATIENCE).map_err(sqlite)?;
    // Reads the first page, so that a file that is no database is noticed here.
    let checked = connection.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0));
    checked.map(|_| Some(connection)).map_err(|error| match error.sqlite_error_code() {
        // Without write access to the directory, a database in WAL mode cannot be read.
        Some(rusqlite::ErrorCode::CannotOpen) => StoreError::new(path, StoreErrorKind::ReadOnly, error.to_string()),
        _ => sqlite(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::temp_dir::TempDir;

    #[test]
    fn a_missing_an_empty_and_a_foreign_file_are_told_apart() {
        let dir = TempDir::new();
        let path = dir.join("history.sdb");
        assert_eq!(look(&path).unwrap(), Seen::default());
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        assert_eq!(look(&path).unwrap(), Seen::default());
        std::fs::write(&path, "no database, but long enough to be looked at".repeat(40)).unwrap();
        assert_eq!(look(&path).unwrap_err().kind, StoreErrorKind::NotADatabase);
    }

    #[test]
    fn a_known_key_is_found_by_its_target() {
        let dir = TempDir::new();
        let path = dir.join("history.sdb");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE gorgone_target_fingerprint (id INTEGER PRIMARY KEY, target TEXT, fingerprint TEXT);
                 INSERT INTO gorgone_target_fingerprint (target, fingerprint) VALUES ('tcp://a:1', 'x');",
            )
            .unwrap();
        assert_eq!(known_key(&path, "tcp://a:1").as_deref(), Some("x"));
        assert_eq!(known_key(&path, "tcp://a:2"), None);
    }
}
