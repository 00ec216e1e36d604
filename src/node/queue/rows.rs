//! What rows of nodes tell about requests that were sent: a node takes one, gives it back, or has a new database.

use super::Queue;
use crate::model::node_id::NodeId;
use crate::model::queue::RowTells;
use crate::model::token::Token;
use crate::node::context::Context;

/// Returns the end of a request that was sent to a node whose database was replaced since.
pub(super) fn has_new_database(node: NodeId) -> String {
    format!(
        "node '{node}' has a new database since this was sent to it, so it does not know what it has taken: \
         it may have run this, and does not get it again"
    )
}

impl Queue {
    /// Handles what a row of a node tells about a request that was sent.
    pub(in crate::node) fn row_tells(&mut self, context: &mut Context, token: &Token, tells: RowTells) {
        match tells {
            RowTells::Taken => self.is_taken(token),
            RowTells::Ended => self.forget(context, token.as_str()),
            RowTells::Back => self.is_given_back(context, token),
            RowTells::NewDatabase => self.was_sent_to_another(context, token),
        }
    }

    /// Notes that a node has given back a request that it had taken: it is sent again, unless its time is over.
    fn is_given_back(&mut self, context: &mut Context, token: &Token) {
        let Some(sent) = self.sent.get_mut(&token.digest()) else { return };
        let (target, place) = (sent.target, (sent.sequence, sent.bytes));
        if sent.is_overdue {
            self.numbers.expired += 1;
            self.forget(context, token.as_str());
            context.fail(token, &format!("expired: node '{target}' took it, and ended before it had begun with it"));
        } else if std::mem::take(&mut sent.is_taken)
            && let Some(way) = self.ways.get_mut(&target)
        {
            way.doubt([place].into_iter());
            self.may_send(target);
        }
    }

    /// Ends a request that was sent to a node whose database was replaced since, as its row tells.
    fn was_sent_to_another(&mut self, context: &mut Context, token: &Token) {
        let Some(target) = self.sent.get(&token.digest()).map(|sent| sent.target) else { return };
        context.may_end_late(token);
        self.forget(context, token.as_str());
        context.fail(token, &has_new_database(target));
    }

    /// Has a node whose machine was replaced get nothing that was sent to the one before: what it had taken is looked
    /// at again.
    pub(in crate::node) fn node_is_new(&mut self, target: NodeId) {
        let Some(way) = self.ways.get_mut(&target) else { return };
        let taken = self.sent.iter_mut().filter(|(_, sent)| sent.target == target && sent.is_taken);
        let taken = taken.map(|(_, sent)| {
            sent.is_taken = false;
            (sent.sequence, sent.bytes)
        });
        way.doubt(taken);
        self.may_send(target);
    }
}
