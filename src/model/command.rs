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
    /// At most so many bytes of output are kept (stdout and stderr together).
    pub output_limit: usize,
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
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutcome {
    /// How it ended.
    pub end: CommandEnd,
    /// stdout and stderr as they came, cut at the limit.
    pub output: Vec<u8>,
    /// Whether output was cut.
    pub output_cut: bool,
    /// When it was started.
    pub started: WallTime,
    /// When it ended.
    pub ended: WallTime,
}
