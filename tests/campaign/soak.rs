//! Steady work for the whole time: the memory of a daemon does not grow.

use std::thread;
use std::time::{Duration, Instant};

use crate::item::{Skipped, Trial};
use crate::scene::Scene;

/// Maximum growth of a daemon's memory after the first half of the time.
const GROWTH_MAX_KIB: u64 = 8 << 10;

/// Runs commands and samples memory all the time, and compares the maximum of the first half with that of the second.
pub fn steady(trial: &mut Trial) -> Result<(), Skipped> {
    let mut scene = Scene::new();
    let start = Instant::now();
    let half = trial.end.saturating_duration_since(start).max(Duration::from_secs(8)) / 2;
    let mut most = vec![[0_u64; 2]; scene.daemons.len()];
    while start.elapsed() < half * 2 {
        let asked = Instant::now();
        scene.some_commands(trial);
        trial.worst("answer of the API", asked.elapsed().as_secs_f64() * 1_000.0, "ms");
        thread::sleep(Duration::from_millis(250));
        let part = usize::from(start.elapsed() > half);
        for (daemon, most) in scene.daemons.iter().zip(&mut most) {
            most[part] = most[part].max(daemon.resident_kib());
        }
    }
    for (daemon, [before, after]) in scene.daemons.iter().zip(most) {
        let growth = after.saturating_sub(before);
        trial.worst("growth", growth as f64 / 1024.0, "MB");
        assert!(growth <= GROWTH_MAX_KIB, "{} grew from {before} to {after} KiB", daemon.plan.name);
    }
    scene.settle(trial);
    Ok(())
}
