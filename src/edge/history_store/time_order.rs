//! Tracks whether row ids increase with `ctime`. If so, a binary search finds a time, and no index of times is needed,
//! which saves a page in every commit.
//!
//! This is the case in every file that only this daemon has written to. A file of the original keeps the original's
//! index, unless checking all of its rows is cheap and shows that it is not needed. The index is created again after
//! the clock was set back by more than a day, or after another daemon wrote rows out of order.

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::schema::has_index;

/// Name of the original's index. If it exists, ids may not increase with times.
const INDEX: &str = "idx_gorgone_history_ctime";
/// Maximum number of pages of a file whose rows are all checked.
const LOOKED_AT_MAX_PAGES: i64 = 8_192;

/// Whether ids increase with times.
pub(super) fn is_ordered(connection: &Connection) -> Result<bool> {
    has_index(connection, INDEX).map(|has_index| !has_index)
}

/// Checks at the start of a daemon the rows written since the last check. Returns the same as [`is_ordered`].
pub(super) fn settle(connection: &Connection) -> Result<bool> {
    if is_ordered(connection)? {
        let is_ordered = is_ordered_behind(connection, looked_at_to(connection)?)?;
        if !is_ordered {
            bring_index(connection)?;
        }
        return Ok(is_ordered);
    }
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages > LOOKED_AT_MAX_PAGES || !is_ordered_behind(connection, 0)? {
        return Ok(false);
    }
    connection.execute_batch(&format!("DROP INDEX {INDEX}"))?;
    Ok(true)
}

/// Creates the index, which is used from now on to find times.
pub(super) fn bring_index(connection: &Connection) -> Result<()> {
    connection.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {INDEX} ON gorgone_history (ctime)"))
}

/// Notes that all current rows are in order, so that the next start need not check them again.
pub(super) fn note_order(connection: &Connection) -> Result<()> {
    connection.execute("DELETE FROM gorgone_information WHERE `key` = 'stheno_ordered'", [])?;
    let sql = "INSERT INTO gorgone_information (`key`, `value`) \
               SELECT 'stheno_ordered', coalesce(max(id), 0) FROM gorgone_history";
    connection.execute(sql, []).map(drop)
}

fn looked_at_to(connection: &Connection) -> Result<i64> {
    let sql = "SELECT CAST(`value` AS INTEGER) FROM gorgone_information WHERE `key` = 'stheno_ordered'";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or(0))
}

fn is_ordered_behind(connection: &Connection, id: i64) -> Result<bool> {
    let mut statement = connection.prepare("SELECT ctime FROM gorgone_history WHERE id >= ?1 ORDER BY id")?;
    let mut rows = statement.query([id])?;
    let mut newest = f64::NEG_INFINITY;
    while let Some(row) = rows.next()? {
        match row.get::<_, f64>(0) {
            Ok(ctime) if ctime > newest => newest = ctime,
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Returns the first id after all rows whose `ctime` is at most the given one, if ids increase with times.
pub(super) fn first_behind(connection: &Connection, ctime: f64) -> Result<i64> {
    let mut ends = connection
        .prepare_cached("SELECT (SELECT min(id) FROM gorgone_history), (SELECT max(id) FROM gorgone_history)")?;
    let mut probe =
        connection.prepare_cached("SELECT id, ctime FROM gorgone_history WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    let (first, last) = ends.query_row([], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let (Some(mut low), Some(last)) = (first, last) else { return Ok(0) };
    // Invariant: all rows before `low` have at most this time; the row at or after `high`, if any, is newer.
    let mut high = last.saturating_add(1);
    while low < high {
        let middle = low + high.saturating_sub(low) / 2;
        let (id, found) = probe.query_row(params![middle], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?)))?;
        if found <= ctime {
            low = id.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests;
