//! One peer's conversation as a state machine. Absent on purpose: sockets, clocks, threads, files.

pub mod api_client;
pub mod zmq_dialer;
pub mod zmq_listener;

#[cfg(test)]
mod pair_tests;
