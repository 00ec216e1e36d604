//! Both clocks of the machine, and what stands for the wall clock while it cannot be right.
//!
//! A board without a battery starts in 1970, in 2001 or far in the future, and is set when the network is there. A wall
//! clock from before this program was made, or more than ten years after it, is not used. Instead the time goes on
//! from the latest of: the date of this build, the last reading that was right, and what [`learn`] was told.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::{Monotonic, Now, WallTime};

const MICROS: i64 = 1_000_000;
/// 1 November 2026, for a build that does not say when it was made.
const EARLIEST_SECONDS: i64 = 1_793_491_200;
/// When this program was made: `SOURCE_DATE_EPOCH` of the build, in microseconds since 1970.
const BUILT: i64 = MICROS * latest(EARLIEST_SECONDS, number(option_env!("SOURCE_DATE_EPOCH")));
/// How long after its date a build believes the clock: ten years.
const BELIEVED: i64 = MICROS * 10 * 366 * 86_400;

/// The time that goes on by itself, minus the monotonic time, in microseconds.
static OWN: AtomicI64 = AtomicI64::new(BUILT);

const fn latest(one: i64, other: i64) -> i64 {
    if one > other { one } else { other }
}

/// A decimal number of at most 11 digits; 0 for anything else.
const fn number(text: Option<&str>) -> i64 {
    let Some(text) = text else { return 0 };
    let (mut rest, mut number) = (text.as_bytes(), 0);
    if rest.len() > 11 {
        return 0;
    }
    while let [digit, tail @ ..] = rest {
        if !digit.is_ascii_digit() {
            return 0;
        }
        number = number * 10 + (*digit - b'0') as i64;
        rest = tail;
    }
    number
}

/// Reads both clocks. The monotonic one counts from the first call of this process.
#[must_use]
pub fn read() -> Now {
    Now { monotonic: monotonic(), wall: wall() }
}

/// Milliseconds since the first reading of this process.
#[must_use]
pub fn monotonic() -> Monotonic {
    Monotonic::from_millis(u64::try_from(passed_micros() / 1_000).unwrap_or(0))
}

fn passed_micros() -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    i64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// The time in microseconds: that of the machine's clock, unless it cannot be right.
#[must_use]
pub fn wall() -> WallTime {
    let (passed, machine) = (passed_micros(), machines());
    if is_credible(machine) {
        OWN.store(machine.as_micros().saturating_sub(passed), Ordering::Relaxed);
        return machine;
    }
    WallTime::from_micros(OWN.load(Ordering::Relaxed).saturating_add(passed))
}

/// Takes a time that is known to have passed. It counts only while the machine's clock cannot be right.
pub fn learn(passed: WallTime) {
    if is_credible(passed) && !is_credible(machines()) {
        OWN.fetch_max(passed.as_micros().saturating_sub(passed_micros()), Ordering::Relaxed);
    }
}

/// What the machine's clock says, if it cannot be right.
#[must_use]
pub fn wrong() -> Option<WallTime> {
    Some(machines()).filter(|machine| !is_credible(*machine))
}

/// The time against which those of files are compared. While the machine's clock cannot be right no file is old.
#[must_use]
pub fn of_files() -> SystemTime {
    let machine = Some(machines()).filter(|machine| is_credible(*machine));
    let micros = machine.and_then(|machine| u64::try_from(machine.as_micros()).ok()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_micros(micros)
}

/// The age of a file at `now`; zero for one that was written while the clock could not be right.
#[must_use]
pub fn age_of_file(modified: SystemTime, now: SystemTime) -> Duration {
    let was_right =
        modified.duration_since(UNIX_EPOCH).is_ok_and(|time| time.as_micros() >= BUILT.unsigned_abs().into());
    now.duration_since(modified).ok().filter(|_| was_right).unwrap_or_default()
}

const fn is_credible(time: WallTime) -> bool {
    time.as_micros() >= BUILT && time.as_micros() - BUILT <= BELIEVED
}

/// The machine's clock in microseconds, negative before 1970.
#[cfg(target_pointer_width = "64")]
fn machines() -> WallTime {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    };
    WallTime::from_micros(micros)
}

/// The machine's clock in microseconds. The standard library asks with 32 bits here, and panics from 2038 on.
#[cfg(not(target_pointer_width = "64"))]
fn machines() -> WallTime {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    WallTime::from_micros(time.tv_sec.saturating_mul(MICROS).saturating_add(i64::from(time.tv_nsec) / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back_and_the_wall_clock_is_this_century() {
        let first = read();
        let second = read();
        assert!(second.monotonic >= first.monotonic);
        assert!(first.wall.as_seconds() > 1_600_000_000, "{:?}", first.wall);
    }

    #[test]
    fn a_clock_from_before_the_build_or_ten_years_after_it_is_not_believed() {
        let at = |seconds: i64| is_credible(WallTime::from_micros(seconds.saturating_mul(MICROS)));
        let built = BUILT / MICROS;
        assert!(at(built) && at(built + 9 * 366 * 86_400));
        for seconds in [i64::MIN, -1, 0, 12, 978_307_200, built - 1, built + 11 * 366 * 86_400, i64::from(u32::MAX)] {
            assert!(!at(seconds), "{seconds}");
        }
        assert!(!is_credible(WallTime::from_micros(i64::MAX)) && !is_credible(WallTime::from_micros(i64::MIN)));
    }

    #[test]
    fn a_file_that_was_written_under_a_wrong_clock_is_not_old() {
        let (now, day) = (of_files(), Duration::from_secs(86_400));
        assert_eq!(age_of_file(now, now + day), day);
        assert_eq!(age_of_file(UNIX_EPOCH + day, now), Duration::ZERO);
        assert_eq!(age_of_file(now + day, now), Duration::ZERO);
    }

    #[test]
    fn the_date_of_a_build_is_a_plain_number_or_nothing() {
        let dates = [Some("1796083200"), Some("-1"), Some("1.5"), Some(""), Some("99999999999999"), None];
        assert_eq!(dates.map(number), [1_796_083_200, 0, 0, 0, 0, 0]);
        assert_eq!((latest(3, 2), latest(2, 3)), (3, 3));
    }
}
