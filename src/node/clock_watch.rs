//! Compares the wall clock with the monotonic clock and with the clock of our central. Deletion by age waits until they
//! have agreed for a day, because a clock that is years ahead for an hour would empty the history.

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
    /// Whether the machine's clock can be right; `None` if nobody has said so.
    machine: Option<bool>,
    /// Whether our central's clock is far from ours.
    differs: bool,
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
        (Self { offset: offset_of(now), jumped: is_gap.then_some(now.monotonic), machine: None, differs: false }, line)
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

    /// Notes whether the machine's clock can be right.
    pub(super) const fn machine_is_right(&mut self, is_right: bool) {
        self.machine = Some(is_right);
    }

    /// Returns the time in seconds for a daemon that may not know it; `None` if we do not know it ourselves.
    pub(super) fn to_tell(&self, now: Now) -> Option<i64> {
        (self.machine == Some(true)).then(|| now.wall.as_seconds())
    }

    /// Compares the clock with the time in seconds that our central tells. Returns whether the time is new to us, and
    /// a log line if the two differ much since now.
    pub(super) fn compare(&mut self, now: Now, told: i64) -> (bool, Option<LogLine>) {
        if self.machine == Some(false) {
            return (true, None);
        }
        let difference = told.saturating_sub(now.wall.as_seconds());
        let differs = difference.saturating_abs() > GAP_MICROS / 1_000_000;
        let differed = std::mem::replace(&mut self.differs, differs);
        let is_new = differs && !differed;
        let line = is_new.then(|| {
            let (days, direction) = (difference.abs() / 86_400, if difference > 0 { "behind" } else { "ahead" });
            let text = format!(
                "this machine's clock is {days} days {direction} of the central's: nothing old is deleted until they \
                 agree; set both by NTP"
            );
            LogLine::warning("core", text)
        });
        (false, line)
    }

    /// Returns whether the clock is trusted for deletion.
    pub(super) fn is_settled(&self, now: Now) -> bool {
        !self.differs
            && self.machine != Some(false)
            && self.jumped.is_none_or(|jumped| now.monotonic.since(jumped) >= STAYS)
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
    fn a_central_whose_clock_is_far_off_stops_deletion_until_both_agree() {
        let (mut watch, _) = ClockWatch::new(at(0, 2_000_000_000), 0.0);
        assert_eq!(watch.to_tell(at(0, 2_000_000_000)), None, "nobody has said that the clock can be right");
        watch.machine_is_right(true);
        assert_eq!(watch.to_tell(at(0, 2_000_000_000)), Some(2_000_000_000));
        assert_eq!(watch.compare(at(1, 2_000_000_001), 2_000_080_000), (false, None));
        let (is_new, line) = watch.compare(at(2, 2_000_000_002), 1_700_000_000);
        assert!(!is_new && line.unwrap().text.contains("3472 days ahead of the central's"));
        assert_eq!(watch.compare(at(3, 2_000_000_003), 1_700_000_001), (false, None), "told once");
        assert!(!watch.is_settled(at(3, 2_000_000_003)));
        watch.compare(at(4, 2_000_000_004), 2_000_000_000);
        assert!(watch.is_settled(at(4, 2_000_000_004)));
    }

    #[test]
    fn a_clock_that_cannot_be_right_takes_the_centrals_time_and_tells_none() {
        let (mut watch, _) = ClockWatch::new(at(0, 2_000_000_000), 0.0);
        watch.machine_is_right(false);
        assert_eq!(watch.compare(at(1, 2_000_000_001), 2_100_000_000), (true, None));
        assert!(watch.to_tell(at(1, 2_000_000_001)).is_none() && !watch.is_settled(at(1, 2_000_000_001)));
    }

    #[test]
    fn a_start_long_after_the_newest_row_waits_too() {
        let (watch, line) = ClockWatch::new(at(0, 200_000_000), 100_000_000.0);
        assert!(line.unwrap().text.contains("1157 days"));
        assert!(!watch.is_settled(at(3_600, 200_003_600)));
        assert!(ClockWatch::new(at(0, 200_000_000), 0.0).1.is_none(), "an empty history tells nothing");
    }
}
