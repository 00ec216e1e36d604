//! Platforms of relays: up to three levels and thirty machines, drawn from the seed. Some relays know each other, and
//! some nodes are connected to two of them.

use std::collections::{BTreeMap, BTreeSet};

use stheno::model::history::{HistoryName, HistoryRow};
use stheno::model::node_id::NodeId;
use stheno::model::random::Random;
use stheno::model::registration::{NodeKind, Registration, Subnode};

use super::invariants::is_late_form;
use super::machine::{Kind, Machine, endpoint};
use super::seeded::Seeded;
use super::world::World;

/// Maximum number of machines, including the central.
const MACHINES_MAX: u64 = 30;

/// One machine of the plan.
struct Planned {
    level: u64,
    /// The parent that it is registered with, and how it is connected to it. `None` for the central.
    up: Option<(u64, Kind)>,
    below: Vec<Registration>,
}

/// Identifies a row in any history.
fn identity_of(machine: &Machine, row: &HistoryRow) -> (HistoryName, i64) {
    let own = HistoryName { node: node(machine.id), number: machine.disk.number };
    row.origin.map_or((own, row.id), |origin| (origin.history, origin.id))
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn registration(id: u64, kind: Kind) -> Registration {
    let reached = match kind {
        Kind::Push => NodeKind::PushZmq { endpoint: endpoint(id) },
        Kind::Pull => NodeKind::Pull,
        Kind::WebSocket => NodeKind::WebSocket,
    };
    Registration {
        id: node(id),
        uid: None,
        kind: reached,
        identity: None,
        link: None,
        prevail: false,
        subnodes: Vec::new(),
    }
}

/// Draws a platform.
fn plan(seed: u64, machines_max: u64) -> BTreeMap<u64, Planned> {
    let mut random = Seeded(seed ^ 0x7ee5);
    let count = 4 + random.below(machines_max.min(MACHINES_MAX) - 3);
    let mut planned = BTreeMap::from([(1, Planned { level: 0, up: None, below: Vec::new() })]);
    for id in 2..=count {
        let parents: Vec<u64> = planned.iter().filter(|(_, machine)| machine.level < 3).map(|(id, _)| *id).collect();
        // Parents are more often relays than the central.
        let pick = |random: &mut Seeded| parents[usize::try_from(random.below(parents.len() as u64)).unwrap()];
        let parent = pick(&mut random).max(pick(&mut random));
        let kind = [Kind::Push, Kind::Push, Kind::Pull, Kind::WebSocket][usize::try_from(random.below(4)).unwrap()];
        let level = planned[&parent].level + 1;
        // A node that dials in may do so without being listed.
        if kind == Kind::Push || random.once_in(2) {
            let prevail = kind != Kind::Push;
            let listed = Registration { prevail, ..registration(id, kind) };
            planned.get_mut(&parent).unwrap().below.push(listed);
        }
        planned.insert(id, Planned { level, up: Some((parent, kind)), below: Vec::new() });
    }
    second_ways(&mut planned, &mut random);
    planned
}

/// Adds nodes with two relays, and relays that know each other or their own central.
fn second_ways(planned: &mut BTreeMap<u64, Planned>, random: &mut Seeded) {
    let ids: Vec<u64> = planned.keys().copied().collect();
    let pick = |random: &mut Seeded| ids[usize::try_from(random.below(ids.len() as u64)).unwrap()];
    for _ in 0..ids.len() / 4 {
        let (relay, id) = (pick(random), pick(random));
        let knows = |planned: &BTreeMap<u64, Planned>, relay: u64| {
            planned[&relay].below.iter().any(|listed| listed.id == node(id))
        };
        // Only a machine that does not dial can be reached from two sides. The central is one of them.
        let is_push = !matches!(planned[&id].up, Some((_, Kind::Pull | Kind::WebSocket)));
        if relay != id && is_push && !knows(planned, relay) {
            planned.get_mut(&relay).unwrap().below.push(registration(id, Kind::Push));
        }
    }
    // The central prefers some routes to others.
    let behind: Vec<(NodeId, Vec<NodeId>)> = planned[&1]
        .below
        .iter()
        .map(|relay| (relay.id, planned[&relay.id.get()].below.iter().map(|listed| listed.id).collect()))
        .collect();
    for (relay, subnodes) in behind {
        let listed = planned.get_mut(&1).unwrap().below.iter_mut().find(|listed| listed.id == relay).unwrap();
        let scored =
            |id: NodeId, random: &mut Seeded| Subnode { id, path_score: random.below(3).cast_signed(), uid: None };
        listed.subnodes = subnodes
            .into_iter()
            .filter(|_| random.once_in(3))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|id| scored(id, random))
            .collect();
    }
}

impl World {
    /// Returns a platform of relays with at most this number of machines.
    pub fn tree(seed: u64, machines_max: u64) -> Self {
        let mut random = Seeded(seed);
        let machines = plan(seed, machines_max)
            .into_iter()
            .map(|(id, planned)| Machine::in_tree(id, planned.up, planned.below, &mut random))
            .collect();
        Self::of(random, machines)
    }

    /// Lets a random event happen.
    pub fn step_in_tree(&mut self) {
        let millis = self.random.below(60);
        self.advance(millis);
        self.deliver_all();
        let count = self.machines.len() as u64;
        let machine = usize::try_from(self.random.below(count)).unwrap();
        let is_full = self.is_full(machine);
        match self.random.below(400) {
            0 if !is_full => self.crash(machine),
            1..=16 if self.machines[machine].dispatch.is_none() => self.start(machine),
            17..=20 => self.break_some_pipe(),
            21..=26 => self.stall_some_pipe(),
            27..=28 => self.cut_some_cable(),
            29 if self.random.once_in(3) => self.step_clock(machine),
            30 if !is_full => self.stop(machine),
            31 if machine == 0 => self.fill_disk(),
            32 if machine != 0 && self.random.once_in(4) => self.lose_database(machine),
            81..=105 => self.use_queue_at_random(0),
            33..=80 => {
                let target = 1 + self.random.below(count);
                let many = if self.random.once_in(4) { 1 + self.random.below(15) } else { 1 };
                if self.random.once_in(4) {
                    self.copy(target);
                } else {
                    self.commands(target, usize::try_from(many).unwrap());
                }
            }
            _ => {}
        }
    }

    /// A machine comes back with an empty database. What was under way at that moment may stay open or end twice,
    /// because nobody else knows of it.
    fn lose_database(&mut self, machine: usize) {
        self.crash(machine);
        let number = self.next_history_number();
        self.machines[machine].disk = super::disk::Disk::new(number);
        self.excused = self.tokens.len();
    }

    /// Checks that no row is in a history twice, that those of one history are in the order of their ids, and that no
    /// token has ended twice. Looks at new rows only.
    pub fn check_order(&mut self, what: &str) {
        for machine in &mut self.machines {
            let (id, own) = (machine.id, machine.disk.number);
            for row in machine.disk.unchecked_rows() {
                if let Some(token) = row.token.clone().filter(|_| id == 1 && row.is_last()) {
                    let ends = self.ended.entry(token.clone()).or_default();
                    *ends += 1;
                    let is_excused = || self.tokens[..self.excused].contains(&token);
                    assert!(*ends == 1 || is_excused(), "{what}: token {token} ends once more: {row:?}");
                }
                let Some(origin) = row.origin else { continue };
                let itself = HistoryName { node: node(id), number: own };
                assert_ne!(origin.history, itself, "{what}: a row of machine {id} came back to it: {row:?}");
                let last = machine.seen_origins.insert((own, origin.history), origin.id).unwrap_or(0);
                assert!(last < origin.id, "{what}: machine {id} has a row twice or late (after {last}): {row:?}");
            }
        }
    }

    /// Every row that any machine has is in the central exactly once, unchanged; but those that tell a relay's parent
    /// that it has a message, and late ends of tokens of which a machine knew nothing any more.
    pub fn check_all_rows(&self, what: &str) {
        let central = &self.machines[0];
        let mut there = BTreeMap::new();
        for row in &central.disk.rows {
            let identity = identity_of(central, row);
            assert!(there.insert(identity, row).is_none(), "{what}: in the central twice: {row:?}");
        }
        let mut own_rows = BTreeSet::new();
        for machine in &self.machines {
            for row in machine.disk.rows.iter().filter(|row| !is_trace(row)) {
                let identity = identity_of(machine, row);
                let found = there.get(&identity);
                let found = found.unwrap_or_else(|| panic!("{what}: a row on machine {} is lost: {row:?}", machine.id));
                let is_excused =
                    |token: &String| self.tokens[..self.excused].contains(token) || self.is_given_up(token);
                // The end itself may have reached the central by another route, and the late one this machine.
                let is_late = is_late_form(found, row, identity.0.node) || is_late_form(row, found, identity.0.node);
                if row.token.as_ref().is_some_and(is_excused) && is_late {
                    continue;
                }
                let told = |row: &HistoryRow| (row.token.clone(), row.code, row.etime, row.instant, row.data.clone());
                assert_eq!(told(found), told(row), "{what}: a row of machine {} was changed on its way", machine.id);
                if row.origin.is_none() && row.token.is_some() {
                    own_rows.insert(machine.id);
                }
            }
        }
        assert!(own_rows.len() > 1, "{what}: no machine but the central ever did anything");
    }
}

/// A row that stays on its relay.
fn is_trace(row: &HistoryRow) -> bool {
    row.instant && row.data.contains("proxy - passed on to node")
}
