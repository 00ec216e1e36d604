//! Requests that wait on disk until their nodes can be reached (docs/queue.md).
//!
//! A request that is accepted is stored first. The daemon that accepted it keeps it until its token has an end,
//! whatever happens to others on the way, and sends it again after any doubt: a node of our kind takes a token once. A
//! node of another kind is handed a request once, which then leaves the queue.
//!
//! Memory holds numbers for each node and the few requests that are about to be sent; all others are on disk only.
//!
//! Out of scope: whether a node can be reached and how it is sent to ([`crate::node::core`]).

mod calls;
mod clock;
mod due;
pub(in crate::node) mod options;
#[cfg(test)]
mod tests;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::modules::queue::QueueSettings;
use crate::model::action::Action;
use crate::model::api::{ApiAnswer, CallId};
use crate::model::code::Code;
use crate::model::history::StoreChange;
use crate::model::message::Reply;
use crate::model::node_id::NodeId;
use crate::model::queue::{QueueAnswer, QueueChange, QueueQuery, QueueStored, QueuedHead, QueuedRequest};
use crate::model::token::{Token, digest_of};
use crate::model::work::{Work, WorkId};

use super::context::Context;
use super::journal::Awaited;
use super::json;
use super::output::{Output, ReceiptId};
use super::peer::{Handled, Peer};
use super::timers::Timer;
pub(in crate::node) use calls::{LISTED_MAX, QueueCall};
use clock::QueueClock;
use options::Place;
use way::Way;

/// Factors for the bounds of all nodes together.
const ALL_MESSAGES: usize = 10;
const ALL_BYTES: u64 = 4;
/// Maximum number of requests that nodes have taken and not ended, above which nothing is sent.
const TAKEN_MAX: usize = 200_000;
/// Time for which a node remembers a token beyond the time to live of the request, in seconds.
const KEEP_BEYOND: i64 = 86_400;

/// Pause before a node gets again what it has not got. Replies about later requests come meanwhile.
const GAP_PAUSE: Duration = Duration::from_millis(100);

/// Numbers about the queue, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Number of requests that are queued now.
    pub depth: usize,
    /// Number of bytes of their data.
    pub bytes: u64,
    /// Age in seconds of the oldest; 0 if nothing waits.
    pub oldest_seconds: i64,
    /// Number of requests accepted since the start.
    pub accepted: u64,
    /// Number of requests that have expired since the start.
    pub expired: u64,
    /// Number of requests that were cancelled since the start.
    pub cancelled: u64,
    /// Number of requests that were refused because the queue was full.
    pub full: u64,
    /// Number of times that a request was sent again after a doubt.
    pub repeated: u64,
}

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
}

/// A request that is being stored.
struct Accepting {
    request: QueuedRequest,
    peer: Peer,
    /// The call of the API that started it, with its answer.
    call: Option<(CallId, ApiAnswer)>,
}

/// The purpose of an open question to the database.
enum Asked {
    Page(NodeId),
    Due,
    Call(CallId, QueueCall),
    /// Whether a token has its end, which its node claims.
    Ended(Token),
}

/// A new request for the queue.
pub(in crate::node) struct NewRequest {
    pub token: Token,
    pub target: NodeId,
    pub action: Action,
    /// The data without options, see [`options::without_options`].
    pub data: String,
    /// How long it waits, in seconds.
    pub ttl: i64,
    /// Wall-clock time before which it is not sent; 0 for none.
    pub not_before: i64,
}

/// What changed, so that the core can act.
#[derive(Default)]
pub(in crate::node) struct Changed {
    /// Nodes to which something may be sent now.
    pub to_send: BTreeSet<NodeId>,
    /// A token whose request could not be stored.
    pub not_stored: Option<Token>,
}

/// What a node of our kind says in its reply to a queued request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum SaidOfPlace {
    /// It has not got the request before this one.
    Gap,
    /// It cannot pass the request on now, or take it.
    Away,
    /// It took the token before.
    Taken,
    /// It took the token before, and the token has ended there.
    Ended,
}

/// All queued requests. Holds command lines: no `Debug`.
#[derive(Default)]
pub(in crate::node) struct Queue {
    ways: BTreeMap<NodeId, Way>,
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

impl SaidOfPlace {
    /// Returns the data of the reply.
    pub(in crate::node) const fn data(self) -> &'static str {
        match self {
            Self::Gap => r#"{"queue":"gap"}"#,
            Self::Away => r#"{"queue":"away"}"#,
            Self::Taken => r#"{"queue":"taken"}"#,
            Self::Ended => r#"{"queue":"ended"}"#,
        }
    }

    /// Reads the data of a reply; `None` for a reply to a request that begins.
    pub(in crate::node) fn read(data: &str) -> Option<Self> {
        [Self::Gap, Self::Away, Self::Taken, Self::Ended].into_iter().find(|said| said.data() == data)
    }
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
            self.numbers.depth += node.ready + node.scheduled;
            self.numbers.bytes = self.numbers.bytes.saturating_add(node.bytes);
        }
        for head in stored.sent {
            if let Some(way) = self.ways.get_mut(&head.target) {
                way.restore_sent(head.sequence, head.token.digest());
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
        };
        self.sent.insert(head.token.digest(), sent);
    }

    /// Returns the numbers about the queue.
    #[expect(dead_code, reason = "for metrics")]
    pub(in crate::node) fn counters(&self, context: &Context) -> QueueCounters {
        let oldest = self.ways.values().map(|way| way.oldest).min();
        let oldest_seconds = oldest.map_or(0, |oldest| self.clock.time(context.now).saturating_sub(oldest).max(0));
        QueueCounters { oldest_seconds, ..self.numbers }
    }

    /// Returns whether an earlier run may have begun with a token that is queued.
    pub(in crate::node) fn keeps(&self, token: &Token) -> bool {
        self.sent.contains_key(&token.digest())
    }

    /// Accepts a request: it is stored, and the sender is told when that is done.
    pub(in crate::node) fn accept(&mut self, context: &mut Context, peer: Peer, new: NewRequest) -> Handled {
        let NewRequest { token, target, action, data, ttl, not_before } = new;
        if self.sent.contains_key(&token.digest()) {
            // A repetition: it is queued, and has one end.
            return Handled::accepted();
        }
        let len_bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if let Some(text) = self.is_full(&context.proxy_settings().queue, target, len_bytes) {
            self.numbers.full += 1;
            context.fail(&token, &text);
            return Handled::refused(json::message(&text));
        }
        let Some(receipt) = context.await_receipt(Awaited::Queue) else {
            context.fail(&token, "database issue");
            return Handled::refused(json::message("database issue"));
        };
        let created = self.clock.time(context.now);
        let wait = not_before.saturating_sub(context.now.wall.as_seconds()).max(0);
        let expires = created.saturating_add(if not_before > 0 { wait } else { 0 }).saturating_add(ttl);
        self.last = self.last.saturating_add(1);
        let sequence = self.last;
        let head = QueuedHead { sequence, token, target, action, created, expires, not_before, sent: 0, len_bytes };
        let request = QueuedRequest { head, data };
        self.store_clock(context);
        let change = StoreChange::Queue(QueueChange::Put(request.clone()));
        context.output(Output::Store { change, receipt: Some(receipt) });
        self.numbers.depth += 1;
        self.numbers.bytes = self.numbers.bytes.saturating_add(len_bytes);
        let way = self.ways.entry(target).or_default();
        way.bytes = way.bytes.saturating_add(len_bytes);
        way.storing += 1;
        self.accepting.insert(receipt, Accepting { request, peer, call: None });
        Handled::Later
    }

    /// Returns why one more request for a node would be too much.
    fn is_full(&self, settings: &QueueSettings, target: NodeId, bytes: u64) -> Option<String> {
        let QueueSettings { max_messages, max_bytes, .. } = *settings;
        let (len, size) = self.ways.get(&target).map_or((0, 0), |way| (way.len(), way.bytes));
        let what = if len >= max_messages {
            format!("{len} requests wait; max_messages: {max_messages}")
        } else if size.saturating_add(bytes) > max_bytes {
            format!("{size} bytes wait; max_bytes: {max_bytes}")
        } else if self.numbers.depth >= max_messages.saturating_mul(ALL_MESSAGES) {
            format!("{} requests wait for all nodes", self.numbers.depth)
        } else if self.numbers.bytes.saturating_add(bytes) > max_bytes.saturating_mul(ALL_BYTES) {
            format!("{} bytes wait for all nodes", self.numbers.bytes)
        } else {
            return None;
        };
        Some(format!("queue full: the queue of node '{target}' is full ({what})"))
    }

    /// Lets the answer of a call of the API wait until the request that it has just started is stored. Returns the
    /// answer if that is not so.
    pub(in crate::node) fn hold_answer(&mut self, token: &Token, call: CallId, answer: ApiAnswer) -> Option<ApiAnswer> {
        match self.accepting.last_entry() {
            Some(mut entry) if entry.get().request.head.token == *token => {
                entry.get_mut().call = Some((call, answer));
                None
            }
            _ => Some(answer),
        }
    }

    /// Handles the storing of a request.
    pub(in crate::node) fn stored(&mut self, context: &mut Context, receipt: ReceiptId, is_stored: bool) -> Changed {
        let mut changed = Changed::default();
        let Some(Accepting { request, peer, call }) = self.accepting.remove(&receipt) else { return changed };
        let QueuedHead { target, expires, not_before, len_bytes, created, .. } = request.head;
        let token = request.head.token.clone();
        let Some(way) = self.ways.get_mut(&target) else { return changed };
        way.storing = way.storing.saturating_sub(1);
        let (code, data) = if is_stored {
            if way.len() == 0 {
                way.oldest = created;
            }
            if not_before > 0 {
                way.scheduled += 1;
                self.next_begin = Some(self.next_begin.map_or(not_before, |next| next.min(not_before)));
            } else {
                way.add(request);
                changed.to_send.insert(target);
            }
            self.next_expiry = Some(self.next_expiry.map_or(expires, |next| next.min(expires)));
            self.set_due(context);
            self.numbers.accepted += 1;
            (Code::BEGIN, "null".to_owned())
        } else {
            way.bytes = way.bytes.saturating_sub(len_bytes);
            self.forget_size(target, len_bytes);
            context.fail(&token, "database issue");
            changed.not_stored = Some(token.clone());
            (Code::FINISHED_KO, json::message("database issue"))
        };
        if let Some((call, answer)) = call {
            let answer = if is_stored { answer } else { super::api::cannot_store() };
            context.output(Output::Answer { call, answer });
        }
        if let Some(client) = peer.client() {
            context.reply(client, Reply { kind: Action::Ack, token: Some(token), code, data });
        }
        changed
    }

    fn forget_size(&mut self, target: NodeId, bytes: u64) {
        self.numbers.depth = self.numbers.depth.saturating_sub(1);
        self.numbers.bytes = self.numbers.bytes.saturating_sub(bytes);
        if self.ways.get(&target).is_some_and(|way| way.len() == 0) {
            self.ways.remove(&target);
        }
    }

    /// Returns the nodes for which something waits.
    pub(in crate::node) fn targets(&self) -> Vec<NodeId> {
        self.ways.keys().copied().collect()
    }

    /// Returns whether nothing waits.
    pub(in crate::node) fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Begins again soon with what is in flight to a node, which has not got some of it.
    pub(in crate::node) fn retry_soon(&mut self, context: &mut Context, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target) {
            way.has_gap = true;
            context.timers.set(Timer::Queue(target), context.now.monotonic + GAP_PAUSE);
        }
    }

    /// Returns whether something waits for a node.
    pub(in crate::node) fn has(&self, target: NodeId) -> bool {
        self.ways.contains_key(&target)
    }

    /// Returns whether something is to be sent to a node now, if that can be reached.
    pub(in crate::node) fn wants_to_send(&self, target: NodeId) -> bool {
        let taken: usize = if self.sent.len() >= TAKEN_MAX { self.sent.len() } else { 0 };
        taken < TAKEN_MAX && self.ways.get(&target).is_some_and(Way::wants_to_send)
    }

    /// Returns the next request for a node; `None` if it must be read first, which then begins.
    pub(in crate::node) fn next(&mut self, context: &mut Context, target: NodeId) -> Option<&QueuedHead> {
        let way = self.ways.get_mut(&target)?;
        if let Some(query) = way.page_wanted(target) {
            let work = context.start_work(Work::Queue(query));
            way.is_read_by(work);
            self.asked.insert(work, Asked::Page(target));
        }
        self.ways.get(&target)?.next().map(|request| &request.head)
    }

    /// Takes the next request to be sent to a node of our kind, with the data for it. `history` is the number of the
    /// node's history, 1 if it is not known.
    pub(in crate::node) fn send_next(
        &mut self,
        context: &mut Context,
        target: NodeId,
        history: i64,
    ) -> Option<(QueuedHead, String)> {
        let way = self.ways.get_mut(&target)?;
        let last = way.last_place();
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
        let place = Place { of: context.own_history, n: head.sequence, after, keep };
        Some((head, options::with_place(&data, place, attempt)))
    }

    /// Takes the next request to be handed over for good: it leaves the queue, unless it `stays` until its end.
    pub(in crate::node) fn hand_over_next(
        &mut self,
        context: &mut Context,
        target: NodeId,
        stays: bool,
    ) -> Option<QueuedRequest> {
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
    pub(in crate::node) fn block(&mut self, context: &mut Context, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target).filter(|way| way.is_waiting()) {
            way.block();
            context.timers.set_if_unset(Timer::Queue(target), context.now.monotonic + way.pause());
        }
    }

    /// Sets the time at which requests in flight are sent again.
    pub(in crate::node) fn await_sign(&mut self, context: &mut Context, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target).filter(|way| way.has_flight()) {
            context.timers.set_if_unset(Timer::Queue(target), context.now.monotonic + way.pause());
        }
    }

    /// Begins again with what is in flight to a node.
    pub(in crate::node) fn rewind(&mut self, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target) {
            way.rewind();
        }
    }

    /// Handles [`Timer::Queue`]: the node has given no sign. Begins again, and waits longer next time.
    pub(in crate::node) fn try_again(&mut self, target: NodeId) {
        if let Some(way) = self.ways.get_mut(&target) {
            way.try_again();
        }
    }

    /// Returns the node that a queued request with this token is for, if it may have been sent.
    pub(in crate::node) fn target_of(&self, token: &str) -> Option<NodeId> {
        if self.sent.is_empty() {
            return None;
        }
        self.sent.get(&digest_of(token)).map(|sent| sent.target)
    }

    /// Notes that a node has taken a request. Returns the node if that is new.
    pub(in crate::node) fn is_taken(&mut self, token: &Token) -> Option<NodeId> {
        let sent = self.sent.get_mut(&token.digest()).filter(|sent| !sent.is_taken)?;
        sent.is_taken = true;
        if let Some(way) = self.ways.get_mut(&sent.target) {
            way.is_taken(sent.sequence);
        }
        Some(sent.target)
    }

    /// Removes a request that was sent and whose end somebody else owes, or that has ended. Returns its node.
    pub(in crate::node) fn forget(&mut self, context: &mut Context, token: &str) -> Option<NodeId> {
        if self.sent.is_empty() {
            return None;
        }
        let Sent { target, sequence, bytes, is_taken, .. } = self.sent.remove(&digest_of(token))?;
        self.remove_place(context, target, sequence, (is_taken, false), bytes);
        Some(target)
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
    pub(in crate::node) fn end(&mut self, context: &mut Context, head: &QueuedHead, text: &str) {
        self.remove(context, head);
        context.fail(&head.token, text);
    }

    /// Asks whether a token has its end, as its node says.
    pub(in crate::node) fn ask_for_end(&mut self, context: &mut Context, token: &Token) {
        let work = context.start_work(Work::Queue(QueueQuery::Find(token.clone())));
        self.asked.insert(work, Asked::Ended(token.clone()));
    }

    /// Handles the answer to a question.
    pub(in crate::node) fn answered(&mut self, context: &mut Context, work: WorkId, answer: QueueAnswer) -> Changed {
        let mut changed = Changed::default();
        match (self.asked.remove(&work), answer) {
            (Some(Asked::Page(target)), QueueAnswer::Page(page)) => {
                let sent = &self.sent;
                let is_taken = |digest: i64| sent.get(&digest).is_some_and(|sent| sent.is_taken);
                if let Some(way) = self.ways.get_mut(&target) {
                    way.page_read(work, page, is_taken);
                }
                changed.to_send.insert(target);
            }
            // The timer of the node has it tried again.
            (Some(Asked::Page(target)), _) => self.block(context, target),
            (Some(Asked::Due), answer) => self.due_answered(context, answer, &mut changed),
            (Some(Asked::Call(call, what)), answer) => self.call_answered(context, (call, what), answer),
            (Some(Asked::Ended(token)), QueueAnswer::Found(known)) => {
                if known.has_ended {
                    changed.to_send.extend(self.forget(context, token.as_str()));
                } else {
                    changed.to_send.extend(self.is_taken(&token));
                }
            }
            (Some(Asked::Ended(_)) | None, _) => {}
        }
        if self.asked.is_empty() {
            self.gone.clear();
        }
        changed
    }

    /// Has a node whose machine was replaced get nothing that was sent to the one before: what it had taken is looked
    /// at again.
    pub(in crate::node) fn node_is_new(&mut self, target: NodeId) {
        let Some(way) = self.ways.get_mut(&target) else { return };
        let taken = self.sent.iter_mut().filter(|(_, sent)| sent.target == target && sent.is_taken);
        let taken = taken.map(|(digest, sent)| {
            sent.is_taken = false;
            (sent.sequence, *digest)
        });
        way.doubt(taken);
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
