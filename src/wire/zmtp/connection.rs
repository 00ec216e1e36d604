//! One ZMTP connection from its greeting on: bytes in, events and bytes out.

use super::ZmtpError;
use super::command::{self, Command, MAX_COMMAND_BYTES, Metadata};
use super::error::printable;
use super::frame::{FrameHeader, FrameKind, encode_header};
use super::greeting::{self, OURS};
use super::traffic::{Traffic, whole_body};
use crate::wire::receive_buffer::ReceiveBuffer;
use crate::wire::send_queue::{SendQueue, WaterMarks};

/// Maximum length of a peer's name in errors.
const SHOWN_NAME_BYTES: usize = 32;

/// Our end's socket type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketType {
    /// The end that connects; it sends its READY first.
    Dealer,
    /// The end that binds; it sends its READY when it has read and accepted the peer's.
    Router,
}

impl SocketType {
    /// The name in READY.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
        }
    }

    /// Whether a peer of this type may talk to us (37/ZMTP, "The Socket-Type Property").
    #[must_use]
    pub fn accepts(self, peer_type: &[u8]) -> bool {
        match self {
            Self::Dealer => matches!(peer_type, b"REP" | b"DEALER" | b"ROUTER"),
            Self::Router => matches!(peer_type, b"REQ" | b"DEALER" | b"ROUTER"),
        }
    }
}

/// Settings of a connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our socket type.
    pub socket_type: SocketType,
    /// Our routing id, cut at 255 bytes; empty means none.
    pub identity: Vec<u8>,
    /// Maximum size of a message in bytes.
    pub max_message_bytes: usize,
}

/// Events for the owner of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done. Occurs once, before any other event.
    Ready {
        /// The peer's identity as received. It may be empty (the owner makes one up), begin with a zero octet or be
        /// longer than 255 bytes (both violate the specification; the owner decides).
        routing_id: Vec<u8>,
        /// The peer's socket type, which is compatible with ours.
        socket_type: String,
        /// 0 or 1: the minor version of ZMTP 3 that both speak.
        minor_version: u8,
    },
    /// A message of one frame.
    Message(Vec<u8>),
    /// A message of several frames was received and dropped.
    Multipart {
        /// Number of frames.
        frames: usize,
        /// Total size of their bodies in bytes.
        bytes: usize,
    },
}

/// The result of one step of reading.
pub(super) enum ReadStep {
    /// Something was read that the owner need not know. There may be more.
    Again,
    /// More bytes are needed.
    Wait,
    /// An event for the owner.
    Event(Event),
}

enum State {
    /// The peer's greeting is awaited. `held`: frames to send after the handshake.
    Greeting { held: Vec<u8> },
    /// The peer's READY is awaited.
    Handshake { minor_version: u8, held: Vec<u8> },
    /// Messages flow.
    Ready(Traffic),
    /// The connection has failed.
    Failed {
        error: ZmtpError,
        /// Whether the handshake was done, so that a last message may still be sent.
        after_handshake: bool,
    },
}

/// Our end of one ZMTP 3.x connection with the mechanism NULL.
///
/// To drive it: put received bytes in ([`Self::receive`] or [`Self::room`]), call [`Self::poll_event`] until
/// it gives `None`, write out [`Self::send_queue`]; the latter also before the first byte comes in and after an error,
/// when it can hold a last word to the peer.
///
/// A connection reads no clock: its owner closes one that is not ready in time. It holds memory for unread bytes, for
/// one message of at most `max_message_bytes`, and for what waits to be sent.
pub struct ZmtpConnection {
    settings: Settings,
    state: State,
    received: ReceiveBuffer,
    to_send: SendQueue,
}

impl ZmtpConnection {
    /// A new connection whose greeting waits in the send queue, with the default water marks.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_water_marks(settings, WaterMarks::default())
    }

    /// A new connection whose greeting waits in the send queue.
    #[must_use]
    pub fn with_water_marks(settings: Settings, marks: WaterMarks) -> Self {
        let mut to_send = SendQueue::new(marks);
        // The whole greeting at once: a peer may wait for our mechanism before it sends its own ("Version
        // Negotiation").
        to_send.extend_from_slice(&OURS);
        Self { settings, state: State::Greeting { held: Vec::new() }, received: ReceiveBuffer::new(), to_send }
    }

    // Bytes in.

    /// Takes received bytes. After an error they are dropped.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed { .. }) {
            self.received.extend_from_slice(bytes);
        }
    }

    /// The room for the next bytes of a large message, so that the socket can be read straight into it; `None` if
    /// received bytes go to [`Self::receive`]. Report the number read to [`Self::received_into_room`].
    pub fn room(&mut self) -> Option<&mut [u8]> {
        match &mut self.state {
            State::Ready(traffic) if self.received.is_empty() => traffic.room(),
            _ => None,
        }
    }

    /// Takes the number of bytes that were read into [`Self::room`].
    pub fn received_into_room(&mut self, count_bytes: usize) {
        if let State::Ready(traffic) = &mut self.state {
            traffic.fill(count_bytes);
        }
    }

    /// Number of bytes of memory held for unread bytes.
    #[cfg(test)]
    pub(super) fn receive_capacity_bytes(&self) -> usize {
        self.received.capacity_bytes()
    }

    // Events out.

    /// The next event; `None` when more bytes are needed. Costs constant time per byte received.
    ///
    /// # Errors
    /// The peer's fault, at this and every later call. The owner writes what the socket takes of the send queue and
    /// closes.
    pub fn poll_event(&mut self) -> Result<Option<Event>, ZmtpError> {
        loop {
            match self.read() {
                Ok(ReadStep::Again) => {}
                Ok(ReadStep::Wait) => return Ok(None),
                Ok(ReadStep::Event(event)) => return Ok(Some(event)),
                Err(error) => {
                    self.fail(error.clone());
                    return Err(error);
                }
            }
        }
    }

    // Messages and bytes to send.

    /// Queues a copy of a message of one frame. Before the end of the handshake it is held back, without a bound. After
    /// an error it is a last message to a peer whose handshake was done; for any other peer it is dropped.
    pub fn send_message(&mut self, payload: &[u8]) {
        match &mut self.state {
            State::Greeting { held } | State::Handshake { held, .. } => {
                encode_header(FrameKind::Last, payload.len(), |header| held.extend_from_slice(header));
                held.extend_from_slice(payload);
            }
            State::Ready(_) | State::Failed { after_handshake: true, .. } => {
                encode_header(FrameKind::Last, payload.len(), |header| self.to_send.extend_from_slice(header));
                self.to_send.extend_from_slice(payload);
            }
            State::Failed { after_handshake: false, .. } => {}
        }
    }

    /// Like [`Self::send_message`], without copying a large message.
    pub fn send_owned_message(&mut self, payload: Vec<u8>) {
        if matches!(self.state, State::Ready(_)) {
            encode_header(FrameKind::Last, payload.len(), |header| self.to_send.extend_from_slice(header));
            self.to_send.push(payload);
        } else {
            self.send_message(&payload);
        }
    }

    /// The bytes to write out.
    pub const fn send_queue(&mut self) -> &mut SendQueue {
        &mut self.to_send
    }

    // State.

    /// Whether the send queue is above its high mark, so that its owner should take no more requests.
    #[must_use]
    pub const fn is_congested(&self) -> bool {
        self.to_send.is_above_high()
    }

    /// Whether the handshake is done and the connection has not failed.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Whether the peer has sent anything of a ZMTP handshake.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Greeting { .. }) || !self.received.is_empty()
    }

    /// What is awaited from the peer, for the log line at the end of the owner's deadline.
    #[must_use]
    pub fn awaited(&self) -> &'static str {
        match &self.state {
            State::Greeting { .. } if self.received.is_empty() => "its ZMTP greeting",
            // libzmq closes without sending its own mechanism when ours is another.
            State::Greeting { .. } if self.received.readable().first() == Some(&0xff) => {
                "the rest of its ZMTP greeting (a peer that wants the mechanism PLAIN or CURVE closes at this point)"
            }
            State::Greeting { .. } => "its ZMTP greeting, which it did not begin as one",
            State::Handshake { .. } => "its ZMTP READY command",
            State::Ready(_) => "a message",
            State::Failed { .. } => "nothing more",
        }
    }

    /// Changes the maximum size for messages whose header has not been read.
    pub const fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.settings.max_message_bytes = max_message_bytes;
    }

    /// Number of bytes that are unread or belong to an unfinished message.
    #[must_use]
    pub const fn buffered_bytes(&self) -> usize {
        let gathered_bytes = if let State::Ready(traffic) = &self.state { traffic.gathered_bytes() } else { 0 };
        self.received.len().saturating_add(gathered_bytes)
    }

    // Reading.

    fn read(&mut self) -> Result<ReadStep, ZmtpError> {
        match &mut self.state {
            State::Greeting { held } => {
                let Some(greeting) = greeting::parse(self.received.readable())? else { return Ok(ReadStep::Wait) };
                let (minor_version, held) = (greeting.minor_version, std::mem::take(held));
                self.received.consume(greeting::GREETING_BYTES);
                self.state = State::Handshake { minor_version, held };
                if self.settings.socket_type == SocketType::Dealer {
                    self.send_ready();
                }
                Ok(ReadStep::Again)
            }
            State::Handshake { minor_version, held } => {
                let Some((routing_id, socket_type)) = read_ready(&self.settings, &mut self.received)? else {
                    return Ok(ReadStep::Wait);
                };
                let (minor_version, held) = (*minor_version, std::mem::take(held));
                if self.settings.socket_type == SocketType::Router {
                    self.send_ready();
                }
                self.to_send.push(held);
                self.state = State::Ready(Traffic::default());
                Ok(ReadStep::Event(Event::Ready { routing_id, socket_type, minor_version }))
            }
            State::Ready(traffic) => {
                traffic.read(&mut self.received, &mut self.to_send, self.settings.max_message_bytes)
            }
            State::Failed { error, .. } => Err(error.clone()),
        }
    }

    /// Ends the connection. Tells the peer why, if the specification has a way to.
    fn fail(&mut self, error: ZmtpError) {
        if let (State::Handshake { .. }, ZmtpError::IncompatibleSocket { ours, .. }) = (&self.state, &error) {
            let reason = format!("socket type does not go with {ours}");
            push_command(&mut self.to_send, &command::encode_error(&reason));
        }
        self.received = ReceiveBuffer::new();
        self.state = State::Failed { error, after_handshake: self.is_ready() };
    }

    fn send_ready(&mut self) {
        let body = command::encode_ready(self.settings.socket_type.name(), &self.settings.identity);
        push_command(&mut self.to_send, &body);
    }
}

/// The peer's routing id and socket type, once its READY has arrived and its type is compatible with ours.
fn read_ready(settings: &Settings, received: &mut ReceiveBuffer) -> Result<Option<(Vec<u8>, String)>, ZmtpError> {
    let Some(header) = FrameHeader::parse(received.readable())? else { return Ok(None) };
    if header.kind != FrameKind::Command {
        let found = format!("a message frame of {} bytes", header.body_bytes);
        return Err(ZmtpError::UnexpectedInHandshake { found });
    }
    let body_bytes = header.body_within(MAX_COMMAND_BYTES)?;
    let Some(body) = whole_body(header, body_bytes, received) else { return Ok(None) };
    let unexpected = |name| {
        let found = format!("the command {}", printable(name, SHOWN_NAME_BYTES));
        Err(ZmtpError::UnexpectedInHandshake { found })
    };
    let peer = match command::parse(body)? {
        Command::Ready(metadata) => check_peer(settings.socket_type, metadata)?,
        Command::Error { reason } => return Err(ZmtpError::refused(reason)),
        Command::Ping { .. } => return unexpected(b"PING".as_slice()),
        Command::Pong => return unexpected(b"PONG"),
        Command::Other { name } => return unexpected(name),
    };
    received.consume(header.header_bytes + body_bytes);
    Ok(Some(peer))
}

fn check_peer(ours: SocketType, metadata: Metadata<'_>) -> Result<(Vec<u8>, String), ZmtpError> {
    let theirs = metadata.socket_type.unwrap_or_default();
    if ours.accepts(theirs) {
        Ok((metadata.identity.to_vec(), String::from_utf8_lossy(theirs).into_owned()))
    } else {
        let theirs = printable(theirs, SHOWN_NAME_BYTES);
        Err(ZmtpError::IncompatibleSocket { ours: ours.name(), theirs })
    }
}

/// Queues a command frame.
pub(super) fn push_command(to_send: &mut SendQueue, body: &[u8]) {
    encode_header(FrameKind::Command, body.len(), |header| to_send.extend_from_slice(header));
    to_send.extend_from_slice(body);
}
