//! The places of a peer that has several addresses, of which one is tried after the other. The one that worked last is
//! the first to be tried again.

use std::collections::VecDeque;
use std::time::Duration;

use super::back_off::{BackOff, Severity};
use crate::model::random::Random;

/// Most time between two addresses of one round, so that many nodes do not come together.
const JITTER_MS: u64 = 50;
/// Most time between two rounds.
const ROUND_MAX: Duration = Duration::from_secs(1);

/// The other places, the next one first.
pub(super) struct Turns<T> {
    others: VecDeque<T>,
    /// Number of places that failed in this round.
    failed: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { others: VecDeque::new(), failed: 0 }
    }
}

impl<T> Turns<T> {
    pub(super) fn new(others: Vec<T>) -> Self {
        Self { others: others.into(), failed: 0 }
    }

    /// Notes that the current place works.
    pub(super) const fn works(&mut self) {
        self.failed = 0;
    }

    /// Returns the delay before the next attempt, and changes `current` to the place for it. A place that was `up` is
    /// tried once more.
    pub(super) fn next(
        &mut self,
        current: &mut T,
        up: bool,
        back_off: &mut BackOff,
        severity: Severity,
        random: &mut dyn Random,
    ) -> Duration {
        if self.others.is_empty() || up {
            return back_off.next_delay(severity, random);
        }
        if let Some(next) = self.others.pop_front() {
            self.others.push_back(std::mem::replace(current, next));
        }
        self.failed += 1;
        if self.failed <= self.others.len() {
            return Duration::from_millis(random.below(JITTER_MS));
        }
        self.failed = 0;
        back_off.next_delay(severity, random).min(ROUND_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gorgone::seeded_random::SeededRandom;

    #[test]
    fn each_place_is_tried_in_a_round_and_the_one_that_worked_once_more() {
        let (mut turns, mut back_off, mut random) =
            (Turns::new(vec!["b", "c"]), BackOff::default(), SeededRandom::new(&[1; 32]));
        let mut at = "a";
        let mut next = |at: &mut &'static str, up, turns: &mut Turns<_>| {
            turns.next(at, up, &mut back_off, Severity::Transient, &mut random)
        };
        let mut tried = Vec::new();
        for _ in 0..7 {
            assert!(next(&mut at, false, &mut turns) <= ROUND_MAX);
            tried.push(at);
        }
        assert_eq!(tried, ["b", "c", "a", "b", "c", "a", "b"]);
        turns.works();
        next(&mut at, true, &mut turns);
        assert_eq!(at, "b", "the last good one first");
    }
}
