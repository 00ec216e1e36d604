//! The `ctime` of rows stored here: always later than that of the row before, whatever the wall clock does.

use crate::model::time::WallTime;

/// Ten microseconds: a Perl peer writes 15 digits of a number, so that a finer `ctime` would come back rounded, and rows
/// would be lost or doubled when it pages by it.
const STEP_MICROS: i64 = 10;

/// Gives out `ctime` values.
#[derive(Debug)]
pub(super) struct HistoryClock {
    last_micros: i64,
}

impl HistoryClock {
    /// Goes on after the newest row in the database, if there is one.
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates, and the result is capped below")]
    pub(super) fn new(last_ctime: Option<f64>) -> Self {
        // The cap is the year 2255, up to which seconds with microseconds are exact.
        let last_micros = last_ctime.map_or(0, |seconds| (seconds * 1e6).ceil() as i64).clamp(0, 9_000_000_000_000_000);
        Self { last_micros: last_micros - last_micros.rem_euclid(STEP_MICROS) + STEP_MICROS }
    }

    /// The `ctime` of a row that is stored at `wall`, in seconds.
    pub(super) fn next(&mut self, wall: WallTime) -> f64 {
        let micros = wall.as_micros();
        let rounded = micros - micros.rem_euclid(STEP_MICROS);
        self.last_micros = rounded.max(self.last_micros + STEP_MICROS);
        WallTime::from_micros(self.last_micros).as_seconds_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctime_grows_even_when_the_wall_clock_steps_back() {
        let mut clock = HistoryClock::new(Some(1_795_450_546.059_45));
        let times: Vec<f64> = [1_795_450_500_000_003, 1_795_450_546_059_447, 1_795_450_600_000_019, 0]
            .map(|micros| clock.next(WallTime::from_micros(micros)))
            .to_vec();
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        assert!(times.iter().all(|time| *time > 1_795_450_546.059_45), "{times:?}");
        assert_eq!(times.get(2..), Some([1_795_450_600.000_01, 1_795_450_600.000_02].as_slice()));
    }

    #[test]
    fn ctime_survives_fifteen_digits() {
        let mut clock = HistoryClock::new(None);
        for step in 0..10_000 {
            let ctime = clock.next(WallTime::from_micros(1_795_450_546_123_457 + step * 7));
            assert_eq!(format!("{ctime:.5}").parse(), Ok(ctime));
            let read: serde_json::Value = serde_json::from_str(&ctime.to_string()).unwrap();
            assert_eq!(read.as_f64(), Some(ctime), "a peer's mark must be the ctime of its row to the last bit");
        }
    }
}
