//! Messages of our centrals, passed to the rooms that they concern.

use super::Core;
use crate::model::connection::{ClientId, ParentKind};
use crate::model::message::{Message, Reply};
use crate::node::peer::{Handled, Peer};

impl Core {
    /// Handles a message of our central.
    pub(super) fn parent_message(&mut self, kind: ParentKind, message: Message) {
        let Message { action, token, target, data } = message;
        if self.dialled_out.is_answer(&mut self.context, kind, &action, &data) {
            return;
        }
        let client = ClientId::Parent(kind);
        let peer = if token.is_some() { Peer::Client(client) } else { Peer::ClientWithoutToken(client) };
        let has_token = token.is_some();
        let token = token.unwrap_or_else(|| self.context.generate_token());
        let handled = self.request(peer, action, &token, &target.unwrap_or_default(), data);
        let Handled::Reply(reply_kind, code, data) = handled else { return };
        if code.is_terminal() && has_token && !self.context.journal.has_just_ended(&token) {
            self.context.finish(&token, code, data.clone());
        }
        // Nobody asks for a token that we have made up; a Perl central expects one all the same.
        let token = Some(token).filter(|_| has_token || !self.dialled_out.is_ours(kind));
        self.context.reply(client, Reply { kind: reply_kind, token, code, data });
    }
}
