//! Commands on this machine as values.

use std::time::Duration;

use super::time::WallTime;

/// Number of a run of a command, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What to run.
#[derive(Clone, PartialEq, Eq)]
pub enum Program {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, without a shell. Never empty.
    Words(Vec<String>),
}

/// A command with its limits. Holds a command line: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// What to run.
    pub program: Program,
    /// Time after which the whole process group is killed.
    pub timeout: Duration,
    /// Maximum number of bytes kept of each output, stdout and stderr.
    pub output_limit: usize,
    /// Whether its output is reported while it runs.
    pub streams: bool,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited, or a signal killed it (128 + the number of the signal, like in a shell).
    Exited(i32),
    /// It was killed after its time-out.
    TimedOut,
    /// It did not run, for this reason.
    NotStarted(String),
    /// Its program cannot be run: 127 if it is missing, 126 if it is not executable, like in a shell, and the reason.
    NoProgram(i32, String),
}

/// Which streams of a command's output were cut, and the number of bytes kept of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputCut {
    /// Kept bytes of stdout; `None` if it was not cut.
    pub stdout: Option<usize>,
    /// Kept bytes of stderr; `None` if it was not cut.
    pub stderr: Option<usize>,
}

impl OutputCut {
    /// Whether everything was kept.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutcome {
    /// How it ended.
    pub end: CommandEnd,
    /// stdout and stderr in the order of their writing, each cut at the limit.
    pub output: Vec<u8>,
    /// What was cut.
    pub cut: OutputCut,
    /// When it was started.
    pub started: WallTime,
    /// When it ended.
    pub ended: WallTime,
}
