//! The decisions of this daemon. It receives [`input::Input`] values and the time, and returns [`output::Output`]
//! values.
//!
//! [`core::Core`] is the single state machine and only routes; the rooms decide. A request goes to the room of its
//! action (`core/requests.rs`, `actions.rs`) or to a node (`core/passing_on.rs`); a message of a node goes to `nodes`,
//! `sync` or `copies` (`core/node_messages.rs`); a call of the REST API goes to `api`.
//!
//! Out of scope: sockets, clocks, files, threads, and the bytes of wire formats.

mod api;
mod audit;
mod clock_watch;
mod command_rows;
mod context;
mod copies;
mod core_actions;
mod core_options;
mod core_settings;
mod counters;
mod delegate;
mod dial_out;
mod flow;
mod get_log;
mod guard;
mod journal;
mod json;
mod late_tokens;
mod listeners;
mod loading;
mod malformed;
mod masked;
mod modules;
mod names;
mod nodes;
mod peer;
mod phase;
mod put_logs;
mod queue;
mod ssh;
#[cfg_attr(not(feature = "status"), path = "status_absent.rs")]
mod status;
mod subscribers;
mod sync;
mod taken_tokens;
mod timers;
mod trace;

pub mod core;
pub mod input;
pub mod output;

pub use api::endpoints::path_of;
pub use core_options::CoreOptions;
pub use modules::nodes::plan;

#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod testing;

/// Returns the words of a command that runs without a shell; `None` if a quote is not closed.
#[cfg(fuzzing)]
#[must_use]
pub fn split_words(line: &str) -> Option<Vec<String>> {
    modules::action::shell_words::split(line)
}
