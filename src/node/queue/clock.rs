//! The queue's own clock: it runs evenly while the daemon runs, and goes on with the wall clock from the last start, so
//! that a clock that is set by a day lets nothing expire early or late.

use crate::model::time::Now;

/// A difference that is stored. Less is what a clock is corrected by all the time.
const WORTH_STORING: i64 = 5;

#[derive(Debug, Default)]
pub(super) struct QueueClock {
    /// The queue's time minus the monotonic time, in seconds.
    base: i64,
    /// By how much the wall clock is ahead of the queue's clock, as stored.
    stored: i64,
}

fn monotonic(now: Now) -> i64 {
    i64::try_from(now.monotonic.as_millis() / 1_000).unwrap_or(i64::MAX)
}

impl QueueClock {
    /// Goes on where an earlier run stopped: `ahead` is what it stored, 0 if nothing waits.
    pub(super) fn start(now: Now, ahead: i64) -> Self {
        Self { base: now.wall.as_seconds().saturating_sub(ahead).saturating_sub(monotonic(now)), stored: ahead }
    }

    /// Returns the queue's time in seconds.
    pub(super) fn time(&self, now: Now) -> i64 {
        self.base.saturating_add(monotonic(now))
    }

    /// Returns by how much the wall clock is ahead.
    pub(super) fn ahead(&self, now: Now) -> i64 {
        now.wall.as_seconds().saturating_sub(self.time(now))
    }

    /// Returns by how much the wall clock is ahead, if that must be stored.
    pub(super) fn worth_storing(&mut self, now: Now) -> Option<i64> {
        let ahead = self.ahead(now);
        let is_new = ahead.abs_diff(self.stored) > WORTH_STORING.unsigned_abs();
        is_new.then(|| {
            self.stored = ahead;
            ahead
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Monotonic, WallTime};

    fn at(seconds: u64, wall: i64) -> Now {
        Now { monotonic: Monotonic::from_millis(seconds * 1_000), wall: WallTime::from_micros(wall * 1_000_000) }
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing_now_nor_at_the_next_start() {
        let mut clock = QueueClock::start(at(10, 1_000), 0);
        assert_eq!((clock.time(at(10, 1_000)), clock.worth_storing(at(20, 1_011))), (1_000, None));
        // The wall clock is set forward by a day.
        assert_eq!(clock.time(at(30, 87_420)), 1_020);
        assert_eq!(clock.worth_storing(at(30, 87_420)), Some(86_400));
        assert_eq!(clock.worth_storing(at(31, 87_421)), None);
        // The next start is a minute later.
        let clock = QueueClock::start(at(3, 87_480), 86_400);
        assert_eq!(clock.time(at(3, 87_480)), 1_080);
    }
}
