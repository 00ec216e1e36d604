//! Which minutes of the clock on the wall are due, through changes of the clock and of daylight saving, as cron(8) has
//! it.
//!
//! - Jobs with `*` in the minute or hour field follow the clock: they run whenever it shows their time.
//! - Any other job runs once for each of its times: at once where up to three hours were skipped, and not again where
//!   up to three hours are shown twice.
//! - A larger change is a correction: the new time counts, nothing is made up for.

use std::ops::RangeInclusive;

use crate::model::cron_expression::CronExpression;
use crate::model::time_zone::Minute;

/// Changes up to this are made up for.
const CHANGE_MAX: Minute = 180;
const CHANGE_BACK_MAX: Minute = -CHANGE_MAX;
/// Minutes that a busy machine may be late.
const LATE_MAX: Minute = 5;

/// How far the clock was followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The latest minute that jobs with a fixed time have seen.
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
    /// Whether a job is due.
    pub(super) fn includes(&self, expression: &CronExpression) -> bool {
        let minutes = if expression.follows_clock() { &self.following } else { &self.fixed };
        minutes.clone().any(|minute| expression.fits(minute))
    }
}

impl Schedule {
    /// Begins with the minute after `local`.
    pub(super) const fn new(local: Minute) -> Self {
        Self { reached: local, seen: local }
    }

    /// Whether `local` is another minute than the one seen last.
    pub(super) const fn is_later(&self, local: Minute) -> bool {
        local != self.seen
    }

    /// The clock on the wall shows `local`.
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
