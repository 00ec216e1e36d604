//! Tokens that were accepted and have no end yet are remembered in the database, so that a restart ends them.

use std::collections::BTreeMap;

use crate::model::broken::{self, Fault};
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::core::Core;
use super::journal::Ended;
use super::nodes::owed::OwedTokens;
use super::timers::Timer;

impl Core {
    /// [`Timer::Unconfirmed`]
    pub(super) fn give_up_unconfirmed(&mut self, id: NodeId) {
        let given_up = match self.nodes.get_mut(id) {
            Some(node) => node.owed.give_up(),
            None => self.absent_outboxes.remove(&id).map_or_else(Vec::new, |mut outbox| outbox.give_up()),
        };
        for (token, ending) in given_up {
            ending.write(&mut self.context, id, &token);
        }
    }

    /// A token has its last row, whoever brought it: the node that has not confirmed it yet owes nothing more.
    pub(super) fn owed_token_ended(&mut self, ended: &Ended) {
        let Some((id, token)) = ended.owed_by.zip(Token::parse(&ended.token).ok()) else { return };
        match self.nodes.get_quietly(id) {
            Some(node) => _ = node.owed.ended(&token),
            None => _ = self.absent_outboxes.get_mut(&id).map(|outbox| outbox.ended(&token)),
        }
    }

    /// Ends what an earlier run left open. Whether a node got its message is found out by the next sync with it.
    pub(super) fn restore_open_tokens(&mut self, open_tokens: Vec<(Token, Option<NodeId>)>) {
        let patience = self.context.proxy_settings().pong_discard_timeout;
        let mut absent: BTreeMap<NodeId, OwedTokens> = BTreeMap::new();
        let open_tokens = if broken::is(Fault::OpenTokensForgotten) { Vec::new() } else { open_tokens };
        for (token, node) in open_tokens {
            self.context.journal.restore(token.clone(), node);
            match node.and_then(|id| Some((id, self.nodes.get_mut(id)?))) {
                Some((id, node)) => {
                    node.owed.restore(token);
                    self.context.timers.set_if_unset(Timer::Unconfirmed(id), self.context.now.monotonic + patience);
                }
                None => match node {
                    // It may be one that dials in.
                    Some(id) => absent.entry(id).or_default().restore(token),
                    None if self.legacy.keeps(&token) => {}
                    None => self.context.fail(&token, "the daemon was restarted before the end"),
                },
            }
        }
        for (id, outbox) in absent {
            self.await_absent(id, outbox);
        }
    }
}
