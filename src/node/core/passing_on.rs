//! Requests for other nodes, which are passed on to them (docs/protocol.md section 5).

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::link::LinkMode;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::Core;
use crate::node::json;
use crate::node::modules::action::cancelling::{self, CancelRequest};
use crate::node::nodes::node::Node;
use crate::node::nodes::pathway::Route;
use crate::node::peer::{Handled, Peer};
use crate::node::sync::asking;

impl Core {
    /// Handles a request for another target. The reply says that it is accepted; a row reports if it cannot be passed
    /// on.
    pub(in crate::node) fn request_of_node(
        &mut self,
        peer: Peer,
        action: Action,
        token: &Token,
        target: &str,
        data: String,
    ) -> Handled {
        if self.context.options.modules.proxy.is_none() {
            let data = r#"{"error":"no_proxy","message":"no proxy configured. cannot manage target."}"#.to_owned();
            self.context.finish(token, Code::FINISHED_KO, data.clone());
            return Handled::refused(data);
        }
        self.counters.count_proxied(&action);
        match self.pass_on(peer, action, token, target, data) {
            Ok(handled) => handled,
            Err(text) => {
                self.context.log(LogLine::debug("proxy", format!("{text} (token {token})")).of_token(token));
                self.context.fail(token, &text);
                Handled::accepted()
            }
        }
    }

    /// Handles a request that was held back and has already been answered.
    pub(in crate::node) fn request_now(
        &mut self,
        peer: Peer,
        action: Action,
        token: &Token,
        target: &str,
        data: String,
    ) {
        let route = self.nodes.route_to(&self.context, target);
        if let Err(text) = route.and_then(|route| self.hand_on(peer, action, token, route, data)) {
            self.context.fail(token, &text);
        }
    }

    /// Returns whether the link of a node may or must be sealed, if its registration says so.
    #[must_use]
    pub fn link_mode(&self, id: NodeId) -> Option<LinkMode> {
        self.nodes.get(id)?.registration.link
    }

    /// Returns whether other nodes are reached through a node.
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
        if action == Action::Cancel
            && let Some(request) = CancelRequest::read(&data)
            && self.copies.cancel_held(&mut self.context, &request.token, &request.reason)
        {
            return Ok(cancelling::answer_cancel(&mut self.context, token, &request, true));
        }
        let route = self.nodes.route_to(&self.context, target)?;
        let now = self.context.now.monotonic;
        // Only a daemon can send a request back; any other client repeats it.
        if self.nodes.comes_back(peer.client(), (&action, token), target, &data, now)
            && self.subscribers.are_asked_by(peer)
        {
            return Err(format!("proxy - the way to target {target} goes in a circle: the message came back to us"));
        }
        if action == Action::GetLog && route.through == route.target {
            let token_to_end = (!matches!(peer, Peer::ClientWithoutToken(_))).then(|| token.clone());
            return asking::sync_for(&mut self.context, &mut self.nodes, route.target, token_to_end)
                .map(|()| Handled::accepted());
        }
        self.nodes.note_sent(token, route);
        if self.held_back(peer, &action, token, Some(route.target), &data) {
            return Ok(Handled::accepted());
        }
        self.hand_on(peer, action, token, route, data)
    }

    /// Passes a request on to another daemon.
    pub(super) fn hand_on(
        &mut self,
        peer: Peer,
        action: Action,
        token: &Token,
        route: Route,
        data: String,
    ) -> Result<Handled, String> {
        let Some(node) = self.nodes.get(route.through) else {
            return Err(format!("proxy - no pathway for target {}", route.target));
        };
        if node.is_ssh_host() && action == Action::Fetch {
            return Err(format!(
                "proxy - node '{}' has no daemon to read it: it is reached by SSH, use scp",
                route.target
            ));
        }
        if node.is_ssh_host() {
            return self.ssh.request(&mut self.context, route, &action, token, &data).map(|()| Handled::accepted());
        }
        if matches!(action, Action::Running | Action::Cancel)
            && route.through == route.target
            && node.sync.peer_pages() == Some(false)
        {
            return Err(format!("{}: node '{}' is not a Stheno daemon", cancelling::UNABLE, route.target));
        }
        if action == Action::RemoteCopy {
            node.reachable()?;
            self.copies.sender(&mut self.context, &mut self.nodes).begin(token, route, &data);
            return Ok(Handled::accepted());
        }
        if action == Action::Fetch {
            if self.context.options.modules.action.is_none() {
                return Err(
                    "proxy - the module action, whose copy_roots say where it may be written, is not loaded here"
                        .to_owned(),
                );
            }
            node.reachable()?;
            self.copies.fetcher(&mut self.context, &mut self.nodes).begin(token, route, &data);
            return Ok(Handled::accepted());
        }
        let is_of_daemon = self.subscribers.are_asked_by(peer);
        self.nodes.hand_on(&mut self.context, (peer, is_of_daemon), action, token, route, data)?;
        Ok(Handled::accepted())
    }
}
