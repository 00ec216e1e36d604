//! The socket of an authentication agent (`SSH_AUTH_SOCK`): libssh2 opens it in blocking mode, so each read and write
//! waits here, and not for ever.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Waits until the descriptor is ready for `events`.
fn wait(socket: c_int, events: i16, patience: Duration) -> Result<(), c_int> {
    let mut poll = libc::pollfd { fd: socket, events, revents: 0 };
    let milliseconds = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: one valid entry; the descriptor is libssh2's and open during its callback.
    match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
        1 => Ok(()),
        0 => Err(libc::ETIMEDOUT),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
    }
}

fn outcome(result: isize) -> Result<usize, c_int> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// Sends some of `bytes`.
pub(super) fn send(socket: c_int, bytes: &[u8], patience: Duration) -> Result<usize, c_int> {
    wait(socket, libc::POLLOUT, patience)?;
    // SAFETY: the pointer and the length describe `bytes`; the descriptor is libssh2's and open during its callback.
    outcome(unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) })
}

/// Reads some bytes; 0 at the end.
pub(super) fn receive(socket: c_int, into: &mut [u8], patience: Duration) -> Result<usize, c_int> {
    wait(socket, libc::POLLIN, patience)?;
    // SAFETY: the pointer and the length describe `into`; the descriptor is libssh2's and open during its callback.
    outcome(unsafe { libc::recv(socket, into.as_mut_ptr().cast(), into.len(), 0) })
}

/// Whether somebody listens at `path` and takes a connection at once: libssh2 would wait for one who does not.
pub(super) fn is_listening(path: &Path) -> io::Result<()> {
    mio::net::UnixStream::connect(path).map(|_| ())
}
