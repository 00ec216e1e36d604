//! The disk of a machine: what survives a crash. Commits are atomic, as in SQLite.

use std::collections::BTreeMap;

use stheno::model::code::Code;
use stheno::model::history::{
    HistoryName, HistoryRow, LogFilter, LogPage, Origins, PageLimit, RowOrigin, StoreChange, SyncMark,
};
use stheno::model::node_id::NodeId;
use stheno::model::session::StoredSession;
use stheno::model::stored::{Restored, Stored};
use stheno::model::time::Now;
use stheno::model::token::Token;

use super::outbox::Outbox;

#[derive(Default)]
pub struct Disk {
    pub rows: Vec<HistoryRow>,
    next_id: i64,
    sessions: BTreeMap<Vec<u8>, StoredSession>,
    marks: BTreeMap<NodeId, SyncMark>,
    fingerprints: BTreeMap<String, String>,
    open_tokens: BTreeMap<Token, Option<NodeId>>,
    ctime_ticks: i64,
    /// The number of this history.
    pub number: i64,
    origins: BTreeMap<HistoryName, i64>,
    pub outbox: Outbox,
    /// When each token got its end, in milliseconds of the run.
    pub ended_at: BTreeMap<String, u64>,
    checked: usize,
}

impl Disk {
    /// Returns an empty disk whose history has this number.
    pub fn new(number: i64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Returns the rows that were not looked at yet.
    pub fn unchecked_rows(&mut self) -> &[HistoryRow] {
        let from = std::mem::replace(&mut self.checked, self.rows.len());
        &self.rows[from..]
    }

    /// Does the work of the cleaner: the newest rows stay.
    pub fn keep_newest(&mut self, count: usize) {
        let surplus = self.rows.len().saturating_sub(count);
        self.rows.drain(..surplus);
        self.checked = self.checked.saturating_sub(surplus);
    }

    /// Applies the changes. Returns the indexes of requests that were left out, as the program's own store does.
    pub fn apply(&mut self, changes: &[StoreChange], now: Now) -> Vec<usize> {
        // A commit has one ctime, later than that of the one before.
        self.ctime_ticks = (now.wall.as_micros() / 10).max(self.ctime_ticks + 1);
        let mut left_out = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            match change.clone() {
                StoreChange::InsertRow(mut row) => {
                    self.next_id += 1;
                    row.id = self.next_id;
                    row.ctime = self.ctime_ticks as f64 / 1e5;
                    if let Some(token) = row.token.clone().filter(|_| row.is_last()) {
                        self.ended_at.entry(token).or_insert(now.monotonic.as_millis());
                    }
                    self.rows.push(row);
                }
                StoreChange::PutSession(session) => {
                    self.sessions.insert(session.routing_id.clone(), session);
                }
                StoreChange::DeleteSession(routing_id) => {
                    self.sessions.remove(&routing_id);
                }
                StoreChange::PutFingerprint { target, thumbprint } => {
                    self.fingerprints.insert(target, thumbprint);
                }
                StoreChange::DeleteFingerprint(target) => {
                    self.fingerprints.remove(&target);
                }
                StoreChange::PutSyncMark(node, mark) => {
                    self.marks.insert(node, mark);
                }
                StoreChange::PutOriginMark(RowOrigin { history, id }) => {
                    self.origins.insert(history, id);
                }
                StoreChange::DeleteSyncMark(node) => {
                    self.marks.remove(&node);
                }
                StoreChange::OpenToken { token, node } => {
                    self.open_tokens.insert(token, node);
                }
                StoreChange::CloseToken(token) => {
                    self.open_tokens.remove(&token);
                }
                StoreChange::Queue(change) => {
                    if !self.outbox.apply(change) {
                        left_out.push(index);
                    }
                }
                StoreChange::TakeToken(token) => self.outbox.take(&token),
                StoreChange::GiveBackToken(hash) => self.outbox.taken.retain(|(taken, _)| *taken != hash),
                StoreChange::PutLate { hash, .. } => self.outbox.late.push(hash),
                // No machine of the simulation has the module 'legacycmd'.
                StoreChange::Legacy(_) => {}
                // A run of the simulation is shorter than any purge time.
                StoreChange::PutHostKey { .. } | StoreChange::DeleteHostKey(_) | StoreChange::Purge { .. } => {}
            }
        }
        left_out
    }

    pub fn query(&self, filter: &LogFilter, limit: &PageLimit) -> LogPage {
        let mut rows: Vec<HistoryRow> = self.rows.iter().filter(|row| filter.matches(row)).cloned().collect();
        if let Some(newest) = filter.newest {
            let surplus = rows.len().saturating_sub(usize::try_from(newest).unwrap());
            rows.drain(..surplus);
        }
        let mut end = 0;
        let mut bytes = 0;
        while end < rows.len() && (end == 0 || (end < limit.rows && bytes < limit.bytes)) {
            bytes += rows[end].data.len();
            end += 1;
        }
        while limit.whole_instants && end < rows.len() && rows[end].ctime == rows[end - 1].ctime {
            end += 1;
        }
        let more = end < rows.len();
        rows.truncate(end);
        LogPage { rows, more, ..LogPage::default() }
    }

    fn ended_copies(&self) -> Vec<(Token, Code)> {
        let is_end = |row: &&HistoryRow| {
            row.origin.is_none() && [1, 2].contains(&row.code.0) && row.data.contains("\"process copy f")
        };
        let ended = self.rows.iter().filter(is_end);
        ended.filter_map(|row| Some((Token::parse(row.token.as_deref()?).ok()?, row.code))).collect()
    }

    pub fn stored(&self) -> Stored {
        let restored = Restored {
            marks: self.marks.iter().map(|(node, mark)| (*node, *mark)).collect(),
            origins: Origins {
                own: self.number,
                marks: self.origins.iter().map(|(history, id)| (*history, *id)).collect(),
            },
            open_tokens: self.open_tokens.iter().map(|(token, node)| (token.clone(), *node)).collect(),
            ended_copies: self.ended_copies(),
            taken_tokens: self.outbox.taken.iter().map(|(hash, _)| *hash).collect(),
            not_begun: self.outbox.not_begun(&self.open_tokens, &self.rows),
            late_tokens: self.outbox.late.clone(),
            queue: self.outbox.stored(),
            newest_ctime: self.rows.last().map_or(0.0, |row| row.ctime),
            ..Restored::default()
        };
        let fingerprints = self.fingerprints.clone().into_iter().collect();
        Stored { sessions: self.sessions.values().cloned().collect(), fingerprints, restored, ..Stored::default() }
    }
}
