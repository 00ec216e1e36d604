//! Signals as a source of the event loop: a handler notes each signal and writes to a socket that the loop watches.
//!
//! No signal is blocked, so commands start with an empty mask without any work between `fork` and `exec`, and the
//! standard library can start them by `posix_spawn`, which copies no page tables. `exec` resets the handlers.

use std::ffi::c_int;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::event_file::EventFile;
use super::system;

/// A signal that the daemon handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// `SIGTERM` or `SIGINT`: stop.
    Stop,
    /// `SIGHUP`: open the log file again, read certificates and the register file again.
    Reopen,
    /// `SIGCHLD`: at least one child ended.
    Child,
}

/// The handled signals, the most important first.
const SIGNALS: [(c_int, Signal); 4] =
    [(SIGTERM, Signal::Stop), (SIGINT, Signal::Stop), (SIGHUP, Signal::Reopen), (SIGCHLD, Signal::Child)];

/// The daemon's signals, handled for the rest of the process's life.
pub struct Signals {
    wakes: EventFile,
    came: [Arc<AtomicBool>; SIGNALS.len()],
}

impl Signals {
    /// Installs the handlers and clears the inherited signal mask. The standard library already ignores `SIGPIPE`.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn open() -> io::Result<Self> {
        let (wakes, wake) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        let came = SIGNALS.map(|_| Arc::new(AtomicBool::new(false)));
        for ((number, _), came) in SIGNALS.iter().zip(&came) {
            // In this order, so that the loop sees a noted signal when it wakes up.
            flag::register(*number, Arc::clone(came))?;
            low_level::pipe::register(*number, wake.try_clone()?)?;
        }
        system::unblock_signals()?;
        Ok(Self { wakes: EventFile::new(wakes.into()), came })
    }

    /// The source for the event loop.
    pub const fn source(&mut self) -> &mut EventFile {
        &mut self.wakes
    }

    /// The signals since the last call, each at most once, the most important first. Never blocks.
    pub fn read(&mut self) -> Vec<Signal> {
        self.wakes.read_all(&mut [0_u8; 64], |_| {});
        let came = SIGNALS.iter().zip(&self.came).filter(|(_, came)| came.swap(false, Ordering::Relaxed));
        let mut signals: Vec<Signal> = came.map(|((_, signal), _)| *signal).collect();
        signals.dedup();
        signals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Interest, Token};
    use std::time::Duration;

    #[test]
    fn signals_wake_the_loop_and_are_read_once() {
        let mut signals = Signals::open().unwrap();
        assert_eq!(signals.read(), []);
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(signals.source(), Token(1), Interest::READABLE).unwrap();
        for number in [SIGCHLD, SIGHUP, SIGTERM, SIGINT] {
            low_level::raise(number).unwrap();
        }
        let mut events = mio::Events::with_capacity(4);
        while let Err(error) = poll.poll(&mut events, Some(Duration::from_secs(10))) {
            // A signal of another test interrupted it.
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
        }
        assert!(!events.is_empty(), "the descriptor is not readable");
        assert_eq!(signals.read(), [Signal::Stop, Signal::Reopen, Signal::Child]);
        assert_eq!(signals.read(), []);
    }
}
