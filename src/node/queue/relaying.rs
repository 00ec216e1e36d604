//! Requests that stay in the queue of the daemon that sent them. Of those for nodes behind us nothing is kept: what
//! does not arrive is sent again. Of those for us, the places are remembered (`node/taken_tokens.rs`).

use crate::model::action::Action;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::SaidOfPlace;
use super::options;
use super::sending::Reach;
use crate::node::context::Context;
use crate::node::nodes::Nodes;
use crate::node::peer::{Handled, Peer};
use crate::node::taken_tokens::TakenTokens;

/// What becomes of a request for a node behind us.
pub(in crate::node) enum Passed {
    /// It is passed on, or refused.
    Handled(Handled),
    /// It is handed over for good: it is handled like any other, with this data.
    Once(NodeId, String),
}

/// Passes on a request that stays in the queue of the daemon that sent it, and that is for a node behind us.
pub(in crate::node) fn pass_on(
    context: &mut Context,
    nodes: &mut Nodes,
    taken: &mut TakenTokens,
    peer: Peer,
    (action, token): (Action, &Token),
    (target, data): (&str, String),
) -> Passed {
    let said = |said: SaidOfPlace| Passed::Handled(said.reply());
    let Ok(target_id) = target.parse::<NodeId>() else { return said(SaidOfPlace::Away) };
    let now = context.now.monotonic;
    if context.is_stopping() || nodes.comes_back(peer.client(), (&action, token), target, &data, now) {
        return said(SaidOfPlace::Away);
    }
    match Reach::of(context, nodes, target_id) {
        Reach::Kept(route, _) => {
            nodes.note_sent(token, route);
            let (token, target) = (Some(token.clone()), Some(route.target_field()));
            nodes.send(context, route.through, Message { action, token, target, data });
            Passed::Handled(Handled::accepted())
        }
        Reach::Once(_) if taken.is_repeated(context, &action, token, &data) => said(SaidOfPlace::Taken),
        Reach::Once(route) => Passed::Once(route.target, options::without_options(&data).unwrap_or(data)),
        Reach::Here | Reach::Away => said(SaidOfPlace::Away),
    }
}
