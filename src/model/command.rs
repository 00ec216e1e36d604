//! Running a command on this machine, as values.

use std::time::Duration;

use super::time::WallTime;

/// One run of a command; never used twice in the life of a process.
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

/// A command with its bounds. Holds a command line: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// What to run.
    pub program: Program,
    /// After this time the whole process group is killed.
    pub timeout: Duration,
    /// Maximum number of bytes kept of each output, stdout and stderr.
    pub output_limit: usize,
    /// Whether its output is told while it runs.
    pub streams: bool,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited, or a signal killed it (then 128 + the signal's number, as a shell says it).
    Exited(i32),
    /// It was killed after its time-out.
    TimedOut,
    /// It never ran; the reason names what is wrong.
    NotStarted(String),
    /// Its program cannot be run: 127 where there is none, 126 where it may not be executed, as a shell says it; and
    /// the reason.
    NoProgram(i32, String),
}

/// What was not kept of a command's output: for each stream that was cut, the bytes of it that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputCut {
    /// Of stdout.
    pub stdout: Option<usize>,
    /// Of stderr.
    pub stderr: Option<usize>,
}

impl OutputCut {
    /// Whether everything was kept.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutcome {
    /// How it ended.
    pub end: CommandEnd,
    /// stdout and stderr as they came, each cut at the limit.
    pub output: Vec<u8>,
    /// What was cut.
    pub cut: OutputCut,
    /// When it was started.
    pub started: WallTime,
    /// When it ended.
    pub ended: WallTime,
}
