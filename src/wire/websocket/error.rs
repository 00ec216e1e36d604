//! Errors of WebSocket peers.

use std::fmt;

use super::connection::close_code;

/// Why a WebSocket connection must close. It is always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketError {
    /// A reserved bit is set, though no extension was agreed.
    ReservedBits,
    /// An opcode that the RFC reserves.
    ReservedOpcode(u8),
    /// A client's frame without a mask.
    Unmasked,
    /// A server's frame with a mask.
    Masked,
    /// A length that is not written in its shortest form, or has its highest bit set.
    LengthForm,
    /// A control frame that is longer than 125 bytes or split.
    ControlFrame,
    /// A continuation without a beginning, or a new message inside an unfinished one.
    Fragments,
    /// A message of more fragments than this.
    TooManyFragments(usize),
    /// A message of more bytes than this.
    TooLarge {
        /// The size that is announced so far, in bytes.
        size: u64,
        /// The largest that is accepted, in bytes.
        limit: u64,
    },
    /// A close frame with a code that must not be sent, or with half a code.
    CloseCode,
}

impl WebSocketError {
    /// The close code for the peer.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::TooLarge { .. } | Self::TooManyFragments(_) => close_code::TOO_LARGE,
            _ => close_code::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => formatter.write_str("the peer set reserved bits in a WebSocket frame"),
            Self::ReservedOpcode(code) => write!(formatter, "the peer sent a WebSocket frame of unknown kind {code}"),
            Self::Unmasked => {
                formatter.write_str("the peer sent a WebSocket frame without a mask, which clients must use")
            }
            Self::Masked => formatter.write_str("the peer sent a masked WebSocket frame, which servers must not"),
            Self::LengthForm => formatter.write_str("the peer sent a WebSocket frame with a malformed length"),
            Self::ControlFrame => {
                formatter.write_str("the peer sent a WebSocket control frame that is split or longer than 125 bytes")
            }
            Self::Fragments => formatter.write_str("the peer mixed up the fragments of WebSocket messages"),
            Self::TooManyFragments(limit) => {
                write!(formatter, "the peer sent a WebSocket message of more than {limit} fragments")
            }
            Self::TooLarge { size, limit } => {
                write!(formatter, "the peer sent a WebSocket message of {size} bytes, at most {limit} are accepted")
            }
            Self::CloseCode => formatter.write_str("the peer closed the WebSocket with an invalid code"),
        }
    }
}

impl std::error::Error for WebSocketError {}
