//! One command of a session: its channel, its output, its end.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use libssh2_sys as ffi;

use super::library::{self, chars, last_errno, last_error, short_len};
use crate::model::ssh::{SshCommand, SshEnd, SshExit, SshRun};

/// Bytes of a channel's output that a host may send before we have read them.
const WINDOW_BYTES: u32 = 256 << 10;
const PACKET_BYTES: u32 = 32 << 10;
/// stdout and stderr.
const STREAMS: [c_int; 2] = [0, 1];

/// An open channel.
pub(super) struct Channel(*mut ffi::LIBSSH2_CHANNEL);

/// What the opening of a channel brought.
pub(super) enum Opened {
    WouldBlock,
    Open(Channel),
    /// The host gives none.
    Refused(String),
}

/// Opens a channel. The library does one at a time: while it would block, the same one must be asked for again.
pub(super) fn open(session: *mut ffi::LIBSSH2_SESSION) -> Opened {
    const KIND: &[u8] = b"session";
    // SAFETY: the session is alive; the kind is given with its length, a null message has none.
    let channel = unsafe {
        ffi::libssh2_channel_open_ex(
            session,
            chars(KIND),
            short_len(KIND),
            WINDOW_BYTES,
            PACKET_BYTES,
            std::ptr::null(),
            0,
        )
    };
    if !channel.is_null() {
        return Opened::Open(Channel(channel));
    }
    match last_errno(session) {
        ffi::LIBSSH2_ERROR_EAGAIN => Opened::WouldBlock,
        _ => Opened::Refused(last_error(session)),
    }
}

impl Channel {
    /// Ends what runs at the other end, as far as the host does that.
    pub fn kill(&self) {
        const NAME: &[u8] = b"KILL";
        // SAFETY: the channel is alive; the name is given with its length. Whether it worked is not known in any case.
        unsafe { library::libssh2_channel_signal_ex(self.0, chars(NAME), NAME.len()) };
    }

    /// Closes and forgets the channel; `false` while that would block, then it is called again.
    pub fn close(&self) -> bool {
        // SAFETY: the channel is alive; after any other answer than "would block" it is gone and not used again.
        unsafe { ffi::libssh2_channel_free(self.0) != ffi::LIBSSH2_ERROR_EAGAIN }
    }

    /// Takes in what came for any channel; what comes for this one is dropped.
    pub fn listen(&self) {
        let mut byte = [0_u8; 64];
        // SAFETY: the channel is alive; pointer and length describe `byte`.
        unsafe { ffi::libssh2_channel_read_ex(self.0, 0, byte.as_mut_ptr().cast(), byte.len()) };
    }

    /// What came on a stream: `None` when nothing is there now.
    fn read(&self, stream: c_int, into: &mut [u8]) -> Result<Option<usize>, c_int> {
        // SAFETY: the channel is alive; pointer and length describe `into`.
        let len = unsafe { ffi::libssh2_channel_read_ex(self.0, stream, into.as_mut_ptr().cast(), into.len()) };
        match usize::try_from(len) {
            Ok(0) => Ok(None),
            Ok(len) => Ok(Some(len)),
            Err(_) if len == ffi::LIBSSH2_ERROR_EAGAIN as isize => Ok(None),
            Err(_) => Err(c_int::try_from(len).unwrap_or(-1)),
        }
    }

    fn start(&self, line: &str) -> c_int {
        const REQUEST: &[u8] = b"exec";
        let line = line.as_bytes();
        // SAFETY: the channel is alive; both texts are given with their lengths.
        unsafe {
            ffi::libssh2_channel_process_startup(
                self.0,
                chars(REQUEST),
                short_len(REQUEST),
                chars(line),
                short_len(line),
            )
        }
    }

    fn has_ended(&self) -> bool {
        // SAFETY: the channel is alive.
        unsafe { ffi::libssh2_channel_eof(self.0) == 1 }
    }

    /// Whether the other end closed it; then the exit status is known if there is one.
    fn wait_closed(&self) -> bool {
        // SAFETY: the channel is alive and at its end, as the call wants it. An error ends the waiting too.
        unsafe { ffi::libssh2_channel_wait_closed(self.0) != ffi::LIBSSH2_ERROR_EAGAIN }
    }

    fn exit(&self, session: *mut ffi::LIBSSH2_SESSION) -> SshExit {
        let mut name: *mut c_char = std::ptr::null_mut();
        let mut len = 0;
        let null = std::ptr::null_mut();
        // SAFETY: the channel is alive; the places that are null are not filled; the name is ours to free, by the
        // session's allocator.
        unsafe {
            let found = ffi::libssh2_channel_get_exit_signal(
                self.0,
                &raw mut name,
                &raw mut len,
                null,
                std::ptr::null_mut(),
                null,
                std::ptr::null_mut(),
            );
            if found == 0 && !name.is_null() {
                let text = String::from_utf8_lossy(std::slice::from_raw_parts(name.cast::<u8>(), len)).into_owned();
                ffi::libssh2_free(session, name.cast());
                return SshExit::Signal(text.chars().take(32).collect());
            }
            SshExit::Status(ffi::libssh2_channel_get_exit_status(self.0))
        }
    }
}

/// A command whose channel is open.
pub(super) struct Running {
    channel: Channel,
    phase: Phase,
    limit: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    cut: bool,
}

enum Phase {
    Starting(String),
    Reading,
    Closing,
}

/// What one look brought.
pub(super) enum Look {
    /// Nothing new.
    Quiet,
    /// Something came.
    Moved,
    /// It is over; the channel is to be closed.
    Ended(SshEnd),
    /// The session is of no use any more.
    Broken,
}

impl Running {
    pub fn new(channel: Channel, command: SshCommand) -> Self {
        Self {
            channel,
            phase: Phase::Starting(command.line),
            limit: command.output_limit,
            stdout: Vec::new(),
            stderr: Vec::new(),
            cut: false,
        }
    }

    /// Whether the host has not confirmed yet that it runs.
    pub const fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting(_))
    }

    pub fn into_channel(self) -> Channel {
        self.channel
    }

    /// Goes on as far as the socket allows, with `buffer` for what is read.
    pub fn look(&mut self, session: *mut ffi::LIBSSH2_SESSION, buffer: &mut [u8]) -> Look {
        if let Phase::Starting(line) = &self.phase {
            match self.channel.start(line) {
                0 => self.phase = Phase::Reading,
                ffi::LIBSSH2_ERROR_EAGAIN => return Look::Quiet,
                ffi::LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED => {
                    self.phase = Phase::Closing;
                    return Look::Ended(SshEnd::Failed("the host runs no commands for this user".to_owned()));
                }
                _ => return Look::Broken,
            }
        }
        let mut moved = false;
        if matches!(self.phase, Phase::Reading) {
            for stream in STREAMS {
                match self.channel.read(stream, buffer) {
                    Ok(None) => {}
                    Ok(Some(len)) => {
                        moved = true;
                        self.keep(stream, buffer.get(..len).unwrap_or_default());
                    }
                    Err(_) => return Look::Broken,
                }
            }
            if moved {
                return Look::Moved;
            }
            if !self.channel.has_ended() {
                return Look::Quiet;
            }
            self.phase = Phase::Closing;
        }
        if !self.channel.wait_closed() {
            return Look::Quiet;
        }
        let (stdout, stderr) = (std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr));
        let exit = self.channel.exit(session);
        Look::Ended(SshEnd::Ran(SshRun { exit, stdout, stderr, output_cut: self.cut }))
    }

    fn keep(&mut self, stream: c_int, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.stdout.len() + self.stderr.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.cut |= kept.len() < bytes.len();
        if stream == 0 { &mut self.stdout } else { &mut self.stderr }.extend_from_slice(kept);
    }
}
