//! Orders of the deciding part to the machine below it, and their results, as values. The layers between carry them
//! unopened.

use super::command::{CommandId, CommandOutcome, CommandSpec};
use super::copy::{SinkDone, SinkId, SinkStep, SourceDone, SourceId, SourceStep};
use super::history::{LogFilter, LogPage, PageLimit};
use super::poller::PollerTables;
use super::work::{Work, WorkId, WorkOutcome};

/// Number of a query of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// An order. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq)]
pub enum HostWork {
    /// Query the history after the commit of this turn. Answered by [`HostDone::QueryAnswer`].
    Query {
        /// The number of the query.
        query: QueryId,
        /// The wanted rows.
        filter: LogFilter,
        limit: PageLimit,
    },
    /// Run a command. Answered by [`HostDone::CommandEnded`], and before that by [`HostDone::CommandPrinted`] if
    /// [`CommandSpec::streams`] is set.
    RunCommand {
        /// The number of the run.
        command: CommandId,
        spec: CommandSpec,
    },
    /// Kill the process group of a running command. Its end is still reported.
    KillCommand(CommandId),
    /// Ask the process group of a running command to end, and kill it if it does not within some seconds. Its end is
    /// still reported.
    EndCommand(CommandId),
    /// Do blocking work. Answered by [`HostDone::WorkDone`].
    Work {
        /// The number of the work.
        id: WorkId,
        /// The work or step to do.
        work: Work,
    },
    /// Do a step of a copy that we send. Answered by [`HostDone::SourceDone`], except [`SourceStep::Close`].
    ReadSource {
        /// The copy.
        source: SourceId,
        /// The work or step to do.
        step: SourceStep,
    },
    /// Do steps of a copy that we receive. Answered by [`HostDone::SinkDone`].
    WriteSink {
        /// The copy.
        sink: SinkId,
        /// The steps in order.
        steps: Vec<SinkStep>,
    },
    /// Read the pollers from the Centreon database, one reading at a time. Answered by [`HostDone::PollersRead`].
    ReadPollers,
}

impl HostWork {
    /// The copy that it is a step of, where we send it.
    #[must_use]
    pub const fn source(&self) -> Option<SourceId> {
        match self {
            Self::ReadSource { source, .. } => Some(*source),
            _ => None,
        }
    }
}

/// The result of a [`HostWork`].
#[derive(Clone, PartialEq)]
pub enum HostDone {
    /// The answer of the history.
    QueryAnswer {
        query: QueryId,
        /// The rows, or the error.
        result: Result<LogPage, String>,
    },
    /// A command printed something.
    CommandPrinted {
        /// The run.
        command: CommandId,
        /// The output since the last report.
        output: Vec<u8>,
    },
    CommandEnded {
        /// The run.
        command: CommandId,
        /// How it ended.
        outcome: CommandOutcome,
    },
    WorkDone {
        /// The number of the work.
        id: WorkId,
        /// The result.
        outcome: WorkOutcome,
    },
    /// A step of a copy that we send is done.
    SourceDone {
        /// The copy.
        source: SourceId,
        /// The result.
        done: SourceDone,
    },
    /// Steps of a copy that we receive are done.
    SinkDone {
        /// The copy.
        sink: SinkId,
        /// The result of each step in order.
        done: Vec<SinkDone>,
    },
    /// The content of the Centreon database, or a sentence why it could not be read.
    PollersRead(Result<PollerTables, String>),
}
