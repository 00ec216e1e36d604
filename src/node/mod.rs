//! What this daemon decides. Receives [`input::Input`] values and the time, returns [`output::Output`] values.
//!
//! [`core::Core`] is the one state machine; the other rooms are its parts. A request of a client goes
//! `core` → `requests` → `core_actions`, a module or `proxy`; a message of a node goes `core` → `node_messages` →
//! `liveness`, `history_sync` or `outbox`; a call of the REST API goes `core` → `api`.
//!
//! Absent on purpose: sockets, clocks, files, threads, bytes of any wire format.

mod actions;
mod after_copies;
mod api;
mod command_rows;
mod constatus;
mod context;
mod core_actions;
mod core_options;
mod counters;
mod dial_in;
mod dial_out;
mod get_log;
mod history_sync;
mod host;
mod journal;
mod json;
mod listeners;
mod liveness;
mod malformed;
mod modules;
mod node_messages;
mod open_tokens;
mod outbox;
mod parents;
mod passed_on;
mod pathway;
mod peer;
mod proxy;
mod registering;
mod registry;
mod relayed_copy;
mod remote_copy;
mod requests;
mod routes;
mod ssh;
mod ssh_registration;
mod stopping;
mod timers;
mod wanted;
mod work;

pub mod core;
pub mod input;
pub mod output;

pub use core_options::{CoreOptions, Restored};
pub use modules::nodes::plan;

#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod testing;
