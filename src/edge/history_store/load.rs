//! Reads the state that a start continues from.

use std::collections::BTreeMap;

use rusqlite::{Connection, Result, Row};

use super::marks::add_said;
use super::{column, legacy, queue, taken};
use crate::model::code::Code;
use crate::model::history::{HistoryName, Origins, SyncMark};
use crate::model::node_id::NodeId;
use crate::model::random::from_hex;
use crate::model::session::{StoredSession, is_thumbprint};
use crate::model::stored::{Restored, Stored};
use crate::model::token::Token;

/// Maximum number of sessions that are read, the most recently used ones.
const MAX_SESSIONS: usize = 100_000;
/// Maximum number of marks and of fingerprints that are read.
const MAX_ROWS: usize = 100_000;
/// Number of rows among which ended copies are looked for, the newest ones.
const RECENT_ROWS: usize = 2_000;
/// The data of the last row of a copy: "process copy finished successfully", "process copy failed".
const COPY_END: &str = "%\"process copy f%";
/// Maximum number of warnings as text; further ones are only counted.
const MAX_WARNINGS: usize = 10;

/// A bounded list of warnings.
#[derive(Default)]
struct Warnings {
    lines: Vec<String>,
    more: usize,
}

impl Warnings {
    fn push(&mut self, line: String) {
        if self.lines.len() < MAX_WARNINGS { self.lines.push(line) } else { self.more += 1 }
    }
}

pub(super) fn load(connection: &Connection, number: i64) -> Result<Stored> {
    let mut warnings = Warnings::default();
    let open_tokens = open_tokens(connection)?;
    let marks = marks(connection, &mut warnings)?;
    let mut origins = Origins { own: number, marks: origin_marks(connection)? };
    add_said(&mut origins, &marks);
    let restored = Restored {
        marks,
        origins,
        taken_tokens: taken::taken(connection)?,
        not_begun: taken::not_begun(connection, &open_tokens)?,
        open_tokens,
        late_tokens: taken::late(connection)?,
        ended_copies: ended_copies(connection)?,
        legacy: legacy::load(connection)?,
        queue: queue::load(connection)?,
        newest_ctime: 0.0,
    };
    let mut stored = Stored {
        sessions: sessions(connection, &mut warnings)?,
        fingerprints: fingerprints(connection)?,
        host_keys: host_keys(connection)?,
        restored,
        warnings: Vec::new(),
    };
    stored.warnings = warnings.lines;
    if warnings.more > 0 {
        stored.warnings.push(format!("{} more invalid rows were skipped", warnings.more));
    }
    Ok(stored)
}

fn origin_marks(connection: &Connection) -> Result<Vec<(HistoryName, i64)>> {
    let sql = format!("SELECT node, history, last_id FROM stheno_origin_marks LIMIT {MAX_ROWS}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut marks = Vec::new();
    while let Some(row) = rows.next()? {
        marks.extend(column::history_name(row, 0).zip(column::integer(row, 2)));
    }
    Ok(marks)
}

/// Reads which copies ended here, among the newest rows: their senders may ask for them again.
fn ended_copies(connection: &Connection) -> Result<Vec<(Token, Code)>> {
    let sql = format!(
        "SELECT token, code FROM gorgone_history \
         WHERE id > (SELECT coalesce(max(id), 0) FROM gorgone_history) - {RECENT_ROWS} AND code IN (1, 2) \
         AND stheno_node IS NULL AND data LIKE '{COPY_END}' ORDER BY id"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut ended = Vec::new();
    while let Some(row) = rows.next()? {
        let token = column::text(row, 0).and_then(|token| Token::parse(&token).ok());
        ended.extend(token.zip(column::integer(row, 1).map(Code)));
    }
    Ok(ended)
}

fn open_tokens(connection: &Connection) -> Result<Vec<(Token, Option<NodeId>)>> {
    let sql = format!("SELECT token, node FROM stheno_open_tokens LIMIT {MAX_ROWS}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        let node = column::node(row, 1);
        open.extend(column::text(row, 0).and_then(|token| Token::parse(&token).ok()).map(|token| (token, node)));
    }
    Ok(open)
}

/// Reads the sessions. The newest row of each routing id counts, as in the original.
fn sessions(connection: &Connection, warnings: &mut Warnings) -> Result<Vec<StoredSession>> {
    let sql = format!(
        "SELECT identity, ctime, mtime, `key`, iv, oldkey, oldiv, stheno_thumbprint \
         FROM gorgone_identity \
         WHERE id IN (SELECT max(id) FROM gorgone_identity GROUP BY identity) \
         ORDER BY coalesce(mtime, ctime, 0) DESC, id DESC LIMIT {MAX_SESSIONS}"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        match session(row) {
            Ok(session) => sessions.push(session),
            Err(reason) => warnings.push(format!("gorgone_identity: a session was skipped: {reason}")),
        }
    }
    sessions.reverse();
    Ok(sessions)
}

/// Reads one session. The error never contains a key.
fn session(row: &Row<'_>) -> std::result::Result<StoredSession, &'static str> {
    let bytes = |index| column::text(row, index).filter(|text| !text.is_empty()).map(|text| from_hex(&text));
    let required = |index, reason| bytes(index).flatten().ok_or(reason);
    let routing_id = required(0, "its identity is not hexadecimal")?;
    let key = required(3, "its key is not hexadecimal")?;
    let iv = required(4, "its iv is missing or not hexadecimal")?;
    if !is_key(&key) || !is_iv(&iv) || routing_id.len() > 255 {
        return Err("its identity, key or iv has an invalid length");
    }
    let created = column::integer(row, 1).unwrap_or(0);
    let old_key = bytes(5).flatten().filter(|key| is_key(key));
    // A row after the original's first rotation may lack the old vector; then the vector has not changed.
    let old_iv = old_key.as_ref().and(bytes(6).flatten().filter(|iv| is_iv(iv)).or_else(|| Some(iv.clone())));
    Ok(StoredSession {
        routing_id,
        created,
        used: column::integer(row, 2).unwrap_or(created),
        key,
        iv,
        old_key,
        old_iv,
        thumbprint: column::text(row, 7).filter(|text| is_thumbprint(text)),
    })
}

fn is_key(bytes: &[u8]) -> bool {
    matches!(bytes.len(), 16 | 24 | 32)
}

fn is_iv(bytes: &[u8]) -> bool {
    bytes.len() == 16
}

/// Reads the marks. An old file may contain a node twice; the smaller mark counts, because a row received twice is
/// detected, but a lost one is not.
fn marks(connection: &Connection, warnings: &mut Warnings) -> Result<Vec<(NodeId, SyncMark)>> {
    let columns = "id, ctime, last_id, stheno_history, stheno_newest";
    let sql = format!("SELECT {columns} FROM gorgone_synchistory LIMIT {MAX_ROWS}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut marks = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let text = column::text(row, 0).unwrap_or_default();
        let Ok(node) = text.parse::<NodeId>() else {
            warnings.push(format!("gorgone_synchistory: '{:.40}' is not a node id", text.escape_debug().to_string()));
            continue;
        };
        let ctime = column::real(row, 1).unwrap_or(0.0);
        let mark = SyncMark {
            ctime,
            newest: column::real(row, 4).unwrap_or(0.0).max(ctime),
            last_id: column::integer(row, 2).unwrap_or(0),
            history: column::integer(row, 3).unwrap_or(0),
        };
        let kept = marks.entry(node).or_insert(mark);
        if mark.ctime < kept.ctime {
            *kept = mark;
        }
    }
    Ok(marks.into_iter().collect())
}

fn host_keys(connection: &Connection) -> Result<Vec<(String, String)>> {
    let sql = format!("SELECT host, line FROM stheno_ssh_host_keys LIMIT {MAX_ROWS}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(column::text(row, 0).zip(column::text(row, 1)));
    }
    Ok(found)
}

/// Reads the fingerprints. The first row of a target counts, as in the original.
fn fingerprints(connection: &Connection) -> Result<Vec<(String, String)>> {
    let sql = format!("SELECT target, fingerprint FROM gorgone_target_fingerprint ORDER BY id DESC LIMIT {MAX_ROWS}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if let (Some(target), Some(thumbprint)) = (column::text(row, 0), column::text(row, 1)) {
            found.insert(target, thumbprint);
        }
    }
    Ok(found.into_iter().collect())
}
