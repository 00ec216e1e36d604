//! The local time zone as a value: every change of its offset, and the rule for the time after the last one. It reads
//! neither clock nor environment.

use std::sync::Arc;

use super::time::WallTime;

/// Seconds of a minute.
const MINUTE: i64 = 60;

/// Minutes since 1970-01-01 00:00, in UTC or local time.
pub type Minute = i64;

/// A time zone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TimeZone(Arc<tz::TimeZone>);

impl TimeZone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self(Arc::new(tz::TimeZone::utc()))
    }

    /// A zone that was read from the system.
    #[must_use]
    pub fn new(zone: tz::TimeZone) -> Self {
        Self(Arc::new(zone))
    }

    /// The local time of the minute `utc`. Universal time beyond the end of the rules.
    #[must_use]
    pub fn local_minute(&self, utc: Minute) -> Minute {
        let seconds = utc.saturating_mul(MINUTE);
        let offset = self.0.find_local_time_type(seconds).map_or(0, |kind| i64::from(kind.ut_offset()));
        seconds.saturating_add(offset).div_euclid(MINUTE)
    }
}

/// The minute of a time, in UTC.
#[must_use]
pub const fn minute_of(time: WallTime) -> Minute {
    time.as_seconds().div_euclid(MINUTE)
}
