//! Requests that have waited in the queue of another daemon run one after the other: whoever asked for them one by one
//! may rely on that. One that takes long holds up the next for a moment only.

use std::time::Duration;

use crate::model::token::Token;
use crate::node::context::Context;
use crate::node::timers::Timer;

use super::Commands;
use super::series::Series;

/// Maximum time for which a request holds up the next.
const PATIENCE: Duration = Duration::from_secs(1);
/// Number of waiting requests above which no more are taken from queues; they are safe there.
const WAITING_MAX: usize = 256;

/// The request that holds up the next.
#[derive(Default)]
pub(super) struct InOrder(Option<Token>);

impl InOrder {
    /// Returns whether the next request must wait.
    pub(super) const fn is_busy(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a request that begins.
    pub(super) fn begin(&mut self, context: &mut Context, series: &Series) {
        if series.in_order() {
            self.0 = Some(series.token().clone());
            context.timers.set(Timer::InOrder, context.now.monotonic + PATIENCE);
        }
    }
}

impl Commands {
    /// Returns whether another request may be taken from the queue of another daemon.
    pub(in crate::node) fn has_room_for_queued(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Handles the end of a token.
    pub(in crate::node) fn token_ended(&mut self, context: &mut Context, token: &str) {
        if self.in_order.0.as_ref().is_some_and(|first| first.as_str() == token) {
            self.next_in_order(context);
        }
    }

    /// Handles [`Timer::InOrder`], or the end of the request that holds up the next.
    pub(in crate::node) fn next_in_order(&mut self, context: &mut Context) {
        self.in_order.0 = None;
        context.timers.cancel(&Timer::InOrder);
        self.start_waiting(context);
    }
}
