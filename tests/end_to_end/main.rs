//! Tests with real daemons, seen from outside: their sockets, files and exit status.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod allow_list;
mod api;
mod api_page;
mod backups;
mod commands;
mod copies;
mod dial_in;
mod doctor;
mod durability;
mod engine_and_cron;
mod exec;
mod fetches;
mod hostile_copies;
mod hostile_messages;
mod hostile_peers;
mod hostile_routes;
mod hostile_websockets;
mod joining;
mod liveness;
mod logs;
mod many_nodes;
mod memory_history;
mod namespaces;
mod no_clock;
mod node_keys;
#[path = "../platform/mod.rs"]
mod platform;
mod plugins;
mod process;
mod queue;
mod reload;
mod restarts;
mod resumed_copies;
mod routes;
mod running;
mod sealed_links;
mod service;
mod shared_limits;
mod startup;
mod status;
mod subcommand;
mod thin_lines;
mod views;
