//! What copies of all kinds say when a message is taken, and when they fail.

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::copy::CopyFailure;
use crate::model::message::{Outgoing, Reply};
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::json;
use crate::node::output::Output;

/// The data of the row that ends a copy with an error.
pub(super) fn failure_data(failure: &CopyFailure) -> String {
    let CopyFailure { message, detail } = failure;
    if detail.is_empty() {
        json::message(message)
    } else {
        serde_json::json!({ "message": message, "detail": detail }).to_string()
    }
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
