//! What copies of all kinds say when a message is taken, and when they fail.

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::copy::CopyFailure;
use crate::model::message::{Outgoing, Reply};
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::json;
use crate::node::nodes::Nodes;
use crate::node::nodes::node::Link;
use crate::node::output::Output;
use crate::node::sync::asking;

/// The data of the row that ends a copy with an error.
pub(super) fn failure_data(failure: &CopyFailure) -> String {
    let CopyFailure { message, detail } = failure;
    if detail.is_empty() {
        json::message(message)
    } else {
        serde_json::json!({ "message": message, "detail": detail }).to_string()
    }
}

/// A copy is over that went by way of `through`, which may have ended its token, or a daemon behind it: its history is
/// looked at before the token ends here with `data`. `false` when it cannot be.
pub(super) fn end_after_look(
    context: &mut Context,
    nodes: &mut Nodes,
    through: NodeId,
    token: &Token,
    data: &str,
) -> bool {
    let node = nodes.get_mut(through).filter(|node| node.link != Link::None && !node.owed.is_full());
    let Some(node) = node else { return false };
    let serial = node.sync.serial;
    node.owed.sent_copy(token.clone(), serial);
    node.owed.replied(token, Code::FINISHED_KO, data, serial);
    context.open_token(token, Some(through));
    nodes.await_unsettled(context, through);
    asking::sync_soon(context, nodes, through);
    true
}

/// Tells the sender of a copy how a message went. A central that we dial hears it too: the caller makes sure that it is
/// one of our own kind and asked for it, because any other would take it for a request.
pub(super) fn confirm(context: &mut Context, client: ClientId, token: &Token, code: Code, data: String) {
    let outgoing = Outgoing::Reply(Reply { kind: Action::Ack, token: Some(token.clone()), code, data });
    context.output(match client.parent() {
        None => Output::SendToClient { client, outgoing },
        Some(kind) => Output::SendToParent { kind, outgoing },
    });
}
