//! Reports about this daemon: adds what the loop knows to what the deciding part knows, and has a worker make the text.

use crate::daemon::report::{self, Machine};
use crate::edge::{history_store, process_memory};
use crate::model::host_work::HostDone;
use crate::model::status::{ReportForm, ReportOrder};
use crate::model::time::Now;
use crate::model::work::{WorkId, WorkOutcome};

use super::EventLoop;
use super::storage::JobResult;
use super::workers::Rank;

impl EventLoop {
    /// Starts the making of a report.
    pub(super) fn report(&mut self, id: WorkId, order: ReportOrder, _: Now) {
        let mut machine = Machine::default();
        if order.form == ReportForm::Ready {
            machine.stores_not = self.storage.takes_no_rows();
        }
        if matches!(order.form, ReportForm::Metrics | ReportForm::OpenMetrics) {
            machine.commits = self.storage.commits.clone();
            machine.turns = self.turns.clone();
            machine.tally = self.dispatch.tally();
            machine.certificates = self.listening.certificates();
            machine.descriptors_max = self.listening.descriptors_max();
        }
        let path = self.storage.path().to_owned();
        let make = move || {
            machine.memory = process_memory::anonymous_bytes();
            machine.descriptors = process_memory::open_descriptors();
            machine.database_bytes = history_store::size_bytes(&path);
            let outcome = WorkOutcome::Reported(report::make(&order, &machine));
            JobResult::Host(HostDone::WorkDone { id, outcome })
        };
        self.workers.submit(Rank::Match, Box::new(make));
    }
}
