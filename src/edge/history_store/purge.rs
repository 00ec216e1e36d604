//! One purge step within a commit: deletes a few rows at a time, and releases free pages, until its time is up.
//!
//! The commit runs on the loop, so a step must not delay it; the clock is used because the duration of a delete depends
//! on the disk.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Result, Transaction, params};

/// Time after which a step starts nothing new; its commit must still write the changed pages.
const STEP_MAX: Duration = Duration::from_millis(2);
/// Number of rows or sessions deleted at once; a row of a megabyte is freed page by page.
const ROWS: u32 = 8;
/// Number of pages released at once.
const PAGES: u32 = 16;
/// Number of free pages kept in the file for future rows: 512 KiB, or 2 MiB in a file with larger pages.
const FREE_PAGES_KEPT: i64 = 512;
/// Value of `PRAGMA auto_vacuum` of a file that can release pages incrementally.
pub(super) const INCREMENTAL: i64 = 2;

/// The result of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PurgeStep {
    /// Number of rows and sessions deleted.
    pub purged: usize,
    /// Whether pages were released, so that the next checkpoint shrinks the file.
    pub is_shorter: bool,
    /// Whether there is more to do.
    pub is_left: bool,
}

/// Age limits in seconds since the epoch: sessions last used, rows stored, and instant rows stored before these times
/// are deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub used: i64,
    pub rows: i64,
    pub instant: i64,
}

const SESSIONS: &str = "DELETE FROM gorgone_identity WHERE id IN \
                        (SELECT id FROM gorgone_identity WHERE coalesce(mtime, ctime, 0) < ?1 LIMIT ?2)";
/// Number of rows deleted at once where the history has a maximum size.
const DROPPED_AT_ONCE: u32 = 8;
const OLDEST_ROWS: &str = "DELETE FROM gorgone_history WHERE id IN \
                           (SELECT id FROM gorgone_history ORDER BY id LIMIT ?1) \
                           AND id <> (SELECT max(id) FROM gorgone_history)";
/// Deletes the oldest rows if ids increase with times. The newest row stays, so that row ids are not reused.
const OLD_ROWS: &str = "DELETE FROM gorgone_history WHERE id IN \
                        (SELECT id FROM (SELECT id, ctime FROM gorgone_history ORDER BY id LIMIT ?2) \
                        WHERE ctime < ?1) AND id <> (SELECT max(id) FROM gorgone_history)";
const INSTANT_ROWS: &str = "DELETE FROM gorgone_history WHERE id IN \
                            (SELECT id FROM (SELECT id, ctime FROM gorgone_history WHERE instant = 1 \
                            ORDER BY id LIMIT ?2) WHERE ctime < ?1) AND id <> (SELECT max(id) FROM gorgone_history)";
/// Deletes the oldest rows by the index of times.
const OLD_ROWS_BY_INDEX: &str = "DELETE FROM gorgone_history WHERE id IN \
                        (SELECT id FROM gorgone_history WHERE ctime < ?1 ORDER BY ctime LIMIT ?2) \
                        AND id <> (SELECT max(id) FROM gorgone_history)";
/// Row ids mostly increase with `ctime`, so the newest row that is old enough limits the part of the index that is
/// read.
const INSTANT_ROWS_BY_INDEX: &str = "DELETE FROM gorgone_history WHERE id IN \
                            (SELECT id FROM gorgone_history WHERE instant = 1 AND +ctime < ?1 AND id <= \
                            (SELECT id FROM gorgone_history WHERE ctime < ?1 ORDER BY ctime DESC LIMIT 1) LIMIT ?2) \
                            AND id <> (SELECT max(id) FROM gorgone_history)";

/// Deletes a few expired rows at a time, then releases pages. `is_ordered`: see [`super::time_order`].
pub(super) fn step(transaction: &Transaction<'_>, is_ordered: bool, before: Before) -> Result<PurgeStep> {
    let (old_rows, instant_rows) = match is_ordered {
        true => (OLD_ROWS, INSTANT_ROWS),
        false => (OLD_ROWS_BY_INDEX, INSTANT_ROWS_BY_INDEX),
    };
    let deadline = Instant::now() + STEP_MAX;
    let mut step = PurgeStep::default();
    for (sql, before) in [(SESSIONS, before.used), (old_rows, before.rows), (instant_rows, before.instant)] {
        let mut delete = transaction.prepare_cached(sql)?;
        loop {
            if Instant::now() >= deadline {
                return Ok(PurgeStep { is_left: true, ..step });
            }
            let deleted = delete.execute(params![before, ROWS])?;
            step.purged += deleted;
            // Fewer rows than requested: the newest row, which stays, may be among them.
            if deleted < usize::try_from(ROWS).unwrap_or(usize::MAX) {
                break;
            }
        }
    }
    give_back(transaction, deadline, &mut step)?;
    Ok(step)
}

/// Deletes the oldest rows until at most `max_pages` pages are used; returns how many. The newest row stays.
pub(super) fn keep_below(transaction: &Transaction<'_>, max_pages: i64) -> Result<usize> {
    let mut dropped = 0;
    while number(transaction, "page_count")? - number(transaction, "freelist_count")? > max_pages {
        let deleted = transaction.prepare_cached(OLDEST_ROWS)?.execute([DROPPED_AT_ONCE])?;
        if deleted == 0 {
            break;
        }
        dropped += deleted;
    }
    Ok(dropped)
}

fn give_back(transaction: &Transaction<'_>, deadline: Instant, step: &mut PurgeStep) -> Result<()> {
    if number(transaction, "auto_vacuum")? != INCREMENTAL {
        return Ok(());
    }
    while number(transaction, "freelist_count")? > FREE_PAGES_KEPT {
        if Instant::now() >= deadline {
            step.is_left = true;
            return Ok(());
        }
        step.is_shorter = true;
        // Each row read from this statement frees one page.
        let mut statement = transaction.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// Reads a numeric pragma.
pub(super) fn number(connection: &Connection, pragma: &str) -> Result<i64> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
}

#[cfg(test)]
mod tests;
