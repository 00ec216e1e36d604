//! One peer's conversation as a state machine. Out of scope: sockets, clocks, threads, files.

pub mod api_client;
mod back_off;
pub mod forwarded;
mod log_throttle;
pub mod login_brake;
mod not_sent;
pub mod same_site;
pub mod ssh_steps;
mod turns;
pub mod web_tokens;
pub mod websocket_dialer;
pub mod websocket_server;
pub mod zmq_dialer;
pub mod zmq_listener;

pub use not_sent::NotSent;

#[cfg(test)]
mod pair_tests;
#[cfg(test)]
mod websocket_pair_tests;
