//! Decides which minutes of the wall clock are due, through changes of the clock and of daylight saving time, like
//! cron(8).
//!
//! - Jobs with `*` in the minute or hour field follow the clock: they run whenever it shows their time.
//! - Any other job runs once for each of its times: at once where up to three hours were skipped, and not again where
//!   up to three hours are shown twice.
//! - A larger change is a correction: the new time counts, and no skipped time is made up for.

use std::ops::RangeInclusive;

use crate::model::cron_expression::CronExpression;
use crate::model::time_zone::Minute;

/// Maximum change of the clock in minutes that is made up for.
const CHANGE_MAX: Minute = 180;
const CHANGE_BACK_MAX: Minute = -CHANGE_MAX;
/// Maximum delay in minutes on a busy machine.
const LATE_MAX: Minute = 5;

/// The position up to which the clock was followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The latest minute handled for jobs with a fixed time.
    reached: Minute,
    /// The last minute seen.
    seen: Minute,
}

/// The minutes that are due now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    fixed: RangeInclusive<Minute>,
    following: RangeInclusive<Minute>,
}

impl Due {
    /// Returns whether a job is due.
    pub(super) fn includes(&self, expression: &CronExpression) -> bool {
        let minutes = if expression.follows_clock() { &self.following } else { &self.fixed };
        minutes.clone().any(|minute| expression.fits(minute))
    }
}

impl Schedule {
    /// Starts with the minute after `local`.
    pub(super) const fn new(local: Minute) -> Self {
        Self { reached: local, seen: local }
    }

    /// Returns whether `local` is another minute than the last one seen.
    pub(super) const fn is_later(&self, local: Minute) -> bool {
        local != self.seen
    }

    /// Moves to the minute `local` of the wall clock. Returns the minutes that are due.
    pub(super) fn advance(&mut self, local: Minute) -> Due {
        let (seen, reached) = (std::mem::replace(&mut self.seen, local), self.reached);
        let following = match local.saturating_sub(seen) {
            0 => nothing(local),
            1..=LATE_MAX => seen + 1..=local,
            _ => local..=local,
        };
        let (fixed, reached) = match local.saturating_sub(reached) {
            CHANGE_BACK_MAX..=0 => (nothing(local), reached),
            1..=CHANGE_MAX => (reached + 1..=local, local),
            _ => (local..=local, local),
        };
        self.reached = reached;
        Due { fixed, following }
    }
}

fn nothing(local: Minute) -> RangeInclusive<Minute> {
    local + 1..=local
}

#[cfg(test)]
mod tests;
