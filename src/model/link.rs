//! Whether a link between two daemons is sealed by TLS, and whether it has to be.

use std::fmt;

/// The option `link` of a daemon, of a node and of a module that dials its central.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkMode {
    /// Sealed where the other end can do it, else in the way of the original.
    #[default]
    Auto,
    /// Sealed or not at all.
    Sealed,
    /// In the way of the original, whatever the other end can do.
    Classic,
}

impl LinkMode {
    /// The allowed words.
    pub const WORDS: &str = "auto, sealed or classic";

    /// Reads a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Auto, Self::Sealed, Self::Classic].into_iter().find(|mode| mode.word().eq_ignore_ascii_case(word))
    }

    /// The word in files and on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sealed => "sealed",
            Self::Classic => "classic",
        }
    }
}

impl fmt::Display for LinkMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// How a link that is up is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// By TLS 1.3: both ends are proved, and messages cannot be read later, changed, repeated or reordered.
    Sealed,
    /// In the way of the original (docs/protocol.md section 3).
    Classic,
}

impl LinkKind {
    /// The word in the constatus map and the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Classic => "classic",
        }
    }
}

/// The target under which the fingerprint table remembers that whoever listens at `target` was met sealed.
#[must_use]
pub fn pin_of_target(target: &str) -> String {
    format!("sealed:{target}")
}

/// The target under which the fingerprint table remembers that the client with this key was met sealed.
#[must_use]
pub fn pin_of_client(thumbprint: &str) -> String {
    format!("sealed:client:{thumbprint}")
}
