//! Rows of nodes that somebody waits for.

use crate::model::action::Action;
use crate::model::message::Message;
use crate::model::node_id::NodeId;

use super::Nodes;
use super::node::Link;
use crate::node::context::Context;
use crate::node::sync::asking;

impl Nodes {
    /// Asks for the log of a target without a token: a sync, or a GETLOG to the relay before it. Returns the node and
    /// the serial number of the sync, when it is one.
    pub(in crate::node) fn poll_log_of(&mut self, context: &mut Context, target: &str) -> Option<(NodeId, u64)> {
        context.options.proxy.as_ref()?;
        let route = self.route_to(context, target).ok()?;
        if route.through == route.target {
            return Some((route.target, asking::sync_soon(context, self, route.target)?));
        }
        self.get(route.through).filter(|node| node.link != Link::None)?;
        let target = Some(route.target_field());
        let message = Message { action: Action::GetLog, token: None, target, data: "{}".to_owned() };
        self.send(context, route.through, message);
        None
    }

    /// A token of `target` is waited for: its rows are fetched, as far as nobody brings them unasked.
    pub(in crate::node) fn look_for_rows_of(&mut self, context: &mut Context, target: NodeId) {
        if context.options.proxy.is_none() {
            return;
        }
        let Ok(route) = self.route_to(context, &target.to_string()) else { return };
        if route.through != route.target && self.get(route.through).is_some_and(|node| node.link == Link::Up) {
            let target = Some(route.target_field());
            let message = Message { action: Action::GetLog, token: None, target, data: "{}".to_owned() };
            self.send(context, route.through, message);
        }
        asking::sync_for_waiting(context, self, route.through);
    }
}
