//! Whether row ids grow with `ctime`. Then a search by halves finds a time, and no row has to be written to an index
//! of times as well, which is a page of every commit.
//!
//! It is so in every file that only this daemon has written to. A file of the original's keeps the original's index,
//! unless a look at all of its rows is cheap and shows that it is not needed; a clock that is set back by more than a
//! day, and rows that another daemon wrote out of order, bring the index back.

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::schema::has_index;

/// The original's index. Where it is, ids may go another way than times.
const INDEX: &str = "idx_gorgone_history_ctime";
/// Files with at most so many pages are looked at as a whole.
const LOOKED_AT_MAX_PAGES: i64 = 8_192;

/// Whether ids grow with times.
pub(super) fn is_ordered(connection: &Connection) -> Result<bool> {
    has_index(connection, INDEX).map(|has_index| !has_index)
}

/// Looks at what was written since the last look, at the start of a daemon. Returns what [`is_ordered`] does.
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

/// Makes the index: from now on times are found by it.
pub(super) fn bring_index(connection: &Connection) -> Result<()> {
    connection.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {INDEX} ON gorgone_history (ctime)"))
}

/// Remembers that all rows of now are in order, so that no start has to look at them again.
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

/// The id behind every row whose `ctime` is at most this, where ids grow with times.
pub(super) fn first_behind(connection: &Connection, ctime: f64) -> Result<i64> {
    let mut ends = connection
        .prepare_cached("SELECT (SELECT min(id) FROM gorgone_history), (SELECT max(id) FROM gorgone_history)")?;
    let mut probe =
        connection.prepare_cached("SELECT id, ctime FROM gorgone_history WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    let (first, last) = ends.query_row([], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let (Some(mut low), Some(last)) = (first, last) else { return Ok(0) };
    // All rows before `low` are older or as old; the row at or behind `high`, if there is one, is newer.
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
