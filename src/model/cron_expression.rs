//! The fields of a cron expression as a Centreon platform writes them: minute, hour, day of the month, month, day of
//! the week, and optionally the second.
//!
//! They have the meaning of Perl's Schedule::Cron, which the original uses and which differs from cron(8): a step in
//! the day or month field counts from 0 (`*/2` is the 1st and every even day), and only a plain `*` means no
//! restriction, so with two restricted day fields a job runs on a day that matches either. In addition there are words
//! such as `@hourly`. Out of scope: time zones and the clock.

use super::time::civil_date;
use super::time_zone::Minute;

/// Minutes of a day.
const DAY: i64 = 1_440;
/// Number of days within which every combination of date and weekday occurs.
const CYCLE_DAYS: i64 = 28 * 366;
/// Every value of a field.
const ALL: u64 = u64::MAX;
/// Maximum length of an expression in characters.
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

/// When a job runs. Each set has a bit for each value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronExpression {
    /// `None` without a sixth field: the job runs at the beginning of the minute.
    seconds: Option<u64>,
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
    /// The number of the first of `names`.
    first: u32,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", least: 0, most: 59, first: 0, names: &[] };
const MINUTE: Field = Field { name: "minute", least: 0, most: 59, first: 0, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, first: 0, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of the month", least: 0, most: 31, first: 1, names: &[] };
const MONTH: Field = Field { name: "month", least: 0, most: 12, first: 1, names: &MONTHS };
const DAY_OF_WEEK: Field = Field { name: "day of the week", least: 0, most: 7, first: 0, names: &DAYS };

impl CronExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// The fault, and what is allowed.
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
        let ([minute, hour, day, month, weekday] | [minute, hour, day, month, weekday, _]) = fields.as_slice() else {
            return Err(format!(
                "has {} fields; allowed: five (minute, hour, day of the month, month, day of the week), or six (the \
                 second)",
                fields.len()
            ));
        };
        let second = fields.get(5).map(|text| SECOND.read(text)).transpose()?;
        let (minutes, hours) = (MINUTE.read(minute)?, HOUR.read(hour)?);
        let (days, months, weekdays) = (DAY_OF_MONTH.read(day)?, MONTH.read(month)?, DAY_OF_WEEK.read(weekday)?);
        let expression = Self {
            seconds: second.map(|second| second.unwrap_or(ALL)),
            minutes: minutes.unwrap_or(ALL),
            hours: hours.unwrap_or(ALL),
            // Day or month 0 means the first one.
            days: days.map_or(ALL, |set| set | (set & 1) << 1),
            months: months.map_or(ALL, |set| set | (set & 1) << 1),
            // 7 also means Sunday.
            weekdays: weekdays.map_or(ALL, |set| (set | set >> 7) & 0x7f),
            either_day: days.is_some() && weekdays.is_some(),
            follows_clock: minute.starts_with('*') || hour.starts_with('*'),
        };
        let some_day = (0..CYCLE_DAYS).any(|day| expression.fits_day(day));
        if some_day { Ok(expression) } else { Err("names a day that never comes".to_owned()) }
    }

    /// Whether the job runs in this minute of local time.
    #[must_use]
    pub fn fits(&self, local: Minute) -> bool {
        let minute_of_day = local.rem_euclid(DAY);
        has(self.minutes, minute_of_day % 60)
            && has(self.hours, minute_of_day / 60)
            && self.fits_day(local.div_euclid(DAY))
    }

    /// The seconds of a matching minute at which the job runs, one bit for each; `None` for the beginning only.
    #[must_use]
    pub const fn seconds(&self) -> Option<u64> {
        self.seconds
    }

    /// The next runs after a second of a minute of local time, as `2026-11-30 04:00` or, with a sixth field,
    /// `2026-11-30 04:00:10`.
    #[must_use]
    pub fn next_runs(&self, minute: Minute, second: i64, count: usize) -> Vec<String> {
        let first = if self.seconds.is_some() { minute } else { minute.saturating_add(1) };
        let today = first.div_euclid(DAY);
        let days = (today..today.saturating_add(CYCLE_DAYS)).filter(|day| self.fits_day(*day));
        let minutes = days.flat_map(|day| day * DAY..(day + 1) * DAY);
        let minutes = minutes.filter(|minute| *minute >= first && self.fits(*minute));
        let seconds = |this| {
            let from = if this == minute { second + 1 } else { 0 };
            let in_minute = (from..60).filter(|second| self.seconds.is_some_and(|set| has(set, *second)));
            let plain = self.seconds.is_none().then(|| shown(this));
            plain.into_iter().chain(in_minute.map(move |second| format!("{}:{second:02}", shown(this))))
        };
        minutes.flat_map(seconds).take(count).collect()
    }

    /// The days on which it runs, for expressions whose steps or two day fields may surprise: `1, 2, 4 or on fri`.
    /// `None` if every day matches.
    #[must_use]
    pub fn days(&self) -> Option<String> {
        let list = |set: u64, least: i64, most: i64, name: &dyn Fn(i64) -> String| {
            (least..=most).filter(|value| has(set, *value)).map(name).collect::<Vec<_>>().join(", ")
        };
        let names = |names: &'static [&'static str], first: i64| {
            move |value: i64| {
                let index = usize::try_from(value - first).unwrap_or(usize::MAX);
                names.get(index).map_or_else(String::new, |name| (*name).to_owned())
            }
        };
        let is_all = |set: u64, least: i64, most: i64| (least..=most).all(|value| has(set, value));
        let (every_date, every_weekday) = (is_all(self.days, 1, 31), is_all(self.weekdays, 0, 6));
        let every_day = self.either_day && (every_date || every_weekday);
        let mut parts = Vec::new();
        if !every_day && !every_date {
            parts.push(format!("day {}", list(self.days, 1, 31, &|day| day.to_string())));
        }
        if !every_day && !every_weekday {
            parts.push(format!("on {}", list(self.weekdays, 0, 6, &names(&DAYS, 0))));
        }
        let mut text = parts.join(" or ");
        if !is_all(self.months, 1, 12) {
            text.push_str(if text.is_empty() { "in " } else { " in " });
            text.push_str(&list(self.months, 1, 12, &names(&MONTHS, 1)));
        }
        (!text.is_empty()).then_some(text)
    }

    /// Whether the minute or the hour field begins with `*`. Such a job follows the clock through every change. Any
    /// other runs once, even if the clock skips its time or shows it twice.
    #[must_use]
    pub const fn follows_clock(&self) -> bool {
        self.follows_clock
    }

    /// `day`: days since 1970-01-01, a Thursday.
    fn fits_day(&self, day: i64) -> bool {
        let (_, month, day_of_month) = civil_date(day);
        let (date, weekday) = (has(self.days, day_of_month), has(self.weekdays, (day + 4).rem_euclid(7)));
        has(self.months, month) && if self.either_day { date || weekday } else { date && weekday }
    }
}

fn has(set: u64, value: i64) -> bool {
    u32::try_from(value).is_ok_and(|value| value < 64 && set >> value & 1 == 1)
}

/// `2026-11-30 04:00`
fn shown(minute: Minute) -> String {
    let ((year, month, day), of_day) = (civil_date(minute.div_euclid(DAY)), minute.rem_euclid(DAY));
    format!("{year}-{month:02}-{day:02} {:02}:{:02}", of_day / 60, of_day % 60)
}

impl Field {
    /// Reads a list of values as a set of bits; `None` for `*`, which restricts nothing. Commas at the end are ignored,
    /// and an empty step or a step of 0 counts as 1, like in the original.
    fn read(&self, text: &str) -> Result<Option<u64>, String> {
        let mut set = Some(0);
        for part in text.trim_end_matches(',').split(',') {
            let values = self.read_part(part)?;
            set = set.zip(values).map(|(set, values)| set | values);
        }
        Ok(set)
    }

    fn read_part(&self, text: &str) -> Result<Option<u64>, String> {
        let refuse = || self.refuse(text);
        if text == "*" {
            return Ok(None);
        }
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.value(from).ok_or_else(refuse)?, self.value(to).ok_or_else(refuse)?),
            // A step needs a range.
            None if step.is_some() => return Err(refuse()),
            None => self.value(range).map(|value| (value, value)).ok_or_else(refuse)?,
        };
        let step = match step {
            None | Some("") => 1,
            Some(step) => step.parse::<usize>().map_err(|_| refuse())?.max(1),
        };
        if from > to {
            return Err(refuse());
        }
        Ok(Some((from..=to).step_by(step).fold(0, |set, value| set | 1 << value)))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().zip(self.first..).find(|(name, _)| **name == text).map(|(_, value)| value);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        named.or_else(|| text.parse().ok().filter(|_| digits)).filter(|value| (self.least..=self.most).contains(value))
    }

    fn refuse(&self, text: &str) -> String {
        let names = match self.names {
            [first, .., last] => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        let (name, least, most) = (self.name, self.first, self.most);
        format!(
            "'{text}' is not a valid {name}; allowed: {least} to {most}{names}, ranges a-b, steps */n and a-b/n, lists \
             with commas"
        )
    }
}

#[cfg(test)]
mod tests;
