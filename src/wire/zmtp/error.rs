//! Errors of ZMTP peers.

use std::fmt;

/// Why a ZMTP connection must close. It is always the peer's fault.
///
/// The texts are for the log. The peer's bytes appear in them only escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZmtpError {
    /// The first bytes are not a ZMTP greeting.
    NotZmtp {
        /// The peer's first bytes, at most [`super::greeting::SIGNATURE_BYTES`].
        first_bytes: Vec<u8>,
        /// The protocol that it seems to speak instead.
        spoken: Option<&'static str>,
    },
    /// The peer speaks a ZMTP before 3.0.
    UnsupportedVersion {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// The peer wants another mechanism than NULL.
    UnsupportedMechanism {
        /// The name of the mechanism, at most 20 characters, escaped.
        name: String,
    },
    /// A frame has reserved flags or flags that exclude each other.
    InvalidFlags {
        /// The octet as received.
        flags: u8,
    },
    /// A frame is larger than allowed.
    TooLarge {
        /// The announced size in bytes.
        size: u64,
        /// The maximum size in bytes.
        limit: u64,
    },
    /// A command does not follow its grammar.
    InvalidCommand {
        /// What is wrong.
        reason: &'static str,
    },
    /// Something other than READY or ERROR arrived during the handshake.
    UnexpectedInHandshake {
        /// What arrived, escaped and cut.
        found: String,
    },
    /// The peer's socket type is not compatible with ours.
    IncompatibleSocket {
        /// Our type.
        ours: &'static str,
        /// The peer's type, escaped and cut; empty if it named none.
        theirs: String,
    },
    /// The peer refused us with an ERROR command.
    Refused {
        /// Its reason, escaped.
        reason: String,
    },
}

impl ZmtpError {
    /// The peer's ERROR command.
    pub(super) fn refused(reason: &[u8]) -> Self {
        Self::Refused { reason: printable(reason, usize::from(u8::MAX)) }
    }
}

impl fmt::Display for ZmtpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotZmtp { first_bytes, spoken } => {
                write!(formatter, "the peer does not speak ZMTP: it began with \"{}\"", first_bytes.escape_ascii())?;
                match spoken {
                    Some(spoken) => write!(formatter, ", which looks like {spoken}; check its address and port"),
                    None => formatter.write_str("; check its address and port"),
                }
            }
            Self::UnsupportedVersion { major, minor } => write!(
                formatter,
                "the peer speaks ZMTP {major}.{minor}, we need 3.0 or later; it needs libzmq 4.0 or later"
            ),
            Self::UnsupportedMechanism { name } => write!(
                formatter,
                "the peer wants the ZMTP security mechanism \"{name}\", only NULL is served; turn it off at the peer"
            ),
            Self::InvalidFlags { flags } => {
                write!(formatter, "the peer sent a frame with the invalid flags {flags:#04x}")
            }
            Self::TooLarge { size, limit } => {
                write!(formatter, "the peer sent a frame of {size} bytes, at most {limit} are accepted")
            }
            Self::InvalidCommand { reason } => write!(formatter, "the peer sent an invalid command: {reason}"),
            Self::UnexpectedInHandshake { found } => {
                write!(formatter, "the peer sent {found} where the READY command was due")
            }
            Self::IncompatibleSocket { ours, theirs } if theirs.is_empty() => {
                write!(formatter, "the peer names no Socket-Type, our {ours} needs one")
            }
            Self::IncompatibleSocket { ours, theirs } => {
                write!(formatter, "the peer's socket type {theirs} does not go with our {ours}")
            }
            Self::Refused { reason } => write!(formatter, "the peer refused the connection: {reason}"),
        }
    }
}

impl std::error::Error for ZmtpError {}

/// At most `max_bytes` of the peer's bytes, escaped for a log line.
pub(super) fn printable(bytes: &[u8], max_bytes: usize) -> String {
    bytes.get(..max_bytes).unwrap_or(bytes).escape_ascii().to_string()
}
