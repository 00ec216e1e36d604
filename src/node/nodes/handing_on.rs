//! Requests that are passed on to another daemon.

use crate::model::action::Action;
use crate::model::message::Message;
use crate::model::token::Token;

use super::Nodes;
use super::pathway::Route;
use crate::node::context::Context;
use crate::node::peer::Peer;
use crate::node::trace::passed_on;

impl Nodes {
    /// Sends a request on. Its token is owed by the node from then on, unless nobody will ask for the result.
    /// `is_of_daemon` says whether the sender is another daemon, for which the way of the request is recorded.
    ///
    /// # Errors
    /// Returns the message of the history row that ends the token.
    pub(in crate::node) fn hand_on(
        &mut self,
        context: &mut Context,
        (peer, is_of_daemon): (Peer, bool),
        action: Action,
        token: &Token,
        route: Route,
        data: String,
    ) -> Result<(), String> {
        let id = route.through;
        let node = self.get_mut(id).ok_or_else(|| format!("proxy - no pathway for target {}", route.target))?;
        node.reachable()?;
        if node.owed.is_full() {
            return Err(format!("proxy - too many messages to node '{id}' wait to be confirmed"));
        }
        if action != Action::GetLog || !matches!(peer, Peer::ClientWithoutToken(_)) {
            // A relay of our own kind writes the end itself, whatever the action.
            let is_relayed = id != route.target && node.sync.is_of_our_kind();
            let has_row = node.owed.sent(token.clone(), &action, node.sync.serial, is_relayed);
            if has_row || is_of_daemon {
                context.open_token(token, Some(id));
            }
            if is_of_daemon {
                context.write(passed_on(token, id));
            }
        }
        let message = Message { action, token: Some(token.clone()), target: Some(route.target_field()), data };
        self.send(context, id, message);
        Ok(())
    }
}
