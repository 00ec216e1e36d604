//! Trouble for a platform of real daemons. Each trial starts a platform, disturbs it for a while, heals it and checks
//! it.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::item::{Skipped, Trial};
use crate::link::State;
use crate::scene::Scene;

/// Duration of the trouble.
pub const TROUBLE: Duration = Duration::from_secs(12);

/// Runs commands all the time, and `trouble` again and again.
fn troubled(trial: &mut Trial, mut trouble: impl FnMut(&mut Scene, &mut Trial)) -> Result<(), Skipped> {
    let mut scene = Scene::new();
    let end = Instant::now() + TROUBLE;
    while Instant::now() < end {
        scene.some_commands(trial);
        trouble(&mut scene, trial);
    }
    scene.settle(trial);
    Ok(())
}

fn wait(trial: &mut Trial, longest_millis: u64) {
    let time = trial.millis(1, longest_millis);
    thread::sleep(time);
}

/// Kills a daemon as a power failure would, and restarts it after a while.
pub fn kill(trial: &mut Trial) -> Result<(), Skipped> {
    troubled(trial, |scene, trial| {
        wait(trial, 600);
        let at = trial.below(scene.daemons.len());
        scene.daemons[at].kill();
        scene.some_commands(trial);
        wait(trial, 300);
        let start = Instant::now();
        scene.daemons[at].start_again();
        trial.worst("start after a kill", start.elapsed().as_secs_f64(), "s");
    })
}

/// Suspends a daemon and resumes it.
pub fn stop(trial: &mut Trial) -> Result<(), Skipped> {
    troubled(trial, |scene, trial| {
        wait(trial, 300);
        let at = trial.below(scene.daemons.len());
        scene.daemons[at].signal("STOP");
        if at != 0 {
            scene.some_commands(trial);
        }
        wait(trial, 3_000);
        scene.daemons[at].signal("CONT");
    })
}

/// Another program holds the write lock of a daemon's database.
pub fn lock(trial: &mut Trial) -> Result<(), Skipped> {
    troubled(trial, |scene, trial| {
        let at = trial.below(scene.daemons.len());
        let other = Connection::open(&scene.daemons[at].plan.database).unwrap();
        other.busy_timeout(Duration::from_secs(10)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        if at != 0 {
            scene.some_commands(trial);
        }
        wait(trial, 3_000);
        other.execute_batch("ROLLBACK").unwrap();
    })
}

/// Cables break, stall and slow down, and nodes stop and start in quick succession.
pub fn flap(trial: &mut Trial) -> Result<(), Skipped> {
    troubled(trial, |scene, trial| {
        let at = trial.below(scene.links.len());
        match trial.below(6) {
            0 => scene.links[at].set(State::Cut),
            1 => scene.links[at].set(State::Stalled),
            2 => scene.links[at].set(State::Slow),
            3 => scene.links[at].set(State::Whole),
            4 => scene.links[at].break_connections(),
            _ => {
                let node = 1 + trial.below(scene.daemons.len() - 1);
                let (status, _) = scene.daemons[node].stop();
                assert!(status.success(), "{} ended with {status}", scene.daemons[node].plan.name);
                scene.daemons[node].start_again();
            }
        }
        wait(trial, 1_500);
    })
}
