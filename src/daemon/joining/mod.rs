//! A node joins its central by one word: what the word holds, and the exchange over the link itself.
//!
//! Out of scope: the central's file of added nodes ([`crate::config::joined`]), and the node's own files (the
//! subcommand).

mod exchange;
mod word;

pub use exchange::{has_answered, meet};
pub use word::{SECRET_LEN, Word};
