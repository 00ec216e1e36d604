//! Blocking work that the deciding part wants done elsewhere, and what comes of it, as values.

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
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkOutcome {
    /// Of [`Work::CheckCommands`].
    Checked(CommandCheck),
}

/// What a check against the allow-list found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandCheck {
    /// Indexes of the command lines that no expression matches, in order, up to the wanted number.
    pub refused: Vec<usize>,
    /// What an administrator should know: expressions that were cut off, or that time was up.
    pub complaints: Vec<String>,
}
