//! One machine's turn: its changes go to its disk, its effects are performed, and its bytes go into the streams.

use stheno::daemon::dispatch::{Batch, Effect, Listener};
use stheno::model::command::{CommandEnd, CommandOutcome, OutputCut, Program};
use stheno::model::connection::{ConnectionId, Endpoint, PeerAddress};
use stheno::model::history::StoreChange;
use stheno::model::host_work::{HostDone, HostWork};
use stheno::model::random::Random as _;

use super::super::duplicates::Repeater;
use super::super::machine::{Machine, WEBSOCKET_PORT};
use super::super::seeded::Seeded;
use super::{Direction, Pending, Pipe, World};

/// Number of bytes that the socket of a busy peer takes before the rest waits in the sender.
const SOCKET_BYTES: usize = 256 << 10;
/// Maximum number of rows in one page, so that an answer to GETLOG comes in several.
const PAGE_ROWS_MAX: usize = 60;

/// What becomes of a commit that ends its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The machine is gone before the changes are stored.
    NotStored,
    /// They are stored, and nothing that follows from them is done.
    Stored,
}

/// Commits that end their machine.
#[derive(Default)]
pub struct CrashPoint {
    /// Once in so many commits, by chance; 0 for never.
    pub one_in: u64,
    /// The machine and the number of commits before the one that ends it.
    pub planned: Option<(usize, u64, Fate)>,
}

impl CrashPoint {
    fn fate(&mut self, machine: usize, random: &mut Seeded) -> Option<Fate> {
        if let Some((planned, left, fate)) = &mut self.planned
            && *planned == machine
        {
            let fate = *fate;
            *left = left.checked_sub(1).unwrap_or(u64::MAX);
            return (*left == u64::MAX).then(|| {
                self.planned = None;
                fate
            });
        }
        let is_chosen = self.one_in > 0 && random.once_in(self.one_in);
        is_chosen.then(|| if random.once_in(2) { Fate::Stored } else { Fate::NotStored })
    }
}

impl World {
    pub fn settle_turn(&mut self, machine: usize) {
        for _ in 0..64 {
            let now = self.now_of(machine);
            let entry = &mut self.machines[machine];
            let Some(dispatch) = &mut entry.dispatch else { return };
            let full = self.full_until.get(&machine).is_some_and(|until| *until > self.millis);
            if !full && dispatch.has_unstored() {
                let mut late = dispatch.take_unstored();
                trace(self.traced, self.millis, entry.id, &late.changes);
                late.left_out = entry.disk.apply(&late.changes, now);
                dispatch.committed(late, true, now);
            }
            if !full && dispatch.may_begin_early() {
                dispatch.begin_early(now);
            }
            let waits = dispatch.waits_until().is_some_and(|until| now.monotonic < until);
            let mut batch = if waits { Batch::default() } else { dispatch.take_batch() };
            if !batch.is_empty() {
                let fate = if full { None } else { self.crash_point.fate(machine, &mut self.random) };
                trace(self.traced && !full && fate != Some(Fate::NotStored), self.millis, entry.id, &batch.changes);
                if !full && fate != Some(Fate::NotStored) {
                    batch.left_out = entry.disk.apply(&batch.changes, now);
                }
                if fate.is_some() {
                    return self.crash(machine);
                }
                // While earlier changes wait, later ones are not tried.
                if full && dispatch.has_unstored() {
                    dispatch.refused(batch, now);
                } else {
                    dispatch.committed(batch, !full, now);
                }
            }
            let effects: Vec<Effect> = std::iter::from_fn(|| dispatch.poll_effect()).collect();
            for effect in effects {
                self.perform(machine, effect);
                // The effect may have ended the machine.
                if self.machines[machine].dispatch.is_none() {
                    return;
                }
            }
            self.flush(machine);
            if self.machines[machine].dispatch.as_ref().is_none_or(|dispatch| !dispatch.has_work()) {
                return;
            }
        }
        panic!("machine {machine} never comes to rest");
    }

    fn perform(&mut self, machine: usize, effect: Effect) {
        match effect {
            Effect::Connect { connection, endpoint } => self.connect(machine, connection, &endpoint),
            Effect::Close(connection) | Effect::CloseAfterFlush(connection) => {
                self.flush(machine);
                let now = self.now_of(machine);
                if let Some(pipe) = self.machines[machine].pipes.remove(&connection) {
                    self.break_pipe(pipe, Some(machine));
                }
                if let Some(dispatch) = &mut self.machines[machine].dispatch {
                    dispatch.closed(connection, "closed by us".to_owned(), now);
                }
            }
            Effect::Crypto(job) => {
                let outcome = job.run(&self.machines[machine].key);
                self.later(machine, 1, 20, Pending::Crypto(Box::new(outcome)));
            }
            Effect::Host(HostWork::Query { query, filter, mut limit }) => {
                if !limit.whole_instants {
                    limit.rows = limit.rows.min(1 + usize::try_from(self.random.below(PAGE_ROWS_MAX as u64)).unwrap());
                }
                let page = self.machines[machine].disk.query(&filter, &limit);
                self.later(machine, 0, 5, Pending::Host(HostDone::QueryAnswer { query, result: Ok(page) }));
            }
            Effect::Host(HostWork::RunCommand { command, spec }) => {
                if let Program::Shell(line) = &spec.program {
                    self.ledger.ran(line, machine, self.millis);
                }
                let started = self.now().wall;
                let outcome = CommandOutcome {
                    end: CommandEnd::Exited(i32::from(self.random.once_in(5))),
                    output: b"done\n".to_vec(),
                    cut: OutputCut::default(),
                    started,
                    ended: started,
                };
                self.later(machine, 1, 3_000, Pending::Host(HostDone::CommandEnded { command, outcome }));
            }
            Effect::Host(HostWork::ReadSource { source, step }) => {
                if let Some(done) = self.files.read(machine, source, step) {
                    self.later(machine, 1, 50, Pending::Host(HostDone::SourceDone { source, done }));
                }
            }
            Effect::Host(HostWork::WriteSink { sink, steps }) => {
                let done = steps.into_iter().map(|step| self.files.write(machine, sink, step)).collect();
                self.later(machine, 1, 50, Pending::Host(HostDone::SinkDone { sink, done }));
            }
            Effect::Host(HostWork::Work { id, work }) => self.work(machine, id, work),
            Effect::Host(HostWork::EndCommand(command)) => self.end_command(machine, command, true),
            Effect::Host(HostWork::KillCommand(command)) => self.end_command(machine, command, false),
            Effect::Log(line) if self.traced => {
                eprintln!("{} {}: {line:?}", self.millis, self.machines[machine].id);
            }
            // The modules that use such work are not configured here.
            Effect::Shutdown(_)
            | Effect::Log(_)
            | Effect::Admit(_)
            | Effect::Keys(_)
            | Effect::StartTls { .. }
            | Effect::Host(HostWork::ReadPollers)
            | Effect::Ssh { .. }
            | Effect::AskWebApi { .. }
            | Effect::SetLogLevel(_)
            | Effect::LearnTime(_) => {}
            // Its last bytes still arrive.
            Effect::Stopped => {
                self.flush(machine);
                let pipes: Vec<usize> = self.machines[machine].pipes.values().copied().collect();
                for pipe in pipes {
                    let side = usize::from(!matches!(self.pipes[pipe].ends[0], Some((owner, _)) if owner == machine));
                    while !self.pipes[pipe].directions[side].bytes.is_empty() {
                        self.deliver_rest(pipe, side);
                        self.flush(machine);
                    }
                }
                self.crash(machine);
            }
        }
    }

    pub fn later(&mut self, machine: usize, from: u64, to: u64, pending: Pending) {
        self.next_pending += 1;
        let when = self.millis + from + self.random.below(to - from);
        self.pending.insert((when, self.next_pending), (machine, pending));
    }

    fn connect(&mut self, machine: usize, connection: ConnectionId, endpoint: &Endpoint) {
        let Endpoint::Tcp { port, .. } = endpoint else { panic!("only TCP is simulated") };
        let now = self.now_of(machine);
        let (other, listener) = match port.checked_sub(WEBSOCKET_PORT) {
            Some(machine) => (usize::from(machine), Listener::WebSocket),
            None => (usize::from(*port) - 1, Listener::External),
        };
        let ids = [self.machines[machine].id, self.machines[other].id];
        let cable = (machine.min(other), machine.max(other));
        let is_cut = self.cut_cables.get(&cable).is_some_and(|until| *until > self.millis);
        let reachable = !is_cut && !ids.iter().any(|id| self.cut_off.contains(id));
        let theirs_now = self.now_of(other);
        let Some(peer) = self.machines[other].dispatch.as_mut().filter(|_| reachable) else {
            let dispatch = self.machines[machine].dispatch.as_mut().unwrap();
            dispatch.closed(connection, "connection refused".to_owned(), now);
            return;
        };
        let theirs = peer.next_connection_id();
        let address = PeerAddress::Ip([192, 0, 2, 1].into());
        let ends = [Some((machine, connection)), Some((other, theirs))];
        let mut directions: [Direction; 2] = Default::default();
        let is_upwards = listener == Listener::WebSocket || self.machines[machine].dials(endpoint);
        directions[usize::from(!is_upwards)].repeater = Some(Repeater::default());
        self.pipes.push(Pipe { ends, directions, open: true });
        let pipe = self.pipes.len() - 1;
        self.machines[machine].pipes.insert(connection, pipe);
        self.machines[other].pipes.insert(theirs, pipe);
        self.machines[other].dispatch.as_mut().unwrap().accepted(theirs, listener, address, theirs_now);
        self.machines[machine].dispatch.as_mut().unwrap().connected(connection, now);
        self.settle_turn(other);
    }

    /// Moves what waits to be sent into the streams, as far as they take it.
    pub(super) fn flush(&mut self, machine: usize) {
        let now = self.now_of(machine);
        let Machine { dispatch: Some(dispatch), pipes, blocked, .. } = &mut self.machines[machine] else { return };
        let mut ready = dispatch.take_dirty(now);
        ready.append(blocked);
        for connection in ready {
            let Some(pipe) = pipes.get(&connection) else { continue };
            let pipe = &mut self.pipes[*pipe];
            let side = usize::from(pipe.ends[0] != Some((machine, connection)));
            let Some(queue) = dispatch.send_queue(connection) else { continue };
            let Direction { bytes: stream, repeater, .. } = &mut pipe.directions[side];
            let mut moved = false;
            while !queue.is_empty() && stream.len() < SOCKET_BYTES {
                let len = queue.front().len().min(SOCKET_BYTES - stream.len());
                match repeater {
                    Some(repeater) => repeater.pass(&queue.front()[..len], stream, &mut self.random),
                    None => stream.extend(&queue.front()[..len]),
                }
                queue.consume(len);
                moved = true;
            }
            if !queue.is_empty() {
                blocked.insert(connection);
            }
            if moved {
                dispatch.flushed(connection, now);
            }
        }
    }
}

/// Prints the rows and tokens that a machine stores, if wanted.
fn trace(traced: bool, millis: u64, id: u64, changes: &[StoreChange]) {
    for change in changes.iter().filter(|_| traced) {
        match change {
            StoreChange::InsertRow(row) => eprintln!("{millis} {id}: {row:?}"),
            StoreChange::OpenToken { token, node } => eprintln!("{millis} {id}: open {token} for {node:?}"),
            StoreChange::CloseToken(token) => eprintln!("{millis} {id}: close {token}"),
            StoreChange::PutSyncMark(node, mark) => eprintln!("{millis} {id}: mark {node} {mark:?}"),
            _ => {}
        }
    }
}
