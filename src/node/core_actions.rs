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
use super::subscribers::{PongFor, Subscribers};

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
    let Some(client) = peer.client() else {
        return Handled::Reply(Action::Pong, Code::BEGIN, nodes.pong_text(context, running));
    };
    let now = context.now.monotonic;
    subscribers.pinged(client, now);
    let text = match subscribers.pong_for(client, (nodes.pong_version(context), running), context.rows_written, now) {
        None => nodes.pong_text(context, running),
        Some(PongFor { is_same: true, has_all }) => {
            format!("{{\"action\":\"ping\",\"id\":{},\"same\":true,\"synced\":{has_all}}}", context.id_json())
        }
        Some(PongFor { is_same: false, has_all }) => {
            let mut text = nodes.pong_text(context, running);
            text.pop();
            text + &format!(",\"synced\":{has_all}}}")
        }
    };
    Handled::Reply(Action::Pong, Code::BEGIN, text)
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
