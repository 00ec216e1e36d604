//! Blocking work that is under way elsewhere, and what goes on once it is done.

use crate::model::host_work::HostWork;
use std::collections::BTreeMap;

use crate::model::work::{Work, WorkId, WorkOutcome};

use super::core::Core;
use super::modules::action::{Checking, EngineRun, Owner, Source};
use super::modules::engine::EngineRequest;
use super::output::Output;

/// What waits for a piece of work.
pub(super) enum Awaiting {
    /// A request whose commands are looked for in the allow-list.
    Check(Checking),
    /// An ACTIONENGINE whose command is looked for in the allow-list.
    EngineCheck(EngineRun),
    /// A command that needs plugins.
    Plugins(Owner, Source),
    /// A request whose lines are written to a pipe.
    Pipe(EngineRequest),
}

/// The work under way. What is in it is bounded by those who ask.
#[derive(Default)]
pub(super) struct WorkTable {
    awaiting: BTreeMap<WorkId, Awaiting>,
    next: u64,
}

impl WorkTable {
    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.awaiting.is_empty()
    }

    /// Takes what waits for work that `is_vain`; what comes of it will be of no interest.
    pub(super) fn take(&mut self, is_vain: impl Fn(&Awaiting) -> bool) -> Vec<Awaiting> {
        let (vain, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.awaiting).into_iter().partition(|(_, awaiting)| is_vain(awaiting));
        self.awaiting = kept;
        vain.into_values().collect()
    }
}

impl Core {
    pub(super) fn start_work(&mut self, work: Work, awaiting: Awaiting) {
        let id = WorkId(self.work.next);
        self.work.next += 1;
        self.work.awaiting.insert(id, awaiting);
        self.context.output(Output::Host(HostWork::Work { id, work }));
    }

    /// A piece of work is done.
    pub(super) fn work_done(&mut self, id: WorkId, outcome: WorkOutcome) {
        match (self.work.awaiting.remove(&id), outcome) {
            (Some(Awaiting::Check(checking)), WorkOutcome::Checked(check)) => self.commands_checked(checking, check),
            (Some(Awaiting::EngineCheck(run)), WorkOutcome::Checked(check)) => self.engine_checked(run, check),
            (Some(Awaiting::Plugins(owner, source)), WorkOutcome::PluginsRead(read)) => {
                self.plugins_read(owner, source, read);
            }
            (Some(Awaiting::Pipe(request)), WorkOutcome::PipeWritten(report)) => self.pipe_written(&request, &report),
            // Nobody waits for it any more.
            _ => {}
        }
    }
}
