//! Two daemons that both claim to be the same node, for instance because an image was copied and its database was made
//! anew.

use super::disk::Disk;
use super::machine::{Kind, Machine};
use super::seeded::Seeded;
use super::world::World;

/// Both work for a while, then one goes for good. Panics if something is not as it should be.
fn run_twins(seed: u64, steps: u64) {
    let what = format!("SEED={seed} STEPS={steps}");
    let mut world = World::new(seed, &[Kind::Push, Kind::Pull, Kind::WebSocket]);
    let (id, kind) = if seed.is_multiple_of(2) { (3, Kind::Pull) } else { (4, Kind::WebSocket) };
    let mut twin = Machine::node(id, kind, &mut Seeded(seed));
    twin.disk = Disk::new(9_000_000);
    world.machines.push(twin);
    let at = world.machines.len() - 1;
    world.start(at);
    for step in 0..steps {
        world.step_at_random();
        world.check_bounds(&format!("{what} step {step}"));
    }
    world.crash(at);
    let twin = world.machines.pop().expect("the twin");
    world.heal_and_settle();
    world.check_service(&what);
    world.check_rows(&what, Some(id));
    let central = &world.machines[0].disk.rows;
    for token in &world.tokens {
        let rows: Vec<_> = central.iter().filter(|row| row.token.as_ref() == Some(token)).collect();
        let ends = rows.iter().filter(|row| row.is_last()).count();
        // What the twin took and did not report is lost with it.
        let is_gone = twin.disk.rows.iter().any(|row| row.token.as_ref() == Some(token));
        // Of what was sent to one of them, nobody knows what the other did.
        let name = format!("node '{id}'");
        let is_of_twins = rows
            .iter()
            .any(|row| row.origin.is_some_and(|origin| origin.history.node.get() == id) || row.data.contains(&name));
        assert!(
            ends == 1 || ends == 0 && is_gone || ends > 1 && is_of_twins,
            "{what}: token {token} has {ends} ends: {rows:#?}"
        );
    }
}

#[test]
fn two_daemons_of_one_id_cost_the_other_nodes_nothing() {
    for seed in super::seeds(6) {
        run_twins(seed, super::steps(500));
    }
}
