//! Everything about other nodes: their registrations, the routes to them, their links, their answers to pings, and what
//! they owe.

mod adding;
pub(in crate::node) mod constatus;
pub(in crate::node) mod dial_in;
#[cfg(feature = "status")]
mod facts;
mod handing_on;
mod keys;
mod link_kinds;
mod links;
mod liveness;
mod messages;
mod newcomer;
pub(in crate::node) mod node;
pub(in crate::node) mod owed;
mod owed_ends;
mod passed_on;
pub(in crate::node) mod pathway;
mod pings;
mod registering;
mod registration;
mod registry;
mod removed;
mod rival;
mod routes;
mod sent_tokens;
#[cfg(test)]
mod tests;
mod unlisted;
pub(in crate::node) mod wanted;

use std::collections::{BTreeMap, VecDeque};

use crate::config::modules::proxy::ProxySettings;
use crate::model::action::Action;
use crate::model::connection::ClientId;
use crate::model::history::SyncMark;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::registration::NodeKind;
use crate::model::time::{Monotonic, WallTime};
use crate::model::token::Token;

use super::context::Context;
use super::timers::Timer;
use constatus::StatusTexts;
use newcomer::Newcomer;
use node::{Link, LinkChange, Node};
use owed::OwedTokens;
use passed_on::PassedOn;
use pathway::{Patience, Route};
use registry::Registry;
use sent_tokens::SentTokens;
use unlisted::Unlisted;
use wanted::Wanted;

/// All nodes, the routes to them, and the clients that speak for them.
#[derive(Default)]
pub(super) struct Nodes {
    registry: Registry,
    wanted: Wanted,
    unlisted: Unlisted,
    /// The node that each client speaks for; each node has at most one client.
    dialled_in: BTreeMap<ClientId, NodeId>,
    /// Clients that want to speak for a node that has another client.
    rivals: BTreeMap<NodeId, Newcomer>,
    /// Nodes that a list has removed while they were connected to us, with their clients. A node that comes back does
    /// not have to register itself again.
    left: BTreeMap<NodeId, (NodeKind, ClientId)>,
    /// How far the histories of nodes that are not registered now were taken over.
    marks: BTreeMap<NodeId, SyncMark>,
    /// Nodes that were removed while a page of their history was being stored, with the number of that sync.
    storing: BTreeMap<NodeId, u64>,
    /// Tokens owed by nodes that are not registered now. Each node has its [`super::timers::Timer::Unconfirmed`].
    absent: BTreeMap<NodeId, OwedTokens>,
    sent_tokens: SentTokens,
    passed_on: PassedOn,
    texts: StatusTexts,
    changes: VecDeque<LinkChange>,
}

impl Nodes {
    /// Returns the empty state of a daemon that starts with these marks.
    pub(super) fn new(marks: Vec<(NodeId, SyncMark)>, now: WallTime) -> Self {
        let marks = marks.into_iter().map(|(id, mark)| (id, mark.clamped(now))).collect();
        Self { marks, ..Self::default() }
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.registry.get(id)
    }

    /// Returns a node to change it.
    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.registry.get_mut(id)
    }

    /// Returns a node to change data that the constatus map does not show.
    pub(super) fn get_quietly(&mut self, id: NodeId) -> Option<&mut Node> {
        self.registry.get_quietly(id)
    }

    /// Returns every node by id.
    #[cfg(feature = "status")]
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.registry.iter()
    }

    /// Returns every id, in order.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.registry.ids()
    }

    /// Returns whether a token was last sent to this node.
    pub(super) fn is_sent_to(&self, token: &str, node: NodeId) -> bool {
        self.sent_tokens.route_of(token).is_some_and(|(_, target)| target == node)
    }

    /// Returns the node that a token was last sent to.
    pub(super) fn sent_through(&self, token: &Token) -> Option<NodeId> {
        self.sent_tokens.route_of(token.as_str()).map(|(through, _)| through)
    }

    /// Returns the target of a token that was sent to a node.
    pub(super) fn target_of(&self, token: &str) -> Option<NodeId> {
        self.sent_tokens.route_of(token).map(|(_, target)| target)
    }

    /// Remembers the route of a message.
    pub(super) fn note_sent(&mut self, token: &Token, route: Route) {
        self.sent_tokens.note(token, route.through, route.target);
    }

    /// Returns whether a request that is about to be passed on has already come from another sender.
    pub(super) fn comes_back(
        &mut self,
        sender: Option<ClientId>,
        (action, token): (&Action, &Token),
        target: &str,
        data: &str,
        now: Monotonic,
    ) -> bool {
        self.passed_on.comes_back(sender, action, token, target, data, now)
    }

    /// Returns whether the registration of a node prevails over lists.
    pub(super) fn prevails(&self, id: NodeId) -> bool {
        let itself = self.get(id).is_some_and(|node| node.registration.prevail);
        itself || self.registry.is_prevailing_subnode(id)
    }

    /// Sends a message to a node, see [`Node::send`].
    pub(super) fn send(&self, context: &mut Context, id: NodeId, message: Message) {
        if let Some(node) = self.get(id) {
            node.send(context, message);
        }
    }

    /// Returns whether a message to a node goes out, at once or later.
    pub(super) fn has_link(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(Node::has_link)
    }

    /// Returns the `data` of a PONG of a daemon with `running` requests.
    /// Returns the version of what a PONG says of the nodes and of us.
    pub(super) const fn pong_version(&self, context: &Context) -> (u64, Option<NodeId>) {
        (self.registry.version(), context.own_id)
    }

    pub(super) fn pong_text(&mut self, context: &Context, running: usize) -> String {
        self.texts.pong(context, &self.registry, running)
    }

    /// Returns the `data` of a CONSTATUS, and whether an answer to the API leaves a row.
    pub(super) fn constatus_text(&mut self, context: &Context, is_api: bool) -> (String, bool) {
        let (text, leaves_row) = self.texts.constatus(&self.registry, &context.names, is_api);
        (text.to_owned(), leaves_row)
    }

    /// Sets the time limit for messages to a node whose link is down.
    pub(super) fn await_unsettled(&self, context: &mut Context, id: NodeId) {
        let at = context.now.monotonic + context.proxy_settings().pong_discard_timeout;
        if self.get(id).is_some_and(|node| node.link != Link::Up && node.owed.has_unsettled()) {
            context.timers.set_if_unset(Timer::Unconfirmed(id), at);
        }
    }

    /// Returns the route to a target.
    ///
    /// # Errors
    /// Returns the message of the history row that ends the token.
    pub(super) fn route_to(&self, context: &Context, target: &str) -> Result<Route, String> {
        let name = context.names.target(target).map(|id| id.to_string());
        pathway::choose(
            &self.registry,
            name.as_deref().unwrap_or(target),
            context.now.monotonic,
            Self::patience(context),
        )
    }

    /// Returns whether a row of `node` may end a token here: the node got it, or the target of the token is behind the
    /// node.
    pub(super) fn may_end(&self, context: &Context, node: NodeId, token: &str) -> bool {
        let leads_to = |target: NodeId| self.registry.candidates(target).any(|(through, ..)| through == node);
        if let Some((through, target)) = self.sent_tokens.route_of(token) {
            return node == through || node == target || leads_to(target);
        }
        match context.journal.opened_for(token) {
            // It is work of our own.
            Some(None) => false,
            Some(Some(through)) => node == through || leads_to(through),
            // Nothing here waits for it.
            None => true,
        }
    }

    /// Returns the configured time limits after which a node counts as dead.
    pub(super) fn patience(context: &Context) -> Patience {
        let of = |proxy: &ProxySettings| Patience {
            pong_discard: proxy.pong_discard_timeout,
            failover_after: proxy.failover_after,
        };
        context.options.modules.proxy.as_ref().map_or_else(|| of(&ProxySettings::default()), of)
    }
}
