//! Commands that come after a copy run after it, as in the original: a platform copies a configuration to a poller and
//! then restarts the engine there, without waiting for the rows in between.
//!
//! The sender holds a command for a node back until the copies that were asked for before it are sent; the receiver
//! until what has come is in its place. Both only for a while: a long copy must not hold up everything.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::action::Action;
use crate::model::copy::SourceId;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::peer::Peer;
use crate::node::timers::Timer;

/// So long a command waits at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// Commands that wait at most, and their bytes; what comes then does not wait.
const HELD_MAX: usize = 1_000;
const HELD_BYTES_MAX: usize = 4 << 20;

/// A command that waits.
#[derive(Debug)]
pub(in crate::node) struct Held {
    pub peer: Peer,
    pub action: Action,
    pub token: Token,
    pub data: String,
    /// The node that it is for; `None` for us.
    pub node: Option<NodeId>,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct HeldCommands {
    /// Each with the number of the first copy that came after it.
    held: VecDeque<(Held, SourceId)>,
    bytes: usize,
    /// How many of them wait for nothing any more, counted from the oldest.
    free: usize,
}

impl HeldCommands {
    /// Bytes of the requests that wait.
    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a command; `false` when there is no room.
    pub fn hold(&mut self, context: &mut Context, held: Held) -> bool {
        let bytes = self.bytes.saturating_add(held.data.len());
        if self.held.len() >= HELD_MAX || bytes > HELD_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        context.open_token(&held.token, None);
        self.held.push_back((held, context.next_copy()));
        context.timers.set_if_unset(Timer::AfterCopies, context.now.monotonic + PATIENCE);
        true
    }

    /// The place of the oldest that waits for nothing any more.
    pub fn find(&self, is_free: impl Fn(Option<NodeId>, SourceId) -> bool) -> Option<usize> {
        let mut all = self.held.iter().enumerate();
        all.find(|(at, (held, before))| *at < self.free || is_free(held.node, *before)).map(|(at, _)| at)
    }

    /// Takes out the one at a place.
    pub fn take(&mut self, context: &mut Context, at: usize) -> Option<Held> {
        let (held, _) = self.held.remove(at)?;
        self.bytes = self.bytes.saturating_sub(held.data.len());
        self.free = self.free.saturating_sub(usize::from(at < self.free));
        if self.held.is_empty() {
            context.timers.cancel(&Timer::AfterCopies);
        }
        Some(held)
    }

    /// [`Timer::AfterCopies`], or the daemon stops: nothing waits any longer.
    pub fn free_all(&mut self) {
        self.free = self.held.len();
    }

    /// Commands for us that wait never run.
    pub fn drop_ours(&mut self, context: &mut Context, reason: &str) {
        while let Some(at) = self.held.iter().position(|(held, _)| held.node.is_none()) {
            if let Some(held) = self.take(context, at) {
                context.fail(&held.token, reason);
            }
        }
    }
}
