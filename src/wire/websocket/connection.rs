//! One WebSocket connection after its upgrade: bytes in, events and bytes out (RFC 6455 sections 5 to 7).

use super::WebSocketError;
use super::frame::{FrameHeader, MAX_CONTROL_BYTES, Opcode, apply_mask, encode_header};
use crate::model::random::Random;
use crate::wire::gathering::Gathering;
use crate::wire::gorgone::seeded_random::{SEED_LEN, SeededRandom};
use crate::wire::receive_buffer::ReceiveBuffer;
use crate::wire::send_queue::SendQueue;

/// The largest message that both ends of docs/protocol.md section 9 accept, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 262_144;

/// Maximum number of fragments of a message.
pub const MAX_FRAGMENTS: usize = 4096;

/// Of a frame of which fewer bytes are missing, the rest is received together with what follows.
const ROOM_MIN_BYTES: usize = 16 << 10;

/// Codes of close frames (RFC 6455 section 7.4.1).
pub mod close_code {
    /// Normal end.
    pub const NORMAL: u16 = 1000;
    /// This end is going away.
    pub const GOING_AWAY: u16 = 1001;
    /// The other end violated the RFC.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// The other end is not allowed.
    pub const POLICY: u16 = 1008;
    /// A message is too large.
    pub const TOO_LARGE: u16 = 1009;
}

/// Settings of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The largest message that is accepted, in bytes ([`MAX_MESSAGE_BYTES`]).
    pub max_message_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_message_bytes: MAX_MESSAGE_BYTES }
    }
}

/// Events for the owner of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole text message. Its bytes need not be valid UTF-8 (docs/protocol.md section 1).
    Text(Vec<u8>),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A ping, which has been answered.
    Ping,
    Pong,
    /// The peer closed the WebSocket, by itself or in answer to our close. The last event; the answer is in the send
    /// queue.
    Closed {
        /// The peer's code, if it gave one.
        code: Option<u16>,
        /// The peer's reason, at most 123 bytes. Invalid UTF-8 is replaced.
        reason: String,
    },
}

/// Which end we are.
enum Role {
    /// We dialled: we mask and the peer must not. Masks come from a generator seeded by the owner's random source.
    Client(Box<SeededRandom>),
    /// The peer dialled: it must mask.
    Server,
}

/// A partly received message.
struct Partial {
    is_text: bool,
    payload: Gathering,
    fragments: usize,
}

/// The data frame whose payload is being received.
struct Incoming {
    is_final: bool,
    mask: Option<[u8; 4]>,
    /// Where the frame begins in its message, and up to where that is unmasked.
    begin_bytes: usize,
    unmasked_bytes: usize,
}

enum State {
    Open,
    Closed,
    Failed(WebSocketError),
}

/// The result of one step of reading.
enum Step {
    Again,
    Wait,
    Event(Event),
}

/// Our end of one WebSocket.
///
/// To drive it: put received bytes in, call [`Self::poll_event`] until it gives `None`, write out [`Self::send_queue`];
/// the latter also after an error or [`Event::Closed`], when it holds the close frame.
///
/// It reads no clock: its owner closes a silent connection. It holds memory for one message of at most the maximum
/// size, for unread bytes, and for what waits to be sent.
pub struct WebSocketConnection {
    role: Role,
    settings: Settings,
    state: State,
    received: ReceiveBuffer,
    to_send: SendQueue,
    partial: Option<Partial>,
    incoming: Option<Incoming>,
    close_is_sent: bool,
}

impl WebSocketConnection {
    /// The end that accepted, with the bytes received after the upgrade.
    #[must_use]
    pub fn server(settings: Settings, received: ReceiveBuffer) -> Self {
        Self::new(Role::Server, settings, received)
    }

    /// The end that dialled, with the bytes received after the upgrade. `random` seeds the masks (RFC 6455 section
    /// 10.3).
    #[must_use]
    pub fn client(settings: Settings, received: ReceiveBuffer, random: &mut dyn Random) -> Self {
        let mut seed = [0; SEED_LEN];
        random.fill(&mut seed);
        Self::new(Role::Client(Box::new(SeededRandom::new(&seed))), settings, received)
    }

    fn new(role: Role, settings: Settings, received: ReceiveBuffer) -> Self {
        Self {
            role,
            settings,
            state: State::Open,
            received,
            to_send: SendQueue::default(),
            partial: None,
            incoming: None,
            close_is_sent: false,
        }
    }

    // Bytes in.

    /// Takes received bytes. After the end of the connection they are dropped.
    pub fn receive(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Open) {
            self.received.extend_from_slice(bytes);
        }
    }

    /// The room for the next bytes of a large message, so that the socket can be read straight into it; `None` if
    /// received bytes go to [`Self::receive`]. Report the number read to [`Self::received_into_room`].
    pub fn room(&mut self) -> Option<&mut [u8]> {
        let partial = self.partial.as_mut().filter(|_| self.incoming.is_some() && self.received.is_empty())?;
        (partial.payload.missing_bytes() >= ROOM_MIN_BYTES).then(|| partial.payload.room())
    }

    /// Takes the number of bytes that were read into [`Self::room`].
    pub fn received_into_room(&mut self, count_bytes: usize) {
        if let Some(partial) = &mut self.partial {
            partial.payload.fill(count_bytes);
        }
    }

    // Events out.

    /// The next event; `None` when more bytes are needed, and after [`Event::Closed`].
    ///
    /// # Errors
    /// The peer's fault, at this and every later call. The owner writes out the send queue and closes.
    pub fn poll_event(&mut self) -> Result<Option<Event>, WebSocketError> {
        match self.state {
            State::Open => {}
            State::Closed => return Ok(None),
            State::Failed(error) => return Err(error),
        }
        loop {
            match self.read() {
                Ok(Step::Again) => {}
                Ok(Step::Wait) => return Ok(None),
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Err(error) => {
                    self.send_close(Some(error.close_code()), "");
                    self.end(State::Failed(error));
                    return Err(error);
                }
            }
        }
    }

    // Messages and bytes to send.

    /// Queues a text message; dropped after a close. A large payload is not copied.
    pub fn send_text(&mut self, payload: Vec<u8>) {
        self.send(Opcode::Text, payload);
    }

    /// Queues a ping.
    pub fn send_ping(&mut self) {
        self.send(Opcode::Ping, Vec::new());
    }

    /// Queues the close frame, once; nothing can be sent after it. A reason is cut at 123 bytes and needs a code.
    pub fn send_close(&mut self, code: Option<u16>, reason: &str) {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend_from_slice(&code.to_be_bytes());
            let fits = |(at, letter): &(usize, char)| at.saturating_add(letter.len_utf8()) <= MAX_CONTROL_BYTES - 2;
            let cut: String = reason.char_indices().take_while(fits).map(|(_, letter)| letter).collect();
            payload.extend_from_slice(cut.as_bytes());
        }
        self.send(Opcode::Close, payload);
        self.close_is_sent = true;
    }

    /// The bytes to write out.
    pub const fn send_queue(&mut self) -> &mut SendQueue {
        &mut self.to_send
    }

    /// The remaining bytes to write of a connection that has ended.
    #[must_use]
    pub fn into_send_queue(self) -> SendQueue {
        self.to_send
    }

    // State.

    /// Whether more bytes wait to be sent than the high mark of the queue.
    #[must_use]
    pub const fn is_congested(&self) -> bool {
        self.to_send.is_above_high()
    }

    /// Number of bytes that are unread or belong to an unfinished message.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.received.len().saturating_add(self.partial.as_ref().map_or(0, |partial| partial.payload.filled_bytes()))
    }

    fn send(&mut self, opcode: Opcode, mut payload: Vec<u8>) {
        if self.close_is_sent {
            return;
        }
        let mask = match &mut self.role {
            Role::Server => None,
            Role::Client(random) => {
                let mut mask = [0; 4];
                random.fill(&mut mask);
                apply_mask(&mut payload, mask, 0);
                Some(mask)
            }
        };
        encode_header(opcode, payload.len(), mask, |header| self.to_send.extend_from_slice(header));
        self.to_send.push(payload);
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.received = ReceiveBuffer::new();
        self.partial = None;
        self.incoming = None;
    }

    // Reading.

    fn read(&mut self) -> Result<Step, WebSocketError> {
        if let Some(incoming) = self.incoming.take() {
            return Ok(self.gather(incoming));
        }
        let bytes = self.received.readable();
        // The first two bytes are checked first, so that the result does not depend on how the bytes were split.
        if let Some(beginning @ [_, second]) = bytes.get(..2) {
            FrameHeader::parse(beginning)?;
            self.check_mask(second & 0x80 != 0)?;
        }
        let Some(header) = FrameHeader::parse(bytes)? else { return Ok(Step::Wait) };
        if header.opcode.is_control() {
            return self.read_control(header);
        }
        self.begin_frame(header)?;
        Ok(Step::Again)
    }

    const fn check_mask(&self, is_masked: bool) -> Result<(), WebSocketError> {
        match (&self.role, is_masked) {
            (Role::Server, false) => Err(WebSocketError::Unmasked),
            (Role::Client(_), true) => Err(WebSocketError::Masked),
            _ => Ok(()),
        }
    }

    /// Sets the maximum message size from the next frame on.
    pub const fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.settings.max_message_bytes = max_message_bytes;
    }

    /// Size of the message being received: bytes that have arrived and bytes that its frame has announced.
    #[must_use]
    pub fn incoming_bytes(&self) -> usize {
        let payload = self.partial.as_ref().map(|partial| &partial.payload);
        payload.map_or(0, |payload| payload.filled_bytes().saturating_add(payload.missing_bytes()))
    }

    /// Checks a data frame against the message that it belongs to, before anything is allocated for it.
    fn begin_frame(&mut self, header: FrameHeader) -> Result<(), WebSocketError> {
        let mut partial = match (header.opcode, self.partial.take()) {
            (Opcode::Continuation, Some(partial)) => Partial { fragments: partial.fragments + 1, ..partial },
            (Opcode::Continuation, None) | (_, Some(_)) => return Err(WebSocketError::Fragments),
            (opcode, None) => Partial { is_text: opcode == Opcode::Text, payload: Gathering::default(), fragments: 1 },
        };
        let limit = self.settings.max_message_bytes;
        let here_bytes = partial.payload.filled_bytes();
        let left_bytes = limit.saturating_sub(here_bytes);
        let missing_bytes = match usize::try_from(header.payload_bytes) {
            Ok(payload_bytes) if payload_bytes <= left_bytes => payload_bytes,
            _ => {
                let size = header.payload_bytes.saturating_add(here_bytes as u64);
                return Err(WebSocketError::TooLarge { size, limit: limit as u64 });
            }
        };
        if partial.fragments > MAX_FRAGMENTS {
            return Err(WebSocketError::TooManyFragments(MAX_FRAGMENTS));
        }
        partial.payload.expect(missing_bytes);
        self.partial = Some(partial);
        self.received.consume(header.header_bytes);
        let (is_final, mask) = (header.is_final, header.mask);
        self.incoming = Some(Incoming { is_final, mask, begin_bytes: here_bytes, unmasked_bytes: here_bytes });
        Ok(())
    }

    /// Moves the received part of a data frame to its message, and unmasks what has arrived.
    fn gather(&mut self, mut incoming: Incoming) -> Step {
        let Some(Partial { payload, .. }) = &mut self.partial else { return Step::Again };
        payload.take(&mut self.received);
        let here = payload.filled_from(incoming.unmasked_bytes);
        if let Some(mask) = incoming.mask {
            apply_mask(here, mask, incoming.unmasked_bytes - incoming.begin_bytes);
        }
        incoming.unmasked_bytes += here.len();
        if payload.missing_bytes() > 0 {
            self.incoming = Some(incoming);
            return Step::Wait;
        }
        if !incoming.is_final {
            return Step::Again;
        }
        match self.partial.take() {
            Some(Partial { is_text: true, payload, .. }) => Step::Event(Event::Text(payload.into_payload())),
            Some(Partial { payload, .. }) => Step::Event(Event::Binary(payload.into_payload())),
            None => Step::Again,
        }
    }

    fn read_control(&mut self, header: FrameHeader) -> Result<Step, WebSocketError> {
        let payload_bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        let body = self.received.readable().get(header.header_bytes..).and_then(|rest| rest.get(..payload_bytes));
        let Some(body) = body else { return Ok(Step::Wait) };
        let mut payload = body.to_vec();
        apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
        self.received.consume(header.header_bytes.saturating_add(payload_bytes));
        match header.opcode {
            Opcode::Ping => {
                // A peer that pings and does not read the answers gets none while the queue is full.
                if !self.is_congested() {
                    self.send(Opcode::Pong, payload);
                }
                Ok(Step::Event(Event::Ping))
            }
            Opcode::Pong => Ok(Step::Event(Event::Pong)),
            _ => self.read_close(&payload),
        }
    }

    fn read_close(&mut self, payload: &[u8]) -> Result<Step, WebSocketError> {
        let (code, reason) = match payload.split_first_chunk::<2>() {
            None if payload.is_empty() => (None, String::new()),
            None => return Err(WebSocketError::CloseCode),
            Some((code, reason)) => {
                let code = u16::from_be_bytes(*code);
                if !may_be_sent(code) {
                    return Err(WebSocketError::CloseCode);
                }
                (Some(code), String::from_utf8_lossy(reason).into_owned())
            }
        };
        self.send_close(code, "");
        self.end(State::Closed);
        Ok(Step::Event(Event::Closed { code, reason }))
    }
}

/// Codes that may stand in a close frame (RFC 6455 section 7.4, and those registered since).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
