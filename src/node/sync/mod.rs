//! The take-over of the history of nodes (docs/protocol.md section 7).
//!
//! Between two daemons of our own kind the mark is the greatest row id, and the answer comes in pages, each stored
//! together with its mark in one commit. A peer that does not page is queried by `ctime`; rows that are already stored
//! are skipped.

mod answer;
pub(super) mod asking;
mod gathering;
mod origins;
mod parts;
pub(super) mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::broken::{self, Fault};
use crate::model::code::Code;
use crate::model::history::{HistoryName, Origins, RowOrigin, StoreChange, SyncMark, is_last_row};
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::queue::RowTells;
use crate::model::token::Token;

use super::context::Context;
use super::journal::NewRow;
use super::late_tokens::late_row;
use super::nodes::Nodes;
use super::nodes::node::{Link, LinkChange};
use super::nodes::owed::Told;
use super::output::ReceiptId;
use super::subscribers::Subscribers;
use super::timers::Timer;
use super::{json, trace};

pub(super) use answer::Answer;
use origins::OriginMarks;

/// Maximum delay of the answer to a repeated query.
const LATE: Duration = Duration::from_secs(60);

/// A page of a node's history that is being stored.
#[derive(Debug)]
struct StoredPage {
    id: NodeId,
    /// The serial number of its sync.
    serial: u64,
    before: SyncMark,
    /// The marks of the histories of its rows before it.
    origins_before: Vec<RowOrigin>,
    /// Whether the node has more rows.
    more: bool,
    /// Whether the answer to the current query is still to come.
    is_late: bool,
}

/// The common state of the syncs of all nodes.
#[derive(Debug)]
pub(super) struct Syncs {
    origins: OriginMarks,
    /// Pages that are being stored.
    pages: BTreeMap<ReceiptId, StoredPage>,
    /// Completed syncs: node and serial number.
    finished: VecDeque<(NodeId, u64)>,
    /// Nodes of whose answers some parts may be here.
    gathering: BTreeSet<NodeId>,
}

/// The handling of syncs, with references to the state that it uses.
pub(super) struct SyncRoom<'a> {
    context: &'a mut Context,
    nodes: &'a mut Nodes,
    subscribers: &'a mut Subscribers,
    state: &'a mut Syncs,
}

impl Syncs {
    /// Returns the state of a daemon that starts with these marks.
    pub fn new(origins: Origins) -> Self {
        Self {
            origins: OriginMarks::new(origins),
            pages: BTreeMap::new(),
            finished: VecDeque::new(),
            gathering: BTreeSet::new(),
        }
    }

    /// Returns the number of a node's history, as its rows that came by any way tell.
    pub fn newest_history_of(&self, node: NodeId) -> Option<i64> {
        self.origins.newest_of(node)
    }

    /// Returns the number of bytes of rows that wait for the rest of their answer.
    pub fn held_bytes(&self, nodes: &Nodes) -> usize {
        let part = |id: &NodeId| nodes.get(*id)?.sync.gathering.as_ref().map(|part| part.bytes);
        self.gathering.iter().filter_map(part).sum()
    }

    /// Returns the next node whose syncs up to this serial number are complete.
    pub fn next_finished(&mut self) -> Option<(NodeId, u64)> {
        self.finished.pop_front()
    }
}

/// Number of rows of an answer that are not as expected.
#[derive(Debug, Default)]
struct OddRows {
    /// Their id is above the last one that the node reported.
    beyond: usize,
    /// They end a token that was never sent to the node.
    foreign: usize,
}

impl Syncs {
    /// Returns the handling of syncs.
    pub fn room<'a>(
        &'a mut self,
        context: &'a mut Context,
        nodes: &'a mut Nodes,
        subscribers: &'a mut Subscribers,
    ) -> SyncRoom<'a> {
        SyncRoom { context, nodes, subscribers, state: self }
    }
}

impl SyncRoom<'_> {
    /// Handles [`Timer::SyncTimeout`].
    pub(super) fn sync_timed_out(&mut self, id: NodeId) {
        let patience = self.context.proxy_settings().sync_timeout;
        let now = self.context.now.monotonic;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let is_missing_part = node.sync.gathering.take().is_some();
        // A Perl node with a WebSocket does not answer if it has no rows. One of our own kind does, so its silence says
        // nothing about the messages before the query.
        let is_heard = node.heard.is_some_and(|heard| now.since(heard) <= patience);
        let is_silent = is_heard && node.sync.is_unanswered && !is_missing_part && !node.sync.answers_always();
        if is_silent && node.link == Link::Up && node.registration.kind.is_web_socket() {
            self.finish_sync(id);
            return;
        }
        node.sync.again |= is_missing_part;
        node.sync.in_progress = false;
        let again = std::mem::take(&mut node.sync.again) && node.link == Link::Up;
        let text = format!("proxy - getlog in timeout for '{id}'");
        if !self.fail_sync(id, &text) {
            self.context.write(NewRow::without_token(Code::FINISHED_KO, json::message(&text)));
        }
        if again {
            asking::restart_sync(self.context, self.nodes, id);
        }
    }

    /// Handles the answer of a node to a GETLOG, even if it is no longer awaited.
    pub(super) fn log_answered(&mut self, id: NodeId, token: Option<&Token>, answer: Answer) {
        let now = self.context.now.monotonic;
        if self.nodes.get_quietly(id).is_some_and(|node| node.sync.is_storing) {
            return;
        }
        let Some(mut answer) = self.gather(id, token, answer) else { return };
        let Some(node) = self.nodes.get_mut(id) else { return };
        let before = node.sync.mark;
        // An answer to an earlier query: the one to the current query is still to come.
        let is_late = answer.sync.is_some_and(|sync| sync != node.sync.serial);
        if is_late {
            node.sync.repeated_at = Some(now);
        } else {
            node.sync.open = answer.open.take();
        }
        let may_be_late = node.sync.repeated_at.is_some_and(|repeated| now.since(repeated) < LATE);
        let pages = answer.last_id.is_some();
        node.sync.pages = Some(pages);
        node.sync.runs_once = answer.runs_once;
        let start = if before.is_of_another(answer.history) {
            node.sync.early.clear();
            let text = format!("node '{id}' has a new history: its rows are taken from the start");
            self.context.log(LogLine::warning("proxy", text).of_node(id));
            self.nodes.note_change(LinkChange::NewHistory(id));
            SyncMark { history: answer.history, ..SyncMark::default() }
        } else {
            SyncMark { history: answer.history.max(before.history), ..before }
        };
        if answer.rows.is_empty() && answer.last_id.is_some_and(|last_id| last_id < start.last_id) {
            if is_late {
                return;
            } else if may_be_late {
                self.finish_sync(id);
            } else {
                self.history_was_replaced(id);
            }
            return;
        }
        let (more, newest_id) = (answer.more, answer.newest_id);
        let (after, origins_before) = self.store_answer(id, start, answer);
        if after == before {
            if !is_late {
                self.finish_sync(id);
            }
            return;
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.sync.mark = after;
        node.sync.lag = newest_id.map(|newest_id| u64::try_from(newest_id.saturating_sub(after.last_id)).unwrap_or(0));
        node.sync.is_storing = true;
        let page = StoredPage { id, serial: node.sync.serial, before, origins_before, more, is_late };
        let receipt = self.context.store_mark(id, after);
        self.state.pages.insert(receipt, page);
    }

    /// Stores the rows of an answer that are not here yet. Returns the mark after them, and the earlier marks of the
    /// histories of its rows.
    fn store_answer(&mut self, id: NodeId, start: SyncMark, answer: Answer) -> (SyncMark, Vec<RowOrigin>) {
        let pages = answer.last_id.is_some();
        let early = self.nodes.get_mut(id).map(|node| std::mem::take(&mut node.sync.early)).unwrap_or_default();
        // Rows and marks share a receipt: they are stored together or not at all.
        let receipt = self.context.next_receipt();
        let mut after = start;
        let mut stored = 0_usize;
        let mut odd = OddRows::default();
        let mut moved = origins::Moved::default();
        let wall = self.context.now.wall;
        for row in answer.rows {
            if answer.last_id.is_some_and(|last_id| row.id > last_id) {
                odd.beyond += 1;
                continue;
            }
            let known = if pages { row.id <= start.last_id } else { start.has(row.id, row.ctime, wall) };
            after = after.with(row.id, row.ctime, wall);
            let origin = row.origin_in(id, answer.history, pages);
            let is_early = early.contains(&row.id);
            let is_known = known && !is_early && !broken::is(Fault::DoubledRowsAccepted);
            if is_known {
                continue;
            }
            // The row is already here: it came by another route, or is our own.
            let is_taken = origin.is_some_and(|origin| self.state.origins.is_taken(origin, self.context.own_id));
            if let Some(origin) = origin.filter(|_| !is_taken) {
                moved.note(origin);
            }
            if is_taken || is_early || trace::is_trace(row.code, row.instant, &row.data) {
                self.settle_owed(id, &row, origin);
                continue;
            }
            stored += 1;
            odd.foreign += usize::from(!self.add_synced_row(id, row, origin, Some(receipt)));
        }
        let OddRows { beyond, foreign } = odd;
        if foreign > 0 {
            let text = format!("node '{id}' ends {foreign} tokens that were never sent to it: stored, without effect");
            self.context.log(LogLine::warning("proxy", text).of_node(id));
        }
        if beyond > 0 {
            let text = format!("node '{id}' sends {beyond} rows beyond its own last id: left out");
            self.context.log(LogLine::warning("proxy", text).of_node(id));
        }
        let origins_before = self.state.origins.advance(self.context, moved, receipt);
        for node in self.state.origins.take_replaced() {
            self.nodes.note_change(LinkChange::NewHistory(node));
        }
        if stored > 0 {
            self.context
                .log(LogLine::debug("proxy", format!("stored {stored} history rows of node '{id}'")).of_node(id));
            self.subscribers.tell_subscribers(self.context, true);
        }
        (after, origins_before)
    }

    /// Handles the storing of a page and its mark.
    pub(super) fn page_stored(&mut self, receipt: ReceiptId, stored: bool) {
        let Some(page) = self.state.pages.remove(&receipt) else { return };
        let (id, before) = (page.id, page.before);
        if !stored {
            // Nothing of the page was stored; the next sync asks for it again.
            self.state.origins.take_back(&page.origins_before);
            self.context
                .log(LogLine::error("proxy", format!("the history of node '{id}' cannot be stored")).of_node(id));
        }
        let Some(node) = self.nodes.get_mut(id) else {
            return self.nodes.page_of_absent_settled(id, (!stored).then_some(before));
        };
        if !stored && !broken::is(Fault::MarkMovedEarly) {
            node.sync.mark = before;
        }
        node.sync.is_storing = false;
        let is_superseded = node.sync.serial != page.serial;
        let is_up = node.link == Link::Up;
        if is_superseded {
            // Another sync has begun since. Its query had to wait until the mark was certain.
            if is_up {
                asking::ask_for_log(self.context, self.nodes, id);
            }
        } else if !stored {
            node.sync.in_progress = false;
            self.context.timers.cancel(&Timer::SyncTimeout(id));
            self.fail_sync(id, &format!("proxy - the history of node '{id}' cannot be stored"));
        } else if page.is_late {
            // The answer to the query of this sync completes it.
        } else if page.more {
            self.continue_sync(id);
        } else {
            self.finish_sync(id);
        }
    }

    /// Ends a sync without all rows of the node, so no token that they may end is given up. Returns whether a request
    /// with a token asked for the sync.
    fn fail_sync(&mut self, id: NodeId, text: &str) -> bool {
        let token = self.nodes.get_mut(id).and_then(|node| node.sync.token.take());
        if let Some(token) = &token {
            self.context.fail(token, text);
        }
        self.state.finished.push_back((id, u64::MAX));
        token.is_some()
    }

    /// Asks for the next page after a full one.
    fn continue_sync(&mut self, id: NodeId) {
        let deadline = self.context.now.monotonic + self.context.proxy_settings().sync_timeout;
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.sync.in_progress = true;
        self.context.timers.set(Timer::SyncTimeout(id), deadline);
        asking::ask_for_log(self.context, self.nodes, id);
    }

    /// Handles a new database of the node, whose ids start again. From here its rows are queried by `ctime`.
    fn history_was_replaced(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.sync.mark.last_id = 0;
        node.sync.early.clear();
        let mark = node.sync.mark;
        // Ids of rows that were never here are used again.
        self.state.origins.forget(HistoryName { node: id, number: mark.history });
        self.context.log(
            LogLine::warning("proxy", format!("node '{id}' has a new history: its rows are taken from the start"))
                .of_node(id),
        );
        self.context.store(StoreChange::PutSyncMark(id, mark));
        self.continue_sync(id);
    }

    /// Settles a token by a row of the node. Any row that the node or the target behind it wrote shows that it has the
    /// message, so it owes the end from now on. The last row shows it too, whoever wrote it; other rows may be our own
    /// that the node has taken over.
    fn settle_owed(&mut self, id: NodeId, row: &answer::AnsweredRow, origin: Option<RowOrigin>) {
        if let Some(token) = row.token.as_deref().filter(|_| self.context.journal.wants_tokens_of_nodes)
            && origin.is_none_or(|origin| !self.context.is_own_id(origin.history.node))
            && self.nodes.may_end(self.context, id, token)
        {
            let told = if is_last_row(row.code, &row.data) { RowTells::Ended } else { RowTells::by(&row.data) };
            self.context.journal.note_row_of_node(token, told);
        }
        let target = row.token.as_deref().and_then(|token| self.nodes.target_of(token));
        let is_telling = origin.is_none_or(|origin| origin.history.node == id || Some(origin.history.node) == target)
            || is_last_row(row.code, &row.data);
        // A part of a copy shows nothing about its end.
        let is_telling = is_telling && row.code != Code::COPY_IN_PROGRESS;
        if let Some(token) = row.token.as_deref().filter(|_| is_telling).and_then(|token| Token::parse(token).ok())
            && let Some(node) = self.nodes.get_mut(id)
            && node.owed.ended(&token)
        {
            self.context.close_token(token.as_str());
        }
    }

    /// Stores a row. Returns `false` if it would end a token that the node never got.
    fn add_synced_row(
        &mut self,
        id: NodeId,
        row: answer::AnsweredRow,
        origin: Option<RowOrigin>,
        receipt: Option<ReceiptId>,
    ) -> bool {
        self.settle_owed(id, &row, origin);
        let (etime, instant) = (Some(row.etime), row.instant);
        let mut row = NewRow { etime, instant, of_node: true, ..NewRow::foreign(row.token, row.code, row.data) };
        if row.is_last && row.token.as_deref().is_some_and(|token| self.context.late.has(token)) {
            let node = origin.map_or(id, |origin| origin.history.node);
            row.data = late_row(node, row.code, &row.data);
            (row.code, row.is_last) = (Code::COMMAND_RESULT, false);
        }
        if row.is_last && row.token.as_deref().is_some_and(|token| !self.nodes.may_end(self.context, id, token)) {
            self.context.store_unseen(row, origin, receipt);
            return false;
        }
        self.context.write_with(row, origin, receipt);
        true
    }

    fn finish_sync(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if !std::mem::take(&mut node.sync.in_progress) {
            return;
        }
        let now = self.context.now.monotonic;
        node.sync.synced_at = self.context.now.wall.as_seconds();
        node.sync.lag = Some(0);
        let serial = node.sync.serial;
        let again = std::mem::take(&mut node.sync.again);
        let token = node.sync.token.take();
        let told = node.sync.open.take().map(|open| Told { asked: std::mem::take(&mut node.sync.asked_about), open });
        let mut endings = node.owed.synced(serial, node.is_relay(), told.as_ref(), now);
        let again = again || told.is_some() && node.owed.has_unasked(serial);
        // Such a node sends no ACKs: its answer to a later query shows that earlier messages have arrived.
        let arrived = if node.dials_in() && node.link == Link::Up { node.owed.arrived(serial) } else { Vec::new() };
        let is_first = node.link == Link::Up && !std::mem::replace(&mut node.sync.is_current, true);
        if is_first {
            self.nodes.note_change(LinkChange::Current(id));
        }
        self.context.timers.cancel(&Timer::SyncTimeout(id));
        if let Some(token) = token {
            let data = json::message("proxy - getlog finished");
            self.context.finish(&token, Code::FINISHED_OK, data);
        }
        for (token, ending) in arrived {
            self.context.close_token(token.as_str());
            endings.extend(ending.map(|ending| (token, ending)));
        }
        for (token, ending) in endings {
            if ending == super::nodes::owed::Ending::Lost && self.context.journal.is_lost(&token) {
                continue;
            }
            ending.write(self.context, id, &token);
        }
        self.state.finished.push_back((id, serial));
        if again {
            asking::restart_sync(self.context, self.nodes, id);
        }
    }
}
