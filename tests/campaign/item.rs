//! Runs the items of the campaign one after the other and prints the table.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use stheno::model::random::Random as _;

use crate::seeded::Seeded;

/// The short form of all items.
const SHORT_MINUTES: f64 = 3.0;

/// One kind of trouble of the campaign.
pub struct Item {
    pub name: &'static str,
    /// A description for people.
    pub what: &'static str,
    /// One trial. It panics if something does not hold, and is repeated until the time is over.
    pub trial: fn(&mut Trial) -> Result<(), Skipped>,
}

/// Returns why the item cannot run on this machine.
pub struct Skipped(pub String);

/// What a trial gets, and what it records.
pub struct Trial {
    /// The source of chance, from the seed of the trial.
    pub random: Seeded,
    /// When the time of the item is over. A trial that repeats a small step stops then.
    pub end: Instant,
    /// How often something was tried; 0 counts as once.
    pub tried: u64,
    figures: BTreeMap<&'static str, (f64, &'static str)>,
}

impl Trial {
    /// Records a figure, such as (`"last end"`, 3.2, `"s"`). The maximum of each name is printed.
    pub fn worst(&mut self, name: &'static str, value: f64, unit: &'static str) {
        let known = self.figures.entry(name).or_insert((value, unit));
        known.0 = known.0.max(value);
    }

    /// Returns a whole number from 0 to below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(limit as u64)).unwrap()
    }

    /// Returns a duration of a random number of milliseconds in the range.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.random.below(to - from))
    }
}

#[derive(Default)]
struct Outcome {
    tried: u64,
    failed: Vec<String>,
    skipped: Option<String>,
    figures: BTreeMap<&'static str, (f64, &'static str)>,
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not understood")))
}

/// Prints a line that the test harness does not capture.
fn say(line: &str) {
    let _shown_or_not = writeln!(std::io::stderr(), "{line}");
}

/// Runs the items that the environment names (`CAMPAIGN_ITEM`, `CAMPAIGN_MINUTES`, `CAMPAIGN_SEED`), or all of them in
/// the short form.
pub fn run(items: &[Item]) {
    let name: Option<String> = setting("CAMPAIGN_ITEM");
    let chosen: Vec<&Item> = items.iter().filter(|item| name.as_ref().is_none_or(|name| item.name == *name)).collect();
    let names: Vec<&str> = items.iter().map(|item| item.name).collect();
    assert!(!chosen.is_empty(), "no item is named '{}'; there are: {}", name.unwrap_or_default(), names.join(", "));
    let wanted_minutes: Option<f64> = setting("CAMPAIGN_MINUTES");
    let minutes = wanted_minutes.unwrap_or(SHORT_MINUTES);
    let repeated: Option<u64> = setting("CAMPAIGN_SEED");
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    // The short form has the same seeds for a day, so that a test run can be repeated.
    let new_seed = match wanted_minutes {
        Some(_) => (u64::from(since.subsec_micros()) << 12) ^ since.as_secs() & 0xffff_ffff,
        None => since.as_secs() / 86_400,
    };
    let first_seed = repeated.unwrap_or(new_seed);
    say(&format!("campaign: {minutes} minutes, first seed {first_seed}"));

    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut outcomes = Vec::new();
    for (at, item) in chosen.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(chosen.len() - at).unwrap();
        let outcome = run_item(item, first_seed, repeated.is_some(), Instant::now() + share);
        outcomes.push((*item, outcome));
    }
    say(&table(&outcomes));
    let failed: Vec<&str> = outcomes.iter().flat_map(|(_, outcome)| &outcome.failed).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} trials failed:\n{}", failed.len(), failed.join("\n"));
}

/// Runs at least one trial and starts none after `end`.
fn run_item(item: &Item, first_seed: u64, only_one: bool, end: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    for seed in first_seed.. {
        let random = Seeded(seed);
        let mut trial = Trial { random, end, tried: 0, figures: std::mem::take(&mut outcome.figures) };
        let done = catch_unwind(AssertUnwindSafe(|| (item.trial)(&mut trial)));
        outcome.tried += trial.tried.max(1);
        outcome.figures = trial.figures;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(Skipped(why))) => {
                say(&format!("SKIPPED: campaign item {}: {why}", item.name));
                outcome.tried -= 1;
                outcome.skipped = Some(why);
                break;
            }
            Err(panic) => {
                let failure = format!("{} with CAMPAIGN_SEED={seed}: {}", item.name, message(panic.as_ref()));
                say(&format!("FAILED {failure}"));
                outcome.failed.push(failure);
            }
        }
        if only_one || Instant::now() >= end {
            break;
        }
    }
    outcome
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

fn table(outcomes: &[(&Item, Outcome)]) -> String {
    let mut text = format!("{:<12} {:>7} {:>7}  worst figures\n", "item", "tried", "failed");
    for (item, outcome) in outcomes {
        let figures = outcome.figures.iter().map(|(name, (value, unit))| format!("{name} {value:.1} {unit}"));
        let mut figures = figures.collect::<Vec<_>>().join(", ");
        if let Some(why) = &outcome.skipped {
            figures = format!("SKIPPED: {why}");
        }
        writeln!(text, "{:<12} {:>7} {:>7}  {figures}", item.name, outcome.tried, outcome.failed.len()).unwrap();
        writeln!(text, "{:<28}  ({})", "", item.what).unwrap();
    }
    text
}
