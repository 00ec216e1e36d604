//! Clocks that jump forward and back, by libfaketime.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use stheno::model::random::Random as _;

use crate::item::{Skipped, Trial};
use crate::scene::Scene;
use crate::troubles::TROUBLE;

/// Path of the library on Debian.
const LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// The file from which libfaketime reads how many seconds the clock of a daemon is ahead.
fn clock_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.clock"))
}

/// The clock of each daemon jumps several times and is correct at the end.
pub fn jump(trial: &mut Trial) -> Result<(), Skipped> {
    let library = LIBRARIES.into_iter().find(|library| Path::new(library).exists());
    let library =
        library.ok_or_else(|| Skipped("libfaketime is not installed (Debian package faketime)".to_owned()))?;
    let mut scene = Scene::with(|mut plan| {
        let clock = clock_of(&plan.folder, &plan.name);
        fs::write(&clock, "+0\n").unwrap();
        let settings = [
            ("LD_PRELOAD", library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        plan.environment = settings.map(|(name, value)| (name.to_owned(), value)).into();
        plan
    });
    let set = |scene: &Scene, at: usize, seconds: i64| {
        let plan = &scene.daemons[at].plan;
        let (clock, new) = (clock_of(&plan.folder, &plan.name), plan.folder.join("clock.new"));
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, clock).unwrap();
    };
    scene.ledger.clocks_jump = true;
    let end = Instant::now() + TROUBLE;
    while Instant::now() < end {
        scene.some_commands(trial);
        let at = trial.below(scene.daemons.len());
        let unit = [60, 86_400, 31_536_000][trial.below(3)];
        let count = i64::try_from(trial.random.below(21)).unwrap() - 10;
        set(&scene, at, unit * count);
        thread::sleep(Duration::from_millis(700));
    }
    (0..scene.daemons.len()).for_each(|at| set(&scene, at, 0));
    scene.settle(trial);
    Ok(())
}
