//! An ordered set of deadlines, at most one for each timer. It reads no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::time::Monotonic;

/// At most one deadline for each timer. The earliest is found in O(log n).
#[derive(Debug)]
pub struct Timers<Timer: Clone + Ord> {
    in_order: BTreeSet<(Monotonic, Timer)>,
    due: BTreeMap<Timer, Monotonic>,
}

impl<Timer: Clone + Ord> Default for Timers<Timer> {
    fn default() -> Self {
        Self { in_order: BTreeSet::new(), due: BTreeMap::new() }
    }
}

impl<Timer: Clone + Ord> Timers<Timer> {
    /// Sets or moves a timer.
    pub fn set(&mut self, timer: Timer, at: Monotonic) {
        match self.due.insert(timer.clone(), at) {
            Some(before) if before == at => {}
            before => {
                if let Some(before) = before {
                    self.in_order.remove(&(before, timer.clone()));
                }
                self.in_order.insert((at, timer));
            }
        }
    }

    /// Sets a timer unless it is already set.
    pub fn set_if_unset(&mut self, timer: Timer, at: Monotonic) {
        if !self.due.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Sets, moves or removes a timer.
    pub fn replace(&mut self, timer: Timer, at: Option<Monotonic>) {
        match at {
            Some(at) => self.set(timer, at),
            None => self.cancel(&timer),
        }
    }

    /// Removes a timer.
    pub fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.due.remove(timer) {
            self.in_order.remove(&(at, timer.clone()));
        }
    }

    /// Removes and returns the earliest timer that is due at `now`.
    pub fn pop(&mut self, now: Monotonic) -> Option<Timer> {
        if self.in_order.first()?.0 > now {
            return None;
        }
        let (_, timer) = self.in_order.pop_first()?;
        self.due.remove(&timer);
        Some(timer)
    }

    /// When the earliest timer is due.
    #[must_use]
    pub fn next(&self) -> Option<Monotonic> {
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
        timers.set('p', at(5));
        timers.set('s', at(7));
        timers.set('p', at(9));
        timers.set_if_unset('p', at(1));
        assert_eq!(timers.next(), Some(at(7)));
        assert_eq!(timers.pop(at(6)), None);
        assert_eq!(timers.pop(at(9)), Some('s'));
        assert_eq!(timers.pop(at(9)), Some('p'));
        assert_eq!(timers.pop(at(9)), None);
        timers.set('p', at(10));
        timers.replace('p', None);
        assert_eq!(timers.next(), None);
    }
}
