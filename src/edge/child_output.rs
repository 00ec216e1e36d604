//! The output of a command: stdout and stderr with separate limits, joined in the order in which they were written.
//!
//! Two pipes separate the streams but do not show which was written first. So at the beginning each pipe holds only one
//! write (one page, in packets) and is read once for each event: a command that prints to both waits until we have read
//! its previous output. A command that keeps printing gets pipes of the usual size and is read in larger pieces; then
//! the order between the two is that in which they became readable. Out of scope: the process, and the poll that
//! watches the pipes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use mio::unix::pipe::Receiver;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::model::command::OutputCut;

/// Number of ordered reads with pipes of one page. A loop that prints single characters must not take a turn for each.
const ORDERED_READS: usize = 512;
/// Size of a pipe while the order is kept.
const ORDERED_PIPE_BYTES: usize = 4_096;
const USUAL_PIPE_BYTES: usize = 64 << 10;
/// Maximum number of bytes of one read.
const READ_BYTES: usize = 16 << 10;
/// Minimum number of bytes that a read counts as, so that many small reads also use up a budget.
const READ_COST: usize = 1_024;

/// The result of [`ChildOutput::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadState {
    /// The budget is used up and more may be there: call again, because no event will come.
    Open,
    /// Nothing more is there now: an event will come.
    WouldBlock,
    /// Both pipes are closed for good.
    Eof,
}

/// One of the two pipes.
struct Stream {
    pipe: Option<Receiver>,
    /// Nobody holds the other end any more. What is left in the pipe causes no further event.
    is_hung_up: bool,
    kept: usize,
    is_cut: bool,
    /// The beginning of a character whose rest has not arrived.
    begun: Vec<u8>,
}

/// The output of one command, with its pipes.
pub struct ChildOutput {
    streams: [Stream; 2],
    /// Pipes to read, in the order in which they became readable.
    unread: VecDeque<usize>,
    ordered_reads: usize,
    limit: usize,
    kept: Vec<u8>,
    /// Number of bytes already taken by [`ChildOutput::take_news`].
    shown: usize,
}

/// The writing ends of the pipes, for the command.
pub struct ChildEnds {
    /// For its descriptor 1.
    pub stdout: OwnedFd,
    /// For its descriptor 2.
    pub stderr: OwnedFd,
}

impl ChildOutput {
    /// Opens two pipes. At most `limit` bytes of each are kept.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn open(limit: usize) -> io::Result<(Self, ChildEnds)> {
        let ((first, stdout), (second, stderr)) = (Stream::open()?, Stream::open()?);
        let output = Self {
            streams: [first, second],
            unread: VecDeque::new(),
            ordered_reads: ORDERED_READS,
            limit,
            kept: Vec::new(),
            shown: 0,
        };
        Ok((output, ChildEnds { stdout, stderr }))
    }

    /// The descriptors of the open pipes with their numbers, to watch for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = (usize, RawFd)> {
        let pipes = self.streams.iter().enumerate();
        pipes.filter_map(|(number, stream)| stream.pipe.as_ref().map(|pipe| (number, pipe.as_raw_fd())))
    }

    /// Notes that a pipe became readable, or that nobody holds its other end any more. Call it in the order of the
    /// events.
    pub fn mark_ready(&mut self, number: usize, is_hung_up: bool) {
        if let Some(stream) = self.streams.get_mut(number).filter(|stream| stream.pipe.is_some()) {
            stream.is_hung_up |= is_hung_up;
            if !self.unread.contains(&number) {
                self.unread.push_back(number);
            }
        }
    }

    /// Whether more output may come.
    fn is_open(&self) -> bool {
        self.streams.iter().any(|stream| stream.pipe.is_some())
    }

    /// Reads up to about `budget` bytes. What exceeds the limits is dropped, so that the command never waits for us.
    pub fn read(&mut self, budget: usize) -> ReadState {
        let mut left = budget;
        while let Some(number) = self.unread.pop_front() {
            if left == 0 {
                self.unread.push_front(number);
                return ReadState::Open;
            }
            left = left.saturating_sub(self.read_once(number));
        }
        if self.is_open() { ReadState::WouldBlock } else { ReadState::Eof }
    }

    /// Reads a pipe once. Returns the cost of that read.
    fn read_once(&mut self, number: usize) -> usize {
        let Some(stream) = self.streams.get_mut(number) else { return 0 };
        let Some(pipe) = &mut stream.pipe else { return 0 };
        let mut bytes = Vec::with_capacity(READ_BYTES);
        match rustix::io::read(pipe, spare_capacity(&mut bytes)) {
            Ok(0) => self.close(number),
            Ok(length) => {
                let is_hung_up = stream.is_hung_up;
                self.keep(number, &bytes);
                let was_ordered = self.ordered_reads > 0;
                self.ordered_reads = self.ordered_reads.saturating_sub(1);
                if was_ordered && self.ordered_reads == 0 {
                    self.enlarge();
                }
                // Read again until the pipe is empty, unless an event reports the next write.
                if (self.ordered_reads == 0 || is_hung_up) && !self.unread.contains(&number) {
                    self.unread.push_back(number);
                }
                return length.max(READ_COST);
            }
            Err(Errno::INTR) => self.unread.push_front(number),
            Err(Errno::AGAIN) => {}
            Err(_) => self.close(number),
        }
        READ_COST
    }

    /// Switches to pipes of the usual size after enough ordered reads.
    fn enlarge(&mut self) {
        for (number, stream) in self.streams.iter().enumerate() {
            if let Some(pipe) = &stream.pipe {
                // The kernel refuses this if a user has many pipes. Then reading stays slow.
                let _refused = fcntl_setpipe_size(pipe, USUAL_PIPE_BYTES);
                if !self.unread.contains(&number) {
                    self.unread.push_back(number);
                }
            }
        }
    }

    fn keep(&mut self, number: usize, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(number) else { return };
        let room = self.limit.saturating_sub(stream.kept);
        let taken = bytes.get(..bytes.len().min(room)).unwrap_or_default();
        stream.kept += taken.len();
        stream.begun.extend_from_slice(taken);
        let whole = whole_characters(&stream.begun);
        self.kept.extend(stream.begun.drain(..whole));
        if taken.len() < bytes.len() {
            stream.is_cut = true;
            // Drops a character that the cut has split.
            stream.begun.clear();
            // Its order no longer matters.
            if self.ordered_reads > 1 {
                self.ordered_reads = 1;
            }
        }
    }

    fn close(&mut self, number: usize) {
        let Some(stream) = self.streams.get_mut(number) else { return };
        stream.pipe = None;
        self.kept.append(&mut stream.begun);
        self.unread.retain(|unread| *unread != number);
    }

    /// Whether [`Self::take_news`] would return something.
    pub fn has_news(&self) -> bool {
        self.shown < self.kept.len()
    }

    /// The output since the last call, for callers that follow it.
    pub fn take_news(&mut self) -> Option<Vec<u8>> {
        let news = self.kept.get(self.shown..).filter(|news| !news.is_empty())?.to_vec();
        self.shown = self.kept.len();
        Some(news)
    }

    /// Number of bytes that are kept and have not been taken.
    pub const fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// Whether both limits are reached, so that no more is kept.
    pub fn is_full(&self) -> bool {
        self.streams.iter().all(|stream| stream.is_cut || stream.pipe.is_none())
    }

    /// Closes both pipes. Returns all kept output and what was cut.
    pub fn take(&mut self) -> (Vec<u8>, OutputCut) {
        self.close(0);
        self.close(1);
        let [stdout, stderr] = self.streams.each_ref().map(|stream| stream.is_cut.then_some(stream.kept));
        (std::mem::take(&mut self.kept), OutputCut { stdout, stderr })
    }
}

impl Stream {
    /// Opens a pipe. Returns also the end for the command.
    fn open() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = packet_pipe()?;
        let pipe = Receiver::from(reader);
        pipe.set_nonblocking(true)?;
        let stream = Self { pipe: Some(pipe), is_hung_up: false, kept: 0, is_cut: false, begun: Vec::new() };
        Ok((stream, writer))
    }
}

/// A pipe that holds one write, or a usual one if the system has no packet pipes.
fn packet_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let ends = match pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT) {
        Err(rustix::io::Errno::INVAL) => pipe_with(PipeFlags::CLOEXEC)?,
        ends => ends?,
    };
    let _refused = fcntl_setpipe_size(&ends.0, ORDERED_PIPE_BYTES);
    Ok(ends)
}

/// Number of bytes before an incomplete UTF-8 character at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    for (at, byte) in bytes.iter().enumerate().skip(tail) {
        let needed = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => continue,
        };
        let rest = bytes.get(at + 1..).unwrap_or_default();
        if rest.len() + 1 < needed && rest.iter().all(|byte| (0x80..0xc0).contains(byte)) {
            return at;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_only_begun_waits_for_its_rest() {
        for (bytes, whole) in [
            ("café €".as_bytes(), 9),
            (b"caf\xc3", 3),
            (b"caf\xe2\x82", 3),
            (b"\xf0\x9f\x98", 0),
            (b"caf\xe9 au", 7),
            (b"caf\xff", 4),
            (b"", 0),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }
}
