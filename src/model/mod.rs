//! The plain values that all layers speak. No socket, no clock, no disk, no randomness of their own.

pub mod action;
pub mod api;
pub mod base64_text;
pub mod code;
pub mod command;
pub mod connection;
pub mod copy;
pub mod cron_expression;
pub mod history;
pub mod host_work;
pub mod log;
pub mod message;
pub mod module;
pub mod node_id;
pub mod poller;
pub mod random;
pub mod registration;
pub mod rights;
pub mod session;
pub mod ssh;
pub mod text;
pub mod time;
pub mod time_zone;
pub mod timers;
pub mod token;
pub mod work;
