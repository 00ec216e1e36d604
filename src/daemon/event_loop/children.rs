//! Running commands as event sources of the loop.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::edge::child_process::{ChildProcess, Environment, ReadState};
use crate::edge::clock;
use crate::edge::jobs::Job;
use crate::model::command::{CommandEnd, CommandId, CommandOutcome, CommandSpec, OutputCut};
use crate::model::host_work::HostDone;
use crate::model::time::{Monotonic, Now};

use super::output_budget::{Held, OutputBudget};
use super::storage::JobResult;
use super::{EventLoop, FIRST_SOURCE};

/// Maximum number of bytes of output read from one command in one turn.
const READ_BUDGET_BYTES: usize = 256 << 10;

/// Difference between the token numbers of a command's two outputs. Odd numbers are connections.
const SECOND_OUTPUT: usize = 2;

pub(super) struct Children {
    running: HashMap<usize, (CommandId, Box<ChildProcess>)>,
    /// Children to read or reap in this turn.
    ready: BTreeSet<usize>,
    /// Children that are not read until there is room.
    waiting: BTreeSet<usize>,
    /// Number of bytes that all outputs held in the last turn.
    kept_bytes: usize,
    /// Commands that must be killed as soon as their process has started.
    doomed: BTreeSet<CommandId>,
    /// Events of commands that a worker is starting, in order: number of the output, and whether it has hung up. At
    /// most four each.
    starting: BTreeMap<usize, Vec<(usize, bool)>>,
    environment: Arc<Environment>,
    registry: Arc<Registry>,
}

/// The token number of a command's first output; that of the second is [`SECOND_OUTPUT`] higher.
fn child_source(command: CommandId) -> usize {
    FIRST_SOURCE + usize::try_from(command.0).unwrap_or(0).wrapping_mul(2 * SECOND_OUTPUT)
}

fn held(source: usize, child: &ChildProcess) -> Held {
    Held { source, kept_bytes: child.kept_bytes(), is_full: child.is_full() }
}

impl Children {
    pub(super) fn new(environment: Environment, registry: Registry) -> Self {
        let (ready, waiting, doomed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (running, starting) = (HashMap::new(), BTreeMap::new());
        let (environment, registry) = (Arc::new(environment), Arc::new(registry));
        Self { running, ready, waiting, kept_bytes: 0, doomed, starting, environment, registry }
    }

    /// Returns the job that starts a process. A worker runs it, because it may block (slow disk, network file system).
    pub(super) fn spawn_job(&mut self, command: CommandId, spec: CommandSpec) -> Job<JobResult> {
        let (environment, registry) = (Arc::clone(&self.environment), Arc::clone(&self.registry));
        let source = child_source(command);
        self.starting.insert(source, Vec::new());
        Box::new(move || {
            // Without a place in the poll its end is still seen through SIGCHLD.
            let watch = |(number, descriptor)| {
                let token = Token(source + number * SECOND_OUTPUT);
                let _unwatched = registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE);
            };
            let spawned = ChildProcess::spawn(&spec, &environment, clock::read(), watch);
            JobResult::Spawned(command, spawned.map(Box::new))
        })
    }

    /// Whether there is output to read that no event will announce, if all outputs may hold `room_bytes`.
    pub(super) fn has_ready(&self, room_bytes: usize) -> bool {
        !self.ready.is_empty() || (!self.waiting.is_empty() && self.kept_bytes < room_bytes)
    }

    /// Notes that an output became readable.
    pub(super) fn output_ready(&mut self, event: &Event) {
        let Token(source) = event.token();
        let of_second = (source - FIRST_SOURCE) % (2 * SECOND_OUTPUT);
        let first = source - of_second;
        let output = (of_second / SECOND_OUTPUT, event.is_read_closed());
        if let Some((_, child)) = self.running.get_mut(&first) {
            child.output_ready(output.0, output.1);
            self.ready.insert(first);
        } else if let Some(events) = self.starting.get_mut(&first).filter(|events| !events.contains(&output)) {
            events.push(output);
        }
    }

    /// Notes that some child ended. Each child is asked, because the signal does not say which one.
    pub(super) fn mark_all(&mut self) {
        self.ready.extend(self.running.keys());
    }

    pub(super) fn kill(&mut self, command: CommandId) {
        self.stop(command, ChildProcess::kill_group);
    }

    /// Asks a command to end, which is killed if it does not.
    pub(super) fn end(&mut self, command: CommandId, now: Monotonic) {
        self.stop(command, |child| child.end_group(now));
    }

    fn stop(&mut self, command: CommandId, stop: impl FnOnce(&mut ChildProcess)) {
        let source = child_source(command);
        if let Some((_, child)) = self.running.get_mut(&source) {
            stop(child);
            self.ready.insert(source);
        } else if self.starting.contains_key(&source) {
            self.doomed.insert(command);
        }
    }

    pub(super) fn kill_all(&mut self) {
        for (_, child) in self.running.values_mut() {
            child.kill_group();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.running.values().filter_map(|(_, child)| child.poll_timeout()).min()
    }
}

impl EventLoop {
    pub(super) fn spawned(&mut self, command: CommandId, spawned: Result<Box<ChildProcess>, CommandEnd>, now: Now) {
        let source = child_source(command);
        let events = self.children.starting.remove(&source).unwrap_or_default();
        match spawned {
            Err(end) => {
                self.children.doomed.remove(&command);
                let outcome = CommandOutcome {
                    end,
                    output: Vec::new(),
                    cut: OutputCut::default(),
                    started: now.wall,
                    ended: now.wall,
                };
                self.dispatch.host_done(HostDone::CommandEnded { command, outcome }, now);
            }
            Ok(mut child) => {
                events.into_iter().for_each(|(number, is_hung_up)| child.output_ready(number, is_hung_up));
                if self.children.doomed.remove(&command) {
                    child.kill_group();
                }
                self.children.running.insert(source, (command, child));
                self.children.ready.insert(source);
            }
        }
    }

    pub(super) fn read_children(&mut self, now: Now) {
        let due: Vec<usize> = self
            .children
            .running
            .iter()
            .filter(|(_, (_, child))| child.poll_timeout().is_some_and(|deadline| deadline <= now.monotonic))
            .map(|(source, _)| *source)
            .collect();
        let room_bytes = self.dispatch.output_room();
        if self.children.kept_bytes < room_bytes {
            self.children.ready.append(&mut self.children.waiting);
        }
        let running = self.children.running.iter().map(|(source, (_, child))| held(*source, child));
        let mut budget = OutputBudget::new(room_bytes, running);
        let mut ready = std::mem::take(&mut self.children.ready);
        ready.extend(&due);
        for source in ready {
            let Some((command, child)) = self.children.running.get_mut(&source) else { continue };
            if budget.is_turn_over() {
                self.children.ready.insert(source);
                continue;
            }
            let (command, before) = (*command, held(source, child));
            if !budget.may_read(before) && !due.contains(&source) {
                self.children.waiting.insert(source);
                continue;
            }
            if child.read_output(READ_BUDGET_BYTES) == ReadState::Open {
                self.children.ready.insert(source);
            }
            let (news, kept_bytes) = (child.take_news(now.monotonic), child.kept_bytes());
            let is_full_now = child.is_full() && !before.is_full;
            let outcome = child.poll(now);
            budget.note(before.kept_bytes, kept_bytes, outcome.is_some());
            if is_full_now || outcome.is_some() {
                // Others may have room now.
                self.children.ready.append(&mut self.children.waiting);
            }
            if let Some(output) = news {
                self.dispatch.host_done(HostDone::CommandPrinted { command, output }, now);
            }
            if let Some(outcome) = outcome {
                // Dropping the child closes its outputs, which removes them from the poll.
                self.children.running.remove(&source);
                self.children.ready.remove(&source);
                self.dispatch.host_done(HostDone::CommandEnded { command, outcome }, now);
            }
        }
        self.children.kept_bytes = budget.total_bytes();
        self.dispatch.note_outputs(budget.total_bytes());
    }
}
