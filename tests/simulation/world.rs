//! All machines, the streams between them, and the chance that drives them.

pub mod turn;

use std::collections::{BTreeMap, VecDeque};

use stheno::daemon::dispatch::CryptoOutcome;
use stheno::model::connection::ConnectionId;
use stheno::model::host_work::HostDone;
use stheno::model::queue::QueueQuery;
use stheno::model::random::Random;
use stheno::model::time::{Monotonic, Now, WallTime};
use stheno::model::work::{PipeLines, WorkId};

use super::api_client::Call;
use super::copies::Files;
use super::duplicates::Repeater;
use super::machine::{Kind, Machine};
use super::queueing::{self, Ledger};
use super::seeded::Seeded;
use turn::CrashPoint;

const START_SECONDS: i64 = 1_800_000_000;

/// One direction of a stream.
#[derive(Default)]
pub struct Direction {
    pub bytes: VecDeque<u8>,
    pub stalled_until: u64,
    /// What a node says to the daemon above it may come twice.
    pub repeater: Option<Repeater>,
}

/// A stream between two machines, or between a machine and the test's own API client (`None`).
pub struct Pipe {
    pub ends: [Option<(usize, ConnectionId)>; 2],
    pub directions: [Direction; 2],
    pub open: bool,
}

/// What happens on a machine a little later.
pub enum Pending {
    Host(HostDone),
    Crypto(Box<CryptoOutcome>),
    /// A question for the queue is answered.
    Queue(WorkId, QueueQuery),
    /// A pipe takes lines.
    Pipe(WorkId, Vec<PipeLines>),
}

pub struct World {
    pub machines: Vec<Machine>,
    pub pipes: Vec<Pipe>,
    cut_off: Vec<u64>,
    /// Machines whose disk takes no changes, each with the time until which that lasts.
    pub full_until: BTreeMap<usize, u64>,
    /// How far the wall clock was set ahead or back.
    wall_offset_millis: i64,
    /// How far the clock of one machine is ahead or back.
    pub clocks: BTreeMap<usize, i64>,
    /// Pairs of machines that cannot reach each other, the smaller first, each with the time until which that lasts.
    pub cut_cables: BTreeMap<(usize, usize), u64>,
    /// How often each token has ended in the central, as far as its rows were looked at.
    pub ended: BTreeMap<String, usize>,
    /// Number of the first tokens of which nothing is known any more because a machine has lost its database.
    pub excused: usize,
    pub pending: BTreeMap<(u64, u64), (usize, Pending)>,
    next_pending: u64,
    pub millis: u64,
    pub random: Seeded,
    pub tokens: Vec<String>,
    /// Number of tokens that had ended when they were forgotten.
    pub tokens_over: usize,
    pub waiting_answers: Vec<Call>,
    /// Files, and copies of them.
    pub files: Files,
    /// Requests that wait for their nodes, and what was run.
    pub ledger: Ledger,
    /// Where a commit ends its machine.
    pub crash_point: CrashPoint,
    /// Whether events are printed (`TRACE=1`).
    traced: bool,
}

impl World {
    /// Returns a central and nodes of these kinds with the ids from 2 on.
    pub fn new(seed: u64, kinds: &[Kind]) -> Self {
        let mut random = Seeded(seed);
        let nodes: Vec<(u64, Kind)> = (2..).zip(kinds.iter().copied()).collect();
        let mut machines = vec![Machine::central(&nodes, &mut random)];
        machines.extend(nodes.iter().map(|(id, kind)| Machine::node(*id, *kind, &mut random)));
        Self::of(random, machines)
    }

    /// Returns a world of these machines: the central first, each at the place before its id.
    pub fn of(random: Seeded, machines: Vec<Machine>) -> Self {
        let mut world = Self {
            machines,
            pipes: Vec::new(),
            cut_off: Vec::new(),
            full_until: BTreeMap::new(),
            wall_offset_millis: 0,
            clocks: BTreeMap::new(),
            cut_cables: BTreeMap::new(),
            ended: BTreeMap::new(),
            excused: 0,
            pending: BTreeMap::new(),
            next_pending: 0,
            millis: 1_000,
            random,
            tokens: Vec::new(),
            tokens_over: 0,
            waiting_answers: Vec::new(),
            files: Files::default(),
            ledger: Ledger::default(),
            crash_point: CrashPoint::default(),
            traced: std::env::var("TRACE").is_ok(),
        };
        (0..world.machines.len()).for_each(|machine| world.start(machine));
        world
    }

    pub fn now(&self) -> Now {
        let wall = START_SECONDS * 1_000_000 + (i64::try_from(self.millis).unwrap() + self.wall_offset_millis) * 1_000;
        Now { monotonic: Monotonic::from_millis(self.millis), wall: WallTime::from_micros(wall) }
    }

    /// Returns the time by the clock of a machine.
    pub fn now_of(&self, machine: usize) -> Now {
        let Now { monotonic, wall } = self.now();
        let ahead = self.clocks.get(&machine).copied().unwrap_or(0) * 1_000;
        Now { monotonic, wall: WallTime::from_micros(wall.as_micros() + ahead) }
    }

    pub fn now_millis(&self) -> u64 {
        self.millis
    }

    pub fn start(&mut self, machine: usize) {
        self.trace_event(machine, "starts");
        let random = Seeded(self.random.next());
        let now = self.now_of(machine);
        self.machines[machine].start(random, now);
        self.settle_turn(machine);
    }

    pub fn crash(&mut self, machine: usize) {
        self.trace_event(machine, "is gone");
        self.ledger.machine_ends(machine, self.millis);
        self.machines[machine].dispatch = None;
        self.pending.retain(|_, (owner, _)| *owner != machine);
        self.files.crash(machine);
        self.machines[machine].blocked.clear();
        for pipe in std::mem::take(&mut self.machines[machine].pipes).into_values() {
            self.break_pipe(pipe, Some(machine));
        }
    }

    /// Prints an event if wanted.
    pub fn trace_event(&self, machine: usize, what: &str) {
        if self.traced {
            eprintln!("{} {}: == {what}", self.millis, self.machines[machine].id);
        }
    }

    /// Tells both ends, unless one of them has ended already.
    pub fn break_pipe(&mut self, pipe: usize, except: Option<usize>) {
        if !std::mem::replace(&mut self.pipes[pipe].open, false) {
            return;
        }
        if let [Some((one, _)), Some((other, _))] = self.pipes[pipe].ends {
            self.trace_event(one, &format!("stream {pipe} with {} is broken", self.machines[other].id));
        }
        for (machine, connection) in self.pipes[pipe].ends.into_iter().flatten() {
            self.machines[machine].pipes.remove(&connection);
            if Some(machine) != except {
                let now = self.now_of(machine);
                if let Some(dispatch) = &mut self.machines[machine].dispatch {
                    dispatch.closed(connection, "stream broken".to_owned(), now);
                }
                self.settle_turn(machine);
            }
        }
    }

    /// Delivers one random piece of one random direction of a stream.
    fn deliver(&mut self, pipe: usize, side: usize) {
        let whole = self.random.once_in(2);
        let limit = 1 + usize::try_from(self.random.below(700)).unwrap();
        let entry = &mut self.pipes[pipe];
        let direction = &mut entry.directions[side];
        if !entry.open || direction.bytes.is_empty() || direction.stalled_until > self.millis {
            return;
        }
        let Some((machine, connection)) = entry.ends[1 - side] else { return };
        let now = self.now_of(machine);
        let direction = &mut self.pipes[pipe].directions[side];
        let Some(dispatch) = &mut self.machines[machine].dispatch else { return };
        if !dispatch.wants_read(connection) {
            return;
        }
        let len = if whole { direction.bytes.len() } else { direction.bytes.len().min(limit) };
        let piece: Vec<u8> = direction.bytes.drain(..len).collect();
        dispatch.received(connection, &piece, now);
        self.settle_turn(machine);
        self.has_room(pipe, side);
    }

    /// Lets the sender continue if it waits for room in the stream.
    fn has_room(&mut self, pipe: usize, side: usize) {
        if let Some((sender, connection)) = self.pipes[pipe].ends[side]
            && self.machines[sender].blocked.contains(&connection)
        {
            self.settle_turn(sender);
        }
    }

    /// Delivers all that one side of a stream has sent.
    fn deliver_rest(&mut self, pipe: usize, side: usize) {
        let bytes: Vec<u8> = self.pipes[pipe].directions[side].bytes.drain(..).collect();
        let Some((machine, connection)) = self.pipes[pipe].ends[1 - side].filter(|_| !bytes.is_empty()) else { return };
        let now = self.now_of(machine);
        if let Some(dispatch) = &mut self.machines[machine].dispatch {
            dispatch.received(connection, &bytes, now);
            self.settle_turn(machine);
        }
    }

    pub fn deliver_all(&mut self) {
        for pipe in 0..self.pipes.len() {
            if self.pipes[pipe].open {
                self.deliver(pipe, 0);
                self.deliver(pipe, 1);
            }
        }
    }

    pub fn advance(&mut self, millis: u64) {
        self.millis += millis;
        while let Some(entry) = self.pending.first_entry() {
            if entry.key().0 > self.millis {
                break;
            }
            let (machine, pending) = entry.remove();
            let now = self.now_of(machine);
            let pending = match pending {
                Pending::Queue(id, query) => self.asked_queue(machine, id, &query),
                Pending::Pipe(id, requests) => {
                    self.lines_written(machine, &requests);
                    let written = queueing::pipe_written(id, requests.len());
                    if self.random.once_in(2) {
                        self.later(machine, 1, 100, written);
                        continue;
                    }
                    written
                }
                other => other,
            };
            let Some(dispatch) = &mut self.machines[machine].dispatch else { continue };
            match pending {
                Pending::Queue(..) | Pending::Pipe(..) => {}
                Pending::Host(done) => dispatch.host_done(done, now),
                Pending::Crypto(outcome) => dispatch.crypto_done(*outcome, now),
            }
            self.settle_turn(machine);
        }
        for machine in 0..self.machines.len() {
            let now = self.now_of(machine);
            if let Some(dispatch) = &mut self.machines[machine].dispatch {
                dispatch.handle_timeout(now);
                self.settle_turn(machine);
            }
        }
        self.read_answers();
    }

    pub fn step_at_random(&mut self) {
        let millis = self.random.below(60);
        self.advance(millis);
        self.deliver_all();
        let machine = usize::try_from(self.random.below(self.machines.len() as u64)).unwrap();
        match self.random.below(200) {
            // A change that waits for a full disk is lost in a crash.
            0 if !self.is_full(machine) => self.crash(machine),
            1..=8 if self.machines[machine].dispatch.is_none() => self.start(machine),
            9..=10 => self.break_some_pipe(),
            11..=14 => self.stall_some_pipe(),
            // This is for the central only: a node whose disk is full runs a command that its history does not know of.
            // A disk that is full until the end of a stop loses what waits for it, too.
            41 if machine == 0 => self.fill_disk(),
            42 if self.random.once_in(4) => {
                // The clocks of all machines jump up to five minutes ahead or back.
                self.clock_is_set(0);
                self.wall_offset_millis += i64::try_from(self.random.below(600_000)).unwrap() - 300_000;
            }
            44 if self.random.once_in(4) => self.step_clock(machine),
            45 if self.random.once_in(4) => {
                self.clock_is_set(machine);
                // The clock is correct again.
                self.clocks.remove(&machine);
            }
            43 if !self.is_full(machine) => self.stop(machine),
            46..=60 => self.use_queue_at_random(0),
            15..=40 => {
                let target = 1 + self.random.below(self.machines.len() as u64);
                if self.random.once_in(4) {
                    return self.copy(target);
                }
                // Sometimes a command has many rows, so that a sync takes many parts.
                let count = if self.random.once_in(4) { 1 + self.random.below(15) } else { 1 };
                self.commands(target, usize::try_from(count).unwrap());
            }
            _ => {}
        }
    }

    pub fn run_for_millis(&mut self, millis: u64) {
        let end = self.millis + millis;
        while self.millis < end {
            self.advance(10);
            self.deliver_all();
        }
    }

    pub fn run_until(&mut self, limit_millis: u64, done: impl Fn(&Self) -> bool) {
        let end = self.millis + limit_millis;
        while self.millis < end && !done(self) {
            self.advance(10);
            self.deliver_all();
        }
        assert!(done(self), "not done within {limit_millis} ms of virtual time");
    }

    pub fn cut_off(&mut self, id: u64) {
        self.cut_off.push(id);
        let machine = usize::try_from(id - 1).unwrap();
        for pipe in self.machines[machine].pipes.values() {
            // Nothing arrives and no error is reported, as with an unplugged cable.
            self.pipes[*pipe].directions.iter_mut().for_each(|direction| direction.stalled_until = u64::MAX);
        }
    }

    /// Repairs everything and lets time pass until every deadline is over.
    pub fn heal_and_settle(&mut self) {
        self.heal();
        self.settle_for_millis(700_000);
    }

    /// Repairs everything; machines that are down stay down.
    pub fn heal(&mut self) {
        self.cut_off.clear();
        self.cut_cables.clear();
        self.full_until.clear();
        (0..self.machines.len()).for_each(|machine| self.reach_scheduled(machine));
        for pipe in 0..self.pipes.len() {
            if self.pipes[pipe].directions.iter().any(|direction| direction.stalled_until > self.millis) {
                self.break_pipe(pipe, None);
            }
        }
    }

    /// Starts what is down and lets time pass.
    pub fn settle_for_millis(&mut self, millis: u64) {
        let end = self.millis + millis;
        while self.millis < end {
            // One of them may still have been about to stop.
            for machine in 0..self.machines.len() {
                if self.machines[machine].dispatch.is_none() {
                    self.start(machine);
                }
            }
            self.advance(250);
            (0..4).for_each(|_| self.deliver_all());
        }
    }
}
