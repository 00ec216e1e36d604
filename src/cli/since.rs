//! A time of the past on the command line: `10m`, `2h`, `1d`, a number of seconds since 1970, or a local date.

use crate::edge::system::{self, LocalTime};

/// Numbers from here on are seconds since 1970.
const FIRST_EPOCH: u64 = 100_000_000;

/// A time of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// Seconds before now.
    Ago(u64),
    /// Seconds since the epoch.
    At(i64),
}

impl Since {
    /// Parses a time.
    ///
    /// # Errors
    /// A sentence about what is allowed.
    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "--since is '{word}'; allowed: 30s, 10m, 2h or 1d ago, seconds since 1970, or 2026-11-30 or \
                 '2026-11-30 09:15:00' in local time"
            )
        };
        let (digits, unit) = word.split_at(word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).len());
        let factor = match unit {
            "" => None,
            "s" => Some(1),
            "m" | "min" => Some(60),
            "h" => Some(3_600),
            "d" => Some(86_400),
            _ => return Err(wrong()),
        };
        match (digits.parse::<u64>(), factor) {
            (Ok(number), Some(factor)) => number.checked_mul(factor).map(Self::Ago).ok_or_else(wrong),
            (Ok(number), None) if number >= FIRST_EPOCH => i64::try_from(number).map(Self::At).map_err(|_| wrong()),
            _ => date(word).map(Self::At).ok_or_else(wrong),
        }
    }

    /// Returns the seconds since the epoch.
    pub(super) fn seconds(self, now: i64) -> i64 {
        match self {
            Self::Ago(seconds) => now.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX)).max(0),
            Self::At(seconds) => seconds,
        }
    }
}

/// Reads `YYYY-MM-DD`, `YYYY-MM-DD HH:MM` or `YYYY-MM-DD HH:MM:SS` (also with `T`) in local time.
fn date(word: &str) -> Option<i64> {
    let (day, time) = word.split_once([' ', 'T']).unwrap_or((word, "00:00:00"));
    let numbers =
        |text: &str, mark: char| text.split(mark).map(|part| part.parse::<i64>().ok()).collect::<Option<Vec<_>>>();
    let [year, month @ 1..=12, day @ 1..=31] = numbers(day, '-')?[..] else { return None };
    let (hour, minute, second) = match numbers(time, ':')?[..] {
        [hour @ 0..=23, minute @ 0..=59] => (hour, minute, 0),
        [hour @ 0..=23, minute @ 0..=59, second @ 0..=59] => (hour, minute, second),
        _ => return None,
    };
    (1970..=9999).contains(&year).then_some(())?;
    let wanted = as_utc(year, month, day) + hour * 3_600 + minute * 60 + second;
    // The offset of the zone may differ between the first guess and the time that is meant.
    let mut seconds = wanted;
    for _ in 0..2 {
        let LocalTime { year, month, day, hour, minute, second } = system::local_time(seconds)?;
        let shown = as_utc(year, month.into(), day.into()) + i64::from(hour) * 3_600 + i64::from(minute) * 60;
        seconds += wanted - shown - i64::from(second);
    }
    Some(seconds)
}

/// Seconds from 1970 to the beginning of a day of the Gregorian calendar, in UTC.
fn as_utc(year: i64, month: i64, day: i64) -> i64 {
    // The year begins in March, so that the leap day is its last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    (days - 719_468) * 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_each_form_are_read_and_others_are_refused() {
        assert_eq!(Since::parse("90s"), Ok(Since::Ago(90)));
        assert_eq!(Since::parse("10m").map(|since| since.seconds(1_000)), Ok(400));
        assert_eq!(Since::parse("2h"), Ok(Since::Ago(7_200)));
        assert_eq!(Since::parse("1d").map(|since| since.seconds(10)), Ok(0));
        assert_eq!(Since::parse("1795450000"), Ok(Since::At(1_795_450_000)));
        for word in ["", "x", "10", "10y", "-5m", "1.5h", "2026-13-01", "2026-01-01 25:00", "99999999999999999999d"] {
            assert!(Since::parse(word).is_err(), "{word}");
        }
        assert_eq!(as_utc(1970, 1, 1), 0);
        assert_eq!(as_utc(2026, 11, 30), 1_795_996_800);
        let Ok(Since::At(seconds)) = Since::parse("2026-11-30 09:15:07") else { panic!("it is not read") };
        let shown = system::local_time(seconds).unwrap();
        assert_eq!((shown.day, shown.hour, shown.minute, shown.second), (30, 9, 15, 7));
    }
}
