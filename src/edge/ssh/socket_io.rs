//! The socket of a session as libssh2 uses it: nothing blocks, and nothing does more than a turn's share.
//!
//! libssh2 cannot be asked for something else while one packet is half sent, and reads for as long as bytes come. So
//! what the socket does not take waits here, and reading ends after a budget.

use std::ffi::c_int;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};

use mio::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::model::secret::Secret;

/// Maximum number of bytes read in one turn of a session.
const READ_BUDGET: usize = 4 << 20;
/// Maximum number of bytes that a host may send before its version line (RFC 4253, 4.2, allows other lines there).
const BANNER_MAX: usize = 16 << 10;
/// Maximum number of bytes kept of a host's first data: its version and the algorithms that it offers.
const FIRST_WORDS_MAX: usize = 32 << 10;
/// Nothing is read while this many bytes wait to be sent, so that a host that does not read cannot fill our memory.
const UNSENT_MAX: usize = 4 << 20;
/// No further file data is put into packets while this many bytes wait to be sent.
const UNSENT_HIGH: usize = 1 << 20;
/// How long an agent may take to answer.
const AGENT_PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The socket of a session and what waits for it.
pub(super) struct SocketIo {
    socket: TcpStream,
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes that may still be read in this turn.
    budget: usize,
    received: usize,
    is_starved: bool,
    /// The first bytes received, kept until the key exchange is done. The library has had those before `handed_out`.
    first_words: Option<Vec<u8>>,
    handed_out: usize,
    broken: Option<String>,
    password: Option<Secret>,
}

impl SocketIo {
    pub const fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            unsent: Vec::new(),
            sent: 0,
            budget: READ_BUDGET,
            received: 0,
            is_starved: false,
            first_words: Some(Vec::new()),
            handed_out: 0,
            broken: None,
            password: None,
        }
    }

    /// The file descriptor of the socket. libssh2 passes it to the callbacks.
    pub fn descriptor(&self) -> c_int {
        self.socket.as_raw_fd()
    }

    /// Number of bytes read so far. Wraps around.
    pub const fn received(&self) -> usize {
        self.received
    }

    /// Whether reading ended because of the budget, not because there was nothing.
    pub const fn is_starved(&self) -> bool {
        self.is_starved
    }

    /// Why the connection can no longer be used; `None` while it can.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Sets the answer to keyboard-interactive questions.
    pub fn set_password(&mut self, password: Option<Secret>) {
        self.password = password;
    }

    /// The answer to a question whose answer is not echoed.
    pub fn password(&self) -> &[u8] {
        self.password.as_ref().map_or(&[], |secret| secret.reveal().as_bytes())
    }

    /// Whether data or the end of the connection is there and has not been read.
    pub fn has_input(&self) -> bool {
        !matches!(self.socket.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Notices the end of the connection even if nobody reads. Returns whether bytes are waiting.
    pub fn look(&mut self) -> bool {
        match self.socket.peek(&mut [0]) {
            Ok(0) => self.break_off("the host closed the connection"),
            Ok(_) => return true,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => self.break_off(&error.to_string()),
        }
        false
    }

    /// Begins a turn: the read budget is full again.
    pub const fn refill(&mut self) {
        self.budget = READ_BUDGET;
        self.is_starved = false;
    }

    /// Whether further file data may be put into packets.
    pub const fn has_room(&self) -> bool {
        self.unsent.len() - self.sent < UNSENT_HIGH
    }

    /// Makes every later call fail, so that nothing that libssh2 still wants to send goes out.
    pub fn shut(&mut self) {
        self.break_off("closed by us");
    }

    fn break_off(&mut self, reason: &str) {
        self.broken.get_or_insert_with(|| reason.to_owned());
    }

    /// What the host has sent in clear text: its version and its offer of algorithms. Empty after the key exchange.
    pub fn first_words(&self) -> &[u8] {
        self.first_words.as_deref().unwrap_or_default()
    }

    /// Drops the first bytes, once the key exchange is done.
    pub fn forget_first_words(&mut self) {
        if self.first_words.as_ref().is_some_and(|words| self.handed_out >= words.len()) {
            self.first_words = None;
        }
    }

    /// Sends what is waiting, as far as the socket takes it.
    pub fn flush(&mut self) {
        while self.broken.is_none() && self.sent < self.unsent.len() {
            match self.socket.write(self.unsent.get(self.sent..).unwrap_or_default()) {
                Ok(0) => self.break_off("the host takes nothing more"),
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.break_off(&error.to_string()),
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

    /// Takes bytes that the library sends.
    ///
    /// # Errors
    /// `errno`
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, c_int> {
        self.unsent.extend_from_slice(bytes);
        if self.unsent.len() == bytes.len() || self.unsent.len() - self.sent > UNSENT_HIGH {
            self.flush();
        }
        if self.broken.is_some() { Err(libc::EPIPE) } else { Ok(bytes.len()) }
    }

    /// Gives the library what has arrived. Returns the number of bytes, 0 at the end of the connection.
    ///
    /// # Errors
    /// `errno`
    pub fn receive(&mut self, into: &mut [u8]) -> Result<usize, c_int> {
        if self.broken.is_some() {
            return Err(libc::ECONNRESET);
        }
        let Some(mut words) = self.first_words.take() else { return self.receive_from_socket(into) };
        let outcome = self.receive_first_words(&mut words, into);
        // What comes later than that is neither the version nor the offer.
        if words.len() < FIRST_WORDS_MAX || self.handed_out < words.len() {
            self.first_words = Some(words);
        }
        outcome
    }

    /// Reads ahead, because the library asks for the version line byte by byte.
    fn receive_first_words(&mut self, words: &mut Vec<u8>, into: &mut [u8]) -> Result<usize, c_int> {
        if self.handed_out == words.len() {
            let mut piece = [0; 2_048];
            let len = self.receive_from_socket(&mut piece)?;
            words.extend_from_slice(piece.get(..len).unwrap_or_default());
        }
        let rest = words.get(self.handed_out..).unwrap_or_default();
        let len = rest.len().min(into.len());
        into.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.handed_out += len;
        if into.len() == 1 && self.handed_out > BANNER_MAX {
            self.break_off(&format!("it sent {BANNER_MAX} bytes and no SSH version: it is not an SSH server"));
            return Err(libc::EPROTO);
        }
        Ok(len)
    }

    fn receive_from_socket(&mut self, into: &mut [u8]) -> Result<usize, c_int> {
        if self.budget == 0 || self.unsent.len() - self.sent > UNSENT_MAX {
            self.is_starved |= self.budget == 0;
            return Err(libc::EAGAIN);
        }
        loop {
            match self.socket.read(into) {
                Ok(0) => {
                    self.break_off("the host closed the connection");
                    return Ok(0);
                }
                Ok(len) => {
                    self.budget = self.budget.saturating_sub(len);
                    self.received = self.received.wrapping_add(len);
                    return Ok(len);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(libc::EAGAIN),
                Err(error) => {
                    self.break_off(&error.to_string());
                    return Err(error.raw_os_error().unwrap_or(libc::EIO));
                }
            }
        }
    }
}

/// Waits until an agent is ready: libssh2 opens its socket (`SSH_AUTH_SOCK`) in blocking mode.
fn wait_for_agent(agent: BorrowedFd<'_>, events: PollFlags) -> Result<(), c_int> {
    match poll(&mut [PollFd::from_borrowed_fd(agent, events)], Some(&AGENT_PATIENCE)) {
        Ok(0) => Err(libc::ETIMEDOUT),
        Ok(_) => Ok(()),
        Err(error) => Err(error.raw_os_error()),
    }
}

/// Sends some of `bytes` from the library to an agent.
///
/// # Errors
/// `errno`
pub(super) fn send_to_agent(agent: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, c_int> {
    wait_for_agent(agent, PollFlags::OUT)?;
    rustix::io::write(agent, bytes).map_err(rustix::io::Errno::raw_os_error)
}

/// Reads an agent's answer for the library. Returns the number of bytes, 0 at the end.
///
/// # Errors
/// `errno`
pub(super) fn receive_from_agent(agent: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, c_int> {
    wait_for_agent(agent, PollFlags::IN)?;
    rustix::io::read(agent, into).map_err(rustix::io::Errno::raw_os_error)
}
