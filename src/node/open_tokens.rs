//! Tokens that were accepted and have no end yet are remembered in the database, so that a restart ends them.

use std::collections::BTreeMap;

use crate::model::history::StoreChange;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::core::Core;
use super::outbox::Outbox;
use super::output::{Output, ReceiptId};
use super::timers::Timer;

impl Core {
    /// A token is accepted: for work of our own, or for a node that has not confirmed it yet. What was held back here
    /// and has gone to a node is that node's from then on.
    pub(super) fn open_token(&mut self, token: &Token, node: Option<NodeId>) {
        let is_known = self.open_tokens.get(token).is_some_and(|known| node.is_none() || *known == node);
        if !is_known {
            self.open_tokens.insert(token.clone(), node);
            self.store(StoreChange::OpenToken { token: token.clone(), node });
        }
    }

    /// The same, together with the rows of a receipt, or not at all. Whether it was not open before.
    pub(super) fn open_token_with(&mut self, token: &Token, receipt: ReceiptId) -> bool {
        let is_new = self.open_tokens.insert(token.clone(), None).is_none();
        if is_new {
            let change = StoreChange::OpenToken { token: token.clone(), node: None };
            self.output(Output::Store { change, receipt: Some(receipt) });
        }
        is_new
    }

    /// A token has ended, or its node owes the end from now on.
    pub(super) fn close_token(&mut self, token: &str) {
        if let Some((token, _)) = self.open_tokens.remove_entry(token) {
            self.store(StoreChange::CloseToken(token));
        }
    }

    /// A token has its last row, whoever brought it: the node that has not confirmed it yet owes nothing more.
    pub(super) fn token_ended(&mut self, text: &str) {
        let Some((token, node)) = self.open_tokens.remove_entry(text) else { return };
        if let Some(id) = node {
            match self.registry.get_quietly(id) {
                Some(node) => _ = node.outbox.ended(&token),
                None => _ = self.absent_outboxes.get_mut(&id).map(|outbox| outbox.ended(&token)),
            }
        }
        self.store(StoreChange::CloseToken(token));
    }

    /// Ends what an earlier run left open. Whether a node got its message is found out by the next sync with it.
    pub(super) fn restore_open_tokens(&mut self, open_tokens: Vec<(Token, Option<NodeId>)>) {
        let patience = self.proxy_settings().pong_discard_timeout;
        let mut absent: BTreeMap<NodeId, Outbox> = BTreeMap::new();
        for (token, node) in open_tokens {
            self.open_tokens.insert(token.clone(), node);
            match node.and_then(|id| Some((id, self.registry.get_mut(id)?))) {
                Some((id, node)) => {
                    node.outbox.restore(token);
                    self.timers.set_if_unset(Timer::Unconfirmed(id), self.now.monotonic + patience);
                }
                None => match node {
                    // It may be one that dials in.
                    Some(id) => absent.entry(id).or_default().restore(token),
                    None => self.end_with_error(&token, "the daemon was restarted before the end"),
                },
            }
        }
        for (id, outbox) in absent {
            self.await_absent(id, outbox);
        }
    }
}
