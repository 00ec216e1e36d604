//! Nodes that connect to us (docs/protocol.md sections 8 and 9): pull nodes over the external socket, pullwss nodes
//! over a WebSocket. Each is bound to the client that last registered it.
//!
//! A WebSocket client may speak only for its own id and the nodes behind it, and is never answered with an ACK.
//!
//! Out of scope: sessions and connections. The inputs tell whether a client can be reached.

#[cfg(test)]
#[path = "dial_in_tests.rs"]
mod tests;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::connection::{ClientId, PeerAddress};
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::registration::{NodeKind, Registration};

use super::Nodes;
use super::newcomer::{IDENTITY_LEN_MAX, Newcomer};
use super::node::Link;
use super::pings::ping;
use super::registration::read_registration;
use crate::node::context::Context;
use crate::node::output::{Output, Twice};
use crate::node::timers::Timer;

/// Maximum number of remembered clients whose nodes are not in any list. Other clients have to register again.
const LEFT_MAX: usize = 1_000;

/// The answer to a WebSocket that only asks whether it may register.
const MAY_REGISTER: &str = "the node may register";
/// The last message to a WebSocket whose first message registers nothing.
const PLEASE_REGISTER: &str = r#"{"code":500,"message":"please registernodes"}"#;

impl Nodes {
    /// Handles the registration of a pull node by itself over the external socket.
    ///
    /// # Errors
    /// Returns why it is not bound to the client.
    pub(super) fn pull_node_dialled_in(&mut self, context: &mut Context, mut newcomer: Newcomer) -> Result<(), String> {
        let client = newcomer.client;
        if client.parent().is_some() {
            let text = "our central cannot be a pull node of ours: registration ignored";
            context.log(LogLine::warning("proxy", text));
            return Err(text.to_owned());
        }
        newcomer.registration = context.names.by_ids(newcomer.registration);
        if newcomer.is_probe {
            return self.judge(context, &newcomer);
        }
        self.bind(context, newcomer).inspect_err(|reason| self.log_refusal(context, client, reason))
    }

    /// Returns the node that a client speaks for.
    pub(in crate::node) fn spoken_for_by(&self, client: ClientId) -> Option<NodeId> {
        self.dialled_in.get(&client).copied()
    }

    /// Notes a message of a pull node: its link is up again.
    pub(in crate::node) fn is_heard(&mut self, context: &mut Context, id: NodeId) {
        if self.get(id).is_some_and(|node| node.link != Link::Up) {
            context.timers.cancel(&Timer::Unlisted(id));
            self.link_up(context, id);
        }
    }

    /// Handles a message that arrived over a WebSocket. Returns the node that sent it, if it is an answer.
    pub(in crate::node) fn web_socket_message(
        &mut self,
        context: &mut Context,
        (client, named): (ClientId, Option<NodeId>),
        message: &Message,
    ) -> Option<NodeId> {
        let own = self.dialled_in.get(&client).copied();
        let now = context.now.monotonic;
        if let Some(node) = own.and_then(|id| self.get_quietly(id)) {
            node.heard = Some(now);
        }
        if let Some(id) = own.filter(|_| message.action != Action::UnregisterNodes) {
            self.older_answers(context, id);
        }
        match (own, &message.action) {
            (_, Action::RegisterNodes) => self.web_socket_registers(context, (client, named), own, &message.data),
            // An answer to a question from before the database removed the node.
            (None, action) if is_answer(action) && self.has_left(client) => {}
            (None, _) if self.is_rival(client) => {}
            (None, _) => self.refuse_web_socket(context, client, "its first message is not REGISTERNODES"),
            (Some(id), Action::UnregisterNodes) => self.web_socket_unregisters(context, id, &message.data),
            (Some(id), action) if is_answer(action) => return Some(id),
            (Some(id), action) => {
                let word: String = action.as_str().chars().take(64).collect();
                context.log(LogLine::warning("proxy", format!("node '{id}' may not send {word}: ignored")).of_node(id));
            }
        }
        None
    }

    pub(super) fn refuse_web_socket(&mut self, context: &mut Context, client: ClientId, reason: &str) {
        self.log_refusal(context, client, &format!("a WebSocket is closed: {reason}"));
        context.output(Output::CloseClient { client, refusal: Some(PLEASE_REGISTER.to_owned()) });
    }

    /// Handles the first message of a WebSocket, or the keep-alive.
    fn web_socket_registers(
        &mut self,
        context: &mut Context,
        (client, named): (ClientId, Option<NodeId>),
        own: Option<NodeId>,
        data: &str,
    ) {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let nodes = data.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let [node] = nodes else {
            return self.refuse_web_socket(context, client, "REGISTERNODES of a WebSocket must name exactly one node");
        };
        let registration = match read_registration(node) {
            Ok(said) => context.names.by_ids(said),
            Err(text) => return self.refuse_web_socket(context, client, &text),
        };
        let id = registration.id;
        if !registration.kind.is_web_socket() {
            return self.refuse_web_socket(context, client, &format!("node '{id}' must register with the type wss"));
        }
        if let Some(own) = own.filter(|own| *own != id) {
            if self.is_behind(own, id) {
                let text = format!("node '{own}' registers node '{id}', which is behind it: ignored");
                return context.log(LogLine::warning("proxy", text).of_node(own));
            }
            self.refuse_web_socket(context, client, &format!("node '{own}' registers node '{id}', which it is not"));
            return self.client_gone(context, client);
        }
        // All nodes share the token, so it must not take over a node that is known by its own key.
        let other = match self.get(id).map(|node| &node.registration.kind) {
            Some(kind) if kind.dialled_by_us() => Some("one that we connect to"),
            Some(kind) if !kind.is_web_socket() => Some("a pull node: register it with the type wss, or unregister it"),
            _ => None,
        };
        if let Some(kind) = other {
            return self.refuse_web_socket(context, client, &format!("node '{id}' is registered as {kind}"));
        }
        // Only the register file may prevail, and a connected node has an identity.
        let identity = registration.identity.clone().or_else(|| Some(id.to_string()));
        let registration = Registration { prevail: false, identity, ..registration };
        let newcomer = Newcomer::new((client, named), registration, node);
        if newcomer.is_probe {
            let refusal = self.judge(context, &newcomer).map_or_else(|text| text, |()| MAY_REGISTER.to_owned());
            let refusal = serde_json::json!({ "code": 500, "message": refusal }).to_string();
            return context.output(Output::CloseClient { client, refusal: Some(refusal) });
        }
        if let Err(reason) = self.bind(context, newcomer) {
            self.refuse_web_socket(context, client, &reason);
        }
    }

    fn web_socket_unregisters(&mut self, context: &mut Context, own: NodeId, data: &str) {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let nodes = data.get("nodes").and_then(Value::as_array).into_iter().flatten();
        for id in nodes.filter_map(|node| NodeId::from_json(node.get("id")?).ok()).take(2) {
            let id = context.names.id_of(id);
            if id == own {
                self.unregister(context, own);
                return;
            }
            let text = format!("node '{own}' may not unregister node '{id}': ignored");
            context.log(LogLine::warning("proxy", text).of_node(own));
        }
    }

    /// Returns whether `id` is reached through `parent`.
    fn is_behind(&self, parent: NodeId, id: NodeId) -> bool {
        id != parent && self.registry.candidates(id).any(|(through, ..)| through == parent)
    }

    /// Checks whether a node may register itself: a listed one may, any other within limits.
    fn admit_unlisted(
        &self,
        context: &Context,
        id: NodeId,
        (client, named): (ClientId, Option<NodeId>),
    ) -> Result<(), String> {
        if self.get(id).is_some() || self.is_listed(context, id, named) {
            return Ok(());
        }
        let proxy = context.options.modules.proxy.as_ref();
        let awaits_database = context.options.modules.nodes.is_some();
        let only_listed = proxy.and_then(|proxy| proxy.only_listed);
        let only_listed = only_listed.unwrap_or_else(|| self.wanted.lists_one_that_dials_in(awaits_database));
        self.unlisted.admit(id, client, only_listed)
    }

    /// Returns whether a list contains a node, or a key or token is bound to it.
    fn is_listed(&self, context: &Context, id: NodeId, named: Option<NodeId>) -> bool {
        let server = context.options.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
        let has_token = server.is_some_and(|server| server.tokens.iter().any(|token| token.node == Some(id)));
        has_token || self.wanted.lists(id) || named == Some(id)
    }

    /// Handles the loss of the client of an unlisted node.
    fn unlisted_has_left(&mut self, context: &mut Context, id: NodeId) {
        if self.unlisted.contains(id) && self.get(id).is_some_and(|node| node.client.is_none()) {
            context.timers.cancel(&Timer::Unlisted(id));
            self.unregister(context, id);
        }
    }

    /// Handles [`Timer::Unlisted`]: an unlisted node has not come back with its session.
    pub(in crate::node) fn unlisted_stays_away(&mut self, context: &mut Context, id: NodeId) {
        let client = self.get(id).and_then(|node| node.client);
        if let Some(client) = client.filter(|_| self.unlisted.contains(id)) {
            self.release_client(context, id, client);
            self.unlisted_has_left(context, id);
        }
    }

    /// Logs the refusal of a client that wanted to register a node.
    pub(super) fn log_refusal(&mut self, context: &mut Context, client: ClientId, reason: &str) {
        let line = self.unlisted.refusal_line(client, reason, context.now.monotonic);
        if let Some(line) = line {
            context.log(line);
        }
    }

    /// Says whether a client could register now, without binding it. It is asked by a client that looks for the cause of
    /// a trouble (docs/protocol.md section 20).
    ///
    /// # Errors
    /// Returns why not.
    fn judge(&mut self, context: &mut Context, newcomer: &Newcomer) -> Result<(), String> {
        let id = newcomer.registration.id;
        self.admit_unlisted(context, id, (newcomer.client, newcomer.named))?;
        match self.get(id) {
            Some(node) if !node.dials_in() => Err(format!("node '{id}' is registered as one that we connect to")),
            Some(node) if node.link == Link::Up && node.client.is_some_and(|client| client != newcomer.client) => {
                let has_answered = node.liveness.ping_ok > 0;
                if !has_answered {
                    // A node that has just joined waits for this.
                    self.send(context, id, ping());
                }
                let word = if has_answered { " and has answered" } else { "" };
                Err(format!("another daemon is connected as node '{id}'{word}"))
            }
            _ => Ok(()),
        }
    }

    /// Binds a client to a node. `name` is the node's own name for itself: its id or its uid. The keep-alive costs next
    /// to nothing.
    ///
    /// # Errors
    /// Returns why the node is refused.
    fn bind(&mut self, context: &mut Context, newcomer: Newcomer) -> Result<(), String> {
        let Registration { id, identity, .. } = &newcomer.registration;
        if identity.as_ref().is_some_and(|identity| identity.len() > IDENTITY_LEN_MAX) {
            return Err(format!("node '{id}' is not registered: its identity is too long"));
        }
        if self.must_wait(context, &newcomer) { Ok(()) } else { self.bind_now(context, newcomer) }
    }

    pub(super) fn bind_now(&mut self, context: &mut Context, newcomer: Newcomer) -> Result<(), String> {
        let Newcomer { client, named, name, mut registration, instance, idle, .. } = newcomer;
        let id = registration.id;
        if let Err(reason) = self.admit_unlisted(context, id, (client, named)) {
            // The session stays, so the node continues as soon as it is in a list, long before it registers itself
            // again.
            if !registration.kind.is_web_socket() && self.left.len() < LEFT_MAX {
                self.left.insert(id, (registration.kind, client));
            }
            return Err(reason);
        }
        let is_new = self.get(id).is_none();
        let known = self.get(id);
        let adds = known.is_some_and(|node| {
            !registration.subnodes.is_empty() && node.registration.subnodes != registration.subnodes
        });
        let only_identity = known.is_some_and(|node| node.dials_in() && (node.registration.prevail || !adds));
        // Only whether the node is known matters below.
        let refused = if only_identity { None } else { self.register(context, registration.clone()).err() };
        if self.get(id).is_none_or(|node| !node.dials_in()) {
            let text = format!("node '{id}' has dialled in, but it is not registered as one that may: ignored");
            return Err(refused.unwrap_or(text));
        }
        if is_new && !self.is_listed(context, id, named) {
            self.unlisted.insert(id, client);
        }
        let bound = self.get(id).and_then(|node| node.client);
        let identity = registration.identity.take();
        if let Some(before) = bound.filter(|before| *before != client) {
            let is_again = instance.is_some() && instance == self.get(id).and_then(|node| node.instance.clone());
            let twice = match context.proxy_settings().replaces_twice {
                _ if is_again => Twice::Again,
                true => Twice::Replaced,
                false => Twice::Silent,
            };
            self.replace_client(context, id, before, client, twice);
        }
        if let Some(other) = self.dialled_in.get(&client).copied().filter(|other| *other != id) {
            self.release_client(context, other, client);
            self.unlisted_has_left(context, other);
        }
        self.dialled_in.insert(client, id);
        context.timers.cancel(&Timer::Unlisted(id));
        if let Some(node) = self.get_quietly(id) {
            node.idle = idle;
        }
        let known = self.get(id).map(|node| (node.client, node.link));
        if known == Some((Some(client), Link::Up))
            && self.get(id).is_some_and(|node| node.registration.identity == identity && node.instance == instance)
        {
            return Ok(());
        }
        let address = self.unlisted.address_of(client);
        let Some(node) = self.get_mut(id) else { return Ok(()) };
        node.client = Some(client);
        node.address = address;
        node.calls_itself(name);
        node.instance = instance;
        node.registration.identity = identity;
        if node.link != Link::Up {
            context.log(LogLine::info("proxy", format!("node '{id}' is connected")).of_node(id));
            self.link_up(context, id);
        }
        Ok(())
    }

    /// Binds the client of a node that was unregistered while connected and is registered again, unless the client
    /// speaks for another node.
    pub(in crate::node) fn bind_again(&mut self, context: &mut Context, id: NodeId, client: ClientId) {
        let is_free = !self.dialled_in.contains_key(&client);
        let known = self.get(id).filter(|node| is_free && node.dials_in() && node.client.is_none());
        let again = known.map(|node| (node.name_of(id), node.registration.clone(), node.instance.clone()));
        if let Some((name, registration, instance)) = again {
            let identity = registration.identity.clone().or_else(|| Some(id.to_string()));
            let registration = Registration { identity, ..registration };
            let newcomer = Newcomer { client, named: None, name, registration, instance, idle: None, is_probe: false };
            if let Err(reason) = self.bind(context, newcomer) {
                self.log_refusal(context, client, &reason);
            }
        }
    }

    /// Handles another connection of a node.
    fn replace_client(&mut self, context: &mut Context, id: NodeId, before: ClientId, client: ClientId, twice: Twice) {
        self.release_client(context, id, before);
        context.output(Output::NodeMoved { node: id, before, client, twice });
        if self.get(id).is_some_and(|node| node.registration.kind.is_web_socket()) {
            context.output(Output::CloseClient { client: before, refusal: None });
        }
    }

    /// Ends the binding of a client to its node.
    pub(in crate::node) fn release_client(&mut self, context: &mut Context, id: NodeId, client: ClientId) {
        self.dialled_in.remove(&client);
        if let Some(node) = self.get_mut(id) {
            node.client = None;
        }
        self.link_down(context, id, "its connection has ended");
    }

    /// Handles the end of a session or a WebSocket.
    pub(in crate::node) fn client_gone(&mut self, context: &mut Context, client: ClientId) {
        self.left.retain(|_, (_, left)| *left != client);
        self.links().forget_client(client);
        self.unlisted.forget_client(client);
        if let Some(id) = self.spoken_for_by(client) {
            self.release_client(context, id, client);
            self.older_is_silent(context, id);
            self.unlisted_has_left(context, id);
        }
        self.rival_is_gone(context, client);
    }

    pub(in crate::node) fn note_address(&mut self, client: ClientId, address: PeerAddress) {
        self.unlisted.note_address(client, address);
    }

    /// Handles the loss of the connection of a node that dials in, while its session continues.
    pub(in crate::node) fn not_reached(&mut self, context: &mut Context, id: NodeId) {
        self.ping_not_sent(context, id);
        if self.unlisted.contains(id) {
            let patience = context.proxy_settings().pong_discard_timeout;
            context.timers.set_if_unset(Timer::Unlisted(id), context.now.monotonic + patience);
        }
        self.link_down(context, id, "it is not connected");
        self.older_is_silent(context, id);
    }

    /// Returns the clients that speak for nodes which are about to be removed.
    pub(in crate::node) fn clients_of(&self, ids: &[NodeId]) -> Vec<(NodeId, (NodeKind, ClientId))> {
        let client = |id: &NodeId| {
            let node = self.get(*id)?;
            Some((*id, (node.registration.kind.clone(), node.client?)))
        };
        ids.iter().filter_map(client).collect()
    }

    /// Removes nodes that dialled in before the database was read and that are not in it.
    pub(in crate::node) fn drop_unlisted(&mut self, context: &mut Context) {
        for id in self.ids().into_iter().filter(|id| self.unlisted.contains(*id)).collect::<Vec<_>>() {
            context.log(
                LogLine::warning("nodes", format!("node '{id}' is not in the database: it is removed")).of_node(id),
            );
            self.disconnect(context, id);
            self.unregister(context, id);
        }
    }

    /// Tells a node that dialled in by a WebSocket that it is not known any more, and closes the WebSocket.
    pub(in crate::node) fn disconnect(&self, context: &mut Context, id: NodeId) {
        let node = self.get(id).filter(|node| node.registration.kind.is_web_socket());
        if let Some(client) = node.and_then(|node| node.client) {
            let refusal = serde_json::json!({ "code": 500, "message": format!("node '{id}' is not known here") });
            context.output(Output::CloseClient { client, refusal: Some(refusal.to_string()) });
        }
    }

    /// Remembers the connected clients of nodes that are removed.
    pub(in crate::node) fn remember_left(&mut self, clients: Vec<(NodeId, (NodeKind, ClientId))>) {
        self.left.extend(clients);
    }

    /// Binds nodes that are back to their clients that are still connected.
    pub(in crate::node) fn take_back(&mut self, context: &mut Context, added: &[NodeId]) {
        for id in added {
            if let Some((kind, client)) = self.left.remove(id)
                && self.get(*id).is_some_and(|node| node.registration.kind == kind)
            {
                self.bind_again(context, *id, client);
            }
        }
    }

    /// Returns whether a connected client spoke for a node that was removed.
    fn has_left(&self, client: ClientId) -> bool {
        self.left.values().any(|(_, left)| *left == client)
    }
}

/// Returns whether an action is an answer to a request.
pub(in crate::node) const fn is_answer(action: &Action) -> bool {
    matches!(action, Action::Ack | Action::Pong | Action::SetLogs | Action::SyncLogs)
}
