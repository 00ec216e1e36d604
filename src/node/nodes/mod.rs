//! All that is known of other nodes: their registrations, the ways to them, how they are reached, whether they answer,
//! and what they owe.

pub(in crate::node) mod constatus;
mod keys;
pub(in crate::node) mod node;
pub(in crate::node) mod owed;
pub(in crate::node) mod passed_on;
pub(in crate::node) mod pathway;
pub(in crate::node) mod registration;
pub(in crate::node) mod registry;
mod routes;
pub(in crate::node) mod sent_tokens;

use crate::config::settings::ProxySettings;
use crate::model::message::Message;
use crate::model::node_id::NodeId;

use super::context::Context;
use super::timers::Timer;
use constatus::StatusTexts;
use node::{Link, Node};
use passed_on::PassedOn;
use pathway::{Patience, Route};
use registry::Registry;
use sent_tokens::SentTokens;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) registry: Registry,
    pub(super) passed_on: PassedOn,
    pub(super) sent_tokens: SentTokens,
    texts: StatusTexts,
}

impl Nodes {
    /// A node, to read.
    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.registry.get(id)
    }

    /// A node, to change.
    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.registry.get_mut(id)
    }

    /// A node, to change in what the constatus map does not show.
    pub(super) fn get_quietly(&mut self, id: NodeId) -> Option<&mut Node> {
        self.registry.get_quietly(id)
    }

    /// Every node by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.registry.iter()
    }

    /// Every id, in order.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.registry.ids()
    }

    /// Sends a message to a node, see [`Node::send`].
    pub(super) fn send(&self, context: &mut Context, id: NodeId, message: Message) {
        if let Some(node) = self.get(id) {
            node.send(context, message);
        }
    }

    /// The `data` of a PONG.
    pub(super) fn pong_text(&mut self, context: &Context) -> String {
        self.texts.pong(context, &self.registry).to_owned()
    }

    /// The `data` of a CONSTATUS, and whether an answer to the API leaves a row.
    pub(super) fn constatus_text(&mut self, context: &Context, is_api: bool) -> (String, bool) {
        let (text, leaves_row) = self.texts.constatus(&self.registry, &context.names, is_api);
        (text.to_owned(), leaves_row)
    }

    /// What waits for a node whose link is down is given up after the usual time.
    pub(super) fn await_unsettled(&self, context: &mut Context, id: NodeId) {
        let at = context.now.monotonic + context.proxy_settings().pong_discard_timeout;
        if self.get(id).is_some_and(|node| node.link != Link::Up && node.owed.has_unsettled()) {
            context.timers.set_if_unset(Timer::Unconfirmed(id), at);
        }
    }

    /// The way to a target.
    ///
    /// # Errors
    /// The message of the history row that ends the token.
    pub(super) fn route_to(&self, context: &Context, target: &str) -> Result<Route, String> {
        let name = context.names.target(target).map(|id| id.to_string());
        pathway::choose(
            &self.registry,
            name.as_deref().unwrap_or(target),
            context.now.monotonic,
            Self::patience(context),
        )
    }

    /// When a node counts as dead, as configured.
    pub(super) fn patience(context: &Context) -> Patience {
        let of = |proxy: &ProxySettings| Patience {
            pong_discard: proxy.pong_discard_timeout,
            failover_after: proxy.failover_after,
        };
        context.options.proxy.as_ref().map_or_else(|| of(&ProxySettings::default()), of)
    }
}
