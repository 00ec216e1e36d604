//! A seeded platform in one thread: a central and pollers made of the real `dispatch`, `session`, `wire` and `node`, an
//! in-memory history, a virtual clock, and streams that re-chunk, stall and break. `SEED=… STEPS=… cargo test --test
//! simulation` repeats a run; a failure prints both.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

#[path = "simulation/disk.rs"]
mod disk;
#[path = "simulation/machine.rs"]
mod machine;
#[path = "simulation/seeded.rs"]
mod seeded;
#[path = "simulation/world.rs"]
mod world;

use world::World;

fn seeds(default_count: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (1..=std::env::var("SEEDS").map_or(default_count, |count| count.parse().unwrap())).collect(),
    }
}

fn steps(default: u64) -> u64 {
    std::env::var("STEPS").map_or(default, |steps| steps.parse().expect("STEPS is a number"))
}

#[test]
fn every_accepted_token_ends_once_and_every_row_arrives_once_through_crashes_broken_streams_and_full_disks() {
    for seed in seeds(12) {
        let steps = steps(1_500);
        let mut world = World::new(seed, 3);
        for step in 0..steps {
            world.step_at_random();
            world.check_bounds(&format!("SEED={seed} STEPS={steps} step {step}"));
        }
        world.heal_and_settle();
        world.check_tokens(&format!("SEED={seed} STEPS={steps}"));
        world.check_rows(&format!("SEED={seed} STEPS={steps}"));
    }
}

#[test]
fn a_cut_off_node_costs_the_others_nothing() {
    let mut world = World::new(1, 3);
    world.run_for_millis(5_000);
    world.cut_off(2);
    world.run_for_millis(1_000);
    // A simulated command runs for up to 3 s.
    let sent = world.now_millis();
    let (dead, alive) = (world.command(2), world.command(3));
    let alive = alive.expect("the central takes a command");
    world.run_until(10_000, |world| world.is_finished(&alive));
    let millis = world.now_millis() - sent;
    assert!(millis <= 4_000, "the live node's command took {millis} ms of virtual time beside a dead node");
    world.heal_and_settle();
    let dead = dead.expect("the central takes a command for a node that is cut off");
    assert!(world.is_finished(&dead), "the dead node's command is still open");
}

#[test]
fn the_same_seed_runs_the_same_way_twice() {
    let run = |seed| {
        let mut world = World::new(seed, 2);
        (0..400).for_each(|_| world.step_at_random());
        world.fingerprint()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
