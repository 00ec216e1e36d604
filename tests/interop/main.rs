//! Our daemon opposite real peers: libzmq through the independent client and server of the interop folder, and curl.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod central;
mod listener;
#[path = "../platform/mod.rs"]
mod platform;
mod pull;
mod script;
mod tls;
mod websocket;
