//! Requests that wait on disk until their nodes can be reached (docs/queue.md).
//!
//! A request that is accepted is stored first. The daemon that accepted it keeps it until its token has an end,
//! whatever happens to others on the way, and sends it again after any doubt: a node of our kind takes a token once. A
//! node of another kind is handed a request once, which then leaves the queue.
//!
//! Memory holds numbers for each node and the few requests that are about to be sent; all others are on disk only.
//!
//! Out of scope: how a request that is handed over reaches its node ([`crate::node::core`]).

mod accepting;
mod calls;
mod clock;
mod due;
pub(in crate::node) mod options;
pub(in crate::node) mod relaying;
mod rows;
mod said;
mod sending;
#[cfg(test)]
mod tests;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::api::CallId;
use crate::model::broken::{self, Fault};
use crate::model::history::StoreChange;
use crate::model::node_id::NodeId;
use crate::model::queue::{
    Known, QueueAnswer, QueueChange, QueueCounters, QueueQuery, QueueStored, QueuedHead, QueuedRequest,
};
use crate::model::token::{Token, digest_of};
use crate::model::work::{Work, WorkId};

use super::context::Context;
use super::output::ReceiptId;
use super::timers::Timer;
use accepting::Accepting;
pub(in crate::node) use calls::{LISTED_MAX, QueueCall};
use clock::QueueClock;
use options::Place;
pub(in crate::node) use said::SaidOfPlace;
pub(in crate::node) use sending::{HandedOver, Sending};
use way::Way;

/// Maximum number of requests that nodes have taken and not ended, above which nothing is sent.
const TAKEN_MAX: usize = 200_000;
/// Time for which a node remembers a token beyond the time to live of the request, in seconds.
const KEEP_BEYOND: i64 = 86_400;

/// Pause before a node gets again what it has not got. Replies about later requests come meanwhile.
const GAP_PAUSE: Duration = Duration::from_millis(100);

/// A request that may have been sent.
#[derive(Debug)]
struct Sent {
    target: NodeId,
    sequence: i64,
    bytes: u64,
    /// Whether the node is known to have taken it.
    is_taken: bool,
    /// Whether its time is over, and it is kept because the node has taken it.
    is_overdue: bool,
    /// Its time to live in seconds, once the database was asked for its end after that.
    looked_up_after: Option<i64>,
}

/// The purpose of an open question to the database.
enum Asked {
    Page(NodeId),
    Due,
    Call(CallId, QueueCall),
    /// Whether a token has its end, which its node claims.
    Ended(Token),
    /// Whether a token whose time is over has its end, which may have come by a way that does not lead to its node.
    Expired(Token),
    /// Whether a token that a caller brought is known.
    Caller,
}

/// What is known of a token that a caller brought; `None` if that cannot be read.
pub(in crate::node) type KnownOfCaller = (WorkId, Option<Known>);

/// All queued requests. Holds command lines: no `Debug`.
#[derive(Default)]
pub(in crate::node) struct Queue {
    ways: BTreeMap<NodeId, Way>,
    /// Nodes to which something may be sent now.
    to_send: BTreeSet<NodeId>,
    /// Requests that may have been sent, by the digests of their tokens.
    sent: BTreeMap<i64, Sent>,
    accepting: BTreeMap<ReceiptId, Accepting>,
    asked: BTreeMap<WorkId, Asked>,
    /// Requests that were removed while a question about expired or single ones was open.
    gone: BTreeSet<i64>,
    clock: QueueClock,
    last: i64,
    numbers: QueueCounters,
    /// When the next request expires, by the queue's clock; not later than that.
    next_expiry: Option<i64>,
    /// When the time of the next request comes, by the wall clock; not later than that.
    next_begin: Option<i64>,
}

impl Queue {
    /// Takes over the requests of an earlier run.
    pub(in crate::node) fn start(&mut self, context: &mut Context, stored: QueueStored) {
        let ahead = if stored.nodes.is_empty() { 0 } else { stored.clock };
        self.clock = QueueClock::start(context.now, ahead);
        // A database that was emptied meanwhile must not begin again with the same places.
        self.last = stored.last.max(context.now.wall.as_micros());
        for node in stored.nodes {
            let way = self.ways.entry(node.target).or_default();
            (way.unsent, way.scheduled, way.bytes) = (node.ready, node.scheduled, node.bytes);
            way.oldest = node.oldest;
            self.numbers.depth += number(node.ready + node.scheduled);
            self.numbers.bytes = self.numbers.bytes.saturating_add(node.bytes);
        }
        for head in stored.sent {
            if let Some(way) = self.ways.get_mut(&head.target) {
                way.restore_sent(head.sequence, head.len_bytes);
                self.note_sent(&head);
            }
        }
        if !self.ways.is_empty() {
            self.next_expiry = Some(self.clock.time(context.now));
            self.set_due(context);
            let at = context.now.monotonic;
            self.ways.keys().for_each(|target| context.timers.set(Timer::Queue(*target), at));
        }
    }

    fn note_sent(&mut self, head: &QueuedHead) {
        let sent = Sent {
            target: head.target,
            sequence: head.sequence,
            bytes: head.len_bytes,
            is_taken: false,
            is_overdue: false,
            looked_up_after: None,
        };
        self.sent.insert(head.token.digest(), sent);
    }

    /// Returns the number of requests that are queued for a node.
    #[cfg_attr(not(feature = "status"), expect(dead_code, reason = "for reports"))]
    pub(in crate::node) fn depth_of(&self, target: NodeId) -> u64 {
        self.ways.get(&target).map_or(0, |way| number(way.len()))
    }

    /// Returns the numbers about the queue.
    #[cfg_attr(not(feature = "status"), expect(dead_code, reason = "for metrics"))]
    pub(in crate::node) fn counters(&self, context: &Context) -> QueueCounters {
        let oldest = self.ways.values().map(|way| way.oldest).min();
        let age = oldest.map_or(0, |oldest| self.clock.time(context.now).saturating_sub(oldest));
        let oldest_seconds = u64::try_from(age).unwrap_or(0);
        QueueCounters { oldest_seconds, ..self.numbers }
    }

    /// Returns whether an earlier run may have begun with a token that is queued.
    pub(in crate::node) fn keeps(&self, token: &Token) -> bool {
        self.sent.contains_key(&token.digest())
    }

    fn forget_size(&mut self, target: NodeId, bytes: u64) {
        self.numbers.depth = self.numbers.depth.saturating_sub(1);
        self.numbers.bytes = self.numbers.bytes.saturating_sub(bytes);
        if self.ways.get(&target).is_some_and(|way| way.len() == 0) {
            self.ways.remove(&target);
        }
    }

    /// Notes that something may be sent to a node now.
    fn may_send(&mut self, target: NodeId) {
        self.to_send.insert(target);
    }

    /// Returns whether something may be sent now.
    pub(in crate::node) fn has_to_send(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// Has everything sent that can be.
    pub(in crate::node) fn may_send_all(&mut self) {
        self.to_send.extend(self.ways.keys());
    }

    /// Returns the nodes for which something waits.
    fn targets(&self) -> Vec<NodeId> {
        self.ways.keys().copied().collect()
    }

    /// Returns whether nothing waits.
    fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Begins again soon with what is in flight to a node, which has not got some of it.
    fn retry_soon(&mut self, context: &mut Context, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target) {
            way.has_gap = true;
            context.timers.set(Timer::Queue(target), context.now.monotonic + GAP_PAUSE);
        }
    }

    /// Returns whether something waits for a node.
    fn has(&self, target: NodeId) -> bool {
        self.ways.contains_key(&target)
    }

    /// Returns whether something is to be sent to a node now, if that can be reached.
    fn wants_to_send(&self, target: NodeId) -> bool {
        let taken: usize = if self.sent.len() >= TAKEN_MAX { self.sent.len() } else { 0 };
        taken < TAKEN_MAX && self.ways.get(&target).is_some_and(Way::wants_to_send)
    }

    /// Returns the next request for a node; `None` if it must be read first, which then begins.
    fn next(&mut self, context: &mut Context, target: NodeId) -> Option<&QueuedHead> {
        let way = self.ways.get_mut(&target)?;
        if let Some(query) = way.page_wanted(target).filter(|_| context.stores) {
            let work = context.start_work(Work::Queue(query));
            way.is_read_by(work);
            self.asked.insert(work, Asked::Page(target));
        }
        self.ways.get(&target)?.next().map(|request| &request.head)
    }

    /// Takes the next request to be sent to a node of our kind, with the data for it. `history` is the number of the
    /// node's history, 1 if it is not known.
    fn send_next(&mut self, context: &mut Context, target: NodeId, history: i64) -> Option<(QueuedHead, String)> {
        let way = self.ways.get_mut(&target)?;
        let (last, waited) = (way.last_place(), way.next_has_waited());
        let (request, after) = way.send_next()?;
        let QueuedRequest { head, data } = request;
        if head.sent == 0 && way.marked < head.sequence {
            way.marked = last;
            let change = QueueChange::MarkSent { target, from: head.sequence, to: last, history };
            context.store(StoreChange::Queue(change));
        }
        let attempt = way.attempt();
        let is_again = self.sent.contains_key(&head.token.digest());
        self.numbers.repeated += u64::from(is_again);
        if !is_again {
            self.note_sent(&head);
        }
        let keep = head.expires.saturating_sub(self.clock.time(context.now)).max(0).saturating_add(KEEP_BEYOND);
        let again = if head.sent > 1 { head.sent } else { 0 };
        let place = Place { of: context.own_history, n: head.sequence, after, keep, waited, again };
        Some((head, options::with_place(&data, place, attempt)))
    }

    /// Takes the next request to be handed over for good: it leaves the queue, unless it `stays` until its end.
    fn hand_over_next(&mut self, context: &mut Context, target: NodeId, stays: bool) -> Option<QueuedRequest> {
        let (request, _) = self.ways.get_mut(&target)?.send_next()?;
        if stays {
            self.note_sent(&request.head);
            self.is_taken(&request.head.token);
            let sequence = request.head.sequence;
            let change = QueueChange::MarkSent { target, from: sequence, to: sequence, history: 1 };
            context.store(StoreChange::Queue(change));
        } else {
            self.remove(context, &request.head);
        }
        Some(request)
    }

    /// Notes that nothing can be sent to a node now.
    fn block(&mut self, context: &mut Context, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target).filter(|way| way.is_waiting()) {
            way.block();
            context.timers.set_if_unset(Timer::Queue(target), context.now.monotonic + way.pause());
        }
    }

    /// Sets the time at which requests in flight are sent again.
    fn await_sign(&mut self, context: &mut Context, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target).filter(|way| way.has_flight()) {
            context.timers.set_if_unset(Timer::Queue(target), context.now.monotonic + way.pause());
        }
    }

    /// Begins again with what is in flight to a node.
    fn rewind(&mut self, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target) {
            way.rewind();
        }
    }

    /// Handles [`Timer::Queue`]: the node has given no sign. Begins again, and waits longer next time.
    pub(in crate::node) fn try_again(&mut self, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target) {
            way.try_again();
        }
        self.may_send(target);
    }

    /// Returns the node that a queued request with this token is for, if it may have been sent.
    fn target_of(&self, token: &str) -> Option<NodeId> {
        if self.sent.is_empty() {
            return None;
        }
        self.sent.get(&digest_of(token)).map(|sent| sent.target)
    }

    /// Notes that a node has taken a request.
    pub(in crate::node) fn is_taken(&mut self, token: &Token) {
        if broken::is(Fault::TakenUnnoticed) {
            return;
        }
        let Some(sent) = self.sent.get_mut(&token.digest()).filter(|sent| !sent.is_taken) else { return };
        sent.is_taken = true;
        let target = sent.target;
        if let Some(way) = self.ways.get_mut(&target) {
            way.is_taken(sent.sequence);
        }
        self.may_send(target);
    }

    pub(in crate::node) fn open_questions(&self) -> Vec<WorkId> {
        self.asked.keys().copied().collect()
    }

    /// Removes a request that was sent and whose end somebody else owes, or that has ended.
    pub(in crate::node) fn forget(&mut self, context: &mut Context, token: &str) {
        if self.sent.is_empty() {
            return;
        }
        let Some(sent) = self.sent.remove(&digest_of(token)) else { return };
        let Sent { target, sequence, bytes, is_taken, .. } = sent;
        self.remove_place(context, target, sequence, (is_taken, false), bytes);
        self.may_send(target);
    }

    /// Removes a request, wherever it stands.
    fn remove(&mut self, context: &mut Context, head: &QueuedHead) {
        let is_taken = self.sent.remove(&head.token.digest()).is_some_and(|sent| sent.is_taken);
        let is_scheduled = head.not_before > 0;
        self.remove_place(context, head.target, head.sequence, (is_taken, is_scheduled), head.len_bytes);
    }

    fn remove_place(
        &mut self,
        context: &mut Context,
        target: NodeId,
        sequence: i64,
        (is_taken, is_scheduled): (bool, bool),
        bytes: u64,
    ) {
        if let Some(way) = self.ways.get_mut(&target) {
            way.remove(sequence, is_taken, is_scheduled, bytes);
        }
        self.forget_size(target, bytes);
        if self.asked.values().any(|asked| !matches!(asked, Asked::Page(_))) {
            self.gone.insert(sequence);
        }
        context.store(StoreChange::Queue(QueueChange::Delete { target, sequence }));
    }

    /// Ends a queued request with an error.
    fn end(&mut self, context: &mut Context, head: &QueuedHead, text: &str) {
        if self.sent.contains_key(&head.token.digest()) {
            context.may_end_late(&head.token);
        }
        self.remove(context, head);
        context.fail(&head.token, text);
    }

    /// Asks whether a token has its end, as its node says.
    fn ask_for_end(&mut self, context: &mut Context, token: &Token) {
        if !context.stores {
            // The node says it again.
            return;
        }
        let work = context.start_work(Work::Queue(QueueQuery::Find(token.clone())));
        self.asked.insert(work, Asked::Ended(token.clone()));
    }

    /// Asks whether a token whose time is over has its end.
    fn look_up(&mut self, context: &mut Context, token: &Token) {
        let work = context.start_work(Work::Queue(QueueQuery::Find(token.clone())));
        self.asked.insert(work, Asked::Expired(token.clone()));
    }

    /// Asks what is known of a token that a caller brought.
    pub(in crate::node) fn ask_for_caller(&mut self, context: &mut Context, token: &Token) -> WorkId {
        let work = context.start_work(Work::Queue(QueueQuery::Find(token.clone())));
        self.asked.insert(work, Asked::Caller);
        work
    }

    /// Handles the answer to a question. Returns it if it is about a token that a caller brought.
    pub(in crate::node) fn answered(
        &mut self,
        context: &mut Context,
        work: WorkId,
        answer: QueueAnswer,
    ) -> Option<KnownOfCaller> {
        let mut known_of_caller = None;
        match (self.asked.remove(&work), answer) {
            (Some(Asked::Page(target)), QueueAnswer::Page(page)) => {
                let sent = &self.sent;
                let is_taken = |digest: i64| sent.get(&digest).is_some_and(|sent| sent.is_taken);
                if let Some(way) = self.ways.get_mut(&target) {
                    way.page_read(work, page, is_taken);
                }
                self.may_send(target);
            }
            // The timer of the node has it tried again.
            (Some(Asked::Page(target)), _) => self.block(context, target),
            (Some(Asked::Due), answer) => self.due_answered(context, answer),
            (Some(Asked::Call(call, what)), answer) => self.call_answered(context, (call, what), answer),
            (Some(Asked::Ended(token)), QueueAnswer::Found(known)) => {
                if known.has_ended {
                    self.forget(context, token.as_str());
                } else {
                    self.is_taken(&token);
                }
            }
            (Some(Asked::Expired(token)), QueueAnswer::Found(known)) => {
                if known.has_ended {
                    self.forget(context, token.as_str());
                }
            }
            (Some(Asked::Caller), QueueAnswer::Found(known)) => known_of_caller = Some((work, Some(known))),
            (Some(Asked::Caller), _) => known_of_caller = Some((work, None)),
            (Some(Asked::Ended(_) | Asked::Expired(_)) | None, _) => {}
        }
        if self.asked.is_empty() {
            self.gone.clear();
        }
        known_of_caller
    }

    /// Stores the clock, if the wall clock was set.
    fn store_clock(&mut self, context: &mut Context) {
        if let Some(ahead) = self.clock.worth_storing(context.now) {
            context.store(StoreChange::Queue(QueueChange::PutClock(ahead)));
        }
    }

    /// Looks whether the wall clock was set while something waits.
    pub(in crate::node) fn look_at_clock(&mut self, context: &mut Context) {
        if !self.ways.is_empty()
            && let Some(ahead) = self.clock.worth_storing(context.now)
        {
            context.store(StoreChange::Queue(QueueChange::PutClock(ahead)));
            self.set_due(context);
        }
    }
}

/// Converts a number of requests.
fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
