//! Blocking work that the deciding part wants done elsewhere, and what comes of it, as values.

use std::sync::Arc;
use std::time::Duration;

use super::legacy::{LegacyDone, LegacyWork};

/// One piece of work; never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// What to do. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Work {
    /// Look for command lines that the allow-list of the configuration does not have.
    CheckCommands {
        /// The command lines.
        lines: Vec<String>,
        /// How many of those that are not allowed are of interest.
        wanted: usize,
    },
    /// Look which package manager the system has, and read a list of plugins.
    ReadPlugins {
        /// The file with the list; `None` where the request has it.
        file: Option<String>,
    },
    /// Write lines to a named pipe.
    WritePipe {
        /// Its path.
        file: String,
        /// The lines, without their newlines.
        lines: Arc<Vec<String>>,
        /// What is written instead of the one line, where that is no UTF-8.
        raw: Option<Arc<[u8]>>,
        /// How long to wait for a reader and for room.
        patience: Duration,
    },
    /// Work for the orders of Centreon Web.
    Legacy(LegacyWork),
}

/// What came of it. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum WorkOutcome {
    /// Of [`Work::CheckCommands`].
    Checked(CommandCheck),
    /// Of [`Work::ReadPlugins`].
    PluginsRead(PluginsRead),
    /// Of [`Work::WritePipe`].
    PipeWritten(PipeReport),
    /// Of [`Work::Legacy`].
    Legacy(LegacyDone),
}

/// What a check against the allow-list found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandCheck {
    /// Indexes of the command lines that no expression matches, in order, up to the wanted number.
    pub refused: Vec<usize>,
    /// What an administrator should know: expressions that were cut off, or that time was up.
    pub complaints: Vec<String>,
}

/// How far the writing to a pipe got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipeReport {
    /// Lines that the pipe has taken whole, from the first.
    pub submitted: usize,
    /// Why the others were not written, as the row says it.
    pub failure: Option<String>,
}

/// How the system's packages are managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// dpkg and apt.
    Deb,
    /// rpm, dnf and yum.
    Rpm,
}

/// What a validation of plugins begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginsRead {
    /// The package manager; `None` on a system that is not known.
    pub manager: Option<PackageManager>,
    /// The text of the file, empty without one; or why it cannot be read.
    pub content: Result<String, String>,
}
