//! A disk that is full for some time.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::item::{Skipped, Trial};
use crate::platform::SmallDisk;
use crate::scene::Scene;
use crate::troubles::TROUBLE;

/// The folder of the mounted disk; removed when the disk is unmounted.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

/// Writes until the disk is full.
fn fill(file: &PathBuf) {
    let mut out = fs::File::create(file).unwrap();
    let block = [1; 4096];
    while out.write_all(&block).is_ok() {}
}

/// The database of one daemon is on a small file system, which the test fills and frees again.
pub fn full(trial: &mut Trial) -> Result<(), Skipped> {
    let place = Place(std::env::temp_dir().join(format!("stheno-disk-{}", std::process::id())));
    fs::create_dir_all(&place.0).unwrap();
    let disk = SmallDisk::mounted(place.0.join("disk"), "8m").map_err(Skipped)?;
    let name = if trial.random.once_in(2) { "central" } else { ["push", "pull", "pullwss", "relay"][trial.below(4)] };
    let mut scene = Scene::with(|mut plan| {
        if plan.name == name {
            plan.database = disk.0.join("history.sdb");
        }
        plan
    });
    let (end, file) = (Instant::now() + TROUBLE, disk.0.join("filler"));
    while Instant::now() < end {
        scene.some_commands(trial);
        fill(&file);
        let time = trial.millis(1, 2_000);
        let until = Instant::now() + time;
        while Instant::now() < until {
            scene.some_commands(trial);
            thread::sleep(Duration::from_millis(100));
        }
        fs::remove_file(&file).unwrap();
        let time = trial.millis(1, 1_000);
        thread::sleep(time);
    }
    scene.settle(trial);
    drop(scene);
    drop(disk);
    Ok(())
}
