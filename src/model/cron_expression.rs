//! The five fields of cron(8): minute, hour, day of the month, month, day of the week.
//!
//! Lists, ranges, steps, names of months and days, and words such as `@hourly`. As in cron(8), a job runs on a day that
//! fits either day field when neither of them begins with `*`, else on one that fits both. Absent on purpose: time
//! zones and the clock.

use super::time_zone::Minute;

/// Minutes of a day.
const DAY: i64 = 1_440;
/// Every date and day of the week comes up within so many days.
const CYCLE_DAYS: i64 = 28 * 366;
/// Characters of an expression at most.
const LEN_MAX: usize = 1_024;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronExpression {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
    follows_clock: bool,
}

/// The values of one field.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of the month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field { name: "month", least: 1, most: 12, names: &MONTHS };
const DAY_OF_WEEK: Field = Field { name: "day of the week", least: 0, most: 7, names: &DAYS };

impl CronExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > LEN_MAX {
            return Err(format!("has more than {LEN_MAX} characters"));
        }
        let lower = text.to_ascii_lowercase();
        let fields = match WORDS.iter().find(|(word, _)| *word == lower) {
            Some((_, fields)) => fields,
            None if text.starts_with('@') => {
                let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                return Err(format!("'{text}' is not known; allowed: {}", words.join(", ")));
            }
            None => lower.as_str(),
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!(
                "has {} fields; allowed: five (minute, hour, day of the month, month, day of the week)",
                fields.len()
            ));
        };
        let mut weekdays = DAY_OF_WEEK.read(weekday)?;
        // 7 is Sunday, too.
        weekdays = (weekdays | (weekdays >> 7)) & 0x7f;
        let expression = Self {
            minutes: MINUTE.read(minute)?,
            hours: HOUR.read(hour)?,
            days: DAY_OF_MONTH.read(day)?,
            months: MONTH.read(month)?,
            weekdays,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            follows_clock: minute.starts_with('*') || hour.starts_with('*'),
        };
        let some_day = (0..CYCLE_DAYS).any(|day| expression.fits_day(day));
        if some_day { Ok(expression) } else { Err("names a day that never comes".to_owned()) }
    }

    /// Whether the job runs in this minute of a clock on the wall.
    #[must_use]
    pub fn fits(&self, local: Minute) -> bool {
        let minute_of_day = local.rem_euclid(DAY);
        has(self.minutes, minute_of_day % 60)
            && has(self.hours, minute_of_day / 60)
            && self.fits_day(local.div_euclid(DAY))
    }

    /// Whether the minute or the hour field begins with `*`: such a job follows the clock through every change. Any
    /// other runs once, also where the clock skips its time or shows it twice.
    #[must_use]
    pub const fn follows_clock(&self) -> bool {
        self.follows_clock
    }

    /// `day`: days since 1970-01-01, a Thursday.
    fn fits_day(&self, day: i64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        let (date, weekday) = (has(self.days, day_of_month), has(self.weekdays, (day + 4).rem_euclid(7)));
        has(self.months, month) && if self.either_day { date || weekday } else { date && weekday }
    }
}

fn has(set: u64, value: i64) -> bool {
    u32::try_from(value).is_ok_and(|value| value < 64 && set >> value & 1 == 1)
}

/// Month (1 to 12) and day (1 to 31) of a day since 1970-01-01 in the Gregorian calendar, by the era of 400 years.
const fn month_and_day(day: i64) -> (i64, i64) {
    let day_of_era = (day + 719_468).rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Counted from March on.
    let month = (5 * day_of_year + 2) / 153;
    (if month < 10 { month + 3 } else { month - 9 }, day_of_year - (153 * month + 2) / 5 + 1)
}

impl Field {
    /// A list of values as a set of bits.
    fn read(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.read_part(part)?))
    }

    fn read_part(&self, text: &str) -> Result<u64, String> {
        let refuse = || self.refuse(text);
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.value(from).ok_or_else(refuse)?, self.value(to).ok_or_else(refuse)?),
            // A step needs a range to walk through.
            None if step.is_some() => return Err(refuse()),
            None => self.value(range).map(|value| (value, value)).ok_or_else(refuse)?,
        };
        let step = match step {
            Some(step) => step.parse().ok().filter(|step: &u32| *step > 0).ok_or_else(refuse)?,
            None => 1,
        };
        if from > to {
            return Err(refuse());
        }
        Ok((from..=to).step_by(usize::try_from(step).unwrap_or(1)).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().zip(self.least..).find(|(name, _)| **name == text).map(|(_, value)| value);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        named.or_else(|| text.parse().ok().filter(|_| digits)).filter(|value| (self.least..=self.most).contains(value))
    }

    fn refuse(&self, text: &str) -> String {
        let names = match self.names {
            [first, .., last] => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        let (name, least, most) = (self.name, self.least, self.most);
        format!(
            "'{text}' is no {name}; allowed: {least} to {most}{names}, ranges a-b, steps */n and a-b/n, lists with \
                commas"
        )
    }
}

#[cfg(test)]
mod tests;
