//! Both clocks of the machine.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::{Monotonic, Now, WallTime};

/// Reads both clocks. The monotonic one counts from the first call of this process.
#[must_use]
pub fn read() -> Now {
    Now { monotonic: monotonic(), wall: wall() }
}

/// Milliseconds since the first reading of this process.
#[must_use]
pub fn monotonic() -> Monotonic {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed();
    Monotonic::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}

/// The wall clock in microseconds, negative before 1970.
#[must_use]
pub fn wall() -> WallTime {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    };
    WallTime::from_micros(micros)
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
}
