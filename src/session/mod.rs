//! One peer's conversation as a state machine. Absent on purpose: sockets, clocks, threads, files.

pub mod api_client;
