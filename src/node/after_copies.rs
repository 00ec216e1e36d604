//! Commands that come after a copy run after it, as in the original: a platform copies a configuration to a poller and
//! then restarts the engine there, without waiting for the rows in between.
//!
//! The sender holds a command for a node back until the copies that were asked for before it are sent; the receiver
//! until what has come is in its place. Both only for a while: a long copy must not hold up everything.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::action::Action;
use crate::model::copy::SourceId;
use crate::model::message::Reply;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::actions::{self, Also};
use super::core::Core;
use super::peer::{Handled, Peer};
use super::phase::STOPPING_TEXT;
use super::timers::Timer;

/// So long a command waits at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// Commands that wait at most, and their bytes; what comes then does not wait.
const HELD_MAX: usize = 1_000;
const HELD_BYTES_MAX: usize = 4 << 20;

/// A command that waits.
#[derive(Debug)]
struct Held {
    peer: Peer,
    action: Action,
    token: Token,
    data: String,
    /// The node that it is for, and the first copy that came after it; `None` for one that is for us.
    sent_after: Option<(NodeId, SourceId)>,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct AfterCopies {
    held: VecDeque<Held>,
    bytes: usize,
    /// One that has waited goes on, whatever has come since.
    is_over: bool,
}

impl AfterCopies {
    /// Bytes of the requests that wait.
    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes
    }
}

impl Core {
    /// Whether a command for another node is held back here.
    pub(super) fn hold_for_node(
        &mut self,
        peer: Peer,
        action: &Action,
        token: &Token,
        target: NodeId,
        data: &str,
    ) -> bool {
        let waits =
            actions::is(action, Also::AfterCopies) && !self.after_copies.is_over && self.is_copying_to(target, None);
        waits && self.hold(peer, action, token, data, Some((target, self.context.next_copy())))
    }

    /// Whether copies to a node are under way; with an id, those before it.
    fn is_copying_to(&self, target: NodeId, before: Option<SourceId>) -> bool {
        self.copies.is_sending_to(target, before)
            || self.sinks.is_ending_for(target, before)
            || self.ssh.is_copying_to(target, before)
    }

    /// Whether a command for us is held back.
    pub(super) fn hold_for_us(&mut self, peer: Peer, action: &Action, token: &Token, data: &str) -> bool {
        actions::is(action, Also::AfterCopies) && self.sinks.is_ending() && self.hold(peer, action, token, data, None)
    }

    fn hold(
        &mut self,
        peer: Peer,
        action: &Action,
        token: &Token,
        data: &str,
        sent_after: Option<(NodeId, SourceId)>,
    ) -> bool {
        let bytes = self.after_copies.bytes.saturating_add(data.len());
        if self.after_copies.held.len() >= HELD_MAX || bytes > HELD_BYTES_MAX {
            return false;
        }
        self.after_copies.bytes = bytes;
        self.context.open_token(token, None);
        let (action, token, data) = (action.clone(), token.clone(), data.to_owned());
        self.after_copies.held.push_back(Held { peer, action, token, data, sent_after });
        self.context.timers.set_if_unset(Timer::AfterCopies, self.context.now.monotonic + PATIENCE);
        true
    }

    /// A copy is sent, in its place, or over: commands go on that waited for nothing else.
    pub(super) fn run_after_copies(&mut self) {
        if self.after_copies.held.is_empty() {
            return;
        }
        let mut waiting = VecDeque::new();
        for held in std::mem::take(&mut self.after_copies.held) {
            let waits = match held.sent_after {
                Some((target, before)) => self.is_copying_to(target, Some(before)),
                None => self.sinks.is_ending(),
            };
            if waits {
                waiting.push_back(held);
            } else {
                self.run_held(held);
            }
        }
        self.after_copies.held = waiting;
        if self.after_copies.held.is_empty() {
            self.context.timers.cancel(&Timer::AfterCopies);
        }
    }

    /// Commands for us that wait never run.
    pub(super) fn drop_held_for_us(&mut self, reason: &str) {
        let (ours, kept): (VecDeque<Held>, VecDeque<Held>) =
            std::mem::take(&mut self.after_copies.held).into_iter().partition(|held| held.sent_after.is_none());
        self.after_copies.held = kept;
        for held in ours {
            self.after_copies.bytes = self.after_copies.bytes.saturating_sub(held.data.len());
            self.context.fail(&held.token, reason);
        }
    }

    /// [`Timer::AfterCopies`], or the daemon stops: nothing waits any longer.
    pub(super) fn wait_for_copies_no_longer(&mut self) {
        for held in std::mem::take(&mut self.after_copies.held) {
            self.run_held(held);
        }
    }

    fn run_held(&mut self, held: Held) {
        self.after_copies.bytes = self.after_copies.bytes.saturating_sub(held.data.len());
        let Held { peer, action, token, data, sent_after } = held;
        match sent_after {
            Some((target, _)) => {
                self.after_copies.is_over = true;
                self.request_now(peer, action, &token, &target.to_string(), data);
                self.after_copies.is_over = false;
            }
            None if self.context.is_stopping() => self.context.fail(&token, STOPPING_TEXT),
            None => {
                let handled = self.request_here(peer, &action, &token, &data);
                if let (Handled::Reply(kind, code, data), Some(client)) = (handled, peer.client()) {
                    self.context.reply(client, Reply { kind, token: Some(token), code, data });
                }
            }
        }
    }
}
