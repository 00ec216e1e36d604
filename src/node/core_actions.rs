//! Information about this daemon (docs/protocol.md section 4).

#[cfg(test)]
mod tests;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::token::Token;

use super::context::Context;
#[cfg(test)]
use super::core_options::CoreOptions;
use super::counters::Counters;
use super::nodes::Nodes;
use super::peer::{Handled, Peer};
use super::subscribers::Subscribers;

/// Handles CONSTATUS.
///
/// A client finds its answer in the history by its token. Nobody knows the token of an API call, so of equal answers
/// only the first leaves a row; otherwise a page that refreshes all the time would fill the disk.
pub(super) fn con_status(context: &mut Context, nodes: &mut Nodes, peer: Peer, token: &Token) -> Handled {
    let (data, is_new) = nodes.constatus_text(context, peer == Peer::Ourselves);
    if peer != Peer::Ourselves || is_new {
        return context.reply_with_row(Action::ConStatus, token, Code::FINISHED_OK, data);
    }
    Handled::Reply(Action::ConStatus, Code::FINISHED_OK, data)
}

/// Handles PING. `running` is the number of requests with a running command.
pub(super) fn ping(
    context: &Context,
    (nodes, running): (&mut Nodes, usize),
    subscribers: &mut Subscribers,
    peer: Peer,
) -> Handled {
    if let Some(client) = peer.client() {
        subscribers.pinged(client, context.now.monotonic);
    }
    Handled::Reply(Action::Pong, Code::BEGIN, nodes.pong_text(context, running))
}

pub(super) fn information(context: &mut Context, counters: &Counters, token: &Token) -> Handled {
    let data = serde_json::json!({
        "action": "information",
        "message": "ok",
        "data": {
            "counters": counters.to_json(),
            "modules": context.options.modules.loaded,
            "api_endpoints": super::api::endpoints::listed(|module| context.has(module)),
        },
    });
    context.reply_with_row(Action::Information, token, Code::FINISHED_OK, data.to_string())
}

/// Handles GETTHUMBPRINT.
pub(super) fn thumbprint(context: &mut Context, token: &Token) -> Handled {
    let data = serde_json::json!({
        "action": "getthumbprint",
        "message": "ok",
        "data": { "thumbprint": context.options.thumbprint },
    });
    context.reply_with_row(Action::GetThumbprint, token, Code::FINISHED_OK, data.to_string())
}
