//! SSH sessions through libssh2 in non-blocking mode (docs/protocol.md section 10): key exchange, host keys,
//! authentication, commands and file transfers, several at once in one session.
//!
//! A [`Session`] is moved to a worker for each of its turns, since arithmetic, key files and the files that are copied
//! may take their time; between turns it rests with the event loop, which watches its socket. Absent: time-outs,
//! waiting, and every decision whether a host is trusted or a task begun (`session::ssh_steps`).

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

/// Whether these lines know a key of which nobody has the other half.
#[cfg(fuzzing)]
pub fn knows_made_up_key(text: &str, target: &crate::model::ssh::SshTarget) -> bool {
    use crate::model::ssh::HostKeyVerdict;
    let mut known = known_hosts::KnownHosts::default();
    known.read(text, "text", true, target);
    let _ = known.preferred();
    matches!(known.verdict(b"\0\0\0\x07made-up"), HostKeyVerdict::Known)
}
