//! Questions to the requests that wait for their nodes.

use super::pieces;
use super::session::{Session, Trouble};
use super::text::{Columns, quoted};
use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::history::is_last_row;
use crate::model::queue::{Known, QueueAnswer, QueueQuery, QueueStored, QueueSummary, QueuedHead, QueuedRequest};
use crate::model::token::Token;

/// Maximum number of requests that one question for expired or begun ones returns.
const DUE_MAX: usize = 1_000;
/// Maximum number of rows of a token that are searched for its end.
const TOKEN_ROWS_MAX: usize = 10_000;
/// Number of requests with their data that are read at once.
const PAGE_ROWS: usize = 256;
const HEAD: &str = "sequence, token, target, action, created, expires, not_before, sent, len";

/// Reads what a start takes over.
pub(super) fn load(session: &mut Session) -> Result<QueueStored, Trouble> {
    let mut stored = QueueStored::default();
    let sql = "SELECT target, SUM(not_before = 0), SUM(not_before <> 0), SUM(len), MIN(created), MAX(sequence) \
               FROM stheno_outbox GROUP BY target";
    session.each(sql, |row| {
        let mut row = Columns::of(row);
        let target = row.node();
        let mut number = || row.number().unwrap_or(0);
        let (ready, scheduled, bytes, oldest, last) = (number(), number(), number(), number(), number());
        let count = |number: i64| usize::try_from(number).unwrap_or(0);
        stored.last = stored.last.max(last);
        stored.nodes.extend(target.map(|target| QueueSummary {
            target,
            ready: count(ready),
            scheduled: count(scheduled),
            bytes: u64::try_from(bytes).unwrap_or(0),
            oldest,
        }));
        true
    })?;
    stored.sent = heads(session, "sent <> 0", usize::MAX >> 1)?;
    let clock = session.rows("SELECT queue_clock FROM stheno_store WHERE id = 1")?.pop();
    stored.clock = clock.and_then(|row| Columns::of(row).number()).unwrap_or(0);
    Ok(stored)
}

pub(super) fn answer(session: &mut Session, query: &QueueQuery) -> Result<QueueAnswer, Trouble> {
    match query {
        QueueQuery::Page { target, after, limit, bytes } => {
            let condition = format!("target = {target} AND not_before = 0");
            page(session, &condition, *after, *limit, *bytes).map(QueueAnswer::Page)
        }
        QueueQuery::Due { now, wall } => due(session, *now, *wall),
        QueueQuery::List { target, after, limit } => {
            let of = target.map_or_else(String::new, |target| format!("target = {target} AND "));
            let mut found = heads(session, &format!("{of}sequence > {after} ORDER BY sequence"), limit + 1)?;
            let more = found.len() > *limit;
            found.truncate(*limit);
            Ok(QueueAnswer::List(found, more))
        }
        QueueQuery::Find(token) => find(session, token).map(QueueAnswer::Found),
    }
}

fn page(
    session: &mut Session,
    condition: &str,
    mut after: i64,
    limit: usize,
    bytes: usize,
) -> Result<Vec<QueuedRequest>, Trouble> {
    let (mut found, mut size) = (Vec::new(), 0_usize);
    loop {
        let wanted = PAGE_ROWS.min(limit.saturating_sub(found.len()));
        let sql = format!(
            "SELECT {HEAD}, stheno_pieces, data FROM stheno_outbox WHERE {condition} AND sequence > {after} \
             ORDER BY sequence LIMIT {wanted}"
        );
        let (mut rows, mut seen) = (Vec::new(), 0);
        session.each(&sql, |row| {
            let mut row = Columns::of(row);
            let head = head(&mut row);
            let (pieces, data) = (row.number().unwrap_or(0), row.text().unwrap_or_default());
            seen += 1;
            size = size.saturating_add(head.as_ref().map_or(0, |head| usize::try_from(head.len_bytes).unwrap_or(0)));
            rows.extend(head.map(|head| (QueuedRequest { head, data }, pieces)));
            size < bytes
        })?;
        for (mut request, pieces) in rows {
            after = request.head.sequence;
            if pieces > 0 {
                request.data = pieces::read(session, &format!("q{}", request.head.token.digest()))?;
            }
            found.push(request);
        }
        if seen < wanted || size >= bytes || found.len() >= limit {
            return Ok(found);
        }
    }
}

fn due(session: &mut Session, now: i64, wall: i64) -> Result<QueueAnswer, Trouble> {
    let expired = heads(session, &format!("expires <= {now}"), DUE_MAX)?;
    let condition = format!("not_before BETWEEN 1 AND {wall} AND expires > {now} ORDER BY not_before, sequence");
    let begun = heads(session, &condition, DUE_MAX)?;
    let mut least = |sql: String| {
        let row = session.rows(&sql)?.pop();
        Ok(row.and_then(|row| Columns::of(row).number()))
    };
    let next_expiry = least(format!("SELECT MIN(expires) FROM stheno_outbox WHERE expires > {now}"))?;
    let next_begin = least(format!("SELECT MIN(not_before) FROM stheno_outbox WHERE not_before > {wall}"))?;
    let is_left = expired.len() >= DUE_MAX || begun.len() >= DUE_MAX;
    let next_expiry = if is_left { Some(now) } else { next_expiry };
    Ok(QueueAnswer::Due { expired, begun, next_expiry, next_begin })
}

fn find(session: &mut Session, token: &Token) -> Result<Known, Trouble> {
    let (hash, text) = (token.digest(), quoted(token.as_str()));
    let queued = heads(session, &format!("hash = {hash} AND token = {text}"), 1)?.pop();
    let asked = session.rows(&format!("SELECT request FROM stheno_asked_tokens WHERE hash = {hash}"))?.pop();
    let asked = asked.and_then(|row| Columns::of(row).number());
    let mut known = Known { queued, asked, ..Known::default() };
    let sql = format!(
        "SELECT code, IF(code IN (1, 2), data, '') FROM gorgone_history WHERE token = {text} LIMIT {TOKEN_ROWS_MAX}"
    );
    session.each(&sql, |row| {
        let mut row = Columns::of(row);
        let code = Code(row.number().unwrap_or(0));
        known.has_rows = true;
        known.has_ended |= code.is_terminal() && is_last_row(code, &row.text().unwrap_or_default());
        !known.has_ended
    })?;
    Ok(known)
}

fn heads(session: &mut Session, condition: &str, limit: usize) -> Result<Vec<QueuedHead>, Trouble> {
    let mut found = Vec::new();
    let sql = format!("SELECT {HEAD} FROM stheno_outbox WHERE {condition} LIMIT {limit}");
    session.each(&sql, |row| {
        found.extend(head(&mut Columns::of(row)));
        true
    })?;
    Ok(found)
}

fn head(row: &mut Columns) -> Option<QueuedHead> {
    let (sequence, token) = (row.number()?, Token::parse(&row.text()?).ok());
    let (target, action) = (row.node(), row.text());
    let mut number = || row.number().unwrap_or(0);
    Some(QueuedHead {
        sequence,
        token: token?,
        target: target?,
        action: Action::parse(&action?),
        created: number(),
        expires: number(),
        not_before: number(),
        sent: number(),
        len_bytes: u64::try_from(number()).unwrap_or(0),
    })
}
