//! How a message gets to a node: over the link that we keep, or to the client that speaks for it. The one place that
//! knows.

use std::time::Duration;

use crate::model::message::{Message, Outgoing};
use crate::model::node_id::NodeId;
use crate::model::registration::NodeKind;

use super::context::Context;
use super::output::Output;
use super::registry::Registry;
use super::timers::Timer;

/// A node that dials in is asked again after this time: a Perl node drops what comes while it sends.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// So often.
pub(super) const REPEATS_MAX: u8 = 3;

/// Sends a message to a node. What cannot be sent is dropped; `Node::reachable` tells.
pub(super) fn send(context: &mut Context, nodes: &Registry, id: NodeId, mut message: Message) {
    let Some(node) = nodes.get(id) else { return };
    if node.endpoint().is_some() {
        context.output(Output::SendToNode { node: id, outgoing: Outgoing::Request(message) });
    } else if let Some(client) = node.client {
        // A pull node always gets the target's id in the third field.
        if node.registration.kind == NodeKind::Pull && message.target.as_deref().is_none_or(str::is_empty) {
            message.target = Some(id.to_string().into());
        }
        context.output(Output::SendToClient { client, outgoing: Outgoing::Request(message) });
    }
}

/// What a node that dials in does not answer is said again.
pub(super) fn repeat_later(context: &mut Context, id: NodeId) {
    let at = context.now.monotonic + REPEAT_AFTER;
    context.timers.set_if_unset(Timer::Repeat(id), at);
}
