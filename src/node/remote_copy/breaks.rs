//! Copies whose connection breaks: a receiver of our own kind goes on later, any other copy is over. And what else ends them
//! from outside.

use crate::model::copy::CopyFailure;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::super::core::Core;
use super::super::stopping::STOPPING_TEXT;
use super::State;

impl Core {
    /// A link is up: what broke off goes on.
    pub(in super::super) fn copies_link_up(&mut self, through: NodeId) {
        for source in self.copies.of_node(through) {
            let Some(copy) = self.copies.all.get(&source) else { continue };
            if copy.state == State::Interrupted && !copy.has_step {
                self.ask_receiver(source, None, false);
            }
        }
    }

    /// A link broke: a receiver of our own kind may go on later, any other copy is over.
    pub(in super::super) fn copies_link_down(&mut self, through: NodeId) {
        for source in self.copies.of_node(through) {
            let Some(copy) = self.copies.all.get_mut(&source) else { continue };
            match &copy.state {
                State::Queued | State::Opening | State::Interrupted => {}
                State::AwaitingKind => {}
                _ if copy.is_ours => {
                    copy.state = State::Interrupted;
                    copy.is_stale = copy.has_step;
                    copy.ready.clear();
                    copy.in_flight.clear();
                    copy.all_read = false;
                    self.await_progress(source);
                    self.start_queued_copies();
                }
                // What waits for a link that was never up is told by `send_failed`.
                State::Sending if copy.in_flight.is_empty() && copy.has_room => {}
                _ => {
                    let text = format!("proxy - connection to node '{through}' was lost during the copy");
                    self.fail_copy(source, &CopyFailure { message: text, detail: String::new() });
                }
            }
        }
    }

    /// A message of a copy left the link's queue unsent; `true` when the token is one of a copy.
    pub(in super::super) fn copy_not_sent(&mut self, through: NodeId, token: &Token, reason: &str) -> bool {
        let Some(source) = self.copies.of_token(token.as_str()) else { return false };
        if self.copies.all.get(&source).is_some_and(|copy| copy.state != State::Interrupted) {
            let message = format!("Send message problem for '{through}': {reason}");
            self.fail_copy(source, &CopyFailure { message, detail: String::new() });
        }
        true
    }

    /// Little waits to be sent to a node.
    pub(in super::super) fn room_for(&mut self, through: NodeId) {
        self.room_for_copies(through);
        self.room_for_relayed(through);
    }

    /// A node is not registered any more.
    pub(in super::super) fn end_copies_of(&mut self, through: NodeId) {
        for source in self.copies.of_node(through) {
            let message = format!("proxy - node '{through}' was unregistered during the copy");
            self.fail_copy(source, &CopyFailure { message, detail: String::new() });
        }
    }

    /// The daemon stops.
    pub(in super::super) fn stop_copies(&mut self) {
        for source in self.copies.all.keys().copied().collect::<Vec<_>>() {
            let failure = CopyFailure { message: STOPPING_TEXT.to_owned(), detail: String::new() };
            self.fail_copy(source, &failure);
        }
    }
}
