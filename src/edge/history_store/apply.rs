//! Applies all changes of a turn of the loop in one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Transaction, TransactionBehavior, params};

use super::{
    HistoryStore, LAST_PATIENCE, StoreError, StoreErrorKind, WRITE_PATIENCE, column, legacy, marks, purge, queue,
    taken, time_order,
};
use crate::model::history::{HistoryRow, StoreChange};
use crate::model::node_id::NodeId;
use crate::model::random::to_hex;
use crate::model::session::StoredSession;
use crate::model::time::WallTime;

/// If the clock was set back by more than this, the new time is used.
const MAX_LEAD: i64 = 86_400 * CommitClock::TICKS_PER_SECOND;

/// The result of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Number of rows inserted.
    pub inserted: usize,
    /// Number of rows and sessions purged.
    pub purged: usize,
    /// Whether there is more to purge.
    pub purge_left: bool,
    /// Whether a purge released pages, so that the next checkpoint shrinks the file.
    pub is_shorter: bool,
    /// Number of rows deleted because the history had reached its maximum size.
    pub dropped: usize,
    /// Indexes of requests that were not added to the queue because one with the same token is in it, in order.
    pub left_out: Vec<usize>,
}

/// Generates strictly increasing `ctime`s, even when the wall clock is set back, because peers request the rows that
/// are newer than their newest one.
///
/// It counts in steps of 10 µs: the original prints numbers with 15 digits, and a time that it rounds up would hide
/// rows.
#[derive(Clone, Copy, Debug)]
pub struct CommitClock(i64);

impl CommitClock {
    const TICKS_PER_SECOND: i64 = 100_000;

    /// A clock that continues after a time in its steps.
    #[must_use]
    pub const fn at_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// The newest time in its steps.
    #[must_use]
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// Returns the `ctime` of the next row.
    pub fn next(&mut self, wall: WallTime) -> f64 {
        let now = wall.as_micros().div_euclid(10);
        let behind = self.0 >= now && self.0.saturating_sub(now) < MAX_LEAD;
        self.0 = if behind { self.0.saturating_add(1) } else { now };
        self.seconds()
    }

    /// The newest `ctime` in seconds since the epoch.
    #[expect(clippy::cast_precision_loss, reason = "such counts fit 53 bits until the year 4800")]
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / Self::TICKS_PER_SECOND as f64
    }
}

/// Reads the greatest row id and the newest `ctime` of the file.
pub(super) fn resume(connection: &Connection, is_ordered: bool) -> Result<(i64, CommitClock)> {
    let last_row_id = connection
        .query_row("SELECT max(id) FROM gorgone_history", [], |row| Ok(column::integer(row, 0).unwrap_or(0)))?;
    let sql = match is_ordered {
        true => "SELECT max(ctime) FROM (SELECT ctime FROM gorgone_history ORDER BY id DESC LIMIT 1)",
        // The condition excludes text, which SQLite sorts after every number.
        false => "SELECT max(ctime) FROM gorgone_history WHERE ctime < 1e12",
    };
    let newest = connection.query_row(sql, [], |row| Ok(column::real(row, 0).unwrap_or(0.0)))?;
    Ok((last_row_id, CommitClock((newest * CommitClock::TICKS_PER_SECOND as f64).ceil() as i64)))
}

impl HistoryStore {
    /// Applies the changes in order in one transaction. When it returns, they are in the database and, with
    /// `synchronous_full`, on the disk. Inserted rows get their `id` and `ctime` here; the latter is taken from `wall`
    /// but always later than in every earlier commit.
    ///
    /// # Errors
    /// None of the changes was applied. The store stays usable, and the next call may succeed. A lock of another
    /// process is waited for briefly, and only by the first of several calls that meet it.
    pub fn apply(&mut self, changes: &[StoreChange], wall: WallTime) -> std::result::Result<Applied, StoreError> {
        if changes.is_empty() {
            return Ok(Applied::default());
        }
        let max_pages = self.max_bytes.map(|bytes| i64::try_from(bytes / self.page_size.max(1)).unwrap_or(i64::MAX));
        let mut order = Order { clock: self.clock, is_kept: self.is_ordered };
        match run(&mut self.connection, changes, wall, &mut order, max_pages) {
            Ok((applied, last_row_id)) => {
                self.last_row_id = last_row_id.unwrap_or(self.last_row_id);
                self.clock = order.clock;
                self.is_ordered = order.is_kept;
                self.be_patient(WRITE_PATIENCE);
                Ok(applied)
            }
            Err(error) => {
                let error = StoreError::from_sqlite(&self.path, &error);
                if error.kind == StoreErrorKind::Busy {
                    self.be_patient(Duration::ZERO);
                }
                Err(error)
            }
        }
    }
}

impl HistoryStore {
    /// Lets the last commit of a daemon wait longer for a lock of another process.
    pub fn be_patient_at_last(&mut self) {
        self.be_patient(LAST_PATIENCE);
    }

    fn be_patient(&mut self, patience: Duration) {
        if std::mem::replace(&mut self.patience, patience) != patience {
            // This fails only for an invalid duration.
            let _ = self.connection.busy_timeout(patience);
        }
    }
}

/// Assigns the times of rows, and tracks whether ids increase with them.
struct Order {
    clock: CommitClock,
    is_kept: bool,
}

impl Order {
    /// Returns the `ctime` of the next row.
    fn next(&mut self, wall: WallTime, transaction: &Transaction<'_>) -> Result<f64> {
        let before = self.clock.0;
        let ctime = self.clock.next(wall);
        if self.is_kept && self.clock.0 <= before {
            time_order::bring_index(transaction)?;
            self.is_kept = false;
        }
        Ok(ctime)
    }
}

/// Dropping the transaction after an error rolls it back.
fn run(
    connection: &mut Connection,
    changes: &[StoreChange],
    wall: WallTime,
    order: &mut Order,
    max_pages: Option<i64>,
) -> Result<(Applied, Option<i64>)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut applied = Applied::default();
    let mut last_row_id = None;
    let mut insert = None;
    let (passing, said) = (passing_tokens(changes), marks::said(changes));
    for (index, change) in changes.iter().enumerate() {
        match change {
            StoreChange::InsertRow(row) => {
                let statement = match &mut insert {
                    Some(statement) => statement,
                    None => insert.insert(transaction.prepare_cached(INSERT_ROW)?),
                };
                // Every row gets its own `ctime`, so that a peer that continues by `ctime` can stop after any row.
                insert_row(statement, row, order.next(wall, &transaction)?)?;
                last_row_id = Some(transaction.last_insert_rowid());
                applied.inserted += 1;
            }
            StoreChange::PutSession(session) => put_session(&transaction, session)?,
            StoreChange::DeleteSession(routing_id) => {
                let sql = "DELETE FROM gorgone_identity WHERE identity = ?1";
                transaction.prepare_cached(sql)?.execute([to_hex(routing_id)])?;
            }
            StoreChange::PutFingerprint { target, thumbprint } => put_fingerprint(&transaction, target, thumbprint)?,
            StoreChange::DeleteFingerprint(target) => {
                let sql = "DELETE FROM gorgone_target_fingerprint WHERE target = ?1";
                transaction.prepare_cached(sql)?.execute([target])?;
            }
            StoreChange::DeleteHostKey(host) => {
                let sql = "DELETE FROM stheno_ssh_host_keys WHERE host = ?1";
                transaction.prepare_cached(sql)?.execute([host])?;
            }
            StoreChange::PutHostKey { host, line } => {
                let sql = "INSERT OR REPLACE INTO stheno_ssh_host_keys (host, line) VALUES (?1, ?2)";
                transaction.prepare_cached(sql)?.execute([host, line])?;
            }
            StoreChange::PutSyncMark(node, mark) => marks::put(&transaction, *node, *mark)?,
            StoreChange::PutOriginMark(origin) => marks::put_origin(&transaction, *origin, &said)?,
            StoreChange::DeleteSyncMark(node) => marks::delete(&transaction, *node)?,
            StoreChange::OpenToken { token, .. } if passing.contains(token.as_str()) => {}
            StoreChange::OpenToken { token, node } => {
                let sql = "INSERT OR REPLACE INTO stheno_open_tokens (token, node) VALUES (?1, ?2)";
                transaction.prepare_cached(sql)?.execute(params![token.as_str(), node.map(sql_id)])?;
            }
            StoreChange::CloseToken(token) => {
                let sql = "DELETE FROM stheno_open_tokens WHERE token = ?1";
                transaction.prepare_cached(sql)?.execute([token.as_str()])?;
            }
            StoreChange::TakeToken(taken) => taken::take(&transaction, taken)?,
            StoreChange::GiveBackToken(hash) => taken::give_back(&transaction, *hash)?,
            StoreChange::PutLate { hash, at } => taken::put_late(&transaction, *hash, *at)?,
            StoreChange::Queue(change) => {
                if !queue::apply(&transaction, change)? {
                    applied.left_out.push(index);
                }
            }
            StoreChange::Legacy(change) => legacy::apply(&transaction, change)?,
            StoreChange::Purge { used_before, rows_before, instant_before } => {
                let before = purge::Before { used: *used_before, rows: *rows_before, instant: *instant_before };
                taken::purge(&transaction, wall.as_seconds(), *rows_before)?;
                let done = purge::step(&transaction, order.is_kept, before)?;
                if order.is_kept && !done.is_left {
                    time_order::note_order(&transaction)?;
                }
                applied.purged += done.purged;
                applied.purge_left |= done.is_left;
                applied.is_shorter |= done.is_shorter;
            }
        }
    }
    drop(insert);
    if let Some(max_pages) = max_pages {
        applied.dropped = purge::keep_below(&transaction, max_pages)?;
    }
    transaction.commit()?;
    Ok((applied, last_row_id))
}

/// Tokens that are opened and closed by the same changes, so that they need not be stored.
#[must_use]
pub fn passing_tokens(changes: &[StoreChange]) -> BTreeSet<&str> {
    let opened: BTreeSet<&str> = changes
        .iter()
        .filter_map(|change| match change {
            StoreChange::OpenToken { token, .. } => Some(token.as_str()),
            _ => None,
        })
        .collect();
    if opened.is_empty() {
        return opened;
    }
    let mut passing = BTreeSet::new();
    for change in changes {
        match change {
            StoreChange::OpenToken { token, .. } => _ = passing.remove(token.as_str()),
            StoreChange::CloseToken(token) if opened.contains(token.as_str()) => _ = passing.insert(token.as_str()),
            _ => {}
        }
    }
    passing
}

const INSERT_ROW: &str = "INSERT INTO gorgone_history (token, code, etime, ctime, instant, data, stheno_node, \
    stheno_history, stheno_row) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

fn insert_row(statement: &mut rusqlite::CachedStatement<'_>, row: &HistoryRow, ctime: f64) -> Result<()> {
    statement.raw_bind_parameter(1, row.token.as_deref())?;
    statement.raw_bind_parameter(2, row.code.0)?;
    statement.raw_bind_parameter(3, row.etime)?;
    statement.raw_bind_parameter(4, ctime)?;
    statement.raw_bind_parameter(5, row.instant)?;
    statement.raw_bind_parameter(6, row.data.as_str())?;
    statement.raw_bind_parameter(7, row.origin.map(|origin| sql_id(origin.history.node)))?;
    statement.raw_bind_parameter(8, row.origin.map(|origin| origin.history.number))?;
    statement.raw_bind_parameter(9, row.origin.map(|origin| origin.id))?;
    statement.raw_execute().map(|_| ())
}

/// Converts an id to a number, or to a blob of its digits if it exceeds SQLite's integers; text would be converted to a
/// float in these columns.
pub(super) fn sql_id(node: NodeId) -> Value {
    i64::try_from(node.get()).map_or_else(|_| Value::Blob(node.to_string().into_bytes()), Value::Integer)
}

/// Replaces all rows of a session. The table has no unique index, and the original may have left several rows with the
/// same routing id.
fn put_session(transaction: &Transaction<'_>, session: &StoredSession) -> Result<()> {
    let identity = to_hex(&session.routing_id);
    let (key, iv) = (to_hex(&session.key), to_hex(&session.iv));
    let (old_key, old_iv) = (session.old_key.as_deref().map(to_hex), session.old_iv.as_deref().map(to_hex));
    let values = params![identity, session.created, session.used, key, iv, old_key, old_iv, session.thumbprint];
    let update = "UPDATE gorgone_identity SET ctime = ?2, mtime = ?3, `key` = ?4, iv = ?5, oldkey = ?6, \
                  oldiv = ?7, stheno_thumbprint = ?8 WHERE identity = ?1";
    if transaction.prepare_cached(update)?.execute(values)? == 0 {
        let insert = "INSERT INTO gorgone_identity (identity, ctime, mtime, `key`, iv, oldkey, oldiv, \
                      stheno_thumbprint) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        transaction.prepare_cached(insert)?.execute(values)?;
    }
    Ok(())
}

fn put_fingerprint(transaction: &Transaction<'_>, target: &str, thumbprint: &str) -> Result<()> {
    let update = "UPDATE gorgone_target_fingerprint SET fingerprint = ?2 WHERE target = ?1";
    if transaction.prepare_cached(update)?.execute([target, thumbprint])? == 0 {
        let insert = "INSERT INTO gorgone_target_fingerprint (target, fingerprint) VALUES (?1, ?2)";
        transaction.prepare_cached(insert)?.execute([target, thumbprint])?;
    }
    Ok(())
}
