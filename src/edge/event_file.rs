//! A descriptor that the kernel writes events to (`signalfd(2)`, `inotify(7)`), as a source of the event loop. Out of
//! scope: what the events mean.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// Such a descriptor.
pub struct EventFile(File);

impl EventFile {
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        Self(File::from(descriptor))
    }

    /// The descriptor as a file.
    pub(super) const fn file(&self) -> &File {
        &self.0
    }

    /// Passes all events to `take`, at most one `buffer` at a time and only whole events. Never blocks.
    pub(super) fn read_all(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
        loop {
            match self.0.read(buffer) {
                Ok(0) => break,
                Ok(length) => take(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }
}

impl Source for EventFile {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}
