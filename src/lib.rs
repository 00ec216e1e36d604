//! Stheno stands in for a Centreon Gorgone daemon as central, relay or poller.
//!
//! The layers, innermost first: [`model`] (plain values), [`wire`] (bytes to values), [`session`] (one peer's
//! conversation), [`node`] (what this daemon decides), [`config`] (files to settings), [`edge`] (the operating system),
//! [`daemon`] (ties them together around one mio event loop) and [`cli`]. `docs/architecture.md` tells who may import
//! whom and why; `tests/architecture` holds it.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod edge;
pub mod model;
pub mod node;
pub mod session;
pub mod wire;
