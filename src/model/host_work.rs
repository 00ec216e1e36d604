//! What the deciding part wants the machine below it to do, and what comes of it, as values. Whatever stands between
//! the two carries them unopened.

use super::command::{CommandId, CommandOutcome, CommandSpec};
use super::copy::{SinkDone, SinkId, SinkStep, SourceDone, SourceId, SourceStep};
use super::history::{LogFilter, LogPage, PageLimit};
use super::poller::PollerTables;
use super::work::{Work, WorkId, WorkOutcome};

/// One question to the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// Something to do. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq)]
pub enum HostWork {
    /// Ask the history, after the commit of this turn. Answered by [`HostDone::QueryAnswer`].
    Query {
        /// The name of the question.
        query: QueryId,
        /// What is wanted.
        filter: LogFilter,
        /// How much at once.
        limit: PageLimit,
    },
    /// Run a command. Answered by [`HostDone::CommandEnded`], and before that by [`HostDone::CommandPrinted`] where
    /// [`CommandSpec::streams`] asks for it.
    RunCommand {
        /// The name of the run.
        command: CommandId,
        /// The command.
        spec: CommandSpec,
    },
    /// Kill a running command's process group; its end is still reported.
    KillCommand(CommandId),
    /// Do what would block. Answered by [`HostDone::WorkDone`].
    Work {
        /// The name of the work.
        id: WorkId,
        /// What to do.
        work: Work,
    },
    /// A step of a copy that we send. Answered by [`HostDone::SourceDone`], but not [`SourceStep::Close`].
    ReadSource {
        /// The copy.
        source: SourceId,
        /// What to do.
        step: SourceStep,
    },
    /// Steps of a copy that we receive. Answered by [`HostDone::SinkDone`].
    WriteSink {
        /// The copy.
        sink: SinkId,
        /// What to do, in this order.
        steps: Vec<SinkStep>,
    },
    /// Read the pollers from the Centreon database; one reading at a time. Answered by [`HostDone::PollersRead`].
    ReadPollers,
}

/// What came of a [`HostWork`].
#[derive(Clone, PartialEq)]
pub enum HostDone {
    /// The history answered.
    QueryAnswer {
        /// The question.
        query: QueryId,
        /// The rows, or what went wrong.
        result: Result<LogPage, String>,
    },
    /// A command printed something.
    CommandPrinted {
        /// The run.
        command: CommandId,
        /// What has come since the last time.
        output: Vec<u8>,
    },
    /// A command ended.
    CommandEnded {
        /// The run.
        command: CommandId,
        /// How it ended.
        outcome: CommandOutcome,
    },
    /// Work is done.
    WorkDone {
        /// The number of the work, for its outcome.
        id: WorkId,
        /// What came of it.
        outcome: WorkOutcome,
    },
    /// A step of a copy that we send is done.
    SourceDone {
        /// The copy.
        source: SourceId,
        /// What came of it.
        done: SourceDone,
    },
    /// Steps of a copy that we receive are done.
    SinkDone {
        /// The copy.
        sink: SinkId,
        /// What came of each step, in their order.
        done: Vec<SinkDone>,
    },
    /// What the Centreon database says, or a sentence why it could not be read.
    PollersRead(Result<PollerTables, String>),
}
