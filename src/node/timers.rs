//! Every point in time at which the deciding part has something to do, earliest first. No clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::api::CallId;
use crate::model::connection::ClientId;
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;
use crate::model::token::Token;

/// What is due. Each is set at most once at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Everything must have ended: the daemon stops.
    Stop,
    /// The next ping of a node.
    Ping(NodeId),
    /// A ping waits for its link no longer.
    PingLink(NodeId),
    /// A ping waits for its answer no longer.
    Pong(NodeId),
    /// A history sync waits for its answer no longer.
    SyncTimeout(NodeId),
    /// Messages that a broken link left unconfirmed are given up.
    Unconfirmed(NodeId),
    /// A parent is told that there is something new.
    Parent(ClientId),
    /// A listener polls or ends.
    Listener(Token),
    /// A call of the API waits no longer.
    Call(CallId),
    /// The periodic history sync of every node.
    SyncAll,
    /// The database is cleaned.
    Purge,
}

/// The timers that are set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    in_order: BTreeSet<(Monotonic, Timer)>,
    due: BTreeMap<Timer, Monotonic>,
}

impl Timers {
    /// Sets a timer, or moves it when it is set already.
    pub(super) fn set(&mut self, timer: Timer, at: Monotonic) {
        if let Some(before) = self.due.insert(timer.clone(), at) {
            self.in_order.remove(&(before, timer.clone()));
        }
        self.in_order.insert((at, timer));
    }

    /// Sets a timer unless it is set already.
    pub(super) fn set_if_unset(&mut self, timer: Timer, at: Monotonic) {
        if !self.due.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Forgets a timer.
    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.due.remove(timer) {
            self.in_order.remove(&(at, timer.clone()));
        }
    }

    /// The earliest timer that is due at `now`; it is not set any more.
    pub(super) fn pop(&mut self, now: Monotonic) -> Option<Timer> {
        if self.in_order.first()?.0 > now {
            return None;
        }
        let (_, timer) = self.in_order.pop_first()?;
        self.due.remove(&timer);
        Some(timer)
    }

    /// When the earliest timer is due.
    pub(super) fn next(&self) -> Option<Monotonic> {
        self.in_order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_moved_fires_once_at_its_new_time() {
        let at = Monotonic::from_millis;
        let mut timers = Timers::default();
        timers.set(Timer::Purge, at(5));
        timers.set(Timer::SyncAll, at(7));
        timers.set(Timer::Purge, at(9));
        timers.set_if_unset(Timer::Purge, at(1));
        assert_eq!(timers.next(), Some(at(7)));
        assert_eq!(timers.pop(at(6)), None);
        assert_eq!(timers.pop(at(9)), Some(Timer::SyncAll));
        assert_eq!(timers.pop(at(9)), Some(Timer::Purge));
        assert_eq!(timers.pop(at(9)), None);
        timers.set(Timer::Purge, at(10));
        timers.cancel(&Timer::Purge);
        assert_eq!(timers.next(), None);
    }
}
