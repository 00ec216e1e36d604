//! One step of cleaning within a commit: deletes a few rows at a time, and gives free pages back, until its time is up.
//!
//! The commit belongs to the loop, so a step may not hold it up; how long one delete takes depends on the disk, hence
//! the clock.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Result, Transaction, params};

/// A step begins nothing new after this; its commit has to write the pages that it changed.
const STEP_MAX: Duration = Duration::from_millis(2);
/// Rows and sessions deleted at once; one of a megabyte is freed page by page.
const ROWS: u32 = 8;
/// Pages given back at once.
const PAGES: u32 = 16;
/// Free pages that stay in the file for the rows to come: 1 MiB.
const FREE_PAGES_KEPT: i64 = 256;
/// `PRAGMA auto_vacuum` of a file that can give pages back bit by bit.
pub(super) const INCREMENTAL: i64 = 2;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Rows and sessions deleted.
    pub purged: usize,
    /// Whether pages were given back; the file is shorter after the next checkpoint.
    pub is_shorter: bool,
    /// Whether there is more to do.
    pub is_left: bool,
}

/// What is too old: sessions used, rows stored and instant rows stored before these seconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub used: i64,
    pub rows: i64,
    pub instant: i64,
}

const SESSIONS: &str = "DELETE FROM gorgone_identity WHERE id IN \
                        (SELECT id FROM gorgone_identity WHERE coalesce(mtime, ctime, 0) < ?1 LIMIT ?2)";
/// Where ids grow with times, oldest first; the newest row stays, so that row ids are not used again.
const OLD_ROWS: &str = "DELETE FROM gorgone_history WHERE id IN \
                        (SELECT id FROM (SELECT id, ctime FROM gorgone_history ORDER BY id LIMIT ?2) \
                        WHERE ctime < ?1) AND id <> (SELECT max(id) FROM gorgone_history)";
const INSTANT_ROWS: &str = "DELETE FROM gorgone_history WHERE id IN \
                            (SELECT id FROM (SELECT id, ctime FROM gorgone_history WHERE instant = 1 \
                            ORDER BY id LIMIT ?2) WHERE ctime < ?1) AND id <> (SELECT max(id) FROM gorgone_history)";
/// By the index of times.
const OLD_ROWS_BY_INDEX: &str = "DELETE FROM gorgone_history WHERE id IN \
                        (SELECT id FROM gorgone_history WHERE ctime < ?1 ORDER BY ctime LIMIT ?2) \
                        AND id <> (SELECT max(id) FROM gorgone_history)";
/// Row ids mostly grow with `ctime`, so the newest row that is old enough bounds the part of the index that is read.
const INSTANT_ROWS_BY_INDEX: &str = "DELETE FROM gorgone_history WHERE id IN \
                            (SELECT id FROM gorgone_history WHERE instant = 1 AND +ctime < ?1 AND id <= \
                            (SELECT id FROM gorgone_history WHERE ctime < ?1 ORDER BY ctime DESC LIMIT 1) LIMIT ?2) \
                            AND id <> (SELECT max(id) FROM gorgone_history)";

/// Deletes what is too old, a few at a time, then gives pages back. `is_ordered`: see [`super::time_order`].
pub(super) fn step(transaction: &Transaction<'_>, is_ordered: bool, before: Before) -> Result<Step> {
    let (old_rows, instant_rows) = match is_ordered {
        true => (OLD_ROWS, INSTANT_ROWS),
        false => (OLD_ROWS_BY_INDEX, INSTANT_ROWS_BY_INDEX),
    };
    let deadline = Instant::now() + STEP_MAX;
    let mut step = Step::default();
    for (sql, before) in [(SESSIONS, before.used), (old_rows, before.rows), (instant_rows, before.instant)] {
        let mut delete = transaction.prepare_cached(sql)?;
        loop {
            if Instant::now() >= deadline {
                return Ok(Step { is_left: true, ..step });
            }
            let deleted = delete.execute(params![before, ROWS])?;
            step.purged += deleted;
            // Fewer than asked for: the newest row may be among them, which stays.
            if deleted < usize::try_from(ROWS).unwrap_or(usize::MAX) {
                break;
            }
        }
    }
    give_back(transaction, deadline, &mut step)?;
    Ok(step)
}

fn give_back(transaction: &Transaction<'_>, deadline: Instant, step: &mut Step) -> Result<()> {
    if number(transaction, "auto_vacuum")? != INCREMENTAL {
        return Ok(());
    }
    while number(transaction, "freelist_count")? > FREE_PAGES_KEPT {
        if Instant::now() >= deadline {
            step.is_left = true;
            return Ok(());
        }
        step.is_shorter = true;
        // Each row that is read from it frees one page.
        let mut statement = transaction.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// A pragma that answers with a number.
pub(super) fn number(connection: &Connection, pragma: &str) -> Result<i64> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
}

#[cfg(test)]
mod tests;
