//! Our daemon opposite real peers: libzmq through the independent client and server of the interop folder, and curl.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod central;
mod cluster;
mod copies;
mod legacycmd;
mod listener;
mod mariadb;
#[path = "../platform/mod.rs"]
mod platform;
mod pollers;
mod proxies;
mod pull;
mod script;
mod server_store;
#[cfg(feature = "ssh")]
mod ssh;
mod statistics;
mod status_page;
mod tls;
#[cfg(feature = "centreon")]
mod vault;
mod web_tokens;
mod websocket;
