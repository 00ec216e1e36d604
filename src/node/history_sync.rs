//! Taking over the history of nodes (docs/protocol.md section 7).
//!
//! Between two of our own daemons the mark is the greatest row id, and the answer comes in pages, each stored together
//! with its mark in one commit. A peer that does not page is asked by `ctime`; its rows that are stored already are
//! skipped.

mod answer;
mod origins;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::history::{HistoryName, RowOrigin, StoreChange, SyncMark, is_last_row};
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::registration::NodeKind;
use crate::model::time::{Monotonic, WallTime};
use crate::model::token::Token;

use super::core::Core;
use super::journal::NewRow;
use super::liveness::REPEATS_MAX;
use super::output::ReceiptId;
use super::registry::Link;
use super::timers::Timer;
use super::{api, json, trace};

pub(super) use answer::Answer;
pub(super) use origins::OriginMarks;

/// An answer to a question that was repeated may be so late.
const LATE: Duration = Duration::from_secs(60);

/// The sync of one node.
#[derive(Debug)]
pub(super) struct NodeSync {
    /// How far its history is stored here.
    pub mark: SyncMark,
    /// Whether an answer is awaited, or stored at the moment.
    pub in_progress: bool,
    /// Whether nothing came since the last question.
    pub is_unanswered: bool,
    /// How often the question was repeated.
    repeats: u8,
    /// When one was last: its answer may come late, when the mark has moved.
    repeated_at: Option<Monotonic>,
    /// Whether a page is on its way into the database. Another answer is of no use until that has spoken.
    is_storing: bool,
    /// Whether it pages, as our own kind does: such a node also announces its rows. `None` before its first answer.
    pages: Option<bool>,
    /// Counts the syncs that were started.
    pub serial: u64,
    /// Another one is wanted as soon as this one is over.
    again: bool,
    /// The token of the request that asked for the sync in progress.
    token: Option<Token>,
    /// An answer that came in part.
    gathering: Option<parts::Gathering>,
    /// Ids of rows that are stored although the mark has not passed them.
    early: BTreeSet<i64>,
}

/// A page of a node's history on its way into the database.
#[derive(Debug)]
pub(super) struct StoredPage {
    id: NodeId,
    /// The sync that it belongs to.
    serial: u64,
    /// The mark before it.
    before: SyncMark,
    /// How far the histories that it brings were taken over before it.
    origins_before: Vec<RowOrigin>,
    /// Whether the node has more.
    more: bool,
}

/// Rows of an answer that are not what they should be.
#[derive(Debug, Default)]
struct OddRows {
    /// Their id is above the last one that the node told.
    beyond: usize,
    /// They end a token that was never sent to the node.
    foreign: usize,
}

impl NodeSync {
    /// A node whose history is stored up to `mark`.
    pub(super) const fn new(mark: SyncMark) -> Self {
        Self {
            mark,
            in_progress: false,
            is_unanswered: false,
            repeats: 0,
            repeated_at: None,
            is_storing: false,
            pages: None,
            serial: 0,
            again: false,
            token: None,
            gathering: None,
            early: BTreeSet::new(),
        }
    }

    /// Whether the node is known to be of our own kind; `None` before its first answer.
    pub(super) const fn peer_pages(&self) -> Option<bool> {
        self.pages
    }

    /// Forgets the sync in progress; returns the token of the request that asked for it.
    pub(super) fn abandon(&mut self) -> Option<Token> {
        self.in_progress = false;
        self.again = false;
        self.gathering = None;
        self.token.take()
    }

    /// Whether the node is a daemon of our kind, as far as it has shown.
    pub(super) const fn is_of_our_kind(&self) -> bool {
        matches!(self.pages, Some(true)) || self.mark.history != 0
    }

    /// What to ask. A mark that a Perl daemon left has no id: asking by id would bring every row once more.
    fn question(&self, wall: WallTime) -> String {
        let SyncMark { newest, last_id, history, .. } = self.mark;
        // Our own kind goes on by id, and compares the `ctime` of that row with this one.
        let is_ours = self.pages.unwrap_or(history != 0);
        let ctime = if is_ours { newest } else { self.mark.clamped(wall).ctime };
        if last_id == 0 && ctime > 0.0 {
            format!("{{\"ctime\":{ctime}}}")
        } else if history != 0 {
            format!("{{\"ctime\":{ctime},\"last_id\":{last_id},\"history\":{history}}}")
        } else {
            format!("{{\"ctime\":{ctime},\"last_id\":{last_id}}}")
        }
    }
}

impl Core {
    /// [`Timer::SyncAll`], or a SYNCLOGS of a client: every node with a link that is up.
    pub(super) fn sync_all(&mut self) {
        for id in self.registry.ids() {
            if self.registry.get(id).is_some_and(|node| node.link == Link::Up) {
                self.sync_soon(id);
            }
        }
    }

    /// Starts a sync, or remembers to start one after the one in progress. Returns its serial number.
    pub(super) fn sync_soon(&mut self, id: NodeId) -> Option<u64> {
        let node = self.registry.get_mut(id)?;
        if node.sync.in_progress {
            node.sync.again = true;
            return Some(node.sync.serial + 1);
        }
        self.restart_sync(id)
    }

    /// A GETLOG whose target is a registered node.
    ///
    /// # Errors
    /// The message of the history row that ends the token.
    pub(super) fn sync_for(&mut self, id: NodeId, token: Option<Token>) -> Result<(), String> {
        let Some(node) = self.registry.get_mut(id) else { return Err(format!("proxy - unknown target {id}")) };
        match node.registration.kind {
            NodeKind::PushZmq { .. } => {}
            NodeKind::PushSsh(_) => return Err("proxy - can't get log a ssh target or through a ssh node".to_owned()),
            NodeKind::Pull | NodeKind::WebSocket => node.reachable()?,
        }
        if node.sync.in_progress {
            return Err("proxy - getlog already in progress".to_owned());
        }
        node.sync.token = token;
        self.restart_sync(id);
        Ok(())
    }

    /// Asks a node, whatever was asked before; without a link the question waits for it. Returns the serial number.
    pub(super) fn restart_sync(&mut self, id: NodeId) -> Option<u64> {
        let deadline = self.context.now.monotonic + self.context.proxy_settings().sync_timeout;
        let node = self.registry.get_mut(id)?;
        // On a host without a daemon there is no history.
        if node.link == Link::None || matches!(node.registration.kind, NodeKind::PushSsh(_)) {
            return None;
        }
        node.sync.in_progress = true;
        node.sync.gathering = None;
        node.sync.repeats = 0;
        node.sync.serial += 1;
        let serial = node.sync.serial;
        if node.link == Link::Up {
            self.ask_for_log(id);
        }
        self.context.timers.set(Timer::SyncTimeout(id), deadline);
        Some(serial)
    }

    /// A token of a node that does not announce its rows is waited for. A sync that is under way is not doubled.
    pub(super) fn sync_for_waiting(&mut self, id: NodeId) {
        let Some(node) =
            self.registry.get_quietly(id).filter(|node| node.link == Link::Up && node.sync.pages != Some(true))
        else {
            return;
        };
        if !node.sync.in_progress {
            self.restart_sync(id);
        } else if node.registration.kind == NodeKind::WebSocket && node.sync.gathering.is_none() {
            // A Perl node with a WebSocket left the question without an answer if it had no rows then.
            self.ask_for_log(id);
        }
    }

    fn ask_for_log(&mut self, id: NodeId) {
        let wall = self.context.now.wall;
        let Some(node) = self.registry.get_quietly(id) else { return };
        node.sync.is_unanswered = true;
        let (data, dials_in) = (node.sync.question(wall), node.dials_in());
        let message = Message { action: Action::GetLog, token: None, target: Some("".into()), data };
        self.send_to_node(id, message);
        if dials_in {
            self.repeat_later(id);
        }
    }

    /// The question once more, where no answer came; whether it was sent.
    pub(super) fn repeat_question(&mut self, id: NodeId) -> bool {
        let now = self.context.now.monotonic;
        let Some(sync) = self.registry.get_quietly(id).map(|node| &mut node.sync) else { return false };
        let is_due = sync.in_progress && sync.is_unanswered && sync.repeats < REPEATS_MAX;
        if is_due {
            sync.repeats += 1;
            sync.repeated_at = Some(now);
            self.ask_for_log(id);
        }
        is_due
    }

    /// [`Timer::SyncTimeout`]
    pub(super) fn sync_timed_out(&mut self, id: NodeId) {
        let patience = self.context.proxy_settings().sync_timeout;
        let now = self.context.now.monotonic;
        let Some(node) = self.registry.get_mut(id) else { return };
        let is_missing_part = node.sync.gathering.take().is_some();
        // A Perl node with a WebSocket says nothing when it has no rows.
        let is_heard = node.heard.is_some_and(|heard| now.since(heard) <= patience);
        if is_heard && !is_missing_part && node.link == Link::Up && node.registration.kind == NodeKind::WebSocket {
            self.finish_sync(id);
            return;
        }
        node.sync.again |= is_missing_part;
        node.sync.in_progress = false;
        let again = std::mem::take(&mut node.sync.again) && node.link == Link::Up;
        let token = node.sync.token.take();
        let text = format!("proxy - getlog in timeout for '{id}'");
        match token {
            Some(token) => self.context.fail(&token, &text),
            None => self.context.write(NewRow::without_token(Code::FINISHED_KO, json::message(&text))),
        }
        self.sync_calls_go_on(id, u64::MAX);
        if again {
            self.restart_sync(id);
        }
    }

    /// A node answered GETLOG. Also taken when nobody waits for it any more.
    pub(super) fn log_answered(&mut self, id: NodeId, token: Option<&Token>, answer: Answer) {
        if let Some(node) = self.registry.get_quietly(id) {
            node.sync.is_unanswered = false;
        }
        self.node_is_alive(id);
        let now = self.context.now.monotonic;
        if self.registry.get_quietly(id).is_some_and(|node| node.sync.is_storing) {
            return;
        }
        let Some(answer) = self.gather(id, token, answer) else { return };
        let Some(node) = self.registry.get_mut(id) else { return };
        let before = node.sync.mark;
        let may_be_late = node.sync.repeated_at.is_some_and(|repeated| now.since(repeated) < LATE);
        let pages = answer.last_id.is_some();
        node.sync.pages = Some(pages);
        let start = if before.is_of_another(answer.history) {
            node.sync.early.clear();
            let text = format!("node '{id}' has a new history: its rows are taken from the start");
            self.context.log(LogLine::warning("proxy", text));
            SyncMark { history: answer.history, ..SyncMark::default() }
        } else {
            SyncMark { history: answer.history.max(before.history), ..before }
        };
        if answer.rows.is_empty() && answer.last_id.is_some_and(|last_id| last_id < start.last_id) {
            if may_be_late {
                self.finish_sync(id);
            } else {
                self.history_was_replaced(id);
            }
            return;
        }
        let more = answer.more;
        let (after, origins_before) = self.store_answer(id, start, answer);
        if after == before {
            self.finish_sync(id);
            return;
        }
        let Some(node) = self.registry.get_mut(id) else { return };
        node.sync.mark = after;
        node.sync.is_storing = true;
        let page = StoredPage { id, serial: node.sync.serial, before, origins_before, more };
        let receipt = self.context.store_mark(id, after);
        self.pages.insert(receipt, page);
    }

    /// Stores the rows of an answer that are not here yet. Returns the mark behind them, and how far the histories that
    /// the rows come from were taken over before.
    fn store_answer(&mut self, id: NodeId, start: SyncMark, answer: Answer) -> (SyncMark, Vec<RowOrigin>) {
        let pages = answer.last_id.is_some();
        let early = self.registry.get_mut(id).map(|node| std::mem::take(&mut node.sync.early)).unwrap_or_default();
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
            if known && !is_early {
                continue;
            }
            // By another way, or because it was ours: it is here.
            let is_taken = origin.is_some_and(|origin| self.origins.is_taken(origin, self.context.own_id));
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
            self.context.log(LogLine::warning("proxy", text));
        }
        if beyond > 0 {
            let text = format!("node '{id}' sends {beyond} rows beyond its own last id: left out");
            self.context.log(LogLine::warning("proxy", text));
        }
        let origins_before = self.move_origins(moved, receipt);
        if stored > 0 {
            self.context.log(LogLine::debug("proxy", format!("stored {stored} history rows of node '{id}'")));
            self.subscribers.tell_subscribers(&mut self.context, true);
        }
        (after, origins_before)
    }

    /// The database has spoken about a page and its mark.
    pub(super) fn page_stored(&mut self, receipt: ReceiptId, stored: bool) {
        let Some(page) = self.pages.remove(&receipt) else { return };
        let id = page.id;
        let Some(node) = self.registry.get_mut(id) else { return };
        node.sync.is_storing = false;
        if !stored {
            // Nothing of the page is there; it is asked for again with the next sync.
            node.sync.mark = page.before;
            self.origins.take_back(&page.origins_before);
            self.context.log(LogLine::error("proxy", format!("the history of node '{id}' cannot be stored")));
        } else if node.sync.serial != page.serial {
            // Another sync has begun since.
        } else if page.more {
            self.continue_sync(id);
        } else {
            self.finish_sync(id);
        }
    }

    /// A full page came: the next one is asked for at once.
    fn continue_sync(&mut self, id: NodeId) {
        let deadline = self.context.now.monotonic + self.context.proxy_settings().sync_timeout;
        let Some(node) = self.registry.get_mut(id) else { return };
        node.sync.in_progress = true;
        self.context.timers.set(Timer::SyncTimeout(id), deadline);
        self.ask_for_log(id);
    }

    /// The node's ids start over: its database is a new one. From here its rows are asked for by `ctime`.
    fn history_was_replaced(&mut self, id: NodeId) {
        let Some(node) = self.registry.get_mut(id) else { return };
        node.sync.mark.last_id = 0;
        node.sync.early.clear();
        let mark = node.sync.mark;
        // Ids of rows that were never here are used again.
        self.origins.forget(HistoryName { node: id, number: mark.history });
        self.context.log(LogLine::warning(
            "proxy",
            format!("node '{id}' has a new history: its rows are taken from the start"),
        ));
        self.context.store(StoreChange::PutSyncMark(id, mark));
        self.continue_sync(id);
    }

    /// Any row of a token that the node wrote itself shows that it has the message: it owes the end from now on. So
    /// does the end, whoever wrote it; other rows may be our own that the node has taken over.
    fn settle_owed(&mut self, id: NodeId, row: &answer::AnsweredRow, origin: Option<RowOrigin>) {
        let is_telling = origin.is_none_or(|origin| origin.history.node == id) || is_last_row(row.code, &row.data);
        // A part of a copy that has arrived tells nothing of its end.
        let is_telling = is_telling && row.code != Code::COPY_IN_PROGRESS;
        if let Some(token) = row.token.as_deref().filter(|_| is_telling).and_then(|token| Token::parse(token).ok())
            && let Some(node) = self.registry.get_mut(id)
            && node.outbox.ended(&token)
        {
            self.context.close_token(token.as_str());
        }
    }

    /// Stores a row; `false` when it would end a token that the node never got.
    fn add_synced_row(
        &mut self,
        id: NodeId,
        row: answer::AnsweredRow,
        origin: Option<RowOrigin>,
        receipt: Option<ReceiptId>,
    ) -> bool {
        self.settle_owed(id, &row, origin);
        let (etime, instant) = (Some(row.etime), row.instant);
        let row = NewRow { etime, instant, of_node: true, ..NewRow::foreign(row.token, row.code, row.data) };
        if row.is_last && row.token.as_deref().is_some_and(|token| !self.may_end(id, token)) {
            self.context.store_unseen(row, origin, receipt);
            return false;
        }
        self.context.write_with(row, origin, receipt);
        true
    }

    fn finish_sync(&mut self, id: NodeId) {
        let Some(node) = self.registry.get_mut(id) else { return };
        if !std::mem::take(&mut node.sync.in_progress) {
            return;
        }
        let now = self.context.now.monotonic;
        let serial = node.sync.serial;
        let again = std::mem::take(&mut node.sync.again);
        let token = node.sync.token.take();
        let mut endings = node.outbox.synced(serial, now);
        // Its ACKs stay at home: an answer to a later question shows that what went before has arrived.
        let arrived = if node.dials_in() && node.link == Link::Up { node.outbox.arrived(serial) } else { Vec::new() };
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
            if ending != super::outbox::Ending::Lost || !self.legacy.send_again(&mut self.context, &token) {
                self.end_owed(id, &token, ending);
            }
        }
        self.sync_calls_go_on(id, serial);
        if again {
            self.restart_sync(id);
        }
    }

    /// Calls of the API that wait for the sync `serial` of a node, or an earlier one, ask the history now.
    fn sync_calls_go_on(&mut self, id: NodeId, serial: u64) {
        for call in self.calls.waiting_for_sync(id, serial) {
            api::waits::ask_history(self, call);
        }
    }
}
