//! Runs the fuzz targets with cargo-fuzz. Building them takes minutes, so a short campaign leaves them out.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::item::{Skipped, Trial};

/// A campaign with less time for this item leaves it out.
const LEAST: Duration = Duration::from_secs(60);

/// Runs one target for its share of the time.
pub fn target(trial: &mut Trial) -> Result<(), Skipped> {
    let left = trial.end.saturating_duration_since(Instant::now());
    if left < LEAST {
        return Err(Skipped("takes a minute at least; run it as 'fuzz --minutes 30'".to_owned()));
    }
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !Command::new("cargo").args(["fuzz", "--version"]).output().is_ok_and(|output| output.status.success()) {
        return Err(Skipped("cargo-fuzz is not installed: cargo install --locked cargo-fuzz".to_owned()));
    }
    let targets = fs::read_dir(fuzz.join("fuzz_targets")).unwrap().flatten();
    let mut targets: Vec<String> =
        targets.filter_map(|entry| entry.path().file_stem().map(|name| name.to_string_lossy().into_owned())).collect();
    targets.sort();
    let mut silent = Vec::new();
    let count = u32::try_from(targets.len()).unwrap();
    for (done, name) in (0_u32..).zip(&targets) {
        let left = trial.end.saturating_duration_since(Instant::now()) / (count - done);
        let seconds = format!("-max_total_time={}", left.as_secs().max(1));
        let work = std::env::temp_dir().join(format!("stheno-fuzz-corpus-{}", std::process::id()));
        fs::create_dir_all(&work).unwrap();
        let mut cargo = Command::new("cargo");
        cargo.env("RUSTC_BOOTSTRAP", "1").current_dir(&fuzz).args(["fuzz", "run", name]);
        // New inputs go to a folder of this run; the seeds in the repository do not change.
        let output = cargo.arg(&work).arg(fuzz.join("corpus").join(name)).args(["--", &seconds]).output().unwrap();
        fs::remove_dir_all(&work).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        trial.tried += executions(&said);
        if !output.status.success() {
            let tail: Vec<&str> = said.lines().rev().take(30).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            silent.push(format!("target {name}: {tail}"));
        }
    }
    trial.worst("targets", f64::from(count), "");
    assert!(silent.is_empty(), "{}", silent.join("\n"));
    Ok(())
}

/// Returns the number of inputs that were tried, from the last lines of libFuzzer.
fn executions(said: &str) -> u64 {
    let line = said.lines().rev().find_map(|line| line.strip_prefix("Done "));
    line.and_then(|line| line.split(' ').next()).and_then(|count| count.parse().ok()).unwrap_or(0)
}
