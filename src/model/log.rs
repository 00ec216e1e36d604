//! Log lines as values: inner layers return them, `edge` writes them.

/// The level of a line. The daemon writes lines at or above its severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For troubleshooting. Only this level shows received commands.
    Debug,
    /// Normal events.
    Info,
    /// Something that an administrator should look at. Shown at severity `info`.
    Warning,
    /// Something that does not work.
    Error,
}

/// The module of lines that belong only in the audit log.
pub const AUDIT: &str = "audit";

/// One line of the log. It never holds a secret. Line breaks in `text` are escaped when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    /// The module, such as `proxy`.
    pub module: &'static str,
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
