//! The module `dbcleaner` (docs/protocol.md section 15): old sessions and rows are deleted every hour, a few at a time.

use std::time::Duration;

use crate::model::action::Module;
use crate::model::history::StoreChange;

use crate::node::context::Context;
use crate::node::timers::Timer;

/// Interval between two rounds of cleaning.
const PERIOD: Duration = Duration::from_secs(3_600);
/// Pause between two steps of a round. Each step takes some milliseconds.
const STEP_PAUSE: Duration = Duration::from_millis(50);
/// Retention time of instant rows.
const INSTANT_SECONDS: i64 = 86_400;

/// Starts the module, which every daemon has. The first round comes after an hour.
pub(in crate::node) fn start(context: &mut Context) {
    let module = Module::DbCleaner;
    if !context.is_loaded(module) {
        context.options.modules.loaded.insert(module.name().to_owned(), module.package().to_owned());
    }
    set_timer(context);
}

fn set_timer(context: &mut Context) {
    context.timers.set(Timer::Purge, context.now.monotonic + PERIOD);
}

/// Handles [`Timer::Purge`]: one step. Returns `false` if nothing may be deleted now.
pub(in crate::node) fn purge(context: &mut Context) -> bool {
    set_timer(context);
    if context.is_stopping() || !context.is_loaded(Module::DbCleaner) || !context.is_clock_settled() {
        return false;
    }
    let settings = context.options.modules.dbcleaner.unwrap_or_default();
    let now = context.now.wall.as_seconds();
    let before = |age: Duration| now.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    let change = StoreChange::Purge {
        used_before: before(settings.sessions),
        rows_before: before(settings.history),
        instant_before: now.saturating_sub(INSTANT_SECONDS),
    };
    context.store(change);
    true
}

/// Continues a round.
pub(in crate::node) fn purge_left(context: &mut Context) {
    context.timers.set(Timer::Purge, context.now.monotonic + STEP_PAUSE);
}
