//! Registering nodes, and passing requests on to them (docs/protocol.md section 5).

#[cfg(test)]
mod tests;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::history::SyncMark;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::registration::{NodeKind, Registration};
use crate::model::token::Token;

use super::core::Core;
use super::json;
use super::nodes::node::{Link, Node};
use super::nodes::owed::OwedTokens;
use super::nodes::pathway::Route;
use super::nodes::registry::{NODES_MAX, Registered, Unregistered};
use super::output::Output;
use super::peer::{Handled, Peer};
use super::sync::asking;
use super::timers::Timer;
use super::trace::passed_on;

/// Marks of nodes that are not registered now at most.
const MARKS_MAX: usize = 2 * NODES_MAX;

impl Core {
    /// A request whose target is not here. The reply says that it is accepted; a row tells when it cannot be passed on.
    pub(super) fn request_of_node(
        &mut self,
        peer: Peer,
        action: Action,
        token: &Token,
        target: &str,
        data: String,
    ) -> Handled {
        if self.context.options.proxy.is_none() {
            let data = r#"{"error":"no_proxy","message":"no proxy configured. cannot manage target."}"#.to_owned();
            self.context.finish(token, Code::FINISHED_KO, data.clone());
            return Handled::refused(data);
        }
        self.counters.count_proxied(&action);
        match self.pass_on(peer, action, token, target, data) {
            Ok(handled) => handled,
            Err(text) => {
                self.context.log(LogLine::debug("proxy", format!("{text} (token {token})")));
                self.context.fail(token, &text);
                Handled::accepted()
            }
        }
    }

    /// A request that was held back and is answered already.
    pub(super) fn request_now(&mut self, peer: Peer, action: Action, token: &Token, target: &str, data: String) {
        let route = self.nodes.route_to(&self.context, target);
        if let Err(text) = route.and_then(|route| self.hand_on(peer, action, token, route, data)) {
            self.context.fail(token, &text);
        }
    }

    /// Whether other nodes are reached by a node of ours.
    #[must_use]
    pub fn is_relay(&self, id: NodeId) -> bool {
        self.nodes.get(id).is_some_and(Node::is_relay)
    }

    fn pass_on(
        &mut self,
        peer: Peer,
        action: Action,
        token: &Token,
        target: &str,
        data: String,
    ) -> Result<Handled, String> {
        if action == Action::ProcessCopy {
            return match self.nodes.route_to(&self.context, target) {
                Ok(route) => {
                    if self.nodes.get(route.through).is_some_and(Node::is_ssh_host) {
                        self.ssh.has_room()?;
                        return Ok(self.copies.receiving.take(&mut self.context, peer, token, data, Some(route)));
                    }
                    let is_of_daemon = self.subscribers.are_asked_by(peer);
                    let mut relay = self.copies.relay(&mut self.context, &mut self.nodes);
                    relay.pass_on((peer, is_of_daemon), token, route, data)
                }
                Err(text) => self.copies.relay(&mut self.context, &mut self.nodes).has_no_way(peer, token, &data, text),
            };
        }
        if !json::is_valid(&data) {
            return Err("proxy - cannot decode json".to_owned());
        }
        let route = self.nodes.route_to(&self.context, target)?;
        let now = self.context.now.monotonic;
        // Only a daemon sends something back; any other client asks again.
        if self.nodes.passed_on.comes_back(peer.client(), &action, token, target, &data, now)
            && self.subscribers.are_asked_by(peer)
        {
            return Err(format!("proxy - the way to target {target} goes in a circle: the message came back to us"));
        }
        if action == Action::GetLog && route.through == route.target {
            let token_to_end = (!matches!(peer, Peer::ClientWithoutToken(_))).then(|| token.clone());
            return asking::sync_for(&mut self.context, &mut self.nodes, route.target, token_to_end)
                .map(|()| Handled::accepted());
        }
        self.nodes.sent_tokens.note(token, route.through, route.target);
        if self.held_back(peer, &action, token, Some(route.target), &data) {
            return Ok(Handled::accepted());
        }
        self.hand_on(peer, action, token, route, data)
    }

    /// A request for another daemon goes on its way.
    fn hand_on(
        &mut self,
        peer: Peer,
        action: Action,
        token: &Token,
        route: Route,
        data: String,
    ) -> Result<Handled, String> {
        let Some(node) = self.nodes.get_mut(route.through) else {
            return Err(format!("proxy - no pathway for target {}", route.target));
        };
        match node.registration.kind {
            NodeKind::PushZmq { .. } | NodeKind::Pull | NodeKind::WebSocket => node.reachable()?,
            NodeKind::PushSsh(_) => {
                let (ssh, context) = (&mut self.ssh, &mut self.context);
                return ssh.request(context, route, &action, token, &data).map(|()| Handled::accepted());
            }
        }
        if action == Action::RemoteCopy {
            self.copies.sender(&mut self.context, &mut self.nodes).begin(token, route, &data);
            return Ok(Handled::accepted());
        }
        if node.owed.is_full() {
            return Err(format!("proxy - too many messages to node '{}' wait to be confirmed", route.through));
        }
        let is_owed = action != Action::GetLog || !matches!(peer, Peer::ClientWithoutToken(_));
        if is_owed {
            // A relay of our kind writes the end itself, whatever the action.
            let is_relayed = route.through != route.target && node.sync.is_of_our_kind();
            let has_row = node.owed.sent(token.clone(), &action, node.sync.serial, is_relayed);
            let is_of_daemon = self.subscribers.are_asked_by(peer);
            if has_row || is_of_daemon {
                self.context.open_token(token, Some(route.through));
            }
            if is_of_daemon {
                self.context.write(passed_on(token, route.through));
            }
        }
        let message = Message { action, token: Some(token.clone()), target: Some(route.target_field()), data };
        self.nodes.send(&mut self.context, route.through, message);
        Ok(Handled::accepted())
    }

    /// Adds a node, or replaces what is known of it, and asks for its link.
    ///
    /// # Errors
    /// Why nothing was done.
    pub(super) fn register(&mut self, registration: Registration) -> Result<(), String> {
        let id = registration.id;
        if self.context.options.proxy.is_none() {
            let text = format!("node '{id}' is not registered: the module proxy is not loaded");
            self.context.log(LogLine::warning("proxy", text.clone()));
            return Err(text);
        }
        if self.context.is_own_id(id) {
            let text = format!("node '{id}' is not registered: that is our own id");
            self.context.log(LogLine::warning("proxy", text.clone()));
            return Err(text);
        }
        self.context.names.add_all(&registration);
        for subnode in self.nodes.registry.claimed_by(&registration) {
            self.unregister(subnode);
        }
        let had_link = self.nodes.get(id).is_some_and(Node::is_dialled);
        let had_client = self.nodes.get(id).and_then(|node| node.client);
        let mark = self.marks.get(&id).copied().unwrap_or_default();
        let registered = self.nodes.registry.register(registration, mark);
        let opening = self.nodes.get(id).and_then(open_link);
        match registered {
            Registered::Refused(reason) => {
                let text = format!("cannot register node '{id}': {reason}");
                self.context.log(LogLine::info("proxy", text.clone()));
                return Err(text);
            }
            Registered::Kept => {}
            Registered::New | Registered::Moved => {
                if let Some(outbox) = self.absent_outboxes.remove(&id)
                    && let Some(node) = self.nodes.get_mut(id)
                {
                    node.owed = outbox;
                }
                let has_page = self.syncs.supersede(id);
                if let Some(node) = self.nodes.get_mut(id) {
                    node.sync.is_storing |= has_page;
                }
                self.context.log(LogLine::info("proxy", format!("node '{id}' is registered")));
                let now = self.context.now.monotonic;
                if let Some(node) = self.nodes.get_mut(id).filter(|node| node.link != Link::Up) {
                    node.down_since = Some(now);
                }
                match opening {
                    Some(opening) => {
                        if let Some(client) = had_client {
                            self.release_client(id, client);
                        }
                        if registered == Registered::Moved {
                            self.link_down(id, "its address has changed");
                        }
                        let is_ssh = matches!(opening, Output::OpenSsh { .. });
                        self.context.output(opening);
                        if registered == Registered::New && is_ssh {
                            // It confirms nothing that was sent to another kind of node.
                            self.end_all_owed(id);
                        }
                        if registered == Registered::New {
                            self.await_first_ping(id);
                        }
                    }
                    None if had_link => {
                        self.close_link(id);
                        self.end_all_owed(id);
                    }
                    None => {
                        if let Some(client) = had_client {
                            self.release_client(id, client);
                            self.end_all_owed(id);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A node that is not registered owes ends of tokens: it has the usual time to come back.
    pub(super) fn await_absent(&mut self, id: NodeId, mut outbox: OwedTokens) {
        outbox.link_lost();
        if outbox.is_empty() {
            return;
        }
        if self.absent_outboxes.len() >= MARKS_MAX {
            for token in outbox.take_all() {
                self.context.fail(&token, &format!("proxy - node '{id}' is not registered any more"));
            }
            return;
        }
        self.absent_outboxes.insert(id, outbox);
        let patience = self.context.proxy_settings().pong_discard_timeout;
        self.context.timers.set_if_unset(Timer::Unconfirmed(id), self.context.now.monotonic + patience);
    }

    pub(super) fn close_link(&mut self, id: NodeId) {
        self.forget_pings(id);
        for timer in [Timer::SyncTimeout(id), Timer::Unconfirmed(id)] {
            self.context.timers.cancel(&timer);
        }
        self.context.output(Output::CloseLink(id));
    }

    /// Nothing more comes from a node: what it owes ends.
    fn end_all_owed(&mut self, id: NodeId) {
        self.copies.sender(&mut self.context, &mut self.nodes).node_gone(id);
        let Some(node) = self.nodes.get_mut(id) else { return };
        let mut owed = node.owed.take_all();
        owed.extend(node.sync.abandon());
        for token in owed {
            self.context.fail(&token, &format!("proxy - node '{id}' was unregistered before it confirmed the message"));
        }
    }

    /// Drops a node, its routes and its sync state; what it owed ends.
    pub(super) fn unregister(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let had_link = node.is_dialled();
        let mark = node.sync.mark;
        let client = node.client;
        if let Some(client) = client {
            self.release_client(id, client);
        }
        // A node that dials in says so when it stops; what it has taken it still has when it comes back.
        match self.nodes.get_mut(id).filter(|node| node.dials_in()) {
            None => self.end_all_owed(id),
            Some(node) if node.registration.prevail => {}
            Some(node) => {
                let (outbox, asked) = (std::mem::take(&mut node.owed), node.sync.abandon());
                if let Some(token) = asked {
                    self.context.fail(&token, &format!("proxy - node '{id}' was unregistered before it answered"));
                }
                self.await_absent(id, outbox);
            }
        }
        self.unlisted.remove(id);
        // The mark stays valid for the day the node comes back.
        let is_gone = self.nodes.registry.unregister(id) == Unregistered::Gone;
        if is_gone && self.marks.len() < MARKS_MAX && mark != SyncMark::default() {
            self.marks.insert(id, mark);
        }
        if had_link {
            self.close_link(id);
        } else {
            self.forget_pings(id);
        }
        self.context.log(LogLine::info("proxy", format!("node '{id}' is unregistered")));
        self.older_is_silent(id);
    }
}

/// What keeps a connection to a node that we connect to.
fn open_link(node: &Node) -> Option<Output> {
    let id = node.registration.id;
    match &node.registration.kind {
        NodeKind::PushZmq { endpoint } => Some(Output::OpenLink { node: id, endpoint: endpoint.clone() }),
        NodeKind::PushSsh(target) => Some(Output::OpenSsh { node: id, target: target.clone() }),
        NodeKind::Pull | NodeKind::WebSocket => None,
    }
}
