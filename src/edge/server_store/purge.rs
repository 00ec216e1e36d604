//! Deletes what is too old, some of it at a time.

use super::session::{Session, Trouble};
use super::text::Columns;
use crate::model::queue::TTL_MAX;

/// Number of rows deleted by one statement.
const ROWS: u64 = 2_000;
/// Maximum number of tokens of each kind that are remembered.
const TOKENS_MAX: i64 = 200_000;

/// Times in seconds since the epoch before which sessions were last used, rows and instant rows stored.
#[derive(Clone, Copy)]
pub(super) struct Before {
    pub(super) now: i64,
    pub(super) used: i64,
    pub(super) rows: i64,
    pub(super) instant: i64,
}

/// Deletes some; returns how many rows and sessions, and whether there are more.
pub(super) fn step(session: &mut Session, before: Before) -> Result<(usize, bool), Trouble> {
    let Before { now, used, rows, instant } = before;
    let asked = now.saturating_sub(TTL_MAX).saturating_sub(86_400);
    let large = format!(
        "SELECT id FROM gorgone_history \
         WHERE stheno_pieces > 0 AND (ctime < {rows} OR instant = 1 AND ctime < {instant}) \
         ORDER BY stheno_pieces, id LIMIT 500"
    );
    let large: Vec<i64> = session.rows(&large)?.into_iter().filter_map(|row| Columns::of(row).number()).collect();
    let mut statements = vec![
        format!("DELETE FROM gorgone_identity WHERE mtime < {used} LIMIT {ROWS}"),
        format!("DELETE FROM gorgone_history WHERE ctime < {rows} AND stheno_pieces = 0 ORDER BY ctime LIMIT {ROWS}"),
        format!(
            "DELETE FROM gorgone_history WHERE instant = 1 AND ctime < {instant} AND stheno_pieces = 0 \
             ORDER BY id LIMIT {ROWS}"
        ),
        format!("DELETE FROM stheno_taken_tokens WHERE until < {now}"),
        format!("DELETE FROM stheno_late_tokens WHERE at < {rows}"),
        format!("DELETE FROM stheno_asked_tokens WHERE at < {asked}"),
        "DELETE p FROM stheno_pieces p LEFT JOIN stheno_outbox q ON p.owner = CONCAT('q', q.hash) \
         WHERE p.owner LIKE 'q%' AND q.hash IS NULL"
            .to_owned(),
    ];
    if !large.is_empty() {
        let ids: Vec<String> = large.iter().map(i64::to_string).collect();
        let owners: Vec<String> = large.iter().map(|id| format!("'r{id}'")).collect();
        statements.push(format!("DELETE FROM gorgone_history WHERE id IN ({})", ids.join(",")));
        statements.push(format!("DELETE FROM stheno_pieces WHERE owner IN ({})", owners.join(",")));
    }
    for (table, time) in [("stheno_taken_tokens", "taken"), ("stheno_late_tokens", "at")] {
        let count = session.rows(&format!("SELECT COUNT(*) FROM {table}"))?.pop();
        let surplus = count.and_then(|row| Columns::of(row).number()).unwrap_or(0) - TOKENS_MAX;
        if surplus > 0 {
            statements.push(format!("DELETE FROM {table} ORDER BY {time} LIMIT {surplus}"));
        }
    }
    let deleted = session.run_all(statements.iter().map(String::as_str))?;
    let counted = deleted.iter().take(3).copied();
    let is_left = counted.clone().any(|count| count >= ROWS) || large.len() >= 500;
    Ok((usize::try_from(counted.sum::<u64>()).unwrap_or(usize::MAX) + large.len(), is_left))
}
