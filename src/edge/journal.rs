//! The systemd journal: whether standard error goes there, the prefix that gives a line its level there (sd-daemon(3)),
//! and entries with fields by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::model::log::Level;

/// The journal's socket.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Maximum number of bytes of entries that wait for the journal.
const MAX_WAITING: usize = 1 << 20;

/// Whether standard error is a stream of the journal. `JOURNAL_STREAM` names the device and inode of that stream; a
/// child with another standard error also inherits the variable (systemd.exec(5)).
#[must_use]
pub fn is_standard_error() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let own = std::io::stderr().as_fd().try_clone_to_owned().and_then(|handle| File::from(handle).metadata());
    own.is_ok_and(|own| is_stream(&stream, own.dev(), own.ino()))
}

fn is_stream(text: &str, device: u64, inode: u64) -> bool {
    let numbers = text.split_once(':').map(|(device, inode)| (device.parse(), inode.parse()));
    numbers == Some((Ok(device), Ok(inode)))
}

/// The prefix of a line of this level.
#[must_use]
pub const fn prefix(level: Level) -> &'static str {
    match level {
        Level::Debug => "<7>",
        Level::Info => "<6>",
        Level::Warning => "<4>",
        Level::Error => "<3>",
    }
}

/// One entry: its fields, encoded.
#[derive(Default)]
pub struct Entry(Vec<u8>);

impl Entry {
    /// Adds a field. A value with a line break is sent with its length, so it cannot begin another field.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

/// A connection to the journal that never blocks.
pub struct Journal {
    socket: UnixDatagram,
    place: PathBuf,
    waiting: VecDeque<Entry>,
    waiting_bytes: usize,
    lost: u64,
}

impl Journal {
    /// Returns the journal behind a socket, which need not exist yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn open(place: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, place: place.to_owned(), waiting: VecDeque::new(), waiting_bytes: 0, lost: 0 })
    }

    /// Sends an entry, after those that wait. It waits too if the journal takes nothing now, and is lost (counted) if
    /// too many wait.
    ///
    /// # Errors
    /// There is no journal. The entry is not sent.
    pub fn send(&mut self, entry: Entry) -> io::Result<()> {
        self.flush();
        if self.waiting.is_empty() {
            match self.socket.send_to(&entry.0, &self.place) {
                Ok(_) => return Ok(()),
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if self.waiting_bytes.saturating_add(entry.0.len()) > MAX_WAITING {
            self.lost = self.lost.saturating_add(1);
        } else {
            self.waiting_bytes = self.waiting_bytes.saturating_add(entry.0.len());
            self.waiting.push_back(entry);
        }
        Ok(())
    }

    /// Sends the entries that wait, as far as the journal takes them. They are lost if it has gone.
    pub fn flush(&mut self) {
        while let Some(entry) = self.waiting.front() {
            match self.socket.send_to(&entry.0, &self.place) {
                Err(error) if is_full(&error) => return,
                Ok(_) => {}
                Err(_) => self.lost = self.lost.saturating_add(1),
            }
            self.waiting_bytes = self.waiting_bytes.saturating_sub(entry.0.len());
            self.waiting.pop_front();
        }
    }

    /// Whether entries wait.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Number of lost entries since the last call, once nothing waits.
    pub fn take_lost(&mut self) -> u64 {
        if self.waiting.is_empty() { std::mem::take(&mut self.lost) } else { 0 }
    }
}

/// Whether the journal exists and takes nothing now.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::temp_dir::TempDir;

    #[test]
    fn the_stream_is_known_by_device_and_inode() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "8:x", "8:1234:5"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }

    fn entry(text: &str) -> Entry {
        let mut entry = Entry::default();
        entry.add("MESSAGE", text.as_bytes());
        entry
    }

    #[test]
    fn a_value_with_a_line_break_begins_no_other_field() {
        let mut entry = entry("plain");
        entry.add("TOKEN", b"a\nNODE=9");
        assert_eq!(entry.0, b"MESSAGE=plain\nTOKEN\n\x08\0\0\0\0\0\0\0a\nNODE=9\n");
    }

    #[test]
    fn a_journal_that_reads_nothing_holds_nobody_up_and_gets_what_waited_in_order() {
        let dir = TempDir::new();
        let mut journal = Journal::open(&dir.join("socket")).unwrap();
        assert!(journal.send(entry("nobody there")).is_err());
        let reader = UnixDatagram::bind(dir.join("socket")).unwrap();
        reader.set_nonblocking(true).unwrap();
        let long = "x".repeat(4_000);
        for number in 0..1_000 {
            journal.send(entry(&format!("{number} {long}"))).unwrap();
        }
        assert!(journal.is_behind() && journal.waiting_bytes <= MAX_WAITING && journal.take_lost() == 0);
        let (mut number, mut buffer) = (0, [0_u8; 8_192]);
        loop {
            while let Ok(len) = reader.recv(&mut buffer) {
                assert!(buffer[..len].starts_with(format!("MESSAGE={number} ").as_bytes()));
                number += 1;
            }
            if !journal.is_behind() {
                break;
            }
            journal.flush();
        }
        assert_eq!(journal.take_lost(), 1_000 - number);
        drop(reader);
        assert!(journal.send(entry("gone")).is_err());
    }
}
