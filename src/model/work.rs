//! Blocking work that the deciding part orders, and its results, as values.

use std::sync::Arc;
use std::time::Duration;

use super::api::ApiAnswer;
use super::legacy::{LegacyDone, LegacyWork};
use super::queue::{QueueAnswer, QueueQuery};
use super::statistics::{StatisticsDone, StatisticsWork};
use super::status::ReportOrder;

/// Number of a piece of work, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// The work. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Work {
    /// Look for command lines that the configured allow-list does not allow.
    CheckCommands {
        /// The command lines.
        lines: Vec<String>,
        /// Maximum number of refused lines to report.
        wanted: usize,
    },
    /// Determine the package manager of the system, and read a list of plugins.
    ReadPlugins {
        /// The file with the list; `None` if the request contains it.
        file: Option<String>,
    },
    /// Write the lines of some requests to a named pipe, in order. It ends early with the first request that fails, and
    /// after a short time.
    WritePipe {
        /// Its path.
        file: String,
        /// The requests, at least one.
        requests: Vec<PipeLines>,
        /// Maximum time to wait for a reader and for room after the request before was written.
        timeout: Duration,
    },
    /// Work for the orders of Centreon Web.
    Legacy(LegacyWork),
    /// Work for statistics of engines and brokers.
    Statistics(StatisticsWork),
    /// Ask the queue of requests in the database.
    Queue(QueueQuery),
    /// Make a report about this daemon.
    Report(Box<ReportOrder>),
}

/// The lines of a request for a pipe. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PipeLines {
    /// The lines, without their newlines.
    pub lines: Arc<Vec<String>>,
    /// What is written instead of the one line, if that is not UTF-8.
    pub raw: Option<Arc<[u8]>>,
    /// Maximum time from now on to wait for a reader and for room.
    pub patience: Duration,
}

/// The result of a [`Work`]. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum WorkOutcome {
    /// Result of [`Work::CheckCommands`].
    Checked(CommandCheck),
    /// Result of [`Work::ReadPlugins`].
    PluginsRead(PluginsRead),
    /// Result of [`Work::WritePipe`]: of its first requests, at least of one.
    PipeWritten(Vec<PipeReport>),
    /// Of [`Work::Legacy`].
    Legacy(LegacyDone),
    /// Of [`Work::Statistics`].
    Statistics(StatisticsDone),
    /// Of [`Work::Queue`].
    Queue(QueueAnswer),
    /// Of [`Work::Report`].
    Reported(ApiAnswer),
}

/// The result of a check against the allow-list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandCheck {
    /// Indexes of the command lines that no expression matches, in order, up to the wanted number.
    pub refused: Vec<usize>,
    /// Notes for the administrator: expressions that were cut off, or that time ran out.
    pub complaints: Vec<String>,
}

/// The result of writing to a pipe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipeReport {
    /// Number of lines, from the first, that the pipe has taken completely.
    pub submitted: usize,
    /// Why the others were not written, for the row.
    pub failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// dpkg and apt.
    Deb,
    /// rpm, dnf and yum.
    Rpm,
}

/// What a validation of plugins starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginsRead {
    /// The package manager; `None` on an unknown system.
    pub manager: Option<PackageManager>,
    /// The text of the file (empty without a file), or why it cannot be read.
    pub content: Result<String, String>,
}
