//! Copies whose connection breaks: with a receiver of our own kind they resume later, all others end. Also the other
//! external reasons for the end of a copy.

use std::time::Duration;

use crate::model::copy::{CopyFailure, CopyKind, SourceId};
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::{Copy, Sender, Sending, State};
use crate::node::copies::ending::{end_after_look, failure_data, failure_row};
use crate::node::phase::STOPPING_TEXT;
use crate::node::timers::Timer;

/// Interval between attempts on a route that is broken behind a relay.
const RETRY: Duration = Duration::from_secs(1);
/// Maximum time in which a relay does not know the receiver, before the copy is sent as to a Perl node.
const WAY_PATIENCE: Duration = Duration::from_secs(10);

/// Returns the failure of a copy to a node that is not registered any more.
pub(super) fn node_is_gone(through: NodeId) -> CopyFailure {
    let message = format!("proxy - node '{through}' was unregistered during the copy");
    CopyFailure { message, detail: String::new() }
}

impl Sending {
    /// Returns whether no other copy to the same destination is in progress.
    pub(super) fn is_alone(&self, source: SourceId) -> bool {
        let Some(copy) = self.all.get(&source) else { return false };
        let is_same = |other: &Copy| {
            other.route.target == copy.route.target && other.request.destination == copy.request.destination
        };
        !self.all.iter().any(|(id, other)| *id != source && is_same(other))
    }
}

impl Copy {
    /// Interrupts the copy. It starts again with the query for the receiver's data.
    pub(super) fn interrupt(&mut self) {
        self.state = State::Interrupted;
        self.is_stale = self.has_step;
        self.ready.clear();
        self.in_flight.clear();
        self.speed.interrupted();
        self.all_read = false;
    }
}

impl Sender<'_> {
    /// Handles a relay that cannot reach the receiver now.
    pub(super) fn way_is_broken(&mut self, source: SourceId) {
        let now = self.context.now.monotonic;
        let patience = self.context.proxy_settings().pong_discard_timeout.max(WAY_PATIENCE);
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        let patience = if copy.has_answer { patience } else { WAY_PATIENCE };
        copy.retry_until.get_or_insert(now + patience);
        copy.interrupt();
        self.context.timers.set(Timer::Copy(source), now + RETRY);
        self.start_queued();
    }

    /// Retries a copy that a relay could not pass on, if necessary as for a Perl node. Returns whether it does.
    pub(super) fn try_way_again(&mut self, source: SourceId) -> bool {
        let (now, is_up) = (self.context.now.monotonic, self.is_link_up(source));
        let Some(copy) = self.sending.all.get_mut(&source).filter(|copy| copy.state == State::Interrupted) else {
            return false;
        };
        let Some(until) = copy.retry_until else { return false };
        let has_answer = copy.has_answer;
        if now >= until && (has_answer || !is_up) {
            return false;
        }
        if !is_up || copy.has_step {
            self.context.timers.set(Timer::Copy(source), now + RETRY);
        } else if now >= until {
            self.copy_plainly(source);
        } else {
            self.ask_receiver(source, None, None);
        }
        true
    }

    /// Sends the copy in the plain form because the receiver, or a relay on the route, is not of our own kind.
    pub(super) fn copy_plainly(&mut self, source: SourceId) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        copy.is_ours = false;
        if copy.kind == CopyKind::Manifest {
            return self.pack(source, None);
        }
        copy.state = State::Sending;
        self.await_progress(source);
        self.go_on(source);
    }

    /// Resumes the copies of a link that is up: the interrupted ones, and those that waited for a node that dials in.
    pub(in crate::node) fn link_up(&mut self, through: NodeId) {
        for source in self.sending.of_node(through) {
            if let Some(copy) = self.sending.all.get_mut(&source) {
                // What waited for the link goes out now.
                copy.has_sent |= !copy.in_flight.is_empty() || !copy.has_room;
            }
            self.resume(source);
            self.go_on(source);
        }
    }

    /// Resumes an interrupted copy. If the copy may have ended at the receiver, the current sync brings that end: a new
    /// query could make the receiver end it a second time.
    pub(super) fn resume(&mut self, source: SourceId) {
        let Some(copy) = self.sending.all.get(&source) else { return };
        let node = self.nodes.get(copy.route.through);
        let is_awaited = copy.may_have_ended && node.is_some_and(|node| node.sync.in_progress);
        if copy.state == State::Interrupted && !copy.has_step && !is_awaited {
            self.ask_receiver(source, None, None);
        }
    }

    /// Handles the end of a sync with a node.
    pub(in crate::node) fn synced(&mut self, through: NodeId) {
        for source in self.sending.of_node(through) {
            let copy = self.sending.all.get(&source);
            let waits = |copy: &Copy| copy.may_have_ended && copy.state == State::Interrupted && !copy.has_step;
            if copy.is_some_and(waits) && self.is_link_up(source) {
                self.ask_receiver(source, None, None);
            }
        }
    }

    /// Handles the loss of a link: copies to a receiver of our own kind may resume later, all others end.
    pub(in crate::node) fn link_down(&mut self, through: NodeId) {
        for source in self.sending.of_node(through) {
            let Some(copy) = self.sending.all.get_mut(&source) else { continue };
            match &copy.state {
                State::Queued | State::Opening | State::Interrupted => {}
                State::AwaitingKind => {}
                _ if copy.is_ours => {
                    copy.interrupt();
                    self.await_progress(source);
                    self.start_queued();
                }
                // For messages that wait for a link that was never up, `send_failed` is called.
                State::Sending if copy.in_flight.is_empty() && copy.has_room => {}
                _ => {
                    let text = format!("proxy - connection to node '{through}' was lost during the copy");
                    self.fail(source, &CopyFailure { message: text, detail: String::new() });
                }
            }
        }
    }

    /// Ends a copy that has failed here. If another daemon may have ended its token, the history of that daemon is
    /// looked at first.
    pub(super) fn end_failed(&mut self, copy: &Copy, failure: &CopyFailure) {
        let (through, data) = (copy.route.through, failure_data(failure));
        // A daemon of our own kind that got a query leaves the end to us; a relay that passes the chunks on like those
        // for a Perl node does not.
        let may_have_ended = copy.may_have_ended || through != copy.route.target && !copy.is_ours && copy.has_sent;
        if !may_have_ended || !end_after_look(self.context, self.nodes, through, &copy.token, &data) {
            failure_row(self.context, &copy.token, failure);
        }
    }

    /// Handles a message of a copy that left the queue of the link unsent. Returns `true` if the token belongs to a
    /// copy.
    pub(in crate::node) fn not_sent(&mut self, through: NodeId, token: &Token, reason: &str) -> bool {
        let Some(source) = self.sending.of_token(token.as_str()) else { return false };
        if self.sending.all.get(&source).is_some_and(|copy| copy.state != State::Interrupted) {
            let message = format!("Send message problem for '{through}': {reason}");
            self.fail(source, &CopyFailure { message, detail: String::new() });
        }
        true
    }

    /// Handles the unregistration of a node.
    pub(in crate::node) fn node_gone(&mut self, through: NodeId) {
        for source in self.sending.of_node(through) {
            self.fail(source, &node_is_gone(through));
        }
    }

    /// Ends all copies because the daemon stops. The receivers keep their data for copies that are requested again.
    pub(in crate::node) fn stop(&mut self) {
        for source in self.sending.all.keys().copied().collect::<Vec<_>>() {
            let Some(copy) = self.forget(source) else { continue };
            // The next run finds out how a copy ended that may have ended.
            self.end_failed(&copy, &CopyFailure { message: STOPPING_TEXT.to_owned(), detail: String::new() });
        }
    }
}
