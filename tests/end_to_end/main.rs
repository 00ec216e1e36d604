//! Real daemons, watched from outside: their sockets, files and exit status.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../platform/mod.rs"]
mod platform;
