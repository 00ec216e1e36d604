//! Requests that wait for their nodes, and what must hold of them: each runs at most once, what its end says is true, a
//! node gets them in their order, and what was accepted is not forgotten.

use std::collections::BTreeMap;
use std::fmt;

use stheno::model::code::Code;
use stheno::model::command::{CommandEnd, CommandId};
use stheno::model::host_work::HostDone;
use stheno::model::queue::QueueQuery;
use stheno::model::random::Random as _;
use stheno::model::work::{PipeLines, PipeReport, Work, WorkId, WorkOutcome};

use super::api_client::Asked;
use super::world::{Pending, World};

/// By how many milliseconds a request may expire early: the queue's clock is stored when it is off by more than 5 s.
const EARLY_MILLIS: u64 = 7_000;
/// Within this time the row is stored by which a request for an unknown node is refused: a disk is full for up to 4 s.
const REFUSED_WITHIN_MILLIS: u64 = 5_000;
/// Within this time a running queue notices that its clock was set.
const CLOCK_NOTICED_MILLIS: u64 = 2_000;
/// A time to live that no run reaches.
const LONG_SECONDS: u64 = 100_000;

/// The end of what is cut off by a stop.
const STOPPING: &str = "gorgone is stopping/restarting. Cannot proceed request.";

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Command,
    Engine,
}

/// A request that may wait.
#[derive(Clone, Default)]
pub struct Request {
    /// The machine that queues it.
    pub by: usize,
    pub target: u64,
    pub kind: Kind,
    /// What is run is told by it.
    pub serial: u64,
    pub ttl: u64,
    /// Whether it has a time of its own.
    pub scheduled: bool,
    /// Whether its token is of the caller.
    pub named: bool,
    pub asked: u64,
    /// Its number among those that were accepted.
    pub place: usize,
    /// How many were accepted before it was asked for.
    pub known: usize,
    /// The token, once it is accepted.
    pub token: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, target, kind, serial, ttl, scheduled, asked, token, .. } = self;
        let when = if *scheduled { "scheduled " } else { "" };
        write!(f, "[{when}{kind:?} {serial} of machine {by} for {target}, ttl {ttl}, at {asked}, token {token:.16}]")
    }
}

impl Request {
    fn path(&self, not_before: Option<i64>) -> String {
        let Self { target, serial, ttl, .. } = self;
        let what = if self.kind == Kind::Command { "core/action/command" } else { "centreon/engine/command" };
        let token = if self.named { format!("&token=named-{serial}") } else { String::new() };
        let begin = not_before.map_or_else(String::new, |time| format!("&not_before={time}"));
        format!("/api/nodes/{target}/{what}?ttl={ttl}{begin}{token}")
    }

    /// Returns whether the same node has to get it before another one. Tokens of callers are looked for first, so other
    /// requests may come before theirs until they are accepted.
    fn comes_before(&self, other: &Self) -> bool {
        let way = |request: &Self| (request.by, request.target, request.kind);
        let is_named = self.named || other.named;
        way(self) == way(other) && if is_named { self.place < other.known } else { self.serial < other.serial }
    }

    fn body(&self) -> String {
        match self.kind {
            Kind::Command => format!(r#"[{{"command":"run {}"}}]"#, self.serial),
            Kind::Engine => format!(r#"{{"command_file":"/pipe","commands":["run {}"]}}"#, self.serial),
        }
    }
}

/// What was asked for and what became of it.
#[derive(Default)]
pub struct Ledger {
    pub accepted: Vec<Request>,
    /// What was run, in order: its number, where, and when.
    runs: Vec<(u64, usize, u64)>,
    last_serial: u64,
    /// When the clock of each machine was last set.
    clocks_set: BTreeMap<usize, u64>,
    /// Whether a clock was set where the queue cannot notice.
    pub clock_is_lost: bool,
}

/// The number in a command line.
fn serial_of(line: &str) -> Option<u64> {
    line.strip_prefix("run ")?.parse().ok()
}

impl Ledger {
    /// A number that tells what is run.
    pub fn next_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    pub fn ran(&mut self, line: &str, machine: usize, millis: u64) {
        if let Some(serial) = serial_of(line) {
            self.runs.push((serial, machine, millis));
        }
    }

    /// A machine ends: a clock that was set just before may not be stored.
    pub fn machine_ends(&mut self, machine: usize, millis: u64) {
        let is_just_set = self.clocks_set.get(&machine).is_some_and(|at| millis < at + CLOCK_NOTICED_MILLIS);
        self.clock_is_lost |= is_just_set;
    }

    fn runs_of(&self, serial: u64) -> usize {
        self.runs.iter().filter(|(run, ..)| *run == serial).count()
    }
}

impl World {
    pub fn queue_by(&mut self, by: usize, target: u64, kind: Kind, ttl: u64) {
        let serial = self.ledger.next_serial();
        let request = Request { by, target, kind, serial, ttl, asked: self.millis, ..Request::default() };
        self.ask_for(request, None);
    }

    fn ask_for(&mut self, mut request: Request, not_before: Option<i64>) {
        request.known = self.ledger.accepted.len();
        let (path, body) = (request.path(not_before), request.body());
        self.ask(request.by, ("POST", &path), &body, Asked::Queued(Box::new(request)));
    }

    /// One of the things that a caller does with the queue of a machine.
    pub fn use_queue_at_random(&mut self, by: usize) {
        let recent = self.ledger.accepted.len().saturating_sub(8);
        let recent: Vec<Request> =
            self.ledger.accepted[recent..].iter().filter(|request| request.by == by).cloned().collect();
        let one = usize::try_from(self.random.below(recent.len().max(1) as u64)).unwrap();
        match (self.random.below(12), recent.get(one)) {
            (0, Some(request)) => {
                let path = format!("/api/nodes/{}/queue/{}", request.target, request.token);
                self.ask(by, ("DELETE", &path), "", Asked::Cancelled);
            }
            (1, Some(request)) => {
                let path = format!("/api/nodes/{}/running/{}", request.target, request.token);
                self.ask(by, ("DELETE", &path), "", Asked::Cancelled);
            }
            (2..=3, Some(request)) if request.named => self.ask_for(request.clone(), None),
            _ => self.queue_at_random(by),
        }
    }

    fn queue_at_random(&mut self, by: usize) {
        let target = 1 + self.random.below(self.machines.len() as u64);
        let kind = if self.random.once_in(4) { Kind::Engine } else { Kind::Command };
        let ttl = [3, 30, 300, LONG_SECONDS, LONG_SECONDS][usize::try_from(self.random.below(5)).unwrap()];
        let scheduled = self.random.once_in(6);
        let ahead = i64::try_from(self.random.below(60)).unwrap();
        let not_before = scheduled.then(|| self.now_of(by).wall.as_seconds() + ahead);
        let (serial, asked, named) = (self.ledger.next_serial(), self.millis, self.random.once_in(4));
        let request = Request { by, target, kind, serial, ttl, scheduled, named, asked, ..Request::default() };
        self.ask_for(request, not_before);
        // Several at once, so that their order matters.
        if self.random.once_in(3) {
            (0..self.random.below(6)).for_each(|_| self.queue_by(by, target, kind, ttl));
        }
    }

    /// The clock of a machine is about to be set, which a queue that is not running cannot notice.
    pub fn clock_is_set(&mut self, machine: usize) {
        self.ledger.clock_is_lost |= self.machines[machine].dispatch.is_none() || self.is_full(machine);
        self.ledger.clocks_set.insert(machine, self.millis);
    }

    /// Sets the clock of a machine ahead if that is so far behind that what waits for its time would wait for ever.
    pub fn reach_scheduled(&mut self, machine: usize) {
        let now = self.now_of(machine).wall.as_seconds();
        let ahead = self.machines[machine].disk.outbox.last_begin() - now;
        if ahead > 60 {
            self.clock_is_set(machine);
            *self.clocks.entry(machine).or_default() += ahead * 1_000;
        }
    }

    // ---- the machine below ------------------------------------------------------------------------------------------

    /// Does work of a machine on another thread.
    pub fn work(&mut self, machine: usize, id: WorkId, work: Work) {
        match work {
            Work::Queue(query) => {
                let is_early = self.random.once_in(2);
                let pending = if is_early { self.asked_queue(machine, id, &query) } else { Pending::Queue(id, query) };
                self.later(machine, 0, 50, pending);
            }
            Work::WritePipe { requests, .. } => self.write_pipe(machine, id, requests),
            _ => {}
        }
    }

    /// The answer of a machine's disk to a question for its queue.
    pub fn asked_queue(&self, machine: usize, id: WorkId, query: &QueueQuery) -> Pending {
        let disk = &self.machines[machine].disk;
        let outcome = WorkOutcome::Queue(disk.outbox.answer(query, &disk.rows));
        Pending::Host(HostDone::WorkDone { id, outcome })
    }

    /// The pipe takes the lines at once or a little later, and the daemon hears of it later still.
    fn write_pipe(&mut self, machine: usize, id: WorkId, requests: Vec<PipeLines>) {
        if self.random.once_in(2) {
            self.lines_written(machine, &requests);
            let pending = pipe_written(id, requests.len());
            self.later(machine, 1, 500, pending);
        } else {
            self.later(machine, 1, 500, Pending::Pipe(id, requests));
        }
    }

    pub fn lines_written(&mut self, machine: usize, requests: &[PipeLines]) {
        let lines = requests.iter().flat_map(|request| request.lines.iter());
        lines.for_each(|line| self.ledger.ran(line, machine, self.millis));
    }

    /// Ends a command of a machine before its time. One that was only asked to end may take a while, or must be killed.
    pub fn end_command(&mut self, machine: usize, command: CommandId, is_asked: bool) {
        let is_it = |pending: &Pending| matches!(pending, Pending::Host(HostDone::CommandEnded { command: of, .. }) if *of == command);
        let found = self.pending.iter().find(|(_, (owner, pending))| *owner == machine && is_it(pending));
        let Some(place) = found.map(|(place, _)| *place) else { return };
        let Some((_, Pending::Host(HostDone::CommandEnded { mut outcome, .. }))) = self.pending.remove(&place) else {
            unreachable!()
        };
        let is_deaf = is_asked && self.random.once_in(3);
        let (from, to) = if is_deaf { (5_000, 5_001) } else { (1, 100) };
        outcome.end = CommandEnd::Exited(if is_asked && !is_deaf { 143 } else { 137 });
        self.later(machine, from, to, Pending::Host(HostDone::CommandEnded { command, outcome }));
    }

    // ---- invariants -------------------------------------------------------------------------------------------------

    /// The bound of the queue of each machine holds.
    pub fn check_queue_bounds(&self, what: &str) {
        for machine in &self.machines {
            let bound = machine.queue_messages_max();
            for (node, depth) in machine.disk.outbox.depths() {
                assert!(depth <= bound, "{what}: machine {} queues {depth} requests for {node}", machine.id);
            }
        }
    }

    /// Nothing has run twice, and queued requests have begun in their order.
    pub fn check_runs(&self, what: &str) {
        let mut seen: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
        for (serial, machine, millis) in &self.ledger.runs {
            let before = seen.insert(*serial, (*machine, *millis));
            let request = self.ledger.accepted.iter().find(|request| request.serial == *serial);
            assert!(
                before.is_none(),
                "{what}: {serial} ran at {before:?} (machine, time) and again at {:?}: {request:?}",
                (machine, millis)
            );
        }
        let by_serial: BTreeMap<u64, &Request> =
            self.ledger.accepted.iter().rev().map(|request| (request.serial, request)).collect();
        let of = |(serial, ..): &(u64, usize, u64)| by_serial.get(serial).copied();
        let is_in_order = |request: &&Request| !request.scheduled && request.target != self.machines[request.by].id;
        let mut before: Vec<&Request> = Vec::new();
        for request in self.ledger.runs.iter().filter_map(of).filter(is_in_order) {
            let is_late = |before: &&&Request| request.comes_before(before);
            let late = before.iter().find(is_late);
            assert!(late.is_none(), "{what}: {request:?} ran after {:?}", late.unwrap());
            before.push(request);
        }
    }

    /// What the end of each queued request says is true, and none was forgotten.
    pub fn check_queued(&self, what: &str) {
        self.check_runs(what);
        for machine in &self.machines {
            let left: Vec<_> = machine.disk.outbox.heads().collect();
            assert!(left.is_empty(), "{what}: machine {} still queues {left:?}", machine.id);
        }
        for request in &self.ledger.accepted {
            let rows = &self.machines[request.by].disk.rows;
            let mut ends = rows.iter().filter(|row| row.token.as_ref() == Some(&request.token) && row.is_last());
            let end = ends.next().unwrap_or_else(|| panic!("{what}: {request:?} has no end"));
            let data: serde_json::Value = serde_json::from_str(&end.data).unwrap_or_default();
            let message = data["message"].as_str().unwrap_or_default();
            let runs = self.ledger.runs_of(request.serial);
            let is_done = message.contains("processing has finished");
            let is_said_not_run = message.starts_with("cancelled before it was sent")
                || message.starts_with("queue full")
                || message.contains("could not be reached within");
            assert!(!(is_said_not_run && runs > 0), "{what}: {request:?} ran and ended with: {message}");
            assert!(!is_done || runs == 1, "{what}: {request:?} did not run and ended with: {message}");
            if message.starts_with("expired") {
                let lived = self.machines[request.by].disk.ended_at[&request.token] - request.asked;
                let is_early = lived + EARLY_MILLIS < request.ttl * 1_000;
                assert!(!is_early || self.ledger.clock_is_lost, "{what}: {request:?} expired after {lived} ms");
            } else if !is_done {
                let known = ["cancelled", "queue full", "database issue"];
                let lived = self.machines[request.by].disk.ended_at[&request.token] - request.asked;
                let is_refused = lived <= REFUSED_WITHIN_MILLIS && message.starts_with("proxy - ");
                // A node that ends just when it begins does not know whether it has.
                let is_cut_off = message == "the daemon was restarted before the end"
                    || message == STOPPING && (runs > 0 || end.origin.is_none());
                let is_known = known.iter().any(|known| message.starts_with(known))
                    || is_cut_off
                    || is_refused
                    || message.contains("may have run");
                assert!(
                    end.code == Code::FINISHED_KO && is_known || request.target == self.machines[request.by].id,
                    "{what}: {request:?} ran {runs} times and ended with: {message}"
                );
            }
        }
    }
}

/// The report that the lines of so many requests were written.
pub fn pipe_written(id: WorkId, count: usize) -> Pending {
    let reports = vec![PipeReport { submitted: 1, failure: None }; count];
    Pending::Host(HostDone::WorkDone { id, outcome: WorkOutcome::PipeWritten(reports) })
}
