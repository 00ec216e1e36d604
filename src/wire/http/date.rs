//! `Date` header values (RFC 9110 section 5.6.7).

use crate::model::time::{WallTime, civil_date};

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A value such as `Sun, 06 Nov 1994 08:49:37 GMT`, rewritten only when the second changes.
#[derive(Clone, Copy, Debug)]
pub struct HttpDate {
    seconds: i64,
    text: [u8; 29],
}

impl HttpDate {
    /// The text for `now`. Years outside 0 to 9999 are cut to four digits.
    #[must_use]
    pub fn new(now: WallTime) -> Self {
        Self { seconds: now.as_seconds(), text: format(now.as_seconds()) }
    }

    /// Sets the time to `now`.
    pub fn update(&mut self, now: WallTime) {
        if self.seconds != now.as_seconds() {
            *self = Self::new(now);
        }
    }

    /// The text.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 29] {
        &self.text
    }
}

fn format(seconds: i64) -> [u8; 29] {
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    let (year, month, day) = civil_date(days);
    let mut text = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    put(&mut text, 0, name(&WEEKDAYS, days.rem_euclid(7)));
    put(&mut text, 5, &two_digits(day));
    put(&mut text, 8, name(&MONTHS, month - 1));
    put(&mut text, 12, &two_digits(year.rem_euclid(10_000) / 100));
    put(&mut text, 14, &two_digits(year.rem_euclid(100)));
    put(&mut text, 17, &two_digits(of_day / 3_600));
    put(&mut text, 20, &two_digits(of_day / 60 % 60));
    put(&mut text, 23, &two_digits(of_day % 60));
    text
}

/// Reads the form that [`HttpDate`] writes: seconds since 1970.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let mut words = text.strip_suffix(" GMT")?.split_once(", ")?.1.split([' ', ':']);
    let number = |words: &mut dyn Iterator<Item = &str>| words.next()?.parse::<i64>().ok();
    let day = number(&mut words)?;
    let month_name = words.next()?.as_bytes();
    let month = MONTHS.iter().position(|name| name.as_slice() == month_name).and_then(|at| i64::try_from(at).ok())?;
    let (year, hour) = (number(&mut words)?, number(&mut words)?);
    let (minute, second) = (number(&mut words)?, number(&mut words)?);
    // Counted from 1 March, as in `civil_date`.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leap_days + day_of_year - 719_468;
    (0..=9_999).contains(&year).then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn two_digits(number: i64) -> [u8; 2] {
    let digit = |value: i64| u8::try_from(value.rem_euclid(10)).unwrap_or(0) + b'0';
    [digit(number / 10), digit(number)]
}

fn name(names: &[&'static [u8; 3]], index: i64) -> &'static [u8] {
    usize::try_from(index).ok().and_then(|index| names.get(index)).map_or(&[], |name| name.as_slice())
}

fn put(text: &mut [u8; 29], start: usize, part: &[u8]) {
    for (slot, byte) in text.iter_mut().skip(start).zip(part) {
        *slot = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpDate, WallTime, parse};

    #[test]
    fn dates_are_written_as_rfc_9110_wants_them() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] {
            let date = HttpDate::new(WallTime::from_micros(seconds * 1_000_000));
            assert_eq!(str::from_utf8(date.as_bytes()), Ok(expected));
            assert_eq!(parse(expected), Some(seconds), "{expected}");
        }
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for text in ["", "Sun, 06 Nov 1994", "Sun, 06 Nov 99999999999 08:49:37 GMT", "Sun, 06 Not 1994 08:49:37 GMT"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_time_breaks_it() {
        for micros in [i64::MIN, i64::MAX] {
            let mut date = HttpDate::new(WallTime::from_micros(micros));
            date.update(WallTime::from_micros(0));
            assert_eq!(date.as_bytes(), b"Thu, 01 Jan 1970 00:00:00 GMT");
        }
    }
}
