//! Requests that wait for their nodes: changes within a commit, and questions on the connection of a worker thread.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row, Transaction, params, params_from_iter};

use super::{StoreError, column, reader, schema};
use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::history::is_last_row;
use crate::model::node_id::NodeId;
use crate::model::queue::{
    Known, QueueAnswer, QueueChange, QueueQuery, QueueStored, QueueSummary, QueuedHead, QueuedRequest,
};
use crate::model::token::Token;

/// Maximum number of requests that one question for expired or begun ones returns.
const DUE_MAX: usize = 1_000;
/// Maximum number of rows of a token that are searched for its end.
const TOKEN_ROWS_MAX: usize = 10_000;
/// Columns of a [`QueuedHead`], in its order.
const HEAD: &str = "sequence, token, target, action, created, expires, not_before, sent, len";
/// Key of the queue's clock in the table of information.
const CLOCK: &str = "stheno_queue_clock";

/// Returns whether the change was made: a request is left out if one with its token is queued.
pub(super) fn apply(transaction: &Transaction<'_>, change: &QueueChange) -> Result<bool> {
    let run =
        |sql: &str, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(sql)?.execute(values).map(|_| true);
    match change {
        QueueChange::Put(request) => put(transaction, request),
        QueueChange::Delete { target, sequence } => {
            let sql = "DELETE FROM stheno_outbox WHERE target = ?1 AND sequence = ?2";
            run(sql, params![target.to_string(), sequence])
        }
        QueueChange::MarkSent { target, from, to, history } => {
            let sql = "UPDATE stheno_outbox SET sent = ?4 \
                       WHERE target = ?1 AND sequence BETWEEN ?2 AND ?3 AND sent = 0 AND not_before = 0";
            run(sql, params![target.to_string(), from, to, history])
        }
        QueueChange::Release { target, sequence, place } => {
            let sql = "UPDATE stheno_outbox SET sequence = ?3, not_before = 0 WHERE target = ?1 AND sequence = ?2";
            run(sql, params![target.to_string(), sequence, place])
        }
        QueueChange::Postpone { target, sequence, expires } => {
            let sql = "UPDATE stheno_outbox SET expires = ?3 WHERE target = ?1 AND sequence = ?2";
            run(sql, params![target.to_string(), sequence, expires])
        }
        QueueChange::PutAsked { hash, request, at } => {
            let sql = "INSERT OR REPLACE INTO stheno_asked_tokens (hash, request, at) VALUES (?1, ?2, ?3)";
            run(sql, params![hash, request, at])
        }
        QueueChange::PutClock(ahead) => {
            run("DELETE FROM gorgone_information WHERE `key` = ?1", params![CLOCK])?;
            let sql = "INSERT INTO gorgone_information (`key`, `value`) VALUES (?1, ?2)";
            run(sql, params![CLOCK, ahead.to_string()])
        }
    }
}

fn put(transaction: &Transaction<'_>, request: &QueuedRequest) -> Result<bool> {
    let QueuedHead { sequence, token, target, action, created, expires, not_before, sent, len_bytes } = &request.head;
    let sql = "INSERT OR IGNORE INTO stheno_outbox \
               (target, sequence, hash, token, action, created, expires, not_before, sent, len, data) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let values = params![
        target.to_string(),
        sequence,
        token.digest(),
        token.as_str(),
        action.as_str(),
        created,
        expires,
        not_before,
        sent,
        i64::try_from(*len_bytes).unwrap_or(i64::MAX),
        request.data
    ];
    transaction.prepare_cached(sql)?.execute(values).map(|inserted| inserted > 0)
}

/// Reads what a start takes over.
pub(super) fn load(connection: &Connection) -> Result<QueueStored> {
    let mut stored = QueueStored::default();
    let sql = "SELECT target, sum(not_before = 0), sum(not_before <> 0), sum(len), min(created), max(sequence) \
               FROM stheno_outbox GROUP BY target";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = |index| column::integer(row, index).unwrap_or(0);
        let count = |index| usize::try_from(number(index)).unwrap_or(0);
        stored.last = stored.last.max(number(5));
        stored.nodes.extend(column::node(row, 0).map(|target| QueueSummary {
            target,
            ready: count(1),
            scheduled: count(2),
            bytes: u64::try_from(number(3)).unwrap_or(0),
            oldest: number(4),
        }));
    }
    stored.sent = heads(connection, "sent <> 0", vec![], usize::MAX)?;
    let sql = "SELECT `value` FROM gorgone_information WHERE `key` = ?1";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([CLOCK])?;
    stored.clock = rows.next()?.and_then(|row| column::integer(row, 0)).unwrap_or(0);
    Ok(stored)
}

/// Answers a question on the connection that this thread keeps.
#[must_use]
pub fn query_queue(path: &Path, query: &QueueQuery) -> QueueAnswer {
    let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
    let answer = reader::with_kept(path, |connection| answer(connection, query).map_err(sqlite));
    answer.unwrap_or_else(|error| QueueAnswer::Failed(error.to_string()))
}

pub(super) fn answer(connection: &Connection, query: &QueueQuery) -> Result<QueueAnswer> {
    match query {
        QueueQuery::Page { target, after, limit, bytes } => {
            page(connection, *target, *after, *limit, *bytes).map(QueueAnswer::Page)
        }
        QueueQuery::Due { now, wall } => due(connection, *now, *wall),
        QueueQuery::List { target, after, limit } => {
            let after = Value::Integer(*after);
            let mut found = match target {
                Some(target) => {
                    let condition = "target = ? AND sequence > ? ORDER BY sequence";
                    heads(connection, condition, vec![Value::Text(target.to_string()), after], limit + 1)?
                }
                None => heads(connection, "sequence > ? ORDER BY sequence", vec![after], limit + 1)?,
            };
            let more = found.len() > *limit;
            found.truncate(*limit);
            Ok(QueueAnswer::List(found, more))
        }
        QueueQuery::Find(token) => find(connection, token).map(QueueAnswer::Found),
    }
}

fn page(connection: &Connection, target: NodeId, after: i64, limit: usize, bytes: usize) -> Result<Vec<QueuedRequest>> {
    let sql = format!(
        "SELECT {HEAD}, data FROM stheno_outbox WHERE target = ?1 AND sequence > ?2 AND not_before = 0 \
         ORDER BY sequence"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![target.to_string(), after])?;
    let (mut found, mut size) = (Vec::new(), 0_usize);
    while found.len() < limit
        && size < bytes
        && let Some(row) = rows.next()?
    {
        let data = column::text(row, 9).unwrap_or_default();
        size = size.saturating_add(data.len());
        found.extend(head(row).map(|head| QueuedRequest { head, data }));
    }
    Ok(found)
}

fn due(connection: &Connection, now: i64, wall: i64) -> Result<QueueAnswer> {
    let expired = heads(connection, "expires <= ?", vec![Value::Integer(now)], DUE_MAX)?;
    let condition = "not_before BETWEEN 1 AND ? AND expires > ? ORDER BY not_before, sequence";
    let begun = heads(connection, condition, vec![Value::Integer(wall), Value::Integer(now)], DUE_MAX)?;
    let least =
        |sql: &str, value: i64| connection.prepare_cached(sql)?.query_row([value], |row| Ok(column::integer(row, 0)));
    let next_expiry = least("SELECT min(expires) FROM stheno_outbox WHERE expires > ?1", now)?;
    let next_begin = least("SELECT min(not_before) FROM stheno_outbox WHERE not_before > ?1", wall)?;
    let is_left = expired.len() >= DUE_MAX || begun.len() >= DUE_MAX;
    let next_expiry = if is_left { Some(now) } else { next_expiry };
    Ok(QueueAnswer::Due { expired, begun, next_expiry, next_begin })
}

fn find(connection: &Connection, token: &Token) -> Result<Known> {
    let values = vec![Value::Integer(token.digest()), Value::Text(token.to_string())];
    let queued = heads(connection, "hash = ? AND token = ?", values, 1)?.pop();
    let sql = format!("SELECT code, data FROM gorgone_history WHERE {} AND token = ?", schema::TOKEN_ENDS);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![schema::token_ends(token.as_str()), token.as_str()])?;
    let mut asked = connection.prepare_cached("SELECT request FROM stheno_asked_tokens WHERE hash = ?1")?;
    let asked = asked.query([token.digest()])?.next()?.and_then(|row| column::integer(row, 0));
    let mut known = Known { queued, asked, ..Known::default() };
    for _ in 0..TOKEN_ROWS_MAX {
        let Some(row) = rows.next()? else { break };
        let code = Code(column::integer(row, 0).unwrap_or(0));
        known.has_rows = true;
        if code.is_terminal() && is_last_row(code, &column::text(row, 1).unwrap_or_default()) {
            known.has_ended = true;
            break;
        }
    }
    Ok(known)
}

fn heads(connection: &Connection, condition: &str, values: Vec<Value>, limit: usize) -> Result<Vec<QueuedHead>> {
    let sql = format!("SELECT {HEAD} FROM stheno_outbox WHERE {condition}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        found.extend(head(row));
    }
    Ok(found)
}

/// Reads a head; `None` if the row makes no sense.
fn head(row: &Row<'_>) -> Option<QueuedHead> {
    let number = |index| column::integer(row, index).unwrap_or(0);
    Some(QueuedHead {
        sequence: number(0),
        token: Token::parse(&column::text(row, 1)?).ok()?,
        target: column::node(row, 2)?,
        action: Action::parse(&column::text(row, 3)?),
        created: number(4),
        expires: number(5),
        not_before: number(6),
        sent: number(7),
        len_bytes: u64::try_from(number(8)).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WALL, open};
    use super::*;
    use crate::edge::temp_dir::TempDir;
    use crate::model::history::StoreChange;

    #[test]
    fn a_request_with_a_token_that_is_queued_already_is_left_out() {
        let dir = TempDir::new();
        let put = |sequence: i64, token: &str| {
            let head = QueuedHead {
                sequence,
                token: Token::parse(token).unwrap(),
                target: NodeId::new(2).unwrap(),
                action: Action::Command,
                created: 0,
                expires: 9,
                not_before: 0,
                sent: 0,
                len_bytes: 2,
            };
            StoreChange::Queue(QueueChange::Put(QueuedRequest { head, data: "{}".to_owned() }))
        };
        let mut store = open(&dir.join("h.sdb"));
        assert_eq!(store.apply(&[put(1, "a"), put(2, "b"), put(3, "a")], WALL).unwrap().left_out, [2]);
        assert_eq!(store.apply(&[put(4, "b"), put(5, "c")], WALL).unwrap().left_out, [0]);
        assert_eq!(store.load().unwrap().restored.queue.nodes[0].ready, 3);
    }
}
