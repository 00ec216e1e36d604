//! What this daemon decides. Receives [`input::Input`] values and the time, returns [`output::Output`] values.
//!
//! Absent on purpose: sockets, clocks, files, threads, bytes of any wire format.

pub mod input;
pub mod output;
