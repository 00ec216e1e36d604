//! The cost of processes in the operating system.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::sqlite;
use crate::Outcome;
use crate::footprint::megabytes;
use crate::load::{per_second, percentile_ms};
use crate::process::{own_cpu_seconds, pss_bytes, signal_group};

const COMMANDS: usize = 200;
const STARTS: usize = 20;
const STARTED_A_MINUTE: usize = 1_000;

/// Shell commands per second, each started, read to its end and waited for, with one thread per processor.
///
/// # Errors
/// A command cannot be started.
pub fn commands_per_second() -> Outcome<f64> {
    let threads = std::thread::available_parallelism()?.get();
    let each = COMMANDS.div_ceil(threads);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let run = move || -> Outcome<()> {
            for _ in 0..each {
                Command::new("sh").args(["-c", "echo measured"]).output()?;
            }
            Ok(())
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread died")?)
    })?;
    Ok(per_second(each.saturating_mul(threads), begun.elapsed()))
}

/// Share of a processor in percent for starting 1,000 shell commands per minute, with two commits for each: for its
/// start and its end. The commands themselves are not counted.
///
/// # Errors
/// A command cannot be started, or the error of SQLite.
pub fn starting_percent() -> Outcome<f64> {
    let before = own_cpu_seconds(std::process::id())?;
    for _ in 0..STARTED_A_MINUTE {
        Command::new("sh").args(["-c", "true"]).output()?;
    }
    sqlite::commit_each(2 * STARTED_A_MINUTE)?;
    Ok(100.0 * (own_cpu_seconds(std::process::id())? - before) / 60.0)
}

/// Median of the seconds from SIGTERM to the end of a process that does nothing.
///
/// # Errors
/// `sleep` is missing.
pub fn stop_s() -> Outcome<f64> {
    let mut measurements: Vec<Duration> = Vec::new();
    for _ in 0..STARTS {
        let mut child = Command::new("sleep").arg("60").process_group(0).spawn()?;
        std::thread::sleep(Duration::from_millis(20));
        let begun = Instant::now();
        signal_group("TERM", child.id())?;
        child.wait()?;
        measurements.push(begun.elapsed());
    }
    Ok(percentile_ms(&mut measurements, 50) / 1_000.0)
}

/// Median of the seconds for start and end of the program itself.
///
/// # Errors
/// The program cannot be started.
pub fn version_s() -> Outcome<f64> {
    let mut measurements: Vec<Duration> = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        Command::new(env!("CARGO_BIN_EXE_stheno")).arg("--version").stdout(Stdio::null()).status()?;
        measurements.push(begun.elapsed());
    }
    Ok(percentile_ms(&mut measurements, 50) / 1_000.0)
}

/// PSS in MB of a process that does nothing.
///
/// # Errors
/// `sleep` is missing.
pub fn sleep_megabytes() -> Outcome<f64> {
    let mut child = Command::new("sleep").arg("60").spawn()?;
    std::thread::sleep(Duration::from_millis(200));
    let bytes = pss_bytes(child.id());
    child.kill()?;
    child.wait()?;
    Ok(megabytes(bytes?))
}
