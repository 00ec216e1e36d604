//! The changes of a turn as statements of many rows: those of one table stand in one lane, in their order, and each
//! joins the statement before it where both are of one kind. No statement looks into the table of another lane.

use super::pieces;
use super::text::{Literal, put_tuple, quoted};
use crate::edge::history_store::passing_tokens;
use crate::model::history::{HistoryRow, RowOrigin, StoreChange, SyncMark};
use crate::model::legacy::{FileMark, LegacyChange, StoredOrder};
use crate::model::node_id::NodeId;
use crate::model::queue::{QueueChange, QueuedHead, QueuedRequest};
use crate::model::random::to_hex;
use crate::model::session::StoredSession;

/// Size in bytes from which a statement gets no more rows, and size of the pieces of larger texts. A server takes at
/// least four times as much in one statement.
pub(super) const STATEMENT_BYTES: usize = 256 << 10;

#[derive(Clone, Copy)]
enum Lane {
    History,
    Pieces,
    Sessions,
    Fingerprints,
    HostKeys,
    Marks,
    OriginMarks,
    OpenTokens,
    TakenTokens,
    LateTokens,
    AskedTokens,
    Orders,
    OrderFile,
    Outbox,
    Store,
}

const LANES: usize = Lane::Store as usize + 1;

struct Statement {
    head: &'static str,
    sql: String,
    tail: &'static str,
}

/// Statements for a transaction.
pub(super) struct Lanes {
    lanes: [Vec<Statement>; LANES],
}

impl Default for Lanes {
    fn default() -> Self {
        Self { lanes: std::array::from_fn(|_| Vec::new()) }
    }
}

impl Lanes {
    /// Adds one row, or one condition of a list, to a statement that begins and ends so.
    fn join(&mut self, lane: Lane, head: &'static str, item: &[Literal<'_>], tail: &'static str) {
        let Some(statements) = self.lanes.get_mut(lane as usize) else { return };
        if let Some(last) = statements.last_mut()
            && std::ptr::eq(last.head, head)
            && last.sql.len() < STATEMENT_BYTES
        {
            last.sql.push(',');
            return put_tuple(&mut last.sql, item);
        }
        let mut sql = head.to_owned();
        put_tuple(&mut sql, item);
        statements.push(Statement { head, sql, tail });
    }

    /// Adds a statement that takes no other rows.
    fn alone(&mut self, lane: Lane, sql: String) {
        if let Some(statements) = self.lanes.get_mut(lane as usize) {
            statements.push(Statement { head: "", sql, tail: "" });
        }
    }

    /// Takes all statements, lane by lane.
    pub(super) fn take(&mut self) -> Vec<String> {
        let lanes = std::mem::take(self).lanes;
        let whole = |Statement { mut sql, tail, .. }: Statement| {
            sql.push_str(tail);
            sql
        };
        lanes.into_iter().flatten().map(whole).collect()
    }

    /// Adds a row of the history.
    pub(super) fn row(&mut self, row: &HistoryRow, id: i64, ctime: f64) {
        const INSERT: &str = "INSERT INTO gorgone_history (id, token, code, etime, ctime, instant, data, stheno_node, \
                              stheno_history, stheno_row, stheno_pieces) VALUES ";
        let pieces = self.pieces(&format!("r{id}"), &row.data);
        let origin = row.origin;
        let item = [
            id.into(),
            row.token.as_deref().into(),
            row.code.0.into(),
            row.etime.into(),
            ctime.into(),
            row.instant.into(),
            if pieces > 0 { "" } else { row.data.as_str() }.into(),
            origin.map(|origin| origin.history.node).into(),
            origin.map(|origin| origin.history.number).into(),
            origin.map(|origin| origin.id).into(),
            pieces.into(),
        ];
        self.join(Lane::History, INSERT, &item, "");
    }

    /// Stores a text that is too large for one statement by pieces; returns their number, 0 for a small text.
    fn pieces(&mut self, owner: &str, text: &str) -> i64 {
        if text.len() <= STATEMENT_BYTES {
            return 0;
        }
        let mut number = 0;
        for piece in pieces::of(text) {
            let item = [owner.into(), number.into(), piece.into()];
            self.join(Lane::Pieces, "REPLACE INTO stheno_pieces (owner, piece, data) VALUES ", &item, "");
            number += 1;
        }
        number
    }

    /// Adds a request to the queue. The caller has made sure that none with its token is there.
    pub(super) fn put_request(&mut self, request: &QueuedRequest) {
        const INSERT: &str = "INSERT INTO stheno_outbox (target, sequence, hash, token, action, created, expires, \
                              not_before, sent, len, data, stheno_pieces) VALUES ";
        let QueuedHead { sequence, token, target, action, created, expires, not_before, sent, len_bytes } =
            &request.head;
        let pieces = self.pieces(&format!("q{}", token.digest()), &request.data);
        let item = [
            (*target).into(),
            (*sequence).into(),
            token.digest().into(),
            token.as_str().into(),
            action.as_str().into(),
            (*created).into(),
            (*expires).into(),
            (*not_before).into(),
            (*sent).into(),
            i64::try_from(*len_bytes).unwrap_or(i64::MAX).into(),
            if pieces > 0 { "" } else { request.data.as_str() }.into(),
            pieces.into(),
        ];
        self.join(Lane::Outbox, INSERT, &item, "");
    }

    /// Notes what the next commit continues from.
    pub(super) fn state(&mut self, last_row: i64, ticks: i64) {
        let sql = format!("UPDATE stheno_store SET last_row = {last_row}, ticks = {ticks} WHERE id = 1");
        self.alone(Lane::Store, sql);
    }

    /// Adds any other change than a row, a request, and a purge.
    pub(super) fn add(&mut self, change: &StoreChange) {
        match change {
            StoreChange::InsertRow(_) | StoreChange::Purge { .. } => {}
            StoreChange::PutSession(session) => self.session(session),
            StoreChange::DeleteSession(routing_id) => {
                let identity = to_hex(routing_id);
                self.delete(Lane::Sessions, "DELETE FROM gorgone_identity WHERE identity IN (", &identity);
            }
            StoreChange::PutFingerprint { target, thumbprint } => {
                let head = "REPLACE INTO gorgone_target_fingerprint (target, fingerprint) VALUES ";
                self.join(Lane::Fingerprints, head, &[target.as_str().into(), thumbprint.as_str().into()], "");
            }
            StoreChange::DeleteFingerprint(target) => {
                self.delete(Lane::Fingerprints, "DELETE FROM gorgone_target_fingerprint WHERE target IN (", target);
            }
            StoreChange::PutHostKey { host, line } => {
                let head = "REPLACE INTO stheno_ssh_host_keys (host, line) VALUES ";
                self.join(Lane::HostKeys, head, &[host.as_str().into(), line.as_str().into()], "");
            }
            StoreChange::DeleteHostKey(host) => {
                self.delete(Lane::HostKeys, "DELETE FROM stheno_ssh_host_keys WHERE host IN (", host);
            }
            StoreChange::PutSyncMark(node, mark) => self.mark(*node, *mark),
            StoreChange::DeleteSyncMark(node) => {
                self.alone(Lane::Marks, format!("DELETE FROM gorgone_synchistory WHERE id = {node}"));
            }
            StoreChange::PutOriginMark(RowOrigin { history, id }) => {
                let head = "REPLACE INTO stheno_origin_marks (node, history, last_id) VALUES ";
                let item = [history.node.into(), history.number.into(), (*id).into()];
                self.join(Lane::OriginMarks, head, &item, "");
            }
            StoreChange::OpenToken { token, node } => {
                let head = "REPLACE INTO stheno_open_tokens (token, node) VALUES ";
                self.join(Lane::OpenTokens, head, &[token.as_str().into(), (*node).into()], "");
            }
            StoreChange::CloseToken(token) => {
                self.delete(Lane::OpenTokens, "DELETE FROM stheno_open_tokens WHERE token IN (", token.as_str());
            }
            StoreChange::TakeToken(taken) => {
                let head = "REPLACE INTO stheno_taken_tokens (hash, taken, until, begins_with_row) VALUES ";
                let item = [taken.hash.into(), taken.taken.into(), taken.until.into(), taken.begins_with_row.into()];
                self.join(Lane::TakenTokens, head, &item, "");
            }
            StoreChange::GiveBackToken(hash) => {
                self.alone(Lane::TakenTokens, format!("DELETE FROM stheno_taken_tokens WHERE hash = {hash}"));
            }
            StoreChange::PutLate { hash, at } => {
                let head = "REPLACE INTO stheno_late_tokens (hash, at) VALUES ";
                self.join(Lane::LateTokens, head, &[(*hash).into(), (*at).into()], "");
            }
            StoreChange::Queue(change) => self.queue(change),
            StoreChange::Legacy(change) => self.legacy(change),
        }
    }

    fn delete(&mut self, lane: Lane, head: &'static str, key: &str) {
        self.join(lane, head, &[key.into()], ")");
    }

    fn session(&mut self, session: &StoredSession) {
        const REPLACE: &str = "REPLACE INTO gorgone_identity (identity, ctime, mtime, `key`, iv, oldkey, oldiv, \
                               stheno_thumbprint) VALUES ";
        let (identity, key, iv) = (to_hex(&session.routing_id), to_hex(&session.key), to_hex(&session.iv));
        let (old_key, old_iv) = (session.old_key.as_deref().map(to_hex), session.old_iv.as_deref().map(to_hex));
        let item = [
            identity.as_str().into(),
            session.created.into(),
            session.used.into(),
            key.as_str().into(),
            iv.as_str().into(),
            old_key.as_deref().into(),
            old_iv.as_deref().into(),
            session.thumbprint.as_deref().into(),
        ];
        self.join(Lane::Sessions, REPLACE, &item, "");
    }

    fn mark(&mut self, node: NodeId, mark: SyncMark) {
        const REPLACE: &str =
            "REPLACE INTO gorgone_synchistory (id, ctime, last_id, stheno_history, stheno_newest) VALUES ";
        let item = [node.into(), mark.ctime.into(), mark.last_id.into(), mark.history.into(), mark.newest.into()];
        self.join(Lane::Marks, REPLACE, &item, "");
    }

    fn queue(&mut self, change: &QueueChange) {
        let sql = match change {
            QueueChange::Put(_) => return,
            QueueChange::Delete { target, sequence } => {
                let head = "DELETE FROM stheno_outbox WHERE (target, sequence) IN (";
                return self.join(Lane::Outbox, head, &[(*target).into(), (*sequence).into()], ")");
            }
            QueueChange::MarkSent { target, from, to, history } => format!(
                "UPDATE stheno_outbox SET sent = {history} WHERE target = {target} \
                 AND sequence BETWEEN {from} AND {to} AND sent = 0 AND not_before = 0"
            ),
            QueueChange::Release { target, sequence, place } => format!(
                "UPDATE stheno_outbox SET sequence = {place}, not_before = 0 \
                 WHERE target = {target} AND sequence = {sequence}"
            ),
            QueueChange::Postpone { target, sequence, expires } => format!(
                "UPDATE stheno_outbox SET expires = {expires} WHERE target = {target} AND sequence = {sequence}"
            ),
            QueueChange::PutAsked { hash, request, at } => {
                let head = "REPLACE INTO stheno_asked_tokens (hash, request, at) VALUES ";
                return self.join(Lane::AskedTokens, head, &[(*hash).into(), (*request).into(), (*at).into()], "");
            }
            QueueChange::PutClock(ahead) => {
                let sql = format!("UPDATE stheno_store SET queue_clock = {ahead} WHERE id = 1");
                return self.alone(Lane::Store, sql);
            }
        };
        self.alone(Lane::Outbox, sql);
    }

    fn legacy(&mut self, change: &LegacyChange) {
        match change {
            LegacyChange::PutOrder(StoredOrder { sequence, token, target, action, name, data }) => {
                let pieces = self.pieces(&format!("o{sequence}"), data);
                let head = "REPLACE INTO stheno_orders (sequence, token, target, action, name, data) VALUES ";
                let item = [
                    (*sequence).into(),
                    token.as_str().into(),
                    target.as_str().into(),
                    action.as_str().into(),
                    name.as_str().into(),
                    // The pieces stand in its place.
                    if pieces > 0 { None } else { Some(data.as_str()) }.into(),
                ];
                self.join(Lane::Orders, head, &item, "");
            }
            LegacyChange::DeleteOrder(sequence) => {
                self.alone(Lane::Orders, format!("DELETE FROM stheno_orders WHERE sequence = {sequence}"));
                self.alone(Lane::Pieces, format!("DELETE FROM stheno_pieces WHERE owner = 'o{sequence}'"));
            }
            LegacyChange::PutMark(FileMark { path, identity, offset }) => {
                let offset = i64::try_from(*offset).unwrap_or(i64::MAX);
                let (path, identity) = (quoted(path.as_str()), quoted(identity.as_str()));
                self.alone(
                    Lane::OrderFile,
                    format!(
                        "REPLACE INTO stheno_order_file (id, path, identity, position) \
                         VALUES (1, {path}, {identity}, {offset})"
                    ),
                );
            }
            LegacyChange::DeleteMark => self.alone(Lane::OrderFile, "DELETE FROM stheno_order_file".to_owned()),
        }
    }
}

/// Whether a change opens a token that the same changes close.
pub(super) fn passes<'a>(changes: &'a [StoreChange]) -> impl Fn(&StoreChange) -> bool + use<'a> {
    let passing = passing_tokens(changes);
    move |change| matches!(change, StoreChange::OpenToken { token, .. } if passing.contains(token.as_str()))
}
