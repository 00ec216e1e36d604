//! Confirmations and failures of all kinds of copies.

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::copy::CopyFailure;
use crate::model::log::LogLine;
use crate::model::message::{Outgoing, Reply};
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::json;
use crate::node::nodes::Nodes;
use crate::node::nodes::node::Link;
use crate::node::output::Output;
use crate::node::sync::asking;

/// Returns the data of the row that ends a copy with an error.
pub(super) fn failure_data(failure: &CopyFailure) -> String {
    let CopyFailure { message, detail } = failure;
    if detail.is_empty() {
        json::message(message)
    } else {
        serde_json::json!({ "message": message, "detail": detail }).to_string()
    }
}

/// Ends a copy that went through the node `through`. That node, or a daemon behind it, may have ended the token, so its
/// history is read before the token ends here with `data`. Returns `false` if that is not possible.
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

/// Reports the result of a message to the sender of a copy. A central that we dial gets it too; the caller makes sure
/// that it is one of our own kind that asked for it, because any other would take the report for a request.
pub(super) fn confirm(context: &mut Context, client: ClientId, token: &Token, code: Code, data: String) {
    let outgoing = Outgoing::Reply(Reply { kind: Action::Ack, token: Some(token.clone()), code, data });
    context.output(match client.parent() {
        None => Output::SendToClient { client, outgoing },
        Some(kind) => Output::SendToParent { kind, outgoing },
    });
}

/// Ends a copy whose request cannot be followed, with the reader's message and detail.
pub(super) fn refusal_row(context: &mut Context, token: &Token, (message, detail): (&str, &str)) {
    failure_row(context, token, &CopyFailure { message: message.to_owned(), detail: detail.to_owned() });
}

/// Writes the row that ends a copy with an error.
pub(super) fn failure_row(context: &mut Context, token: &Token, failure: &CopyFailure) {
    let text = if failure.detail.is_empty() {
        failure.message.clone()
    } else {
        format!("{} ({})", failure.message, failure.detail)
    };
    context.log(LogLine::error("proxy", format!("copy {token}: {text}")).of_token(token));
    context.finish(token, Code::FINISHED_KO, failure_data(failure));
}
