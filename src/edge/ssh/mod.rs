//! SSH sessions through libssh2 in non-blocking mode (docs/protocol.md section 10): key exchange, host keys,
//! authentication, commands and file transfers, several at once in one session.
//!
//! A [`Session`] moves to a worker for each of its turns, because cryptography, key files and copied files may take
//! long. Between turns the event loop holds it and watches its socket. Time-outs and the decisions whether a host is
//! trusted and whether a task begins are not made here but in `session::ssh_steps`.

mod algorithms;
mod authentication;
mod command;
mod ffi;
mod key_files;
mod known_hosts;
mod session;
mod socket_io;
mod transfer;
mod transfers;

pub use session::{Session, Turn};

/// Returns whether these known-hosts lines accept a key whose private half nobody has.
#[cfg(fuzzing)]
pub fn knows_made_up_key(text: &str, target: &crate::model::ssh::SshTarget) -> bool {
    use crate::model::ssh::HostKeyVerdict;
    let mut known = known_hosts::KnownHosts::default();
    known.read(text, "text", true, target);
    let _ = known.preferred();
    matches!(known.verdict(b"\0\0\0\x07made-up"), HostKeyVerdict::Known)
}
