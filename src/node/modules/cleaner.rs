//! The module `dbcleaner` (protocol.md section 15): old sessions and rows go every hour, a few at a time.

use std::time::Duration;

use crate::model::history::{LogPage, StoreChange};

use super::super::core::Core;
use super::super::stopping::Stopping;
use super::super::timers::Timer;
use super::CLEANER_PACKAGE;

/// One round of cleaning every hour.
pub(in super::super) const PERIOD: Duration = Duration::from_secs(3_600);
/// Rows of each kind per step, so that a step is no burden.
const STEP_ROWS: u32 = 2_000;
/// Between two steps of a round.
const STEP_PAUSE: Duration = Duration::from_millis(250);
/// Instant rows are of no interest after a day.
const INSTANT_SECONDS: i64 = 86_400;

impl Core {
    /// [`Timer::Purge`]: one step, and the question whether another is needed.
    pub(in super::super) fn purge(&mut self) {
        self.timers.set(Timer::Purge, self.now.monotonic + PERIOD);
        if self.stopping != Stopping::No || !self.is_loaded(CLEANER_PACKAGE) {
            return;
        }
        let change = StoreChange::Purge {
            used_before: self.seconds_before(self.options.cleaner.sessions),
            rows_before: self.seconds_before(self.options.cleaner.history),
            instant_before: self.wall_seconds().saturating_sub(INSTANT_SECONDS),
            limit: STEP_ROWS,
        };
        self.store(change);
        self.ask_for_oldest_row();
    }

    /// The oldest row that is left: while it is too old as well, the round goes on.
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit 53 bits")]
    pub(in super::super) fn oldest_row_answered(&mut self, page: &LogPage) {
        let rows_before = self.seconds_before(self.options.cleaner.history) as f64;
        if page.rows.first().is_some_and(|row| row.ctime < rows_before) {
            self.timers.set(Timer::Purge, self.now.monotonic + STEP_PAUSE);
        }
    }

    fn wall_seconds(&self) -> i64 {
        self.now.wall.as_seconds()
    }

    fn seconds_before(&self, age: Duration) -> i64 {
        self.wall_seconds().saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    }
}
