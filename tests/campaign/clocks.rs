//! Clocks that jump forward and back, by libfaketime.

use std::thread;
use std::time::{Duration, Instant};

use stheno::model::random::Random as _;

use crate::item::{Skipped, Trial};
use crate::platform::fake_clock::FakeClock;
use crate::scene::Scene;
use crate::troubles::TROUBLE;

/// The clock of each daemon jumps several times and is correct at the end.
pub fn jump(trial: &mut Trial) -> Result<(), Skipped> {
    let (mut clocks, mut missing) = (Vec::new(), None);
    let mut scene = Scene::with(|mut plan| {
        match FakeClock::of(&mut plan) {
            Ok(clock) => clocks.push((plan.name.clone(), clock)),
            Err(reason) => missing = Some(reason),
        }
        plan
    });
    if let Some(reason) = missing {
        return Err(Skipped(reason));
    }
    let set = |scene: &Scene, at: usize, seconds: i64| {
        let name = &scene.daemons[at].plan.name;
        clocks.iter().filter(|(of, _)| of == name).for_each(|(_, clock)| clock.ahead(seconds));
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
