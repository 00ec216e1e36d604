//! Blocking work that is under way elsewhere, and what goes on once it is done.

use std::collections::BTreeMap;

use crate::model::work::{Work, WorkId, WorkOutcome};

use super::core::Core;
use super::modules::action::Checking;
use super::output::Output;

/// What waits for a piece of work.
pub(super) enum Awaiting {
    /// A request whose commands are looked for in the allow-list.
    Check(Checking),
}

/// The work under way. What is in it is bounded by those who ask.
#[derive(Default)]
pub(super) struct WorkTable {
    awaiting: BTreeMap<WorkId, Awaiting>,
    next: u64,
}

impl WorkTable {
    /// Takes everything that waits; what comes of its work will be of no interest.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Awaiting> + use<> {
        std::mem::take(&mut self.awaiting).into_values()
    }
}

impl Core {
    pub(super) fn start_work(&mut self, work: Work, awaiting: Awaiting) {
        let id = WorkId(self.work.next);
        self.work.next += 1;
        self.work.awaiting.insert(id, awaiting);
        self.output(Output::Work { id, work });
    }

    /// A piece of work is done.
    pub(super) fn work_done(&mut self, id: WorkId, outcome: WorkOutcome) {
        match (self.work.awaiting.remove(&id), outcome) {
            (Some(Awaiting::Check(checking)), WorkOutcome::Checked(check)) => self.commands_checked(checking, check),
            (None, _) => {}
        }
    }
}
