//! What libssh2 reads from and writes to: callbacks that never block and never do more than a turn's share.
//!
//! libssh2 cannot be asked for something else while one packet is half sent, and reads for as long as bytes come. So
//! what the socket does not take waits here, and reading ends after a budget.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use libc::{size_t, ssize_t};
use mio::net::TcpStream;

use super::agent_socket;
use crate::model::ssh::Secret;

/// Bytes read in one turn of a session, at most.
const READ_BUDGET: usize = 4 << 20;
/// What a host says before its key exchange, at most: other lines may stand before the one with the version.
const BANNER_MAX: usize = 16 << 10;
/// While so much waits to be sent, nothing is read: a host that does not read shall not make us answer without end.
const UNSENT_MAX: usize = 4 << 20;
/// While so much waits to be sent, no further file data is made into packets.
const UNSENT_HIGH: usize = 1 << 20;
/// How long an agent may take to answer.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

/// The socket of a session and what waits for it.
pub(super) struct SocketIo {
    socket: TcpStream,
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes that may still be read in this turn.
    budget: usize,
    /// Bytes read so far, wrapping.
    pub received: usize,
    /// Reading ended because of the budget, not because there was nothing.
    pub starved: bool,
    /// Bytes of the banner, and what was read with them.
    banner: Option<Banner>,
    /// Why the connection is of no use any more.
    pub broken: Option<String>,
    /// The answer to keyboard-interactive questions.
    pub password: Option<Secret>,
}

#[derive(Default)]
struct Banner {
    buffer: Vec<u8>,
    taken: usize,
    seen: usize,
    /// The first bytes, to say what it was.
    first: Vec<u8>,
}

impl SocketIo {
    pub fn new(socket: TcpStream, password: Option<Secret>) -> Self {
        Self {
            socket,
            unsent: Vec::new(),
            sent: 0,
            budget: READ_BUDGET,
            received: 0,
            starved: false,
            banner: Some(Banner::default()),
            broken: None,
            password,
        }
    }

    /// The socket's number, which libssh2 hands back to the callbacks.
    pub fn descriptor(&self) -> c_int {
        self.socket.as_raw_fd()
    }

    /// Whether something came, or the end did, that nobody has read yet.
    pub fn has_input(&self) -> bool {
        !matches!(self.socket.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// A turn begins.
    pub fn refill(&mut self) {
        self.budget = READ_BUDGET;
        self.starved = false;
    }

    /// Whether file data may be made into packets.
    pub fn has_room(&self) -> bool {
        self.unsent.len() - self.sent < UNSENT_HIGH
    }

    /// From now on everything fails: what libssh2 still wants to tell the host is not sent.
    pub fn shut(&mut self) {
        self.broken.get_or_insert_with(|| "closed by us".to_owned());
    }

    /// What the host said in place of an SSH version, for a message.
    pub fn strange_banner(&self) -> Option<String> {
        let first = &self.banner.as_ref()?.first;
        if first.is_empty() || first.starts_with(b"SSH-") {
            return None;
        }
        let line = first.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        Some(String::from_utf8_lossy(line).chars().take(60).collect())
    }

    /// Whether the version of the host came.
    pub const fn has_banner(&self) -> bool {
        self.banner.is_none()
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self) {
        while self.broken.is_none() && self.sent < self.unsent.len() {
            match self.socket.write(self.unsent.get(self.sent..).unwrap_or_default()) {
                Ok(0) => self.broken = Some("the host takes nothing more".to_owned()),
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.broken = Some(error.to_string()),
            }
        }
        if self.sent == self.unsent.len() {
            // An idle session keeps no buffer.
            self.unsent = Vec::new();
            self.sent = 0;
        } else if self.sent > UNSENT_HIGH {
            self.unsent.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn send(&mut self, bytes: &[u8]) -> ssize_t {
        self.unsent.extend_from_slice(bytes);
        if self.unsent.len() == bytes.len() || self.unsent.len() - self.sent > UNSENT_HIGH {
            self.flush();
        }
        if self.broken.is_some() { errno(libc::EPIPE) } else { as_len(bytes.len()) }
    }

    fn receive(&mut self, into: &mut [u8]) -> ssize_t {
        if self.broken.is_some() {
            return errno(libc::ECONNRESET);
        }
        // The version line is asked for byte by byte, anything later in large pieces.
        if into.len() > 1 {
            if let Some(rest) = self.banner.as_mut().filter(|banner| banner.taken < banner.buffer.len()) {
                let len = rest.take(into);
                return as_len(len);
            }
            self.banner = None;
            return self.receive_from_socket(into);
        }
        self.receive_banner(into)
    }

    fn receive_banner(&mut self, into: &mut [u8]) -> ssize_t {
        let Some(mut banner) = self.banner.take() else { return self.receive_from_socket(into) };
        if banner.taken == banner.buffer.len() {
            banner.buffer.resize(512, 0);
            banner.taken = 0;
            let len = self.receive_from_socket(&mut banner.buffer);
            let Ok(read) = usize::try_from(len) else {
                banner.buffer.clear();
                self.banner = Some(banner);
                return len;
            };
            banner.buffer.truncate(read);
            if banner.first.len() < 64 {
                banner.first.extend_from_slice(banner.buffer.get(..64).unwrap_or(&banner.buffer));
            }
        }
        banner.seen += 1;
        let too_long = banner.seen > BANNER_MAX;
        let len = banner.take(into);
        self.banner = Some(banner);
        if too_long {
            self.broken = Some(format!("it sent {BANNER_MAX} bytes and no SSH version: that is no SSH server"));
            return errno(libc::EPROTO);
        }
        as_len(len)
    }

    fn receive_from_socket(&mut self, into: &mut [u8]) -> ssize_t {
        if self.budget == 0 || self.unsent.len() - self.sent > UNSENT_MAX {
            self.starved |= self.budget == 0;
            return errno(libc::EAGAIN);
        }
        loop {
            match self.socket.read(into) {
                Ok(0) => {
                    self.broken = Some("the host closed the connection".to_owned());
                    return 0;
                }
                Ok(len) => {
                    self.budget = self.budget.saturating_sub(len);
                    self.received = self.received.wrapping_add(len);
                    return as_len(len);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return errno(libc::EAGAIN),
                Err(error) => {
                    self.broken = Some(error.to_string());
                    return errno(error.raw_os_error().unwrap_or(libc::EIO));
                }
            }
        }
    }
}

impl Banner {
    fn take(&mut self, into: &mut [u8]) -> usize {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let len = rest.len().min(into.len());
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
        self.taken += len;
        len
    }
}

fn errno(number: c_int) -> ssize_t {
    -(number as ssize_t)
}

fn as_len(len: usize) -> ssize_t {
    ssize_t::try_from(len).unwrap_or(ssize_t::MAX)
}

/// libssh2's `LIBSSH2_SEND_FUNC`.
pub(super) extern "C" fn send(
    socket: c_int,
    buffer: *const c_void,
    length: size_t,
    _flags: c_int,
    context: *mut *mut c_void,
) -> ssize_t {
    // SAFETY: libssh2 calls back only from inside a call of ours, while the session and its `SocketIo` are owned by the
    // calling thread and no reference to the latter is alive; `buffer` has `length` readable bytes.
    let (io, bytes) =
        unsafe { (&mut *(*context).cast::<SocketIo>(), std::slice::from_raw_parts(buffer.cast::<u8>(), length)) };
    if socket == io.descriptor() {
        return io.send(bytes);
    }
    agent_socket::send(socket, bytes, AGENT_PATIENCE).map_or_else(errno, as_len)
}

/// libssh2's `LIBSSH2_RECV_FUNC`.
pub(super) extern "C" fn receive(
    socket: c_int,
    buffer: *mut c_void,
    length: size_t,
    _flags: c_int,
    context: *mut *mut c_void,
) -> ssize_t {
    // SAFETY: libssh2 calls back only from inside a call of ours, while the session and its `SocketIo` are owned by the
    // calling thread and no reference to the latter is alive; `buffer` has `length` bytes, which libssh2 has allocated
    // and which are only written to.
    let io = unsafe { &mut *(*context).cast::<SocketIo>() };
    // SAFETY: as above; the memory is zeroed first, so that no uninitialised byte is ever seen.
    let into = unsafe {
        std::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
    };
    if socket == io.descriptor() {
        return io.receive(into);
    }
    agent_socket::receive(socket, into, AGENT_PATIENCE).map_or_else(errno, as_len)
}
