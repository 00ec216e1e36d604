//! Reads the state that a start continues from.

use std::collections::BTreeSet;

use super::pieces;
use super::queue;
use super::session::{Session, Trouble};
use super::text::{Columns, quoted};
use crate::model::code::Code;
use crate::model::history::{HistoryName, Origins, SyncMark};
use crate::model::legacy::{FileMark, LegacyStored, StoredOrder};
use crate::model::node_id::NodeId;
use crate::model::random::from_hex;
use crate::model::session::{StoredSession, is_thumbprint};
use crate::model::stored::{Restored, Stored};
use crate::model::token::Token;

/// Maximum number of rows of each kind that are read.
const ROWS_MAX: usize = 100_000;
/// Maximum number of tokens of each kind.
const TOKENS_MAX: usize = 200_000;
/// Number of rows among which ended copies are looked for, the newest ones.
const RECENT_ROWS: usize = 2_000;

pub(super) fn load(session: &mut Session) -> Result<Stored, Trouble> {
    let open_tokens = open_tokens(session)?;
    let restored = Restored {
        marks: collect(
            session,
            "SELECT id, ctime, last_id, stheno_history, stheno_newest FROM gorgone_synchistory",
            mark,
        )?,
        origins: Origins {
            own: collect(session, "SELECT history FROM stheno_store WHERE id = 1", |mut row| row.number())?
                .pop()
                .unwrap_or(0),
            marks: collect(session, "SELECT node, history, last_id FROM stheno_origin_marks", origin_mark)?,
        },
        taken_tokens: hashes(session, "stheno_taken_tokens ORDER BY taken")?,
        not_begun: not_begun(session, &open_tokens)?,
        open_tokens,
        late_tokens: hashes(session, "stheno_late_tokens ORDER BY at")?,
        ended_copies: ended_copies(session)?,
        legacy: legacy(session)?,
        queue: queue::load(session)?,
        newest_ctime: 0.0,
    };
    let mut sessions = collect(
        session,
        "SELECT identity, ctime, mtime, `key`, iv, oldkey, oldiv, stheno_thumbprint FROM gorgone_identity \
         ORDER BY mtime DESC",
        stored_session,
    )?;
    sessions.reverse();
    let pair = |mut row: Columns| row.text().zip(row.text());
    Ok(Stored {
        sessions,
        fingerprints: collect(session, "SELECT target, fingerprint FROM gorgone_target_fingerprint", pair)?,
        host_keys: collect(session, "SELECT host, line FROM stheno_ssh_host_keys", pair)?,
        restored,
        warnings: Vec::new(),
    })
}

/// Reads the rows of a query, at most [`ROWS_MAX`]; those that make no sense are left out.
fn collect<T>(session: &mut Session, sql: &str, read: impl Fn(Columns) -> Option<T>) -> Result<Vec<T>, Trouble> {
    let mut found = Vec::new();
    session.each(&format!("{sql} LIMIT {ROWS_MAX}"), |row| {
        found.extend(read(Columns::of(row)));
        true
    })?;
    Ok(found)
}

fn mark(mut row: Columns) -> Option<(NodeId, SyncMark)> {
    let node = row.node()?;
    let ctime = row.real()?;
    let (last_id, history) = (row.number()?, row.number()?);
    Some((node, SyncMark { ctime, last_id, history, newest: row.real()?.max(ctime) }))
}

fn origin_mark(mut row: Columns) -> Option<(HistoryName, i64)> {
    let name = HistoryName { node: row.node()?, number: row.number()? };
    Some((name, row.number()?))
}

fn open_tokens(session: &mut Session) -> Result<Vec<(Token, Option<NodeId>)>, Trouble> {
    collect(session, "SELECT token, node FROM stheno_open_tokens", |mut row| {
        Some((Token::parse(&row.text()?).ok()?, row.node()))
    })
}

fn hashes(session: &mut Session, from: &str) -> Result<Vec<i64>, Trouble> {
    let mut found = Vec::new();
    session.each(&format!("SELECT hash FROM {from} DESC LIMIT {TOKENS_MAX}"), |row| {
        found.extend(Columns::of(row).number());
        true
    })?;
    found.reverse();
    Ok(found)
}

/// Returns those of the open tokens that were taken from the queue of another daemon and whose work was not begun.
fn not_begun(session: &mut Session, open: &[(Token, Option<NodeId>)]) -> Result<Vec<Token>, Trouble> {
    let sql = "SELECT hash FROM stheno_taken_tokens WHERE begins_with_row = 1";
    let taken: BTreeSet<i64> = collect(session, sql, |mut row| row.number())?.into_iter().collect();
    let mut found = Vec::new();
    for (token, _) in open.iter().filter(|(token, node)| node.is_none() && taken.contains(&token.digest())) {
        let sql = format!("SELECT 1 FROM gorgone_history WHERE token = {} LIMIT 1", quoted(token.as_str()));
        if session.rows(&sql)?.is_empty() {
            found.push(token.clone());
        }
    }
    Ok(found)
}

/// Reads which copies ended here, among the newest rows.
fn ended_copies(session: &mut Session) -> Result<Vec<(Token, Code)>, Trouble> {
    let sql = format!(
        "SELECT token, code FROM gorgone_history \
         WHERE id > (SELECT last_row FROM stheno_store WHERE id = 1) - {RECENT_ROWS} \
         AND code IN (1, 2) AND stheno_node IS NULL AND data LIKE '%\"process copy f%' ORDER BY id"
    );
    collect(session, &sql, |mut row| Some((Token::parse(&row.text()?).ok()?, Code(row.number()?))))
}

fn stored_session(mut row: Columns) -> Option<StoredSession> {
    let routing_id = from_hex(&row.text()?)?;
    let (created, used) = (row.number()?, row.number()?);
    let mut bytes = || row.text().and_then(|text| from_hex(&text));
    let (key, iv) = (bytes()?, bytes()?);
    let (old_key, old_iv) = (bytes(), bytes());
    let thumbprint = row.text().filter(|text| is_thumbprint(text));
    Some(StoredSession { routing_id, created, used, key, iv, old_key, old_iv, thumbprint })
}

fn legacy(session: &mut Session) -> Result<LegacyStored, Trouble> {
    let sql = "SELECT sequence, token, target, action, name, data FROM stheno_orders ORDER BY sequence";
    let mut orders = collect(session, sql, |mut row| {
        let (sequence, token) = (row.number()?, Token::parse(&row.text()?).ok()?);
        let mut text = || row.text();
        let (target, action, name) = (text()?, text()?, text()?);
        Some((StoredOrder { sequence, token, target, action, name, data: String::new() }, text()))
    })?;
    for (order, data) in &mut orders {
        order.data = match data.take() {
            Some(data) => data,
            None => pieces::read(session, &format!("o{}", order.sequence))?,
        };
    }
    let sql = "SELECT path, identity, position FROM stheno_order_file";
    let mark = collect(session, sql, |mut row| {
        let (path, identity) = row.text().zip(row.text())?;
        Some(FileMark { path, identity, offset: u64::try_from(row.number()?).ok()? })
    })?;
    let mark = mark.into_iter().next();
    Ok(LegacyStored { orders: orders.into_iter().map(|(order, _)| order).collect(), mark })
}
