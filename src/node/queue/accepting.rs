//! Accepting requests: they are stored before their senders are told.

use crate::config::modules::queue::QueueSettings;
use crate::model::action::Action;
use crate::model::api::{ApiAnswer, CallId};
use crate::model::code::Code;
use crate::model::history::StoreChange;
use crate::model::message::Reply;
use crate::model::node_id::NodeId;
use crate::model::queue::{QueueChange, QueuedHead, QueuedRequest};
use crate::model::token::Token;

use super::options::{self, QueueOptions};
use super::{Queue, number};
use crate::node::context::Context;
use crate::node::journal::Awaited;
use crate::node::nodes::Nodes;
use crate::node::output::{Output, ReceiptId};
use crate::node::peer::{Handled, Peer};
use crate::node::{api, json, taken_tokens};

/// Factors for the bounds of all nodes together.
const ALL_MESSAGES: usize = 10;
const ALL_BYTES: u64 = 4;
/// A request that is being stored.
pub(super) struct Accepting {
    request: QueuedRequest,
    peer: Peer,
    /// The call of the API that started it, with its answer.
    call: Option<(CallId, ApiAnswer)>,
}

/// A new request for the queue.
struct NewRequest {
    token: Token,
    target: NodeId,
    action: Action,
    /// The data without options, see [`options::without_options`].
    data: String,
    /// How long it waits, in seconds.
    ttl: i64,
    /// Wall-clock time before which it is not sent; 0 for none.
    not_before: i64,
}

impl Queue {
    /// Takes a request that may wait. Returns `None` if it does not: it is handled at once.
    pub(in crate::node) fn take(
        &mut self,
        context: &mut Context,
        nodes: &Nodes,
        peer: Peer,
        (action, token): (&Action, &Token),
        (target, data): (&str, &str),
    ) -> Option<Handled> {
        if !options::may_wait(action) {
            return None;
        }
        let is_here = target.is_empty() || context.is_own(target);
        let settings = context.options.modules.proxy.as_ref().map(|proxy| &proxy.queue);
        let has_default = settings.is_some_and(|queue| queue.ttl > 0 || !queue.by_action.is_empty());
        let read = match QueueOptions::read(data, context.now.wall.as_seconds()) {
            Ok(read) => read,
            Err(text) => {
                let data = serde_json::json!({ "error": "invalid_option", "message": text }).to_string();
                context.finish(token, Code::FINISHED_KO, data.clone());
                return Some(Handled::refused(data));
            }
        };
        let is_plain = read == QueueOptions::default() && (!has_default || taken_tokens::is_for_once(data));
        if is_plain || (is_here && read.not_before == 0) || (!is_here && settings.is_none()) {
            return None;
        }
        let settings = settings.cloned().unwrap_or_default();
        let ttl = read.patience(&settings, action)?;
        let data = options::without_options(data)?;
        let target = if is_here { context.own_id } else { target.parse().ok() }?;
        if !is_here
            && let Err(text) = nodes.route_to(context, &target.to_string())
            && nodes.get(target).is_none()
        {
            context.fail(token, &text);
            return Some(Handled::accepted());
        }
        let not_before = read.not_before;
        let new = NewRequest { token: token.clone(), target, action: action.clone(), data, ttl, not_before };
        Some(self.accept(context, peer, new))
    }

    /// Accepts a request: it is stored, and the sender is told when that is done.
    fn accept(&mut self, context: &mut Context, peer: Peer, new: NewRequest) -> Handled {
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
        } else if self.numbers.depth >= number(max_messages.saturating_mul(ALL_MESSAGES)) {
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

    /// Handles the storing of a request. Returns its token if it could not be stored.
    pub(in crate::node) fn stored(
        &mut self,
        context: &mut Context,
        receipt: ReceiptId,
        is_stored: bool,
    ) -> Option<Token> {
        let Accepting { request, peer, call } = self.accepting.remove(&receipt)?;
        let QueuedHead { target, expires, not_before, len_bytes, created, .. } = request.head;
        let token = request.head.token.clone();
        let way = self.ways.get_mut(&target)?;
        if is_stored {
            way.storing = way.storing.saturating_sub(1);
            if way.len() == 0 {
                way.oldest = created;
            }
            if not_before > 0 {
                way.scheduled += 1;
                self.next_begin = Some(self.next_begin.map_or(not_before, |next| next.min(not_before)));
            } else {
                way.add(request);
                self.may_send(target);
            }
            self.next_expiry = Some(self.next_expiry.map_or(expires, |next| next.min(expires)));
            self.set_due(context);
            self.numbers.accepted += 1;
        } else {
            self.forget_storing(target, len_bytes);
            context.fail(&token, "database issue");
        }
        tell(context, (peer, token.clone()), call, is_stored);
        (!is_stored).then_some(token)
    }

    /// Forgets a request that was not stored, because one with its token is queued. That one has the end of both.
    pub(in crate::node) fn left_out(&mut self, context: &mut Context, receipt: ReceiptId) {
        let Some(Accepting { request, peer, call }) = self.accepting.remove(&receipt) else { return };
        let QueuedHead { target, len_bytes, token, .. } = request.head;
        self.forget_storing(target, len_bytes);
        tell(context, (peer, token), call, true);
    }

    fn forget_storing(&mut self, target: NodeId, len_bytes: u64) {
        if let Some(way) = self.ways.get_mut(&target) {
            way.storing = way.storing.saturating_sub(1);
            way.bytes = way.bytes.saturating_sub(len_bytes);
        }
        self.forget_size(target, len_bytes);
    }
}

/// Tells the sender of a request whether it waits.
fn tell(context: &mut Context, (peer, token): (Peer, Token), call: Option<(CallId, ApiAnswer)>, is_stored: bool) {
    if let Some((call, answer)) = call {
        let answer = if is_stored { answer } else { api::cannot_store() };
        context.output(Output::Answer { call, answer });
    }
    if let Some(client) = peer.client() {
        let (code, data) = match is_stored {
            true => (Code::BEGIN, "null".to_owned()),
            false => (Code::FINISHED_KO, json::message("database issue")),
        };
        context.reply(client, Reply { kind: Action::Ack, token: Some(token), code, data });
    }
}
