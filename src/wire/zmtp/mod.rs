//! ZMTP 3.0 and 3.1 (RFC 23/ZMTP and 37/ZMTP of the ZeroMQ project), mechanism NULL, for DEALER and ROUTER sockets
//! (docs/protocol.md section 2).
//!
//! Out of scope: sockets, clocks (the time limit of a handshake and the TTL of a PING are the owner's), sending
//! PINGs, routing between peers, older ZMTP versions, the mechanisms PLAIN and CURVE, and messages of more than one
//! frame.

pub mod command;
pub mod connection;
mod error;
pub mod frame;
pub mod greeting;
mod traffic;

pub use error::ZmtpError;

#[cfg(test)]
mod tests;
