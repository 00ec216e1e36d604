//! Finds out whether the receiver of a copy is a daemon of our own kind, which is queried first for the data that it
//! has.

use std::time::Duration;

use crate::model::copy::SourceId;
use crate::model::node_id::NodeId;

use super::breaks::node_is_gone;
use super::{Sender, State};
use crate::node::nodes::node::Link;
use crate::node::timers::Timer;

/// Maximum time that a copy waits for the answer that shows the kind of its receiver.
const KIND_PATIENCE: Duration = Duration::from_secs(3);

impl Sender<'_> {
    /// Finds out whether the receiver is of our own kind, when the source is open.
    pub(super) fn find_out_kind(&mut self, source: SourceId) {
        let now = self.context.now.monotonic;
        let Some((token, through)) = self.sending.all.get(&source).map(|copy| (copy.token.clone(), copy.route.through))
        else {
            return;
        };
        // From its first message on the receiver may end the copy; after a restart its history shows that.
        self.context.open_token(&token, Some(through));
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        let Some(node) = self.nodes.get(through) else {
            return self.fail(source, &node_is_gone(through));
        };
        match node.sync.peer_pages() {
            None if node.link != Link::None => {
                copy.state = State::AwaitingKind;
                self.context.timers.set(Timer::Copy(source), now + KIND_PATIENCE);
            }
            Some(true) => {
                copy.is_ours = true;
                if node.link == Link::Up {
                    self.ask_receiver(source, None, None);
                } else {
                    copy.state = State::Interrupted;
                    self.await_progress(source);
                }
            }
            _ => self.copy_plainly(source),
        }
    }

    /// Handles a GETLOG answer of a node, which shows its kind.
    pub(in crate::node) fn kind_known(&mut self, through: NodeId) {
        for source in self.sending.of_node(through) {
            if self.sending.all.get(&source).is_some_and(|copy| copy.state == State::AwaitingKind) {
                self.find_out_kind(source);
            }
        }
    }
}
