//! What comes back from the machine below: each answer goes to the room that asked.

use crate::model::host_work::HostDone;

use super::core::Core;

impl Core {
    /// An [`super::output::Output::Host`] is answered.
    pub(super) fn host_done(&mut self, done: HostDone) {
        match done {
            HostDone::QueryAnswer { query, result } => self.query_answered(query, result),
            HostDone::CommandPrinted { command, output } => self.command_printed(command, &output),
            HostDone::CommandEnded { command, outcome } => self.command_ended(command, &outcome),
            HostDone::PollersRead(result) => self.pollers_read(result),
            HostDone::WorkDone { id, outcome } => self.work_done(id, outcome),
            HostDone::SourceDone { source, done } => self.source_done(source, done),
            HostDone::SinkDone { sink, done } => self.sink_done(sink, done),
        }
    }
}
