//! Commands that follow a copy run after it, as in the original: Centreon copies a configuration to a poller and then
//! restarts the engine there, without waiting for the rows in between.
//!
//! The sender delays a command for a node until all earlier copies to it are sent; the receiver delays it until all
//! received copies are in place. Both wait for a limited time, because a long copy must not delay everything.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::action::Action;
use crate::model::copy::SourceId;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::peer::Peer;
use crate::node::timers::Timer;

/// Maximum time that a command waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// Maximum number of waiting commands, and of their bytes. A command beyond that does not wait.
const HELD_MAX: usize = 1_000;
const HELD_BYTES_MAX: usize = 4 << 20;

/// A waiting command.
#[derive(Debug)]
pub(in crate::node) struct Held {
    pub peer: Peer,
    pub action: Action,
    pub token: Token,
    pub data: String,
    /// The target node; `None` for this daemon.
    pub node: Option<NodeId>,
}

/// All waiting commands.
#[derive(Debug, Default)]
pub(super) struct HeldCommands {
    /// Each command with the number of the first copy that was requested after it.
    held: VecDeque<(Held, SourceId)>,
    bytes: usize,
    /// How many commands do not have to wait any more, counted from the oldest.
    free: usize,
}

impl HeldCommands {
    /// Returns the number of bytes of the waiting requests.
    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a command. Returns `false` if there is no room.
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

    /// Returns the index of the oldest command that does not have to wait any more.
    pub fn find(&self, is_free: impl Fn(Option<NodeId>, SourceId) -> bool) -> Option<usize> {
        let mut all = self.held.iter().enumerate();
        all.find(|(at, (held, before))| *at < self.free || is_free(held.node, *before)).map(|(at, _)| at)
    }

    /// Takes out the command at an index.
    pub fn take(&mut self, context: &mut Context, at: usize) -> Option<Held> {
        let (held, _) = self.held.remove(at)?;
        self.bytes = self.bytes.saturating_sub(held.data.len());
        self.free = self.free.saturating_sub(usize::from(at < self.free));
        if self.held.is_empty() {
            context.timers.cancel(&Timer::AfterCopies);
        }
        Some(held)
    }

    /// Takes out the commands of a token and ends it. Returns whether there were any.
    pub fn cancel(&mut self, context: &mut Context, token: &str, reason: &str) -> bool {
        let mut found = false;
        while let Some(at) = self.held.iter().position(|(held, _)| held.token.as_str() == token) {
            if let Some(held) = self.take(context, at) {
                context.fail(&held.token, reason);
                found = true;
            }
        }
        found
    }

    /// Handles [`Timer::AfterCopies`], or the end of the daemon: no command has to wait any more.
    pub fn free_all(&mut self) {
        self.free = self.held.len();
    }

    /// Drops the waiting commands for this daemon.
    pub fn drop_ours(&mut self, context: &mut Context, reason: &str) {
        while let Some(at) = self.held.iter().position(|(held, _)| held.node.is_none()) {
            if let Some(held) = self.take(context, at) {
                context.fail(&held.token, reason);
            }
        }
    }
}
