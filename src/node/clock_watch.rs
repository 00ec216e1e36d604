//! Compares the wall clock with the monotonic clock. Deletion by age waits until both have agreed for a day, because a
//! clock that is years ahead for an hour would empty the history.

use std::time::Duration;

use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};

/// A change of the clock by more than this is a jump. Smaller changes are ordinary corrections.
const JUMP_MICROS: i64 = 30_000_000;
/// Time without a jump after which the clock is trusted for deletion.
const STAYS: Duration = Duration::from_secs(86_400);
/// A history whose newest row is older than this may have been opened with a clock that is ahead.
const GAP_MICROS: i64 = 86_400_000_000;

/// Watches the wall clock for jumps.
#[derive(Debug)]
pub(super) struct ClockWatch {
    /// The wall clock minus the monotonic clock, in microseconds.
    offset: i64,
    /// Time of the last jump.
    jumped: Option<Monotonic>,
}

fn offset_of(now: Now) -> i64 {
    let monotonic = i64::try_from(now.monotonic.as_millis()).unwrap_or(i64::MAX);
    now.wall.as_micros().saturating_sub(monotonic.saturating_mul(1_000))
}

impl ClockWatch {
    /// Starts with `newest_row`, the `ctime` of the newest row in seconds, 0 for an empty history. Also returns a log
    /// line if it differs much from the clock.
    pub(super) fn new(now: Now, newest_row: f64) -> (Self, Option<LogLine>) {
        let is_gap = newest_row > 0.0 && (now.wall.as_seconds_f64() - newest_row).abs() * 1e6 > GAP_MICROS as f64;
        let line = is_gap.then(|| {
            let days = ((now.wall.as_seconds_f64() - newest_row) / 86_400.0).round();
            let text = format!(
                "the clock is {days} days from the newest row of the history: nothing old is deleted for a day; check \
                 the time"
            );
            LogLine::warning("core", text)
        });
        (Self { offset: offset_of(now), jumped: is_gap.then_some(now.monotonic) }, line)
    }

    /// Checks the clock. Returns a log line if it has jumped.
    pub(super) fn look(&mut self, now: Now) -> Option<LogLine> {
        let offset = offset_of(now);
        let step = offset.saturating_sub(std::mem::replace(&mut self.offset, offset));
        if step.saturating_abs() < JUMP_MICROS {
            return None;
        }
        self.jumped = Some(now.monotonic);
        let (seconds, direction) = (step.unsigned_abs() / 1_000_000, if step > 0 { "forward" } else { "back" });
        let text = format!("the clock was set {direction} by {seconds} s: nothing old is deleted for a day");
        Some(LogLine::warning("core", text))
    }

    /// Returns whether the clock is trusted for deletion.
    pub(super) fn is_settled(&self, now: Now) -> bool {
        self.jumped.is_none_or(|jumped| now.monotonic.since(jumped) >= STAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::WallTime;

    fn at(seconds: u64, wall_seconds: i64) -> Now {
        let wall = WallTime::from_micros(wall_seconds * 1_000_000);
        Now { monotonic: Monotonic::from_millis(seconds * 1_000), wall }
    }

    #[test]
    fn a_jump_in_either_direction_is_told_once_and_waited_out_for_a_day() {
        let (mut watch, line) = ClockWatch::new(at(10, 1_000_000), 999_000.0);
        assert!(line.is_none() && watch.is_settled(at(10, 1_000_000)));
        assert!(watch.look(at(4_000, 1_003_995)).is_none(), "five seconds are how clocks are kept right");
        let line = watch.look(at(4_001, 101_003_996)).unwrap();
        assert_eq!(line.text, "the clock was set forward by 100000000 s: nothing old is deleted for a day");
        assert!(watch.look(at(4_002, 101_003_997)).is_none());
        assert!(!watch.is_settled(at(50_000, 0)));
        assert!(watch.look(at(50_000, 1_049_995)).unwrap().text.contains("set back by"));
        assert!(!watch.is_settled(at(50_000 + 86_399, 0)) && watch.is_settled(at(50_000 + 86_400, 0)));
    }

    #[test]
    fn a_start_long_after_the_newest_row_waits_too() {
        let (watch, line) = ClockWatch::new(at(0, 200_000_000), 100_000_000.0);
        assert!(line.unwrap().text.contains("1157 days"));
        assert!(!watch.is_settled(at(3_600, 200_003_600)));
        assert!(ClockWatch::new(at(0, 200_000_000), 0.0).1.is_none(), "an empty history tells nothing");
    }
}
