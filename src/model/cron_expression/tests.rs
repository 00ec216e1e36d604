use super::*;

fn runs(expression: &str, local: &str) -> bool {
    CronExpression::parse(expression).unwrap().fits(minute(local))
}

/// The minute `2026-11-26 14:05`.
fn minute(text: &str) -> Minute {
    let numbers: Vec<i64> = text.split(['-', ' ', ':']).map(|part| part.parse().unwrap()).collect();
    let mut days = 0;
    for year in 1970..numbers[0] {
        days += if is_leap(year) { 366 } else { 365 };
    }
    for month in 1..numbers[1] {
        days += month_len(numbers[0], month);
    }
    ((days + numbers[2] - 1) * 24 + numbers[3]) * 60 + numbers[4]
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_len(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[test]
fn fields_are_numbers_ranges_steps_lists_and_names() {
    for (expression, yes, no) in [
        ("* * * * *", "2026-11-26 14:05", ""),
        ("5 14 * * *", "2026-11-26 14:05", "2026-11-26 14:06"),
        ("*/15 * * * *", "2026-11-26 14:45", "2026-11-26 14:50"),
        ("10-30/10,59 * * * *", "2026-11-26 14:30", "2026-11-26 14:40"),
        ("0 22 * * mon-fri", "2026-11-27 22:00", "2026-11-28 22:00"),
        ("0 0 * * 7", "2026-11-29 00:00", "2026-11-28 00:00"),
        ("0 0 * * SUN", "2026-11-29 00:00", "2026-11-30 00:00"),
        ("0 0 * * 5-7", "2026-11-29 00:00", "2026-11-26 00:00"),
        ("0 0 29 feb *", "2028-02-29 00:00", "2028-02-28 00:00"),
        ("0 0 1 JAN,jul *", "2026-07-01 00:00", "2026-06-01 00:00"),
        ("@hourly", "2026-11-26 14:00", "2026-11-26 14:05"),
        ("@Daily", "2026-11-26 00:00", "2026-11-26 01:00"),
        ("@weekly", "2026-11-29 00:00", "2026-11-26 00:00"),
        ("@monthly", "2026-12-01 00:00", "2026-12-02 00:00"),
        ("@yearly", "2027-01-01 00:00", "2026-12-01 00:00"),
        ("1, * * * *", "2026-11-26 14:01", "2026-11-26 14:00"),
        ("0 0 0 * *", "2026-12-01 00:00", "2026-11-30 00:00"),
        ("0 0 1 0 *", "2027-01-01 00:00", "2027-02-01 00:00"),
        ("*/0 4 * * *", "2026-11-26 04:59", "2026-11-26 05:00"),
        ("0 0 */2 * *", "2026-12-02 00:00", "2026-12-03 00:00"),
        ("0 0 */2 * *", "2026-12-01 00:00", "2026-12-31 00:00"),
        ("0 0 1 */3 *", "2026-03-01 00:00", "2026-04-01 00:00"),
        ("0 0 1 */3 *", "2026-01-01 00:00", "2026-02-01 00:00"),
    ] {
        assert!(runs(expression, yes), "{expression} at {yes}");
        assert!(no.is_empty() || !runs(expression, no), "{expression} at {no}");
    }
}

#[test]
fn two_day_fields_are_alternatives_unless_one_is_a_lone_star() {
    // The 13th, and every Friday.
    assert!(runs("0 0 13 * 5", "2026-10-13 00:00") && runs("0 0 13 * 5", "2026-10-16 00:00"));
    assert!(!runs("0 0 13 * 5", "2026-10-14 00:00"));
    // A step restricts: even days, the 1st, or Fridays.
    for (day, expected) in [("2026-10-09", true), ("2026-10-12", true), ("2026-10-01", true), ("2026-10-13", false)] {
        assert_eq!(runs("0 0 */2 * 5", &format!("{day} 00:00")), expected, "{day}");
    }
    // A star in a list restricts nothing.
    assert!(!runs("0 0 *,3 * 5", "2026-10-12 00:00") && runs("0 0 *,3 * 5", "2026-10-09 00:00"));
}

#[test]
fn a_sixth_field_names_the_seconds() {
    let seconds = |text: &str| CronExpression::parse(text).unwrap().seconds();
    assert_eq!(seconds("* * * * *"), None);
    assert_eq!(seconds("* * * * * 0"), Some(1));
    assert_eq!(seconds("* * * * * */10"), Some(1 | 1 << 10 | 1 << 20 | 1 << 30 | 1 << 40 | 1 << 50));
    assert_eq!(seconds("* * * * * *").map(|set| set & ((1 << 60) - 1)), Some((1 << 60) - 1));
}

#[test]
fn the_next_runs_and_the_days_are_shown() {
    let next =
        |text: &str| CronExpression::parse(text).unwrap().next_runs(minute("2026-11-30 04:00"), 30, 3).join(", ");
    assert_eq!(next("* * * * *"), "2026-11-30 04:01, 2026-11-30 04:02, 2026-11-30 04:03");
    assert_eq!(next("0 4 * * *"), "2026-12-01 04:00, 2026-12-02 04:00, 2026-12-03 04:00");
    assert_eq!(next("0 0 29 2 *"), "2028-02-29 00:00, 2032-02-29 00:00, 2036-02-29 00:00");
    assert_eq!(next("* * * * * */20"), "2026-11-30 04:00:40, 2026-11-30 04:01:00, 2026-11-30 04:01:20");
    assert_eq!(next("0 4 * * * 30,31"), "2026-11-30 04:00:31, 2026-12-01 04:00:30, 2026-12-01 04:00:31");
    assert_eq!(next("5 0 1 1 * 7,9"), "2027-01-01 00:05:07, 2027-01-01 00:05:09, 2028-01-01 00:05:07");
    let days = |text: &str| CronExpression::parse(text).unwrap().days();
    assert_eq!(days("5 4 * * *"), None);
    assert_eq!(days("5 4 */1 * 5"), None, "every day is a day of the first field");
    assert_eq!(days("0 0 */10 * *").unwrap(), "day 1, 10, 20, 30");
    assert_eq!(days("0 0 13 */6 5").unwrap(), "day 13 or on fri in jan, jun, dec");
    assert_eq!(days("0 0 * * 1-3").unwrap(), "on mon, tue, wed");
    assert_eq!(days("0 0 * 0 *").unwrap(), "in jan");
}

#[test]
fn mistakes_name_the_field_and_what_is_allowed() {
    for (expression, text) in [
        ("", "has 0 fields; allowed: five (minute, hour, day of the month, month, day of the week)"),
        ("* * * * * * *", "has 7 fields"),
        ("* * * * * 60", "'60' is not a valid second; allowed: 0 to 59"),
        (
            "@reboot",
            "'@reboot' is not known; allowed: @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
        ),
        (
            "60 * * * *",
            "'60' is not a valid minute; allowed: 0 to 59, ranges a-b, steps */n and a-b/n, lists with commas",
        ),
        ("* 24 * * *", "'24' is not a valid hour"),
        ("* * 32 * *", "'32' is not a valid day of the month; allowed: 1 to 31"),
        ("* * * 13 *", "'13' is not a valid month; allowed: 1 to 12 or jan to dec"),
        ("* * * * 8", "'8' is not a valid day of the week; allowed: 0 to 7 or sun to sat"),
        ("5-1 * * * *", "'5-1' is not a valid minute"),
        ("5/10 * * * *", "'5/10' is not a valid minute"),
        (", * * * *", "'' is not a valid minute"),
        ("1,,2 * * * *", "'' is not a valid minute"),
        ("1-5/x * * * *", "'1-5/x' is not a valid minute"),
        ("+5 * * * *", "'+5' is not a valid minute"),
        ("* * * * foo", "'foo' is not a valid day of the week"),
        ("0 0 30 2 *", "names a day that never comes"),
    ] {
        let error = CronExpression::parse(expression).unwrap_err();
        assert!(error.starts_with(text), "{expression}: {error}");
    }
    assert!(CronExpression::parse(&"1,".repeat(600)).is_err(), "too long");
    assert!(CronExpression::parse("0 0 30 2 mon").is_ok(), "every Monday in February");
}

/// Pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn field(&mut self, least: u64, most: u64, names: &[&str]) -> String {
        let span = most - least + 1;
        let one = |dice: &mut Self| {
            let value = least + dice.below(span);
            match names.get(usize::try_from(value - least).unwrap()) {
                Some(name) if dice.below(3) == 0 => (*name).to_owned(),
                _ => value.to_string(),
            }
        };
        let part = |dice: &mut Self| match dice.below(5) {
            0 => "*".to_owned(),
            1 => format!("*/{}", 1 + dice.below(most)),
            2 => {
                let from = least + dice.below(span);
                format!("{from}-{}/{}", from + dice.below(most - from + 1), 1 + dice.below(most))
            }
            3 => {
                let from = least + dice.below(span);
                format!("{from}-{}", from + dice.below(most - from + 1))
            }
            _ => one(dice),
        };
        let parts: Vec<String> = (0..=self.below(3)).map(|_| part(self)).collect();
        parts.join(",")
    }
}

/// Returns whether a value is in a field that is not a single star. The text is read anew for each value; `names` begin
/// with `first`.
fn obvious(field: &str, value: i64, most: i64, names: &[&str], first: i64) -> bool {
    let number = |text: &str| {
        text.parse()
            .unwrap_or_else(|_| first + i64::try_from(names.iter().position(|name| *name == text).unwrap()).unwrap())
    };
    field.split(',').any(|part| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = if range == "*" {
            (0, most)
        } else {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            (number(from), number(to))
        };
        value >= from && value <= to && (value - from) % number(step) == 0
    })
}

fn is_open(field: &str) -> bool {
    field.split(',').any(|part| part == "*")
}

#[test]
fn any_expression_means_what_a_slow_reading_of_its_text_says() {
    let mut dice = Dice(0x5eed);
    for _ in 0..300 {
        let fields = [
            dice.field(0, 59, &[]),
            dice.field(0, 23, &[]),
            dice.field(1, 31, &[]),
            dice.field(1, 12, &MONTHS),
            dice.field(0, 7, &DAYS),
        ];
        let text = fields.join(" ");
        let Ok(expression) = CronExpression::parse(&text) else {
            // Only a day that never comes is refused, such as the 31st of a short month.
            assert!(!is_open(&fields[2]), "{text}");
            continue;
        };
        for _ in 0..300 {
            let (year, month) =
                (1_970 + i64::try_from(dice.below(130)).unwrap(), 1 + i64::try_from(dice.below(12)).unwrap());
            let day = 1 + i64::try_from(dice.below(month_len(year, month).unsigned_abs())).unwrap();
            let (hour, minutes) = (i64::try_from(dice.below(24)).unwrap(), i64::try_from(dice.below(60)).unwrap());
            let local = minute(&format!("{year}-{month}-{day} {hour}:{minutes}"));
            let weekday = (local.div_euclid(1_440) + 4).rem_euclid(7);
            // Days and months are counted from 0, which is the first one; 7 is Sunday, too.
            let zero_too = |value: i64| if value == 1 { vec![0, 1] } else { vec![value] };
            let fits = |index: usize, values: &[i64], most, names: &[&str], first| {
                let field = fields[index].as_str();
                is_open(field) || values.iter().any(|value| obvious(field, *value, most, names, first))
            };
            let by_date = fits(2, &zero_too(day), 31, &[], 1);
            let by_weekday = fits(4, &[weekday, weekday + 7], 7, &DAYS, 0);
            let either = !is_open(&fields[2]) && !is_open(&fields[4]);
            let expected = fits(0, &[minutes], 59, &[], 0)
                && fits(1, &[hour], 23, &[], 0)
                && fits(3, &zero_too(month), 12, &MONTHS, 1)
                && if either { by_date || by_weekday } else { by_date && by_weekday };
            assert_eq!(expression.fits(local), expected, "{text} at {year}-{month}-{day} {hour}:{minutes}");
        }
    }
}

/// Returns the next runs according to the module that the original uses, from 2026-11-30 04:00 UTC on; `None` for an
/// expression that it refuses.
fn ask_schedule_cron(expressions: &[String], count: usize) -> Option<Vec<Option<String>>> {
    const SCRIPT: &str = r#"use Schedule::Cron; use POSIX "strftime"; my $c = Schedule::Cron->new(sub {});
        while (<STDIN>) { chomp; my ($e, $t, @r) = ($_, 1796011200); my $six = (split) == 6;
        eval { for (1 .. $ARGV[0]) { $t = $c->get_next_execution_time($e, $t);
        push @r, strftime($six ? "%Y-%m-%d %H:%M:%S" : "%Y-%m-%d %H:%M", gmtime $t) } 1 } or @r = ("-");
        print join(", ", @r), "\n" }"#;
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let has_module = Command::new("perl").args(["-MSchedule::Cron", "-e", "1"]).stderr(Stdio::null()).status();
    if !has_module.is_ok_and(|status| status.success()) {
        eprintln!("skipped: perl or its module Schedule::Cron (libschedule-cron-perl) is missing");
        return None;
    }
    let mut child = Command::new("perl")
        .args(["-e", SCRIPT, &count.to_string()])
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut stdin, lines) = (child.stdin.take().unwrap(), expressions.join("\n"));
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| (line != "-").then(|| line.to_owned())).collect())
}

#[test]
fn the_module_of_the_original_finds_the_same_runs() {
    const COUNT: usize = 6;
    let mut dice = Dice(0xc0ffee);
    let mut expressions: Vec<String> = [
        "* * * * *",
        "*/5 * * * *",
        "0 22 * * *",
        "1, * * * *",
        "0 0 0 * *",
        "0 0 1 0 *",
        "0 0 */2 * *",
        "0 0 1 */3 *",
        "0 0 */2 * 5",
        "0 0 13 * 5",
        "0 0 */1 * 5",
        "0 6 * * mon-fri",
        "15,45 3 * * *",
        "0 0 * * 7",
        "0 0 * * 5-7",
        "0 4 1,15 jan-jun *",
        "* * * * * */10",
        "*/30 * * * * 15",
        "7 5 * * * 0-40/20",
        "*/0 4 * * *",
        "60 * * * *",
        "5-1 * * * *",
        "* * * * foo",
        "1,,2 * * * *",
        "* * *",
        "0 0 32 * *",
        "5/10 * * * *",
        "0 */6 * * *",
    ]
    .map(str::to_owned)
    .to_vec();
    while expressions.len() < 400 {
        // The comparison leaves out what the module itself gets wrong (findings/schedule_cron_first_weekdays.sh): days
        // of the week in a future month, an open minute or hour around the end of a month, and a star in a list, whose
        // position counts.
        let field = |dice: &mut Dice, least, most, names: &[&str]| {
            let field = dice.field(least, most, names);
            if is_open(&field) { "*".to_owned() } else { field }
        };
        let (minute, hour, day) = (dice.below(60), dice.below(24), field(&mut dice, 1, 31, &[]));
        let (month, weekday) = if dice.below(2) == 0 {
            (field(&mut dice, 1, 12, &MONTHS), "*".to_owned())
        } else {
            ("*".to_owned(), field(&mut dice, 0, 7, &DAYS))
        };
        expressions.push(format!("{minute} {hour} {day} {month} {weekday}"));
    }
    let Some(theirs) = ask_schedule_cron(&expressions, COUNT) else { return };
    assert_eq!(theirs.len(), expressions.len());
    let ours = |text: &String| {
        let found = CronExpression::parse(text).ok()?;
        Some(found.next_runs(minute("2026-11-30 04:00"), 0, COUNT).join(", "))
    };
    let differing: Vec<String> = expressions
        .iter()
        .zip(&theirs)
        .filter(|(text, theirs)| ours(text) != **theirs)
        .map(|(text, theirs)| format!("{text}\n  theirs {theirs:?}\n  ours   {:?}", ours(text)))
        .collect();
    assert!(differing.is_empty(), "{} of {}\n{}", differing.len(), expressions.len(), differing.join("\n"));
}
