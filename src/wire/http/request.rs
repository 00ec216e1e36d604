//! A stream of requests, read as it arrives.

use super::body::BodyReader;
use super::error::HttpError;
use super::head::{self, RequestHead};
use super::head_scanner::{HeadScanner, Limits};
use crate::wire::receive_buffer::ReceiveBuffer;

/// What has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestEvent {
    /// The head of a request. Its body follows as [`RequestEvent::Body`], even an empty one, unless the connection is
    /// handed over with [`RequestParser::into_remaining`].
    Head(Box<RequestHead>),
    /// The whole body of that request, which is now complete.
    Body(Vec<u8>),
}

/// What the parser waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The first byte of a request.
    Request,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body {
        /// Number of bytes received so far.
        received_bytes: usize,
    },
    /// Nothing: the bytes were refused.
    Nothing,
}

enum State {
    Head { scanner: HeadScanner, after_blank_line: bool },
    Body(BodyReader),
    Refused(HttpError),
}

impl State {
    fn between_requests() -> Self {
        Self::Head { scanner: HeadScanner::default(), after_blank_line: false }
    }
}

/// Reads requests one after the other. Bytes after the current request stay unread. Holds at most its input and one
/// body.
pub struct RequestParser {
    limits: Limits,
    buffer: ReceiveBuffer,
    state: State,
}

impl RequestParser {
    /// A parser at the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: ReceiveBuffer::new(), state: State::between_requests() }
    }

    /// Takes received bytes. Call [`Self::poll_event`] afterwards.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer to read a socket into, instead of [`Self::receive`].
    pub const fn receive_buffer(&mut self) -> &mut ReceiveBuffer {
        &mut self.buffer
    }

    /// Number of bytes that are unread or belong to an unfinished head.
    #[must_use]
    pub const fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What the parser waits for.
    #[must_use]
    pub const fn awaited(&self) -> Awaited {
        match &self.state {
            State::Head { after_blank_line: false, .. } if self.buffer.is_empty() => Awaited::Request,
            State::Head { .. } => Awaited::Head,
            State::Body(reader) => Awaited::Body { received_bytes: reader.received_bytes() },
            State::Refused(_) => Awaited::Nothing,
        }
    }

    /// Discards the body of the current request; [`RequestEvent::Body`] will be empty.
    pub fn discard_body(&mut self) {
        if let State::Body(reader) = &mut self.state {
            reader.discard();
        }
    }

    /// The bytes after the current head, for the next protocol on this connection.
    #[must_use]
    pub fn into_remaining(self) -> ReceiveBuffer {
        self.buffer
    }

    /// The next event, `None` until more bytes come.
    ///
    /// # Errors
    /// [`HttpError`], again at every further call.
    pub fn poll_event(&mut self) -> Result<Option<RequestEvent>, HttpError> {
        let outcome = match &mut self.state {
            State::Head { scanner, after_blank_line } => {
                skip_blank_line(&mut self.buffer, scanner, after_blank_line);
                read_head(&self.limits, &mut self.buffer, scanner)
            }
            State::Body(reader) => {
                let outcome = reader.read(self.buffer.readable());
                self.buffer.consume(outcome.unwrap_or(0));
                return match outcome {
                    Ok(_) if reader.is_complete() => Ok(Some(self.take_body())),
                    Ok(_) => Ok(None),
                    Err(error) => Err(self.refuse(error)),
                };
            }
            State::Refused(error) => Err(*error),
        };
        match outcome {
            Ok(Some(head)) => {
                self.state = State::Body(BodyReader::new(head.body, self.limits.body_bytes));
                Ok(Some(RequestEvent::Head(Box::new(head))))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(self.refuse(error)),
        }
    }

    fn take_body(&mut self) -> RequestEvent {
        match std::mem::replace(&mut self.state, State::between_requests()) {
            State::Body(reader) => RequestEvent::Body(reader.into_data()),
            State::Head { .. } | State::Refused(_) => RequestEvent::Body(Vec::new()),
        }
    }

    fn refuse(&mut self, error: HttpError) -> HttpError {
        self.state = State::Refused(error);
        self.buffer = ReceiveBuffer::new();
        error
    }
}

/// Some clients send an empty line after a body; one is ignored (RFC 9112 section 2.2).
fn skip_blank_line(buffer: &mut ReceiveBuffer, scanner: &HeadScanner, after_blank_line: &mut bool) {
    if !*after_blank_line && scanner.is_at_start() && buffer.readable().starts_with(b"\r\n") {
        buffer.consume(2);
        *after_blank_line = true;
    }
}

fn read_head(
    limits: &Limits,
    buffer: &mut ReceiveBuffer,
    scanner: &mut HeadScanner,
) -> Result<Option<RequestHead>, HttpError> {
    let bytes = buffer.readable();
    // A carriage return whose line feed has not arrived.
    if bytes.is_empty() || (bytes == b"\r" && scanner.is_at_start()) {
        return Ok(None);
    }
    let Some(len) = scanner.scan(bytes, limits)? else { return Ok(None) };
    let head = head::parse(bytes.get(..len).unwrap_or_default(), limits)?;
    buffer.consume(len);
    Ok(Some(head))
}
