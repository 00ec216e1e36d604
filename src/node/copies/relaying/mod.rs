//! PROCESSCOPY messages that we pass on to a node behind us: the sender hears of each as soon as there is room for the
//! next, and one that waits for nothing is read no further (docs/protocol.md sections 5 and 12).
//!
//! Between a sender and a receiver of our own kind it is the receiver that confirms, and a way that breaks behind us is
//! told as such, so that the copy goes on later. A chunk that is too large for the next connection goes on in pieces.

mod pieces;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;
use serde_json::Value;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::ending::{confirm, end_after_look};
use crate::node::context::Context;
use crate::node::flow::Why;
use crate::node::json;
use crate::node::nodes::Nodes;
use crate::node::nodes::node::Link;
use crate::node::nodes::pathway::Route;
use crate::node::output::Output;
use crate::node::peer::{Handled, Peer};
use crate::node::trace::passed_on;

/// Bytes of one client that may be on their way before it is read no further, and below which it is read again.
const HIGH_BYTES: usize = 4 << 20;
const LOW_BYTES: usize = 1 << 20;
/// Tokens of copies that have ended, or were interrupted, and are remembered.
const REMEMBERED_MAX: usize = 256;
/// What a sender of our kind hears while the way to the receiver is broken: it asks again.
const INTERRUPTED: &str = "{\"interrupted\":true}";

/// One message on its way.
#[derive(Debug)]
struct Passed {
    token: Token,
    client: Option<ClientId>,
    wants_reply: bool,
    /// Whether the sender is of our kind: until the end is passed on, it is the one who ends the token.
    asks: bool,
    /// Whether the receiver confirms it itself, to a sender that goes on after a break.
    goes_on: bool,
    is_end: bool,
    /// The sender has given up and ends the token itself.
    is_abort: bool,
    len_bytes: usize,
}

/// What is on its way, by the node that it went to.
#[derive(Debug, Default)]
pub(in crate::node) struct Relaying {
    passed: BTreeMap<NodeId, VecDeque<Passed>>,
    bytes: BTreeMap<ClientId, usize>,
    /// Tokens that ended here, the last ones: more of their messages may still come.
    ended: VecDeque<Token>,
    /// Tokens whose way broke here. Chunks that were sent before the sender heard of it still come, perhaps when the
    /// way is there again, and are not for the receiver; a new question is.
    interrupted: VecDeque<Token>,
}

/// The copies that we pass on, with what they work on.
pub(in crate::node) struct Relay<'a> {
    pub context: &'a mut Context,
    pub nodes: &'a mut Nodes,
    pub relaying: &'a mut Relaying,
}

impl Relaying {
    /// Bytes of chunks that nodes behind us have not confirmed.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.values().sum()
    }

    /// A copy has ended here; whether it is said for the first time.
    fn end(&mut self, token: &Token) -> bool {
        remember(&mut self.ended, token)
    }
}

/// Whether the token is new there.
fn remember(tokens: &mut VecDeque<Token>, token: &Token) -> bool {
    if tokens.contains(token) {
        return false;
    }
    if tokens.len() >= REMEMBERED_MAX {
        tokens.pop_front();
    }
    tokens.push_back(token.clone());
    true
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default)]
    content: Option<Inner<'a>>,
}

#[derive(Default, Deserialize)]
struct Inner<'a> {
    #[serde(borrow, default)]
    status: Option<&'a str>,
    /// The sender is of our kind, and wants the receiver to confirm.
    #[serde(default)]
    ack: Value,
    #[serde(default)]
    query: Value,
}

/// What a message is.
#[derive(Clone, Copy)]
struct Part {
    is_end: bool,
    is_abort: bool,
    /// The sender is of our kind, and wants the receiver to confirm.
    asks: bool,
    /// The number of a question what is there already.
    question: Option<i64>,
}

impl Inner<'_> {
    fn part(&self) -> Part {
        Part {
            is_end: self.status == Some("end"),
            is_abort: self.status == Some("abort"),
            asks: json::is_true(&self.ack),
            question: (self.status == Some("query")).then(|| json::integer(&self.query).unwrap_or(0)),
        }
    }
}

/// What we say to a sender of our kind about a message that cannot be passed on, which may be the question of this number.
/// It ends the token, we do not.
fn failed(text: &str, question: Option<i64>) -> String {
    let mut data = question.map_or_else(|| "{".to_owned(), |number| format!("{{\"query\":{number},"));
    data.push_str("\"failed\":");
    json::push_string(&mut data, text);
    data.push('}');
    data
}

/// What we say to the question `number` of a sender of our kind ourselves; `None` where the node can answer it.
fn no_answer(number: i64, is_ours: Option<bool>, link: Link) -> Option<String> {
    match (is_ours, link) {
        (Some(true), Link::Up) => None,
        (Some(false), _) => Some(format!("{{\"query\":{number},\"plain\":true}}")),
        (None | Some(true), _) => Some(format!("{{\"query\":{number},\"interrupted\":true}}")),
    }
}

impl Relay<'_> {
    /// A PROCESSCOPY whose target is not here.
    ///
    /// # Errors
    /// The message of the row that ends the token.
    pub(in crate::node) fn pass_on(
        &mut self,
        (peer, is_of_daemon): (Peer, bool),
        token: &Token,
        route: Route,
        data: String,
    ) -> Result<Handled, String> {
        let outer: Outer<'_> = serde_json::from_str(&data).map_err(|_| "proxy - cannot decode json".to_owned())?;
        let part = outer.content.unwrap_or_default().part();
        let Part { is_end, is_abort, asks, question } = part;
        if question.is_some() {
            // The sender begins anew.
            self.relaying.ended.retain(|ended| ended != token);
        } else if self.relaying.ended.contains(token) {
            return Ok(self.refuse(peer, token, asks));
        }
        let before = self.nodes.sent_through(token);
        self.nodes.note_sent(token, route);
        let passed = self.pass_on_to((peer, is_of_daemon), token, route, data, part);
        let Err(text) = passed else { return passed };
        self.relaying.end(token);
        if is_abort {
            return Ok(Handled::Later);
        }
        if question.is_some() || asks && !is_end {
            Ok(self.answer(peer, token, &failed(&text, question)))
        } else {
            self.end_after(before, peer, token, text)
        }
    }

    /// A PROCESSCOPY whose target cannot be reached: the first one ends the token. A sender of our kind ends it itself, as
    /// long as it has not sent the end.
    ///
    /// # Errors
    /// The message of the row that ends it.
    pub(in crate::node) fn has_no_way(
        &mut self,
        peer: Peer,
        token: &Token,
        data: &str,
        text: String,
    ) -> Result<Handled, String> {
        let outer: Option<Outer<'_>> = serde_json::from_str(data).ok();
        let Part { is_end, is_abort, asks, question } =
            outer.and_then(|outer| outer.content).unwrap_or_default().part();
        if is_abort {
            return Ok(Handled::Later);
        }
        if question.is_some() || asks && !is_end {
            self.relaying.end(token);
            return Ok(self.answer(peer, token, &failed(&text, question)));
        }
        if !self.relaying.end(token) {
            return Ok(self.refuse(peer, token, false));
        }
        let before = self.nodes.sent_through(token);
        self.end_after(before, peer, token, text)
    }

    /// The end of a copy that cannot be passed on. A message of it that went to the node `before` may have ended the token
    /// there, so the history of that node is looked at first.
    ///
    /// # Errors
    /// The message of the row that ends it now.
    fn end_after(
        &mut self,
        before: Option<NodeId>,
        peer: Peer,
        token: &Token,
        text: String,
    ) -> Result<Handled, String> {
        let data = json::message(&text);
        if before.is_some_and(|before| end_after_look(self.context, self.nodes, before, token, &data)) {
            Ok(self.refuse(peer, token, false))
        } else {
            Err(text)
        }
    }

    /// What comes of a copy that has ended here.
    fn refuse(&mut self, peer: Peer, token: &Token, asks: bool) -> Handled {
        let heard = peer.client().filter(|client| asks || client.parent().is_none());
        if let Some(client) = heard {
            confirm(self.context, client, token, Code::FINISHED_KO, json::message("the copy has ended"));
        }
        Handled::Later
    }

    fn pass_on_to(
        &mut self,
        (peer, is_of_daemon): (Peer, bool),
        token: &Token,
        route: Route,
        data: String,
        Part { is_end, is_abort, asks, question }: Part,
    ) -> Result<Handled, String> {
        let through = route.through;
        let Some(node) = self.nodes.get_mut(through) else {
            return Err(format!("proxy - no pathway for target {}", route.target));
        };
        let is_ours = node.sync.peer_pages();
        let goes_on = asks && is_ours == Some(true);
        if let Some(data) = question.and_then(|number| no_answer(number, is_ours, node.link)) {
            return Ok(self.answer(peer, token, &data));
        }
        if question.is_some() {
            self.relaying.interrupted.retain(|interrupted| interrupted != token);
        }
        let is_interrupted = node.link != Link::Up || self.relaying.interrupted.contains(token);
        if goes_on && !is_end && is_interrupted {
            return Ok(self.answer(peer, token, INTERRUPTED));
        }
        node.reachable()?;
        let room_of = (node.dials_in() && !goes_on).then_some(node.client);
        let is_web_socket = node.registration.kind.is_web_socket();
        if is_end {
            if node.owed.is_full() {
                return Err(format!("proxy - too many messages to node '{through}' wait to be confirmed"));
            }
            node.owed.sent_copy(token.clone(), node.sync.serial);
            self.context.open_token(token, Some(through));
            // If the sender's link breaks now, its next sync shows that the end went on.
            if is_of_daemon {
                self.context.write(passed_on(token, through));
            }
        }
        let client = peer.client();
        // A central that we dial hears of it only where it is of our kind and asks for it.
        let wants_reply = client.is_some_and(|client| asks || client.parent().is_none());
        let pieces = if is_web_socket { pieces::split(through, data)? } else { vec![data] };
        let last = pieces.len().saturating_sub(1);
        for (number, data) in pieces.into_iter().enumerate() {
            let (wants_reply, len_bytes) = (wants_reply && number == last, data.len());
            let passed =
                Passed { token: token.clone(), client, wants_reply, asks, goes_on, is_end, is_abort, len_bytes };
            self.relaying.passed.entry(through).or_default().push_back(passed);
            if let Some(client) = client {
                *self.relaying.bytes.entry(client).or_default() += len_bytes;
            }
            let target = Some(route.target_field());
            let message = Message { action: Action::ProcessCopy, token: Some(token.clone()), target, data };
            self.nodes.send(self.context, through, message);
        }
        if let Some(client) = client
            && self.relaying.bytes.get(&client).is_some_and(|bytes| *bytes > HIGH_BYTES)
        {
            self.context.hold(Why::Relay, client);
        }
        if let Some(client) = room_of {
            self.context.output(Output::AwaitRoom { node: through, client });
        }
        Ok(Handled::Later)
    }

    /// Answers a sender of our kind in the place of the receiver.
    fn answer(&mut self, peer: Peer, token: &Token, data: &str) -> Handled {
        if let Some(client) = peer.client() {
            confirm(self.context, client, token, Code::BEGIN, data.to_owned());
        }
        Handled::Later
    }

    /// A push node confirmed a message; whether that was one before the last, which nobody else knows of.
    pub(in crate::node) fn confirmed(&mut self, through: NodeId, token: &Token, code: Code, data: &str) -> bool {
        let Some(passed) = self.take(through, token) else { return false };
        self.settle(&passed, code, data);
        !passed.is_end
    }

    fn take(&mut self, through: NodeId, token: &Token) -> Option<Passed> {
        let passed = self.relaying.passed.get_mut(&through)?;
        let at = passed.iter().position(|passed| passed.token == *token)?;
        passed.remove(at)
    }

    /// Little waits to be sent to a node that dials in: it confirms nothing, so this has to do.
    pub(in crate::node) fn room(&mut self, through: NodeId) {
        let passed = self.relaying.passed.remove(&through).unwrap_or_default();
        let (kept, settled): (VecDeque<Passed>, VecDeque<Passed>) =
            passed.into_iter().partition(|passed| passed.goes_on);
        if !kept.is_empty() {
            self.relaying.passed.insert(through, kept);
        }
        for passed in settled {
            self.settle(&passed, Code::BEGIN, "null");
        }
    }

    /// The way to a node broke: the copies that were on it are over.
    pub(in crate::node) fn link_down(&mut self, through: NodeId) {
        let lost = self.relaying.passed.remove(&through).unwrap_or_default();
        let text = format!("proxy - connection to node '{through}' was lost during the copy");
        // Their end was passed on: the outbox knows of it, or it has arrived.
        let over: BTreeSet<Token> =
            lost.iter().filter(|passed| passed.is_end).map(|passed| passed.token.clone()).collect();
        for passed in lost {
            if passed.goes_on && !passed.is_end {
                remember(&mut self.relaying.interrupted, &passed.token);
                self.settle(&passed, Code::BEGIN, INTERRUPTED);
                continue;
            }
            // One that the outbox knows ends here with the next sync, if it did not arrive; until then nobody knows.
            // If the node was unregistered meanwhile, all that it owed has ended.
            let is_owed = self.nodes.get(through).is_some_and(|node| node.owed.owes(&passed.token))
                || self.context.journal.has_just_ended(&passed.token);
            if is_owed || over.contains(&passed.token) || passed.is_abort {
                self.settle(&passed, Code::BEGIN, "null");
                continue;
            }
            if passed.asks {
                self.relaying.end(&passed.token);
                self.settle(&passed, Code::BEGIN, &failed(&text, None));
                continue;
            }
            let data = json::message(&text);
            self.settle(&passed, Code::FINISHED_KO, &data);
            if self.relaying.end(&passed.token) && !self.looks_first(through, &passed.token, &data) {
                self.context.fail(&passed.token, &text);
            }
        }
    }

    /// Another relay, or a receiver of our kind, that got a part of a copy may end its token with a row of its own: the
    /// token ends here with `data` after a look at its history. `false` when it ends here now.
    fn looks_first(&mut self, through: NodeId, token: &Token, data: &str) -> bool {
        let is_ours = self.nodes.get(through).is_some_and(|node| node.sync.is_of_our_kind());
        let may_end_there = is_ours || !self.nodes.is_sent_to(token.as_str(), through);
        may_end_there && end_after_look(self.context, self.nodes, through, token, data)
    }

    /// A message left the link's queue unsent. Whether a row is to end its token; `None` when it is none of a copy.
    pub(in crate::node) fn not_sent(&mut self, through: NodeId, token: &Token, text: &str) -> Option<bool> {
        let passed = self.take(through, token)?;
        if passed.goes_on && !passed.is_end {
            self.settle(&passed, Code::BEGIN, INTERRUPTED);
            return Some(false);
        }
        if passed.is_abort {
            self.settle(&passed, Code::BEGIN, "null");
            return Some(false);
        }
        if passed.asks && !passed.is_end {
            self.relaying.end(token);
            self.settle(&passed, Code::BEGIN, &failed(text, None));
            return Some(false);
        }
        let data = json::message(text);
        self.settle(&passed, Code::FINISHED_KO, &data);
        // Over a link that is up, parts before it may have arrived.
        let is_up = self.nodes.get(through).is_some_and(|node| node.link == Link::Up);
        let is_new = self.relaying.end(token);
        Some(is_new && !(is_up && self.looks_first(through, token, &data)))
    }

    fn settle(&mut self, passed: &Passed, code: Code, data: &str) {
        let Some(client) = passed.client else { return };
        if passed.wants_reply {
            confirm(self.context, client, &passed.token, code, data.to_owned());
        }
        let Some(bytes) = self.relaying.bytes.get_mut(&client) else { return };
        *bytes = bytes.saturating_sub(passed.len_bytes);
        let bytes = *bytes;
        if bytes == 0 {
            self.relaying.bytes.remove(&client);
        }
        if bytes < LOW_BYTES {
            self.context.release(Why::Relay, client);
        }
    }
}
