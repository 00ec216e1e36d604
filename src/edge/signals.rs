//! Signals as a source of the event loop: blocked for all threads and read from a `signalfd(2)`.

use std::ffi::c_int;
use std::io;

use super::event_file::EventFile;
use super::system;

/// A signal that means something to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// `SIGTERM` or `SIGINT`: stop.
    Stop,
    /// `SIGHUP`: open the log file again, read certificates and the register file again.
    Reopen,
    /// `SIGCHLD`: at least one child ended.
    Child,
}

/// What is blocked and read.
const SIGNALS: [(c_int, Signal); 4] = [
    (libc::SIGTERM, Signal::Stop),
    (libc::SIGINT, Signal::Stop),
    (libc::SIGHUP, Signal::Reopen),
    (libc::SIGCHLD, Signal::Child),
];

/// Size of `struct signalfd_siginfo`, which begins with the signal's number as a `u32`.
const INFO_LEN: usize = 128;

/// The daemon's signals. Make it before any other thread is started.
pub struct Signals(EventFile);

impl Signals {
    /// Blocks the signals for this thread and those it starts later, ignores `SIGPIPE`, and opens the descriptor. A
    /// child process would inherit the mask: [`super::child_process`] clears it.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn open() -> io::Result<Self> {
        let numbers = SIGNALS.map(|(number, _)| number);
        system::ignore_signal(libc::SIGPIPE)?;
        system::block_signals(&numbers)?;
        Ok(Self(EventFile::new(system::signal_descriptor(&numbers)?)))
    }

    /// What the event loop watches.
    pub const fn source(&mut self) -> &mut EventFile {
        &mut self.0
    }

    /// Every pending signal, each at most once, in the order of their importance. Never blocks.
    pub fn read(&mut self) -> Vec<Signal> {
        let mut signals = Vec::new();
        let mut infos = [0_u8; 8 * INFO_LEN];
        self.0.read_all(&mut infos, |infos| signals.extend(infos.chunks_exact(INFO_LEN).filter_map(signal_of)));
        signals.sort_unstable();
        signals.dedup();
        signals
    }
}

/// The signal that one `signalfd_siginfo` tells of.
fn signal_of(info: &[u8]) -> Option<Signal> {
    let number = u32::from_ne_bytes(*info.first_chunk::<4>()?);
    let number = c_int::try_from(number).ok()?;
    SIGNALS.iter().find(|(known, _)| *known == number).map(|(_, signal)| *signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Interest, Token};
    use std::time::Duration;

    #[test]
    fn blocked_signals_wake_the_loop_and_are_read_once() {
        let mut signals = Signals::open().unwrap();
        assert_eq!(signals.read(), []);
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(signals.source(), Token(1), Interest::READABLE).unwrap();
        for number in [libc::SIGCHLD, libc::SIGHUP, libc::SIGTERM, libc::SIGINT] {
            system::raise_in_this_thread(number).unwrap();
        }
        let mut events = mio::Events::with_capacity(4);
        while let Err(error) = poll.poll(&mut events, Some(Duration::from_secs(10))) {
            // A signal of another test.
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
        }
        assert!(!events.is_empty(), "the descriptor is not readable");
        assert_eq!(signals.read(), [Signal::Stop, Signal::Reopen, Signal::Child]);
        assert_eq!(signals.read(), []);
    }
}
