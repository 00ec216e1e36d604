//! Requests that wait for their nodes, in situations that are made on purpose: a crash at each commit, two centrals, a
//! new machine, a clock that jumps.

use stheno::model::random::Random as _;

use super::disk::Disk;
use super::machine::{Kind, Machine};
use super::mutations::pushed;
use super::queueing::Kind as Work;
use super::seeded::Seeded;
use super::world::World;
use super::world::turn::Fate;

/// A time to live that no run reaches, in seconds.
const LONG: u64 = 100_000;
/// Bound of the commits at which a machine ends.
const COMMITS_MAX: u64 = 400;

/// What waits for a node that is cut off, and comes.
fn queue_and_come_back(world: &mut World) {
    world.run_for_millis(3_000);
    world.cut_off(2);
    world.run_for_millis(200);
    for work in [Work::Command, Work::Engine, Work::Command, Work::Engine] {
        world.queue_by(0, 2, work, LONG);
    }
    world.run_for_millis(300);
    world.heal();
    world.settle_for_millis(90_000);
}

/// Ends a machine at its commit with this number. Returns whether it has made so many.
fn crash_at(kind: Kind, (victim, commit, fate): (usize, u64, Fate)) -> bool {
    let mut world = World::new(commit, &[kind]);
    world.crash_point.planned = Some((victim, commit, fate));
    queue_and_come_back(&mut world);
    let what = format!("{kind:?}, machine {victim} ends at commit {commit}, {fate:?}");
    world.check_queued(&what);
    world.crash_point.planned.is_none()
}

#[test]
fn a_crash_of_either_end_at_any_commit_loses_nothing_that_waits_and_runs_nothing_twice() {
    for kind in [Kind::Push, Kind::Pull, Kind::WebSocket] {
        for victim in [0, 1] {
            for fate in [Fate::Stored, Fate::NotStored] {
                let last = (0..COMMITS_MAX).find(|commit| !crash_at(kind, (victim, *commit, fate)));
                assert!(last.is_some_and(|last| last > 3), "{kind:?}, machine {victim}: {last:?} commits");
            }
        }
    }
}

/// Two centrals queue for one node.
pub fn run_two_centrals(seed: u64, steps: u64) {
    let what = format!("SEED={seed} STEPS={steps}");
    let mut random = Seeded(seed);
    let machines = vec![
        Machine::in_tree(1, None, vec![pushed(2)], &mut random),
        Machine::in_tree(2, Some((1, Kind::Push)), Vec::new(), &mut random),
        Machine::other_central(3, vec![pushed(2)], &mut random),
    ];
    let mut world = World::of(random, machines);
    world.crash_point.one_in = 400;
    for _ in 0..steps {
        let millis = world.random.below(60);
        world.advance(millis);
        world.deliver_all();
        let machine = usize::try_from(world.random.below(3)).unwrap();
        match world.random.below(60) {
            0 => world.break_some_pipe(),
            1 => world.stall_some_pipe(),
            2..=3 if world.machines[machine].dispatch.is_none() => world.start(machine),
            4..=9 => world.queue_by([0, 2][machine % 2], 2, [Work::Command, Work::Engine][machine / 2], LONG),
            _ => {}
        }
    }
    world.crash_point.one_in = 0;
    world.heal_and_settle();
    world.check_queued(&what);
    assert!([0, 2].iter().all(|by| world.ledger.accepted.iter().any(|request| request.by == *by)), "{what}");
}

#[test]
fn two_centrals_queue_for_one_node_and_each_request_runs_once_in_the_order_of_its_central() {
    super::seeds(8).into_iter().for_each(|seed| run_two_centrals(seed, super::steps(600)));
}

/// Many requests for a node that comes back.
pub fn run_drain(seed: u64) {
    let mut world = World::new(seed, &[Kind::Push]);
    world.run_for_millis(3_000);
    world.cut_off(2);
    (0..5).for_each(|_| world.queue_by(0, 2, Work::Engine, LONG));
    world.run_for_millis(1_000);
    (0..60).for_each(|_| world.queue_by(0, 2, Work::Engine, LONG));
    world.run_for_millis(1_000);
    world.heal();
    world.run_for_millis(20_000);
    let ended = world.ledger.accepted.iter().filter(|request| world.is_finished(&request.token)).count();
    assert!(ended >= 5 && ended == world.ledger.accepted.len(), "SEED={seed}: {ended} have ended");
    world.check_queued(&format!("SEED={seed}"));
}

#[test]
fn many_requests_that_wait_are_taken_together() {
    (1..=3).for_each(run_drain);
}

/// The machine of a node is replaced while requests are with it, here or behind a relay.
fn run_new_machine(seed: u64, is_behind: bool) {
    let mut random = Seeded(seed);
    let (id, parent) = if is_behind { (3, 2) } else { (2, 1) };
    let mut machines = vec![Machine::in_tree(1, None, vec![pushed(2)], &mut random)];
    let below = if is_behind { vec![pushed(3)] } else { Vec::new() };
    machines.push(Machine::in_tree(2, Some((1, Kind::Push)), below, &mut random));
    if is_behind {
        machines.push(Machine::in_tree(id, Some((parent, Kind::Push)), Vec::new(), &mut random));
    }
    let mut world = World::of(random, machines);
    world.run_for_millis(90_000);
    for _ in 0..4 {
        world.queue_by(0, id, Work::Command, LONG);
    }
    // They have it, or run it, or have run it and not told.
    let millis = world.random.below(600);
    world.run_for_millis(millis);
    let machine = usize::try_from(id - 1).unwrap();
    world.crash(machine);
    world.machines[machine].disk = Disk::new(4_000_000);
    world.queue_by(0, id, Work::Command, LONG);
    world.run_for_millis(1_000);
    world.heal_and_settle();
    let what = format!("SEED={seed} behind a relay: {is_behind}");
    world.check_queued(&what);
    let last = world.ledger.accepted.last().expect("an accepted request");
    let end = world.machines[0].disk.rows.iter().find(|row| row.token.as_ref() == Some(&last.token) && row.is_last());
    assert!(
        end.is_some_and(|end| end.origin.is_some()),
        "{what}: what was never sent runs on the new machine: {end:?}"
    );
}

#[test]
fn what_a_replaced_machine_may_have_run_is_not_run_by_the_new_one_also_behind_a_relay() {
    for seed in 1..=12 {
        run_new_machine(seed, false);
        run_new_machine(seed, true);
    }
}

#[test]
fn a_clock_that_jumps_by_a_day_lets_nothing_expire_early_or_late() {
    for (seed, jump) in [(1, 86_400_000), (2, -86_400_000)] {
        let mut world = World::new(seed, &[Kind::Push]);
        world.run_for_millis(3_000);
        world.cut_off(2);
        world.queue_by(0, 2, Work::Command, 60);
        world.queue_by(0, 2, Work::Command, LONG);
        world.run_for_millis(30_000);
        world.clocks.insert(0, jump);
        world.run_for_millis(20_000);
        world.crash(0);
        world.start(0);
        let tokens: Vec<String> = world.ledger.accepted.iter().map(|request| request.token.clone()).collect();
        assert!(!world.is_finished(&tokens[0]), "jump of {jump} ms: expired early");
        world.run_for_millis(20_000);
        assert!(world.is_finished(&tokens[0]), "jump of {jump} ms: not expired after 73 s");
        assert!(!world.is_finished(&tokens[1]), "jump of {jump} ms: the other one is open");
        world.heal_and_settle();
        world.check_queued(&format!("jump of {jump} ms"));
    }
}
