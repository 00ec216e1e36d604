//! Log lines as values: inner layers return them, `edge` writes them.

/// How loud a line is; the daemon writes lines at or above its severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a fault; the only level that shows received commands.
    Debug,
    /// Normal events.
    Info,
    /// Something an administrator should look at; shown at severity `info`.
    Warning,
    /// Something that does not work.
    Error,
}

/// The module of lines that belong into the audit log and nowhere else.
pub const AUDIT: &str = "audit";

/// One line of the log. Never holds a secret; line breaks in `text` are escaped when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// Which module says it, for instance `proxy`.
    pub module: &'static str,
    /// What is said.
    pub text: String,
}

impl LogLine {
    /// A line at `debug`.
    #[must_use]
    pub fn debug(module: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Debug, module, text: text.into() }
    }

    /// A line at `info`.
    #[must_use]
    pub fn info(module: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Info, module, text: text.into() }
    }

    /// A line at `warning`.
    #[must_use]
    pub fn warning(module: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Warning, module, text: text.into() }
    }

    /// A line at `error`.
    #[must_use]
    pub fn error(module: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Error, module, text: text.into() }
    }
}
