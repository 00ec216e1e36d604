//! PROCESSCOPY messages that we pass on to a node behind us. The sender is told of each message as soon as there is
//! room for the next one. Reading from a sender that does not wait for that is paused (docs/protocol.md sections 5 and
//! 12).
//!
//! Between a sender and a receiver of our own kind the receiver confirms, and the sender is told if the route behind us
//! breaks, so that it resumes the copy later. A chunk that is too large for the next connection is split.

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

/// Number of bytes in transit of one client above which reading from it pauses, and below which it resumes.
const HIGH_BYTES: usize = 4 << 20;
const LOW_BYTES: usize = 1 << 20;
/// Maximum number of remembered tokens of copies that have ended or were interrupted.
const REMEMBERED_MAX: usize = 256;
/// Answer to a sender of our own kind while the route to the receiver is broken. It asks again.
const INTERRUPTED: &str = "{\"interrupted\":true}";

/// What the sender of a copy that has ended here gets for the messages that still come.
const ENDED: &str = "the copy has ended";

/// A message in transit.
#[derive(Debug)]
struct Passed {
    token: Token,
    client: Option<ClientId>,
    wants_reply: bool,
    /// Whether the sender is of our own kind: it ends the token itself until the end is passed on.
    asks: bool,
    /// Whether the receiver itself confirms the message, to a sender that resumes after a break.
    goes_on: bool,
    is_end: bool,
    /// The sender has given up and ends the token itself.
    is_abort: bool,
    len_bytes: usize,
}

/// The messages in transit, by the node that they were sent to.
#[derive(Debug, Default)]
pub(in crate::node) struct Relaying {
    passed: BTreeMap<NodeId, VecDeque<Passed>>,
    bytes: BTreeMap<ClientId, usize>,
    /// Tokens of the most recent copies that ended here. More of their messages may still arrive.
    ended: VecDeque<Token>,
    /// Tokens of the most recent copies that pass through.
    passing: VecDeque<Token>,
    /// Tokens of such copies whose last row is here, from a daemon behind us. Nobody may end them again.
    over: VecDeque<Token>,
    /// Tokens of copies whose route broke here. Chunks that were sent before the sender knew of it may still arrive,
    /// possibly when the route is back, and must not reach the receiver; a new query must.
    interrupted: VecDeque<Token>,
}

/// The copies that we pass on, with references to the state that they use.
pub(in crate::node) struct Relay<'a> {
    pub context: &'a mut Context,
    pub nodes: &'a mut Nodes,
    pub relaying: &'a mut Relaying,
}

impl Relaying {
    /// Returns the number of bytes of chunks that nodes behind us have not confirmed.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.values().sum()
    }

    /// Notes that a copy has ended here. Returns whether that is new.
    fn end(&mut self, token: &Token) -> bool {
        remember(&mut self.ended, token)
    }

    /// Notes that a token has its last row, whoever wrote it.
    pub(in crate::node) fn token_ended(&mut self, token: &str) {
        if let Some(at) = self.passing.iter().position(|passing| passing.as_str() == token)
            && let Some(token) = self.passing.remove(at)
        {
            remember(&mut self.over, &token);
        }
    }
}

/// Adds a token, and removes the oldest if there are too many. Returns whether it is new.
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
    /// Set if the sender is of our own kind and wants the receiver to confirm.
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
    /// Whether the sender is of our own kind and wants the receiver to confirm.
    asks: bool,
    /// The number of a query for the data that is already there.
    question: Option<i64>,
}

impl Inner<'_> {
    fn part(&self) -> Part {
        Part {
            is_end: self.status == Some("end"),
            is_abort: self.status == Some("abort"),
            asks: json::is_true(&self.ack),
            question: match self.status {
                Some("query") => Some(json::integer(&self.query).unwrap_or(0)),
                // The first step of a copy from the node.
                Some("fetch") => json::integer(&self.query),
                _ => None,
            },
        }
    }
}

/// Returns the answer to a sender of our own kind about a message that cannot be passed on, with the number of its
/// query, if it is one. The sender ends the token.
fn failed(text: &str, question: Option<i64>) -> String {
    let mut data = question.map_or_else(|| "{".to_owned(), |number| format!("{{\"query\":{number},"));
    data.push_str("\"failed\":");
    json::push_string(&mut data, text);
    data.push('}');
    data
}

/// Returns our own answer to query `number` of a sender of our own kind; `None` if the node can answer it.
fn no_answer(number: i64, is_ours: Option<bool>, link: Link) -> Option<String> {
    match (is_ours, link) {
        (Some(true), Link::Up) => None,
        (Some(false), _) => Some(format!("{{\"query\":{number},\"plain\":true}}")),
        (None | Some(true), _) => Some(format!("{{\"query\":{number},\"interrupted\":true}}")),
    }
}

impl Relay<'_> {
    /// Passes on a PROCESSCOPY with another target than this daemon.
    ///
    /// # Errors
    /// Returns the message of the row that ends the token.
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
        if self.relaying.over.contains(token) {
            return Ok(self.refuse(peer, token, asks));
        }
        if question.is_some() {
            // The sender starts again.
            self.relaying.ended.retain(|ended| ended != token);
        } else if self.relaying.ended.contains(token) {
            // The sender of such a message ends the token itself. A code that is terminal would promise it a row.
            let ends_itself = asks && !is_end;
            return Ok(if ends_itself {
                self.answer(peer, token, &failed(ENDED, None))
            } else {
                self.refuse(peer, token, asks)
            });
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
            self.end_after(before, (peer, asks, is_end), token, text)
        }
    }

    /// Handles a PROCESSCOPY whose target cannot be reached. The first one ends the token. A sender of our own kind
    /// ends it itself until it has sent the end.
    ///
    /// # Errors
    /// Returns the message of the row that ends the token.
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
        if self.relaying.over.contains(token) {
            return Ok(self.refuse(peer, token, asks));
        }
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
        self.end_after(before, (peer, asks, is_end), token, text)
    }

    /// Ends a copy that cannot be passed on. One of its messages went to the node `before` and may have ended the token
    /// there, so the history of that node is read first.
    ///
    /// # Errors
    /// Returns the message of the row that ends the token now.
    fn end_after(
        &mut self,
        before: Option<NodeId>,
        (peer, asks, is_end): (Peer, bool, bool),
        token: &Token,
        text: String,
    ) -> Result<Handled, String> {
        let data = json::message(&text);
        if before.is_some_and(|before| end_after_look(self.context, self.nodes, before, token, &data)) {
            if !is_end {
                return Ok(self.refuse(peer, token, false));
            }
            // The row comes from here. After a terminal code the sender would write one as well.
            if let Some(client) = peer.client().filter(|client| asks || client.parent().is_none()) {
                confirm(self.context, client, token, Code::BEGIN, "null".to_owned());
            }
            Ok(Handled::Later)
        } else {
            Err(text)
        }
    }

    /// Answers a message of a copy that has ended here.
    fn refuse(&mut self, peer: Peer, token: &Token, asks: bool) -> Handled {
        let heard = peer.client().filter(|client| asks || client.parent().is_none());
        if let Some(client) = heard {
            confirm(self.context, client, token, Code::FINISHED_KO, json::message(ENDED));
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
        remember(&mut self.relaying.passing, token);
        if is_end {
            if node.owed.is_full() {
                return Err(format!("proxy - too many messages to node '{through}' wait to be confirmed"));
            }
            node.owed.sent_copy(token.clone(), node.sync.serial);
            self.context.open_token(token, Some(through));
            // If the sender's link breaks now, its next sync shows that the end was passed on.
            if is_of_daemon {
                self.context.write(passed_on(token, through));
            }
        }
        let client = peer.client();
        // A central that we dial is told only if it is of our own kind and asks for it.
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

    /// Answers a sender of our own kind in place of the receiver.
    fn answer(&mut self, peer: Peer, token: &Token, data: &str) -> Handled {
        if let Some(client) = peer.client() {
            confirm(self.context, client, token, Code::BEGIN, data.to_owned());
        }
        Handled::Later
    }

    /// Handles the confirmation of a message by a push node. Returns whether it was a message before the last one,
    /// which concerns nothing else.
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

    /// Handles room in the send queue of a node that dials in. Such a node confirms nothing, so room counts as a
    /// confirmation.
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

    /// Ends the copies on a route that has broken.
    pub(in crate::node) fn link_down(&mut self, through: NodeId) {
        let lost = self.relaying.passed.remove(&through).unwrap_or_default();
        let text = format!("proxy - connection to node '{through}' was lost during the copy");
        // Their end was passed on: it is in the outbox, or it has arrived.
        let over: BTreeSet<Token> =
            lost.iter().filter(|passed| passed.is_end).map(|passed| passed.token.clone()).collect();
        for passed in lost {
            if self.relaying.over.contains(&passed.token) {
                self.settle(&passed, Code::FINISHED_KO, &json::message(ENDED));
                continue;
            }
            if passed.goes_on && !passed.is_end {
                remember(&mut self.relaying.interrupted, &passed.token);
                self.settle(&passed, Code::BEGIN, INTERRUPTED);
                continue;
            }
            // If it is in the outbox, the next sync ends it unless it arrived; until then the result is unknown. If the
            // node has been unregistered, everything that it owed has ended.
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

    /// Ends a token with `data` after a look at the history of `through`, if that is another relay, which may have ended
    /// the token with a row of its own. Returns `false` if the token must end now.
    fn looks_first(&mut self, through: NodeId, token: &Token, data: &str) -> bool {
        let is_relayed = !self.nodes.is_sent_to(token.as_str(), through);
        is_relayed && end_after_look(self.context, self.nodes, through, token, data)
    }

    /// Handles a message that left the queue of the link unsent. Returns whether a row must end its token; `None` if it
    /// belongs to no copy.
    pub(in crate::node) fn not_sent(&mut self, through: NodeId, token: &Token, text: &str) -> Option<bool> {
        let passed = self.take(through, token)?;
        if self.relaying.over.contains(token) {
            self.settle(&passed, Code::FINISHED_KO, &json::message(ENDED));
            return Some(false);
        }
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
