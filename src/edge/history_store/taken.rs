//! Tokens that were taken for work here, and those that were ended here although their nodes may end them later.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result, Transaction, params};

use super::{column, schema};
use crate::model::history::TakenToken;
use crate::model::node_id::NodeId;
use crate::model::queue::{RowTells, TTL_MAX};
use crate::model::token::Token;

/// Maximum number of tokens of each kind; beyond it the oldest are deleted occasionally.
const TOKENS_MAX: usize = 200_000;

/// Remembers a token.
pub(super) fn take(transaction: &Transaction<'_>, token: &TakenToken) -> Result<()> {
    let TakenToken { hash, taken, until, begins_with_row } = token;
    let sql =
        "INSERT OR REPLACE INTO stheno_taken_tokens (hash, taken, until, begins_with_row) VALUES (?1, ?2, ?3, ?4)";
    transaction.prepare_cached(sql)?.execute(params![hash, taken, until, begins_with_row])?;
    bound(transaction, "stheno_taken_tokens", "taken", *hash)
}

/// Forgets a token.
pub(super) fn give_back(transaction: &Transaction<'_>, hash: i64) -> Result<()> {
    transaction.prepare_cached("DELETE FROM stheno_taken_tokens WHERE hash = ?1")?.execute([hash]).map(drop)
}

/// Remembers a token whose node may end it later.
pub(super) fn put_late(transaction: &Transaction<'_>, hash: i64, at: i64) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO stheno_late_tokens (hash, at) VALUES (?1, ?2)";
    transaction.prepare_cached(sql)?.execute([hash, at])?;
    bound(transaction, "stheno_late_tokens", "at", hash)
}

/// Deletes the oldest tokens if there are too many. Counting is done for about one token in 1,024, because hashes are
/// evenly distributed.
fn bound(transaction: &Transaction<'_>, table: &str, time: &str, hash: i64) -> Result<()> {
    if hash.rem_euclid(1_024) == 0 {
        let sql = format!(
            "DELETE FROM {table} WHERE hash IN \
             (SELECT hash FROM {table} ORDER BY {time} DESC LIMIT -1 OFFSET {TOKENS_MAX})"
        );
        transaction.execute(&sql, [])?;
    }
    Ok(())
}

/// Deletes what need not be remembered any more. Tokens of earlier versions have no time until which they are kept.
pub(super) fn purge(transaction: &Transaction<'_>, now: i64, rows_before: i64) -> Result<()> {
    let sql = "DELETE FROM stheno_taken_tokens WHERE coalesce(until, taken + 90000) < ?1";
    transaction.prepare_cached(sql)?.execute([now])?;
    transaction.prepare_cached("DELETE FROM stheno_late_tokens WHERE at < ?1")?.execute([rows_before])?;
    let asked_before = now.saturating_sub(TTL_MAX).saturating_sub(86_400);
    transaction.prepare_cached("DELETE FROM stheno_asked_tokens WHERE at < ?1")?.execute([asked_before]).map(drop)
}

/// Reads the tokens that were taken, the oldest first.
pub(super) fn taken(connection: &Connection) -> Result<Vec<i64>> {
    hashes(connection, "stheno_taken_tokens ORDER BY taken")
}

/// Reads the tokens that nodes may end later, the oldest first.
pub(super) fn late(connection: &Connection) -> Result<Vec<i64>> {
    hashes(connection, "stheno_late_tokens ORDER BY at")
}

fn hashes(connection: &Connection, from: &str) -> Result<Vec<i64>> {
    let mut statement = connection.prepare(&format!("SELECT hash FROM {from} DESC LIMIT {TOKENS_MAX}"))?;
    let mut rows = statement.query([])?;
    let mut hashes = Vec::new();
    while let Some(row) = rows.next()? {
        hashes.extend(column::integer(row, 0));
    }
    hashes.reverse();
    Ok(hashes)
}

/// Returns those of the open tokens that were taken from the queue of another daemon and whose work was not begun: they
/// have no row, or their last one gives them back.
pub(super) fn not_begun(connection: &Connection, open: &[(Token, Option<NodeId>)]) -> Result<Vec<Token>> {
    let mut statement = connection.prepare("SELECT hash FROM stheno_taken_tokens WHERE begins_with_row = 1")?;
    let mut rows = statement.query([])?;
    let mut taken = BTreeSet::new();
    while let Some(row) = rows.next()? {
        taken.extend(column::integer(row, 0));
    }
    let sql =
        format!("SELECT data FROM gorgone_history WHERE {} AND token = ? ORDER BY id DESC LIMIT 1", schema::TOKEN_ENDS);
    let mut last_row = connection.prepare(&sql)?;
    let mut found = Vec::new();
    for (token, _) in open.iter().filter(|(token, node)| node.is_none() && taken.contains(&token.digest())) {
        let mut rows = last_row.query(params![schema::token_ends(token.as_str()), token.as_str()])?;
        let data = rows.next()?.map(|row| column::text(row, 0).unwrap_or_default());
        if data.is_none_or(|data| RowTells::by(&data) == RowTells::Back) {
            found.push(token.clone());
        }
    }
    Ok(found)
}
