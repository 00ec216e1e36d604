//! Runs the simulation (`tests/simulation`) with new seeds.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::item::{Skipped, Trial};

/// Number of seeds for one start of the test program.
const SEEDS: u64 = 10;

/// A campaign with less time for this item leaves it out: the test command itself runs fixed seeds and some of the day.
const LEAST: Duration = Duration::from_secs(60);

/// Runs seeds from the trial's own seed on; a failure prints the one to repeat.
pub fn new_seeds(trial: &mut Trial) -> Result<(), Skipped> {
    if trial.end.saturating_duration_since(Instant::now()) < LEAST {
        return Err(Skipped("takes a minute at least; run it as 'simulation --minutes 30'".to_owned()));
    }
    let mut from = trial.random.next() & 0xffff_ffff;
    loop {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--locked", "--quiet", "--test", "simulation", "--"]);
        cargo.args(["every_accepted", "through_relays", "two_daemons"]);
        cargo.env("SEEDS", SEEDS.to_string()).env("SEED_FROM", from.to_string()).env("STEPS", "2000");
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = cargo.output().map_err(|error| Skipped(format!("cargo: {error}")))?;
        trial.tried += SEEDS;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let failure = said.lines().find(|line| line.contains("SEED=")).unwrap_or(&said);
        assert!(output.status.success(), "SEEDS={SEEDS} SEED_FROM={from}: {failure}");
        from += SEEDS;
        if Instant::now() >= trial.end {
            return Ok(());
        }
    }
}
