//! Results of work on the host: each goes to the room that ordered it.

use crate::model::host_work::HostDone;
use crate::model::queue::QueueAnswer;
use crate::model::work::WorkOutcome;

use super::Core;

impl Core {
    /// Handles the result of an [`crate::node::output::Output::Host`].
    pub(super) fn host_done(&mut self, done: HostDone) {
        match done {
            HostDone::QueryAnswer { query, result } => {
                if let Some((call, result)) = self.questions.query_answered(
                    &mut self.context,
                    &mut self.subscribers,
                    &mut self.dialled_out,
                    query,
                    result,
                ) {
                    self.api().history_answered(call, result);
                }
            }
            HostDone::CommandPrinted { command, output } => {
                self.commands.command_printed(&mut self.context, command, &output)
            }
            HostDone::CommandEnded { command, outcome } => {
                self.commands.command_ended(&mut self.context, command, &outcome)
            }
            HostDone::PollersRead(result) => self.modules.nodes.read_done(&mut self.context, &mut self.nodes, result),
            HostDone::WorkDone { id, outcome: WorkOutcome::PipeWritten(reports) } => {
                self.modules.engine.pipe_written(&mut self.context, id, &reports)
            }
            HostDone::WorkDone { id, outcome: WorkOutcome::Statistics(done) } => {
                self.modules.statistics.work_done(&mut self.context, &mut self.listeners, id, done)
            }
            HostDone::WorkDone { id, outcome: WorkOutcome::Reported(answer) } => {
                self.status.reported(&mut self.context, id, answer)
            }
            HostDone::WorkDone { id, outcome: WorkOutcome::Legacy(done) } => {
                self.modules.legacycmd.work_done(&mut self.context, id, done)
            }
            HostDone::WorkDone { id, outcome: WorkOutcome::Queue(answer) } => {
                let known = self.queue.answered(&mut self.context, id, answer);
                if let Some((call, started)) = known.and_then(|known| self.api().token_is_known(known)) {
                    self.start_for_call(call, started);
                }
            }
            HostDone::WorkDone { id, outcome } => self.commands.command_work_done(&mut self.context, id, outcome),
            HostDone::SourceDone { source, done } => {
                self.copies.source_done(&mut self.context, &mut self.nodes, source, done)
            }
            HostDone::SinkDone { sink, done } => {
                self.copies.sink_done(&mut self.context, &mut self.nodes, sink, done);
                for gathered in self.copies.receiving.take_gathered() {
                    self.ssh.send_gathered(&mut self.context, gathered);
                }
            }
        }
    }

    /// Handles the failure of a commit, or the first success after it. Meanwhile the database does not show what was
    /// removed from the queue, so nothing of it is read, and what was asked is asked again.
    pub(super) fn queue_may_store(&mut self) {
        if self.context.stores {
            return self.queue.may_send_all();
        }
        for id in self.queue.open_questions() {
            let outcome = WorkOutcome::Queue(QueueAnswer::Failed("a commit failed".to_owned()));
            self.host_done(HostDone::WorkDone { id, outcome });
        }
    }
}
