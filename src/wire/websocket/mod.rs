//! WebSocket (RFC 6455) for both ends, the upgrade from HTTP, and the HTML entities in the text messages of Gorgone
//! nodes (docs/protocol.md section 9).
//!
//! Out of scope: sockets, TLS, clocks, extensions (compression), subprotocols, and what a message means.

pub mod connection;
pub mod entities;
mod entities_table;
mod error;
pub mod frame;
pub mod upgrade;

pub use error::WebSocketError;

#[cfg(test)]
mod tests;
