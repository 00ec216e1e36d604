//! Checks that the simulation notices faults: the program is broken on purpose, in one way at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stheno::model::broken::{self, Fault};

use stheno::model::node_id::NodeId;
use stheno::model::registration::{NodeKind, Registration, Subnode};

use super::journeys::run_drain;
use super::machine::{Kind, Machine, endpoint, topology};
use super::seeded::Seeded;
use super::world::World;

/// A fault must be noticed within this number of seeds.
const SEEDS_MAX: u64 = 50;
const STEPS: u64 = 900;
/// A machine ends at one in so many commits, before or after they are stored.
const COMMITS_TO_A_CRASH: u64 = 1_000;

/// Runs a central and its nodes. Panics if something is not as it should be.
pub fn run_platform(seed: u64, steps: u64) -> World {
    let what = format!("SEED={seed} STEPS={steps}");
    let mut world = World::new(seed, &topology(seed));
    world.crash_point.one_in = COMMITS_TO_A_CRASH;
    for step in 0..steps {
        world.step_at_random();
        let at = format!("{what} step {step}");
        world.check_bounds(&at);
        world.check_queue_bounds(&at);
    }
    world.crash_point.one_in = 0;
    world.heal_and_settle();
    world.check_service(&what);
    world.check_tokens(&what);
    world.check_queued(&what);
    world.check_rows(&what, None);
    world.check_files(&what);
    world
}

/// Runs a platform of relays. Panics if something is not as it should be.
pub fn run_tree(seed: u64, steps: u64, machines_max: u64) {
    let what = format!("SEED={seed} STEPS={steps}");
    let mut world = World::tree(seed, machines_max);
    world.crash_point.one_in = COMMITS_TO_A_CRASH;
    for step in 0..steps {
        world.step_in_tree();
        let at = format!("{what} step {step}");
        world.check_bounds(&at);
        world.check_order(&at);
        world.check_queue_bounds(&at);
    }
    world.crash_point.one_in = 0;
    world.heal_and_settle();
    world.check_service(&what);
    world.check_order(&what);
    world.check_all_rows(&what);
    world.check_files(&what);
    world.check_tokens(&what);
    world.check_queued(&what);
}

/// Two relays each believe that node 99 is behind the other; the central believes that it is behind the first.
pub fn run_circle(seed: u64) {
    let mut random = Seeded(seed);
    let relay =
        |id: u64| Registration { subnodes: vec![Subnode { id: node(99), uid: None, path_score: 1 }], ..pushed(id) };
    let machines = vec![
        Machine::in_tree(1, None, vec![relay(2)], &mut random),
        Machine::in_tree(2, Some((1, Kind::Push)), vec![relay(3)], &mut random),
        Machine::in_tree(3, Some((2, Kind::Push)), vec![relay(2)], &mut random),
    ];
    let mut world = World::of(random, machines);
    world.run_for_millis(3_000);
    let token = world.accepted_command(99);
    world.run_until(20_000, |world| world.is_finished(&token));
    world.check_tokens(&format!("SEED={seed}"));
}

/// A node moves from one relay to another, and the central finds it there.
pub fn run_move(seed: u64) {
    let mut random = Seeded(seed);
    let machines = vec![
        Machine::in_tree(1, None, vec![pushed(2), pushed(3)], &mut random),
        Machine::in_tree(2, Some((1, Kind::Push)), Vec::new(), &mut random),
        Machine::in_tree(3, Some((1, Kind::Push)), Vec::new(), &mut random),
        Machine::in_tree(4, Some((2, Kind::Pull)), Vec::new(), &mut random),
    ];
    let mut moved = Machine::in_tree(4, Some((3, Kind::Pull)), Vec::new(), &mut random);
    let mut world = World::of(random, machines);
    world.run_for_millis(65_000);
    let token = world.accepted_command(4);
    world.run_until(20_000, |world| world.is_finished(&token));
    world.stop(3);
    world.run_for_millis(5_000);
    moved.disk = std::mem::take(&mut world.machines[3].disk);
    world.machines[3] = moved;
    world.heal_and_settle();
    world.check_service(&format!("SEED={seed}"));
    world.check_tokens(&format!("SEED={seed}"));
}

/// A node stops reading in the middle of a large copy: little of it is on its way.
pub fn run_deaf_receiver(seed: u64) {
    let mut world = World::new(seed, &[Kind::Push, Kind::WebSocket]);
    world.run_for_millis(3_000);
    for node in [2, 3] {
        let body = r#"{"source":"/from/13","destination":"/to/13","cache_dir":"/cache"}"#;
        world.call(&format!("/api/nodes/{node}/core/proxy/remotecopy"), body);
    }
    world.run_for_millis(1_000);
    [2, 3].into_iter().for_each(|node| world.cut_off(node));
    world.run_for_millis(15_000);
    world.check_copy_bounds(&format!("SEED={seed}"));
}

pub fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

/// Returns a machine that its parent connects to.
pub fn pushed(id: u64) -> Registration {
    let kind = NodeKind::PushZmq { endpoint: endpoint(id) };
    Registration { id: node(id), uid: None, kind, identity: None, link: None, prevail: false, subnodes: Vec::new() }
}

#[test]
fn a_message_that_goes_in_a_circle_ends_its_token() {
    (1..=3).for_each(run_circle);
}

#[test]
fn a_receiver_that_takes_nothing_has_little_of_a_large_copy_on_its_way() {
    (1..=2).for_each(run_deaf_receiver);
}

#[test]
fn a_node_that_leaves_one_relay_for_another_is_found_there() {
    (1..=3).for_each(run_move);
}

/// Returns the seed with which a fault is noticed.
fn noticed(fault: Fault) -> Option<u64> {
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    broken::set(Some(fault));
    let fails = |run: &dyn Fn()| catch_unwind(AssertUnwindSafe(run)).is_err();
    let seed = (1..=SEEDS_MAX).find(|seed| {
        fails(&|| run_deaf_receiver(*seed))
            || fails(&|| run_circle(*seed))
            || fails(&|| run_move(*seed))
            || fails(&|| run_drain(*seed))
            || fails(&|| drop(run_platform(*seed, STEPS)))
            || fails(&|| run_tree(*seed, STEPS / 3, 12))
    });
    broken::set(None);
    std::panic::set_hook(silent);
    seed
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build cannot be broken on purpose")]
fn each_deliberate_fault_of_the_program_is_noticed_within_50_seeds() {
    let faults = [
        Fault::CircleUnnoticed,
        Fault::MarkMovedEarly,
        Fault::DoubledRowsAccepted,
        Fault::EndRowDropped,
        Fault::LossUnnoticed,
        Fault::OpenTokensForgotten,
        Fault::OriginIgnored,
        Fault::GivenUpEarly,
        Fault::BackPressureOff,
        Fault::ReceiptIgnored,
        Fault::RouteNotWithdrawn,
        Fault::TakenForgotten,
        Fault::TakenUnnoticed,
        Fault::GivenBackSilently,
    ];
    let outcomes: Vec<_> = faults.into_iter().map(|fault| (fault, noticed(fault))).collect();
    for (fault, seed) in &outcomes {
        println!("{fault:?}: {}", seed.map_or_else(|| "not noticed".to_owned(), |seed| format!("seed {seed}")));
    }
    let missed: Vec<_> = outcomes.iter().filter(|(_, seed)| seed.is_none()).map(|(fault, _)| fault).collect();
    assert!(missed.is_empty(), "not noticed within {SEEDS_MAX} seeds: {missed:?}");
}
