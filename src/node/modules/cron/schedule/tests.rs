use std::collections::BTreeMap;

use crate::model::time_zone::TimeZone;

use super::*;

/// Number of days from the epoch to 2026-01-01.
const YEAR_START: Minute = 20_454;
/// The first day of that year, and the days around which the clocks of the zones below change.
const DAYS: [Minute; 7] = [0, 66, 87, 94, 276, 297, 304];

fn zone(text: &str) -> TimeZone {
    TimeZone::new(tz::TimeZone::from_posix_tz(text).unwrap())
}

/// Returns the minutes in UTC at which a job runs if the clock is read once a minute.
fn runs(expression: &str, zone: &TimeZone, minutes: RangeInclusive<Minute>) -> Vec<Minute> {
    let expression = CronExpression::parse(expression).unwrap();
    let mut schedule = Schedule::new(zone.local_minute(minutes.start() - 1));
    minutes.filter(|minute| schedule.advance(zone.local_minute(*minute)).includes(&expression)).collect()
}

/// Computes the same in a slow and obvious way: each minute of the wall clock with the first minute in UTC that reaches
/// it. A job at a fixed time runs then; any other job runs whenever the clock shows its time.
fn obvious_runs(text: &str, zone: &TimeZone, minutes: RangeInclusive<Minute>) -> Vec<Minute> {
    let expression = CronExpression::parse(text).unwrap();
    let mut fields = text.split(' ');
    let follows = fields.next().unwrap().starts_with('*') || fields.next().unwrap().starts_with('*');
    let mut reached_at: BTreeMap<Minute, Minute> = BTreeMap::new();
    let mut found = Vec::new();
    for utc in minutes {
        let local = zone.local_minute(utc);
        if follows && expression.fits(local) {
            found.push(utc);
        }
        let from = reached_at.last_key_value().map_or(local, |(last, _)| last + 1);
        for minute in from..=local {
            reached_at.insert(minute, utc);
        }
    }
    if !follows {
        found = reached_at.into_iter().filter(|(minute, _)| expression.fits(*minute)).map(|(_, utc)| utc).collect();
        found.dedup();
    }
    found
}

#[test]
fn every_job_runs_when_a_slow_and_obvious_reading_of_the_clock_says() {
    let zones = ["CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"];
    let expressions = [
        "30 2 * * *",
        "0 3 * * *",
        "59 1 * * *",
        "0 2 * * 0",
        "15,45 2 29 3 *",
        "*/20 2 * * *",
        "30 * * * *",
        "* * 25 10 *",
        "0 0 1 * *",
        "7 */3 * * sun",
        "5 1-3 * mar,oct *",
        "0 1 1-7 11 0",
    ];
    for text in zones {
        let zone = zone(text);
        for (day, expression) in DAYS.iter().flat_map(|day| expressions.map(|expression| (day, expression))) {
            let minutes = (YEAR_START + day - 2) * 1_440..=(YEAR_START + day + 3) * 1_440;
            let found = runs(expression, &zone, minutes.clone());
            assert_eq!(found, obvious_runs(expression, &zone, minutes), "{expression} in {text} about day {day}");
        }
    }
}

#[test]
fn daylight_saving_skips_no_job_at_a_fixed_time_and_runs_none_twice() {
    let zone = zone("CET-1CEST,M3.5.0,M10.5.0/3");
    let utc = |day: i64, hour: i64, minute: i64| ((20_454 + day) * 24 + hour) * 60 + minute;
    // 29 March: 2:00 becomes 3:00. 25 October: 3:00 becomes 2:00.
    let (spring, autumn) = (87, 297);
    let day = |day| utc(day, 0, 0)..=utc(day, 12, 0);
    assert_eq!(runs("30 2 * * *", &zone, day(spring)), [utc(spring, 1, 0)]);
    assert_eq!(runs("*/30 2 * * *", &zone, day(spring)), Vec::<Minute>::new());
    assert_eq!(runs("30 2 * * *", &zone, day(autumn)), [utc(autumn, 0, 30)]);
    let twice = [0, 30, 60, 90].map(|minute| utc(autumn, 0, minute));
    assert_eq!(runs("*/30 2 * * *", &zone, day(autumn)), twice);
}

fn due(schedule: &mut Schedule, local: Minute, expression: &str) -> bool {
    schedule.advance(local).includes(&CronExpression::parse(expression).unwrap())
}

#[test]
fn a_late_look_at_the_clock_loses_nothing() {
    let mut schedule = Schedule::new(600);
    assert!(due(&mut schedule, 604, "2 10 * * *"));
    let mut schedule = Schedule::new(600);
    assert!(due(&mut schedule, 604, "2 * * * *"));
    assert!(!due(&mut schedule, 604, "4 * * * *"), "the same minute is not due twice");
}

#[test]
fn a_clock_that_is_set_back_a_little_runs_nothing_at_a_fixed_time_again() {
    let mut schedule = Schedule::new(599);
    assert!(due(&mut schedule, 600, "0 10 * * *"));
    assert!(!due(&mut schedule, 590, "50 9 * * *"));
    for local in 591..=600 {
        assert!(!due(&mut schedule, local, "0 10 * * *"));
    }
    assert!(due(&mut schedule, 601, "1 10 * * *"));
}

#[test]
fn a_large_change_of_the_clock_makes_up_for_nothing() {
    let mut schedule = Schedule::new(600);
    assert!(!due(&mut schedule, 900, "0 12 * * *"));
    assert!(due(&mut schedule, 901, "1 15 * * *"));
    assert!(!due(&mut schedule, 300, "1 6 * * *"));
    assert!(due(&mut schedule, 301, "1 5 * * *"), "the new time counts");
}
