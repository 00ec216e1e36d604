//! Why a message was not sent over a WebSocket.

use std::fmt;

/// Why a message was not sent. No part of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The other end is not connected or not registered.
    NotConnected,
    /// The message is larger than the other end accepts.
    TooLarge {
        /// Its size on the wire, in bytes.
        size_bytes: usize,
        /// The maximum accepted size in bytes.
        limit_bytes: usize,
    },
    /// The other end does not read, and too many bytes are waiting for it.
    Congested {
        /// Number of waiting bytes.
        waiting_bytes: usize,
    },
}

impl fmt::Display for NotSent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => formatter.write_str("it is not connected"),
            Self::TooLarge { size_bytes, limit_bytes } => {
                write!(
                    formatter,
                    "a message of {size_bytes} bytes is more than the {limit_bytes} that a WebSocket peer takes"
                )
            }
            Self::Congested { waiting_bytes } => {
                write!(formatter, "it does not read, {waiting_bytes} bytes already wait for it")
            }
        }
    }
}
