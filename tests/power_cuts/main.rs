//! Power cuts: what daemons did to their files is recorded, and each state that a cut could have left is tried. All
//! that was acknowledged before is there, and a daemon starts on it by itself.
//!
//! `SEED=N` repeats the choice of states, `STATES=N` sets their number. Without strace(1) the tests are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../platform/mod.rs"]
mod platform;

mod disk;
mod facts;
mod trace;
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::{Cut, LEFT, Numbers, State};
use crate::facts::{Fact, Known};
use crate::platform::{Daemon, Plan, Platform};
use crate::trace::Trace;

/// Number of states that are tried, and of those on which the program itself is started.
const STATES: usize = 2_400;
const STARTS: usize = 56;

fn has_strace() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        eprintln!("SKIPPED: strace is absent or may not trace here");
    }
    works
}

fn number_from(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A daemon's trace with what was acknowledged meanwhile.
pub struct Recorded {
    pub name: &'static str,
    pub plan: Plan,
    /// Whether it is a daemon, and no command beside one.
    pub is_daemon: bool,
    pub trace: Trace,
    pub facts: Vec<(f64, Fact)>,
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    if !has_strace() {
        return;
    }
    let platform = Platform::new();
    let scratch = Scratch::new(&platform);
    let recorded = work::record(&platform);
    let seed = number_from("SEED", 20_261);
    let mut numbers = Numbers(seed as u64);
    let all_moments: usize = recorded.iter().map(|part| part.trace.events.len() + 1).sum();
    let wanted = number_from("STATES", STATES);
    let mut faults = BTreeMap::new();
    let mut tried = 0;
    for part in &recorded {
        let moments = part.trace.events.len() + 1;
        eprintln!("{}: {} events, {} facts", part.name, moments - 1, part.facts.len());
        let known = Known::of(part);
        let states = (wanted * moments).div_ceil(all_moments);
        for number in 0..states {
            let cut = Cut {
                at: if number < moments { number * moments / states.min(moments) } else { numbers.below(moments) },
                left: LEFT[number % LEFT.len()],
                seed: numbers.below(1 << 30) as u64,
            };
            State::after(&part.trace, cut).write(&part.trace.root, &scratch.0);
            tried += 1;
            if let Err(fault) = known.check(&scratch.0, part.trace.events.get(cut.at).map(|event| event.seconds)) {
                let (count, _) = faults.entry(format!("{}: {fault}", part.name)).or_insert((0, cut));
                *count += 1;
            }
        }
    }
    eprintln!("{tried} states tried, SEED={seed}");
    assert!(tried >= wanted);
    let told: Vec<String> =
        faults.iter().map(|(fault, (count, cut))| format!("{count} states, first {cut:?}: {fault}")).collect();
    assert!(told.is_empty(), "of {tried} states, SEED={seed}:\n{}", told.join("\n"));

    for part in recorded.iter().filter(|part| part.is_daemon) {
        for number in 0..STARTS / 4 {
            let moments = part.trace.events.len() + 1;
            let at = if number == 0 { moments - 1 } else { numbers.below(moments) };
            let cut = Cut { at, left: LEFT[number % LEFT.len()], seed: numbers.below(1 << 30) as u64 };
            start_on(&scratch.0, part, cut);
        }
    }
}

/// A folder for a state, in memory where that is possible; removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(platform: &Platform) -> Self {
        let name = format!("stheno-cut-{}", std::process::id());
        let memory = Path::new("/dev/shm");
        Self(if memory.is_dir() { memory.join(name) } else { platform.path("state") })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _never_made = fs::remove_dir_all(&self.0);
    }
}

/// Starts the program on a state, with the configuration of the recorded daemon in it.
fn start_on(folder: &Path, part: &Recorded, cut: Cut) {
    State::after(&part.trace, cut).write(&part.trace.root, folder);
    let moved = |path: &Path| match path.strip_prefix(&part.plan.folder) {
        Ok(path) => folder.join(path),
        Err(_) => path.to_owned(),
    };
    let mut plan = part.plan.clone();
    plan.keys = moved(&plan.keys);
    plan.database = moved(&plan.database);
    plan.folder = folder.to_owned();
    plan.action = plan.action.iter().map(|line| line.replace(&*part.plan.folder.to_string_lossy(), "/")).collect();
    eprintln!("{} starts after {cut:?}", part.name);
    let mut daemon = Daemon::start(plan);
    assert!(daemon.stop().0.success());
    drop(daemon);
    let time = part.trace.events.get(cut.at).map(|event| event.seconds);
    let checked = Known::of(part).check(folder, time);
    assert_eq!(checked, Ok(()), "{}, {cut:?}", part.name);
}
