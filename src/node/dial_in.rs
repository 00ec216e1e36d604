//! Nodes that connect to us (docs/protocol.md sections 8 and 9): pull nodes over the external socket, pullwss nodes
//! over a WebSocket. Each is bound to the client that last registered it.
//!
//! A WebSocket client may speak for its own id and the nodes behind it only, and is never answered with an ACK.
//!
//! Out of scope: sessions and connections. Whether a client can be reached is told by the inputs.

mod rival;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::registration::{NodeKind, Registration};
use crate::model::token::Token;

use super::core::Core;
use super::counters::Way;
use super::nodes::node::Link;
use super::nodes::registration::read_registration;
use super::output::{Output, Twice};
use super::timers::Timer;

/// Characters of an identity at most.
const IDENTITY_LEN_MAX: usize = 256;
/// The last word to a WebSocket whose first message registers nothing.
const PLEASE_REGISTER: &str = r#"{"code":500,"message":"please registernodes"}"#;

/// Which client speaks for which node; at most one client per node.
#[derive(Debug, Default)]
pub(super) struct DialledIn {
    nodes: BTreeMap<ClientId, NodeId>,
    /// Clients that want to speak for a node that another client speaks for.
    rivals: BTreeMap<NodeId, Newcomer>,
}

/// A client that registers itself as a node.
#[derive(Clone, Debug)]
pub(super) struct Newcomer {
    client: ClientId,
    /// What it calls itself: its id or its uid.
    name: NodeId,
    registration: Registration,
    /// A word that its daemon made up at its start; a Perl daemon has none.
    instance: Option<Box<str>>,
}

impl Newcomer {
    /// `entry` is the entry of REGISTERNODES that was read.
    pub(super) fn new(client: ClientId, registration: Registration, entry: &Value) -> Self {
        let instance = entry.get("instance").and_then(Value::as_str).filter(|word| word.len() <= IDENTITY_LEN_MAX);
        let name = entry.get("id").and_then(|id| NodeId::from_json(id).ok()).unwrap_or(registration.id);
        Self { client, name, registration, instance: instance.map(Into::into) }
    }
}

impl Core {
    /// A pull node registers itself over the external socket.
    ///
    /// # Errors
    /// Why it is not bound to the client.
    pub(super) fn pull_node_dialled_in(&mut self, mut newcomer: Newcomer) -> Result<(), String> {
        if newcomer.client.parent().is_some() {
            let text = "our central cannot be a pull node of ours: registration ignored";
            self.context.log(LogLine::warning("proxy", text));
            return Err(text.to_owned());
        }
        newcomer.registration = self.context.names.by_ids(newcomer.registration);
        let client = newcomer.client;
        self.bind(newcomer).inspect_err(|reason| self.log_refusal(client, reason))
    }

    /// Messages of a pull node other than requests: `true` when the message is dealt with.
    pub(super) fn said_by_pull_node(&mut self, client: ClientId, message: &Message) -> bool {
        let Some(id) = self.dialled_in.nodes.get(&client).copied() else { return false };
        if self.nodes.get(id).is_some_and(|node| node.link != Link::Up) {
            self.context.timers.cancel(&Timer::Unlisted(id));
            self.link_up(id);
        }
        if !matches!(message.action, Action::Ack | Action::Pong | Action::SetLogs | Action::SyncLogs) {
            return false;
        }
        self.counters.count(Way::External, &message.action);
        self.node_message(id, message);
        self.older_answers(id);
        true
    }

    /// A message came over a WebSocket.
    pub(super) fn web_socket_message(&mut self, client: ClientId, message: &Message) {
        self.counters.count(Way::External, &message.action);
        let own = self.dialled_in.nodes.get(&client).copied();
        let now = self.context.now.monotonic;
        if let Some(node) = own.and_then(|id| self.nodes.get_quietly(id)) {
            node.heard = Some(now);
        }
        if let Some(id) = own.filter(|_| message.action != Action::UnregisterNodes) {
            self.older_answers(id);
        }
        match (own, &message.action) {
            (None, Action::RegisterNodes) => self.web_socket_registers(client, None, &message.data),
            // An answer to what it was asked before the database took it away.
            (None, Action::Ack | Action::Pong | Action::SetLogs | Action::SyncLogs) if self.has_left(client) => {}
            (None, _) if self.is_rival(client) => {}
            (None, _) => self.refuse_web_socket(client, "its first message is not REGISTERNODES"),
            (Some(id), Action::RegisterNodes) => self.web_socket_registers(client, Some(id), &message.data),
            (Some(id), Action::UnregisterNodes) => self.web_socket_unregisters(id, &message.data),
            (Some(id), Action::Ack | Action::Pong | Action::SetLogs | Action::SyncLogs) => {
                self.node_message(id, message);
            }
            (Some(id), action) => {
                let word: String = action.as_str().chars().take(64).collect();
                self.context.log(LogLine::warning("proxy", format!("node '{id}' may not send {word}: ignored")));
            }
        }
    }

    fn refuse_web_socket(&mut self, client: ClientId, reason: &str) {
        self.log_refusal(client, &format!("a WebSocket is closed: {reason}"));
        self.context.output(Output::CloseClient { client, refusal: Some(PLEASE_REGISTER.to_owned()) });
    }

    /// The first message of a WebSocket, or the keep-alive.
    fn web_socket_registers(&mut self, client: ClientId, own: Option<NodeId>, data: &str) {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let nodes = data.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let [node] = nodes else {
            return self.refuse_web_socket(client, "REGISTERNODES of a WebSocket names exactly one node");
        };
        let registration = match read_registration(node) {
            Ok(said) => self.context.names.by_ids(said),
            Err(text) => return self.refuse_web_socket(client, &text),
        };
        let id = registration.id;
        if registration.kind != NodeKind::WebSocket {
            return self.refuse_web_socket(client, &format!("node '{id}' must register with the type wss"));
        }
        if let Some(own) = own.filter(|own| *own != id) {
            if self.is_behind(own, id) {
                let text = format!("node '{own}' registers node '{id}', which is behind it: ignored");
                return self.context.log(LogLine::warning("proxy", text));
            }
            self.refuse_web_socket(client, &format!("node '{own}' registers node '{id}', which it is not"));
            return self.client_gone(client);
        }
        // The token is shared by all nodes: it must not take over one that is known by its own key.
        let other = match self.nodes.get(id).map(|node| &node.registration.kind) {
            None | Some(NodeKind::WebSocket) => None,
            Some(NodeKind::Pull) => Some("a pull node: register it with the type wss, or unregister it"),
            Some(_) => Some("one that we connect to"),
        };
        if let Some(kind) = other {
            return self.refuse_web_socket(client, &format!("node '{id}' is registered as {kind}"));
        }
        // Only the register file may prevail, and a node that is connected has an identity.
        let identity = registration.identity.clone().or_else(|| Some(id.to_string()));
        let registration = Registration { prevail: false, identity, ..registration };
        if let Err(reason) = self.bind(Newcomer::new(client, registration, node)) {
            self.refuse_web_socket(client, &reason);
        }
    }

    fn web_socket_unregisters(&mut self, own: NodeId, data: &str) {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let nodes = data.get("nodes").and_then(Value::as_array).into_iter().flatten();
        for id in nodes.filter_map(|node| NodeId::from_json(node.get("id")?).ok()).take(2) {
            let id = self.context.names.id_of(id);
            if id == own {
                self.unregister(own);
                return;
            }
            let text = format!("node '{own}' may not unregister node '{id}': ignored");
            self.context.log(LogLine::warning("proxy", text));
        }
    }

    /// Whether `id` is reached through `parent`.
    fn is_behind(&self, parent: NodeId, id: NodeId) -> bool {
        id != parent && self.nodes.registry.candidates(id).any(|(through, ..)| through == parent)
    }

    /// Whether a node may register itself: a listed one may, any other within bounds.
    fn admit_unlisted(&self, id: NodeId, client: ClientId) -> Result<(), String> {
        if self.nodes.get(id).is_some() || self.is_listed(id, client) {
            return Ok(());
        }
        let proxy = self.context.options.proxy.as_ref();
        let awaits_database = self.context.options.pollers.is_some();
        let only_listed = proxy.and_then(|proxy| proxy.only_listed);
        let only_listed = only_listed.unwrap_or_else(|| self.wanted.lists_one_that_dials_in(awaits_database));
        self.unlisted.admit(id, client, only_listed)
    }

    /// Whether a list, or a key or token that is bound to it, names a node.
    fn is_listed(&self, id: NodeId, client: ClientId) -> bool {
        let server = self.context.options.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
        let has_token = server.is_some_and(|server| server.tokens.iter().any(|token| token.node == Some(id)));
        has_token || self.wanted.lists(id) || self.guard.node_of(client) == Some(id)
    }

    /// An unlisted node has lost its client.
    fn unlisted_has_left(&mut self, id: NodeId) {
        if self.unlisted.contains(id) && self.nodes.get(id).is_some_and(|node| node.client.is_none()) {
            self.context.timers.cancel(&Timer::Unlisted(id));
            self.unregister(id);
        }
    }

    /// [`Timer::Unlisted`]: an unlisted node has not come back with its session.
    pub(super) fn unlisted_stays_away(&mut self, id: NodeId) {
        let client = self.nodes.get(id).and_then(|node| node.client);
        if let Some(client) = client.filter(|_| self.unlisted.contains(id)) {
            self.release_client(id, client);
            self.unlisted_has_left(id);
        }
    }

    /// A client that wanted to register a node is refused.
    fn log_refusal(&mut self, client: ClientId, reason: &str) {
        let line = self.unlisted.refusal_line(client, reason, self.context.now.monotonic);
        if let Some(line) = line {
            self.context.log(line);
        }
    }

    /// A client speaks for a node from now on. `name` is what it calls itself: its id or its uid. The keep-alive costs next to nothing.
    ///
    /// # Errors
    /// Why the node is refused.
    fn bind(&mut self, newcomer: Newcomer) -> Result<(), String> {
        let Registration { id, identity, .. } = &newcomer.registration;
        if identity.as_ref().is_some_and(|identity| identity.len() > IDENTITY_LEN_MAX) {
            return Err(format!("node '{id}' is not registered: its identity is too long"));
        }
        if self.must_wait(&newcomer) { Ok(()) } else { self.bind_now(newcomer) }
    }

    fn bind_now(&mut self, Newcomer { client, name, mut registration, instance }: Newcomer) -> Result<(), String> {
        let id = registration.id;
        self.admit_unlisted(id, client)?;
        let is_new = self.nodes.get(id).is_none();
        let known = self.nodes.get(id);
        let adds = known.is_some_and(|node| {
            !registration.subnodes.is_empty() && node.registration.subnodes != registration.subnodes
        });
        let only_identity = known.is_some_and(|node| node.dials_in() && (node.registration.prevail || !adds));
        // Whether the node is known all the same is what counts below.
        let refused = if only_identity { None } else { self.register(registration.clone()).err() };
        if self.nodes.get(id).is_none_or(|node| !node.dials_in()) {
            let text = format!("node '{id}' has dialled in, but it is not registered as one that may: ignored");
            return Err(refused.unwrap_or(text));
        }
        if is_new && !self.is_listed(id, client) {
            self.unlisted.insert(id, client);
        }
        let bound = self.nodes.get(id).and_then(|node| node.client);
        let identity = registration.identity.take();
        if let Some(before) = bound.filter(|before| *before != client) {
            let is_again = instance.is_some() && instance == self.nodes.get(id).and_then(|node| node.instance.clone());
            let twice = match self.context.proxy_settings().replaces_twice {
                _ if is_again => Twice::Again,
                true => Twice::Replaced,
                false => Twice::Silent,
            };
            self.replace_client(id, before, client, twice);
        }
        if let Some(other) = self.dialled_in.nodes.get(&client).copied().filter(|other| *other != id) {
            self.release_client(other, client);
            self.unlisted_has_left(other);
        }
        self.dialled_in.nodes.insert(client, id);
        self.context.timers.cancel(&Timer::Unlisted(id));
        let known = self.nodes.get(id).map(|node| (node.client, node.link));
        if known == Some((Some(client), Link::Up))
            && self
                .nodes
                .get(id)
                .is_some_and(|node| node.registration.identity == identity && node.instance == instance)
        {
            return Ok(());
        }
        let Some(node) = self.nodes.get_mut(id) else { return Ok(()) };
        node.client = Some(client);
        node.calls_itself(name);
        node.instance = instance;
        node.registration.identity = identity;
        if node.link != Link::Up {
            self.context.log(LogLine::info("proxy", format!("node '{id}' is connected")));
            self.link_up(id);
        }
        Ok(())
    }

    /// A node that was unregistered while it was connected is registered again: its client, if it speaks for nobody
    /// else, goes on.
    pub(super) fn bind_again(&mut self, id: NodeId, client: ClientId) {
        let is_free = !self.dialled_in.nodes.contains_key(&client);
        let known = self.nodes.get(id).filter(|node| is_free && node.dials_in() && node.client.is_none());
        let again = known.map(|node| (node.name_of(id), node.registration.clone(), node.instance.clone()));
        if let Some((name, registration, instance)) = again {
            let identity = registration.identity.clone().or_else(|| Some(id.to_string()));
            let registration = Registration { identity, ..registration };
            if let Err(reason) = self.bind(Newcomer { client, name, registration, instance }) {
                self.log_refusal(client, &reason);
            }
        }
    }

    /// A node has come with another connection.
    fn replace_client(&mut self, id: NodeId, before: ClientId, client: ClientId, twice: Twice) {
        self.release_client(id, before);
        self.context.output(Output::NodeMoved { node: id, before, client, twice });
        if self.nodes.get(id).is_some_and(|node| node.registration.kind == NodeKind::WebSocket) {
            self.context.output(Output::CloseClient { client: before, refusal: None });
        }
    }

    /// Nothing more goes to a client as to a node.
    pub(super) fn release_client(&mut self, id: NodeId, client: ClientId) {
        self.dialled_in.nodes.remove(&client);
        if let Some(node) = self.nodes.get_mut(id) {
            node.client = None;
        }
        self.link_down(id, "its connection has ended");
    }

    /// A session or a WebSocket has ended.
    pub(super) fn client_gone(&mut self, client: ClientId) {
        self.subscribers.gone(client);
        self.malformed.forget(client);
        self.guard.forget(client);
        self.forget_left_client(client);
        self.context.timers.cancel(&Timer::Subscriber(client));
        self.unlisted.forget_client(client);
        if let Some(id) = self.dialled_in.nodes.get(&client).copied() {
            self.release_client(id, client);
            self.older_is_silent(id);
            self.unlisted_has_left(id);
        }
        self.rival_is_gone(client);
    }

    /// A message for a client did not leave, or its connection broke while the session goes on.
    pub(super) fn client_not_reached(&mut self, client: ClientId, token: Option<&Token>) {
        let Some(id) = self.dialled_in.nodes.get(&client).copied() else { return };
        if token.is_some() {
            self.send_failed(id, token, "it is not connected");
        }
        self.ping_not_sent(id);
        if self.unlisted.contains(id) {
            let patience = self.context.proxy_settings().pong_discard_timeout;
            self.context.timers.set_if_unset(Timer::Unlisted(id), self.context.now.monotonic + patience);
        }
        self.link_down(id, "it is not connected");
        self.older_is_silent(id);
    }
}
