//! Tokens that were accepted and have no end yet. They are stored in the database, so that a restart ends them.

use std::collections::BTreeMap;

use crate::model::broken::{self, Fault};
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::Nodes;
use super::node::Link;
use super::owed::OwedTokens;
use crate::node::context::Context;
use crate::node::journal::Ended;
use crate::node::phase::STOPPING_TEXT;
use crate::node::timers::Timer;

impl Nodes {
    /// Handles [`Timer::Unconfirmed`].
    pub(in crate::node) fn give_up_unconfirmed(&mut self, context: &mut Context, id: NodeId) {
        let given_up = match self.get_mut(id) {
            Some(node) => node.owed.give_up(),
            None => self.absent.remove(&id).map_or_else(Vec::new, |mut owed| owed.give_up()),
        };
        for (token, ending) in given_up {
            ending.write(context, id, &token);
        }
    }

    /// Handles the last row of a token, whoever sent it: a node that has not confirmed the token owes nothing more for
    /// it.
    pub(in crate::node) fn owed_token_ended(&mut self, ended: &Ended) {
        let Some((id, token)) = ended.owed_by.zip(Token::parse(&ended.token).ok()) else { return };
        match self.get_quietly(id) {
            Some(node) => _ = node.owed.ended(&token),
            None => _ = self.absent.get_mut(&id).map(|owed| owed.ended(&token)),
        }
    }

    /// Ends the open tokens of an earlier run, except those that a room has kept. The next sync with a node shows
    /// whether it got its message.
    pub(in crate::node) fn restore_open_tokens(
        &mut self,
        context: &mut Context,
        open_tokens: Vec<(Token, Option<NodeId>)>,
        is_kept: impl Fn(&Token) -> bool,
    ) {
        let patience = context.proxy_settings().pong_discard_timeout;
        let mut absent: BTreeMap<NodeId, OwedTokens> = BTreeMap::new();
        let open_tokens = if broken::is(Fault::OpenTokensForgotten) { Vec::new() } else { open_tokens };
        for (token, node) in open_tokens {
            context.journal.restore(token.clone(), node);
            match node.and_then(|id| Some((id, self.get_mut(id)?))) {
                Some((id, node)) => {
                    node.owed.restore(token);
                    context.timers.set_if_unset(Timer::Unconfirmed(id), context.now.monotonic + patience);
                }
                None => match node {
                    // The node may be one that dials in.
                    Some(id) => absent.entry(id).or_default().restore(token),
                    None if is_kept(&token) => {}
                    None => context.fail(&token, "the daemon was restarted before the end"),
                },
            }
        }
        for (id, owed) in absent {
            self.await_absent(context, id, owed);
        }
    }

    /// Ends the tokens of messages that wait for a link that is down, because they will never be sent. The next run
    /// looks for messages that may have been sent. This comes at the very end, because until then a link may still come
    /// up and take what waits.
    pub(in crate::node) fn end_unsent(&mut self, context: &mut Context) {
        for id in self.ids() {
            let Some(node) = self.get_mut(id).filter(|node| node.link != Link::Up) else { continue };
            let never_sent = !node.dials_in();
            let is_remembered = |token: &Token| context.journal.is_open(token);
            for token in node.owed.take_unknown(never_sent, is_remembered) {
                // The next run sends tracked messages.
                if !context.journal.is_tracked(&token) {
                    context.fail(&token, STOPPING_TEXT);
                }
            }
        }
    }
}
