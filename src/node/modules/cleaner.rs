//! The module `dbcleaner` (docs/protocol.md section 15): old sessions and rows go every hour, a few at a time.

use std::time::Duration;

use crate::model::history::StoreChange;
use crate::model::module::Module;

use crate::node::core::Core;
use crate::node::timers::Timer;

/// One round of cleaning every hour.
pub(in super::super) const PERIOD: Duration = Duration::from_secs(3_600);
/// Between two steps of a round, each of which takes some milliseconds.
const STEP_PAUSE: Duration = Duration::from_millis(50);
/// Instant rows are of no interest after a day.
const INSTANT_SECONDS: i64 = 86_400;

impl Core {
    /// [`Timer::Purge`]: one step.
    pub(in super::super) fn purge(&mut self) {
        self.context.timers.set(Timer::Purge, self.context.now.monotonic + PERIOD);
        if self.context.is_stopping() || !self.context.is_loaded(Module::DbCleaner) {
            return;
        }
        let change = StoreChange::Purge {
            used_before: self.seconds_before(self.context.options.cleaner.sessions),
            rows_before: self.seconds_before(self.context.options.cleaner.history),
            instant_before: self.wall_seconds().saturating_sub(INSTANT_SECONDS),
        };
        self.context.store(change);
    }

    /// The round goes on.
    pub(in super::super) fn purge_left(&mut self) {
        self.context.timers.set(Timer::Purge, self.context.now.monotonic + STEP_PAUSE);
    }

    fn wall_seconds(&self) -> i64 {
        self.context.now.wall.as_seconds()
    }

    fn seconds_before(&self, age: Duration) -> i64 {
        self.wall_seconds().saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    }
}
