//! Running commands as sources of the loop.

use std::collections::{BTreeSet, HashMap};

use mio::unix::SourceFd;
use mio::{Interest, Token};

use crate::edge::child_process::{ChildProcess, ReadState};
use crate::edge::clock;
use crate::edge::jobs::Job;
use crate::model::command::{CommandEnd, CommandId, CommandOutcome, CommandSpec, OutputCut};
use crate::model::host_work::HostDone;
use crate::model::time::{Monotonic, Now};

use super::storage::JobResult;
use super::{EventLoop, FIRST_SOURCE};

/// Output read of one command in one turn, at most.
const READ_BUDGET_BYTES: usize = 256 << 10;

pub(super) struct Children {
    running: HashMap<usize, (CommandId, Box<ChildProcess>)>,
    /// Children to look at in this turn.
    ready: BTreeSet<usize>,
    /// Commands that were to be killed before their process was there.
    doomed: BTreeSet<CommandId>,
}

fn child_source(command: CommandId) -> usize {
    FIRST_SOURCE + usize::try_from(command.0).unwrap_or(0).wrapping_mul(2)
}

impl Children {
    pub(super) fn new() -> Self {
        Self { running: HashMap::new(), ready: BTreeSet::new(), doomed: BTreeSet::new() }
    }

    /// Starting a process may block (a slow disk, a network file system): a worker does it.
    pub(super) fn spawn_job(command: CommandId, spec: CommandSpec) -> Job<JobResult> {
        Box::new(move || JobResult::Spawned(command, ChildProcess::spawn(&spec, clock::read()).map(Box::new)))
    }

    /// Whether output waits that no event will announce.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn mark_readable(&mut self, source: usize) {
        self.ready.insert(source);
    }

    /// Some child ended; which one is found by asking each.
    pub(super) fn mark_all(&mut self) {
        self.ready.extend(self.running.keys());
    }

    pub(super) fn kill(&mut self, command: CommandId) {
        let source = child_source(command);
        if let Some((_, child)) = self.running.get_mut(&source) {
            child.kill_group();
            self.ready.insert(source);
        } else {
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
                // Without a place in the poll its end is still seen through SIGCHLD.
                let mut output = SourceFd(&child.output_descriptor());
                let _unwatched = self.poll.registry().register(&mut output, Token(source), Interest::READABLE);
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
        self.children.ready.extend(due);
        for source in std::mem::take(&mut self.children.ready) {
            let Some((command, child)) = self.children.running.get_mut(&source) else { continue };
            let command = *command;
            if child.read_output(READ_BUDGET_BYTES) == ReadState::Open {
                self.children.ready.insert(source);
            }
            let (news, outcome) = (child.take_news(now.monotonic), child.poll(now));
            if let Some(output) = news {
                self.dispatch.host_done(HostDone::CommandPrinted { command, output }, now);
            }
            if let Some(outcome) = outcome {
                // Dropping it takes it out of the poll.
                self.children.running.remove(&source);
                self.children.ready.remove(&source);
                self.dispatch.host_done(HostDone::CommandEnded { command, outcome }, now);
            }
        }
    }
}
