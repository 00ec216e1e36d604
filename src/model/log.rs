//! Log lines as values: inner layers return them, `edge` writes them.

use super::connection::PeerAddress;
use super::node_id::NodeId;
use super::token::Token;

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

impl Level {
    /// The words and numbers of the original's logger.
    pub const WORDS: &'static str = "debug, info, warning or error";

    /// Parses a word or number of the original's logger.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "debug" | "7" => Some(Self::Debug),
            "info" | "notice" | "6" | "5" => Some(Self::Info),
            "warning" | "4" => Some(Self::Warning),
            "error" | "fatal" | "none" | "3" | "2" | "0" => Some(Self::Error),
            _ => None,
        }
    }
}

/// `log_format`: the form of the log's lines, and whether they go to the systemd journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The original's form; without a log file entries of the journal, if standard error is the journal.
    #[default]
    Auto,
    /// The original's form.
    Text,
    /// One JSON object a line.
    Json,
    /// Entries of the journal; with a log file that gets the original's form as well.
    Journal,
}

impl LogFormat {
    /// The words of the option.
    pub const WORDS: &'static str = "auto, text, json or journal";

    /// Parses a word of the option.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "auto" => Some(Self::Auto),
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "journal" => Some(Self::Journal),
            _ => None,
        }
    }
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
    /// The node that the line is about. Lines about one node are limited apart from those about others.
    pub node: Option<NodeId>,
    /// The token of the request that the line is about.
    pub token: Option<Token>,
    /// The address of the peer that the line is about.
    pub peer: Option<PeerAddress>,
}

impl LogLine {
    /// A line that is about no node, token or peer.
    #[must_use]
    pub fn new(level: Level, module: &'static str, text: impl Into<String>) -> Self {
        Self { level, module, text: text.into(), node: None, token: None, peer: None }
    }

    /// A line at `debug`.
    #[must_use]
    pub fn debug(module: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Debug, module, text)
    }

    /// A line at `info`.
    #[must_use]
    pub fn info(module: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Info, module, text)
    }

    /// A line at `warning`.
    #[must_use]
    pub fn warning(module: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Warning, module, text)
    }

    /// A line at `error`.
    #[must_use]
    pub fn error(module: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Error, module, text)
    }

    /// The same line about a node.
    #[must_use]
    pub fn of_node(self, node: impl Into<Option<NodeId>>) -> Self {
        Self { node: node.into().or(self.node), ..self }
    }

    /// The same line about a request.
    #[must_use]
    pub fn of_token(self, token: &Token) -> Self {
        Self { token: Some(token.clone()), ..self }
    }

    /// The same line about a peer.
    #[must_use]
    pub fn of_peer(self, peer: PeerAddress) -> Self {
        Self { peer: Some(peer), ..self }
    }
}
