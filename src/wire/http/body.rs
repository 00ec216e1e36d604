//! Bodies with a known length and chunked ones (RFC 9112 sections 6 and 7), decoded as their bytes arrive.

use super::error::HttpError;
use super::head::BodyLength;

/// Maximum number of bytes of chunk extensions and trailers of one body. Nothing reads them.
const MAX_EXTRA_BYTES: usize = 16 * 1024;

/// Maximum space reserved for a body before its bytes arrive.
const MAX_RESERVED_BYTES: usize = 64 * 1024;

/// Reads one body. Looks at every byte once.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    /// `None` once the body is discarded.
    data: Option<Vec<u8>>,
    received_bytes: usize,
    extra_bytes: usize,
    limit_bytes: usize,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Data of a body with a known length.
    Known { left_bytes: usize },
    /// A digit of a chunk's size.
    Size { size_bytes: usize, digits: u8 },
    /// A chunk extension up to its carriage return.
    Extension { size_bytes: usize },
    /// The line feed after a chunk's size.
    SizeEnd { size_bytes: usize },
    /// A chunk's data.
    Data { left_bytes: usize },
    /// The carriage return after a chunk's data.
    DataReturn,
    /// The line feed after a chunk's data.
    DataEnd,
    /// The first byte of a trailer line or of the final empty line.
    TrailerStart,
    /// A trailer line up to its carriage return.
    Trailer,
    /// The line feed after a trailer.
    TrailerEnd,
    /// The line feed of the final empty line.
    LastEnd,
    /// The body is complete.
    Complete,
}

impl BodyReader {
    /// A reader for a body of at most `limit_bytes`.
    #[must_use]
    pub fn new(length: BodyLength, limit_bytes: usize) -> Self {
        let (state, reserved) = match length {
            BodyLength::Known(0) => (State::Complete, 0),
            BodyLength::Known(left_bytes) => (State::Known { left_bytes }, left_bytes.min(MAX_RESERVED_BYTES)),
            BodyLength::Chunked => (State::Size { size_bytes: 0, digits: 0 }, 0),
        };
        Self { state, data: Some(Vec::with_capacity(reserved)), received_bytes: 0, extra_bytes: 0, limit_bytes }
    }

    /// Keeps nothing of the body, but still reads to its end.
    pub fn discard(&mut self) {
        self.data = None;
    }

    /// Number of bytes of data received so far.
    #[must_use]
    pub const fn received_bytes(&self) -> usize {
        self.received_bytes
    }

    /// Whether the whole body is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The data of the body; empty if discarded.
    #[must_use]
    pub fn into_data(self) -> Vec<u8> {
        self.data.unwrap_or_default()
    }

    /// Takes the bytes of `input` that belong to the body and returns their number.
    ///
    /// # Errors
    /// [`HttpError::BadChunk`] and [`HttpError::BodyTooLarge`].
    pub fn read(&mut self, input: &[u8]) -> Result<usize, HttpError> {
        let mut rest = input;
        while self.state != State::Complete && !rest.is_empty() {
            rest = match self.state {
                State::Known { left_bytes } => {
                    let (left_bytes, rest) = self.take_data(left_bytes, rest);
                    self.state = if left_bytes == 0 { State::Complete } else { State::Known { left_bytes } };
                    rest
                }
                State::Data { left_bytes } => {
                    let (left_bytes, rest) = self.take_data(left_bytes, rest);
                    self.state = if left_bytes == 0 { State::DataReturn } else { State::Data { left_bytes } };
                    rest
                }
                _ => match rest.split_first() {
                    Some((byte, rest)) => {
                        self.state = self.next_framing(*byte)?;
                        rest
                    }
                    None => rest,
                },
            };
        }
        Ok(input.len().saturating_sub(rest.len()))
    }

    fn take_data<'a>(&mut self, left_bytes: usize, input: &'a [u8]) -> (usize, &'a [u8]) {
        let (taken, rest) = input.split_at_checked(left_bytes).unwrap_or((input, &[]));
        if let Some(data) = &mut self.data {
            data.extend_from_slice(taken);
        }
        self.received_bytes = self.received_bytes.saturating_add(taken.len());
        (left_bytes.saturating_sub(taken.len()), rest)
    }

    /// Handles one byte between the data of chunks.
    fn next_framing(&mut self, byte: u8) -> Result<State, HttpError> {
        match (self.state, byte) {
            (State::Size { size_bytes, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.add_digit(size_bytes, digits, byte)
            }
            (State::Size { size_bytes, digits: 1.. }, b'\r') => Ok(State::SizeEnd { size_bytes }),
            (State::Size { size_bytes, digits: 1.. }, b';') => Ok(State::Extension { size_bytes }),
            (State::Extension { size_bytes }, b'\r') => Ok(State::SizeEnd { size_bytes }),
            (State::SizeEnd { size_bytes: 0 }, b'\n') => Ok(State::TrailerStart),
            (State::SizeEnd { size_bytes }, b'\n') => Ok(State::Data { left_bytes: size_bytes }),
            (State::DataReturn, b'\r') => Ok(State::DataEnd),
            (State::DataEnd, b'\n') => Ok(State::Size { size_bytes: 0, digits: 0 }),
            (State::TrailerStart, b'\r') => Ok(State::LastEnd),
            (State::LastEnd, b'\n') => Ok(State::Complete),
            (State::Trailer, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerEnd, b'\n') => Ok(State::TrailerStart),
            (State::Extension { .. } | State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => self.add_extra(self.state),
            // A trailer that begins with white space would be a folded one.
            (State::TrailerStart, b'!'..=b'~') => self.add_extra(State::Trailer),
            _ => Err(HttpError::BadChunk),
        }
    }

    fn add_digit(&self, size_bytes: usize, digits: u8, byte: u8) -> Result<State, HttpError> {
        // 16 digits are enough for every allowed size. Without a limit a peer could send zeros for ever.
        if digits >= 16 {
            return Err(HttpError::BadChunk);
        }
        let digit = char::from(byte).to_digit(16).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(0);
        let size_bytes = size_bytes.saturating_mul(16).saturating_add(digit);
        if size_bytes > self.limit_bytes.saturating_sub(self.received_bytes) {
            return Err(HttpError::BodyTooLarge(self.limit_bytes));
        }
        Ok(State::Size { size_bytes, digits: digits.saturating_add(1) })
    }

    fn add_extra(&mut self, next: State) -> Result<State, HttpError> {
        self.extra_bytes = self.extra_bytes.saturating_add(1);
        if self.extra_bytes > MAX_EXTRA_BYTES { Err(HttpError::BadChunk) } else { Ok(next) }
    }
}
