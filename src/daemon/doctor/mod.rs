//! Looks step by step at what lies between this machine and a peer, over a connection of its own: name, address, port,
//! TLS, greeting, key or token, id. Every step blocks, for some seconds at most.
//!
//! It registers no node and sends nothing but PING and the question whether a central takes a node, so a running daemon
//! and the peer go on undisturbed. Out of scope: what the running daemon knows (the subcommand asks its API), and this
//! machine itself.

mod listeners;
pub(in crate::daemon) mod socket;
mod web_socket;
pub(in crate::daemon) mod zmq;

pub use listeners::{accepted_on, holds_connection};
pub use socket::read_banner;
pub use web_socket::look_at_web_socket;
pub use zmq::{Answer, ZmqPeer, look_at_zmq};
