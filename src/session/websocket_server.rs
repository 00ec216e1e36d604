//! The WebSocket of one node that dialled us (docs/protocol.md section 9, the central's side): upgrade, token, first
//! message, then messages in both directions.
//!
//! Out of scope: sockets, TLS, clocks, the permission to register a node, and which connection of a node is the newest.

mod access;
mod registration;
#[cfg(test)]
mod tests;
mod tokens;
mod verifying;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

pub use self::access::{WebSocketAccess, WebSocketServerSettings};
use self::tokens::Admission;
pub use self::tokens::NamedToken;
use self::verifying::Proof;
use super::NotSent;
use crate::model::connection::PeerAddress;
use crate::model::joining::Admitted;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::time::{Monotonic, Now};
use crate::model::token::Token;
use crate::wire::http::date::HttpDate;
use crate::wire::http::head::RequestHead;
use crate::wire::http::head_scanner::Limits;
use crate::wire::http::request::{RequestEvent, RequestParser};
use crate::wire::http::response::{Persistence, Response};
use crate::wire::receive_buffer::ReceiveBuffer;
use crate::wire::send_queue::SendQueue;
use crate::wire::websocket::connection::{Event, Settings, WebSocketConnection, close_code};
use crate::wire::websocket::upgrade;

const MODULE: &str = "proxy";
const WRONG_TOKEN: &str = "token authorization unallowed";
const ADMITTED: &str = r#"{"code":200,"message":"joined: come again with the new token"}"#;
const TAKEN_OUT: &str = "the token is not valid any more";
const BRAKED: &str = "too many wrong tokens from this address, try again later";
const NOT_REGISTERED: &str = "please registernodes";
const UNREADABLE: &str = "decode error: unsupported format";
const SILENT: &str = "timeout reached";
/// How an original node names itself in the upgrade request.
const PERL_NODE: &[u8] = b"gorgone mojo";

/// Time that the peer has to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time that the peer has to close after our last byte, so that it can read that byte before unread bytes reset the
/// connection.
const LINGER: Duration = Duration::from_secs(2);

/// Side effects for the owner of the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum WebSocketServerOutput {
    /// The node sent a message of an allowed kind. The first one is the REGISTERNODES that identifies the node.
    Message(Message),
    /// An invited node has proved its token, which must be accepted from now on.
    Admitted(Admitted),
    /// The node sent an invalid message.
    Malformed {
        /// The token, if it could be read.
        token: Option<Token>,
        /// What is wrong.
        reason: String,
    },
    /// The web API must check the token ([`WebSocketServer::claim`]); answered by
    /// [`WebSocketServer::handle_verdict`].
    CheckToken,
    /// Everything is sent: shut down the sending direction, but keep reading until [`WebSocketServerOutput::Close`].
    Shutdown,
    /// Close the connection now. This is the last output.
    Close,
    /// Write a line to the log.
    Log(LogLine),
}

enum Phase {
    /// The HTTP request is awaited.
    AwaitingUpgrade { parser: Box<RequestParser>, queue: SendQueue },
    /// The WebSocket is open. `node`: the id of the node once it has registered.
    Open { socket: Box<WebSocketConnection>, node: Option<NodeId> },
    /// Our close is queued, and the peer's is awaited.
    Closing { socket: Box<WebSocketConnection> },
    /// The last bytes are being sent; received bytes are ignored. `is_agreed`: whether the peer knows that the
    /// connection ends.
    Ending { queue: SendQueue, is_agreed: bool, is_shut_down: bool },
    /// [`WebSocketServerOutput::Close`] was output.
    Closed { queue: SendQueue },
}

/// The state of one connection. After every `receive`, `send`, `close` and `handle_*` call take all outputs and write
/// the [`Self::send_queue`].
pub struct WebSocketServer {
    access: Rc<WebSocketAccess>,
    peer: PeerAddress,
    phase: Phase,
    /// Deadline of the current phase.
    deadline: Monotonic,
    outputs: VecDeque<WebSocketServerOutput>,
    /// The length of the send queue at the last check, and when it last became shorter or was empty.
    waiting_bytes: usize,
    taken_at: Monotonic,
    /// Counted bytes of a large message that is being received.
    backlog_bytes: usize,
    /// Whether the peer is an original node. It treats each character as a byte and crashes at one above U+00FF, so
    /// each byte of our UTF-8 is sent to it as a character.
    wants_bytes: bool,
    /// The named token that the node presented.
    token: Option<Rc<NamedToken>>,
    /// The check of the token by the web API, if it needs one.
    proof: Option<Proof>,
}

impl Drop for WebSocketServer {
    fn drop(&mut self) {
        self.access.account(self.backlog_bytes, 0);
    }
}

impl WebSocketServer {
    /// Creates the state of a newly accepted connection.
    #[must_use]
    pub fn new(access: Rc<WebSocketAccess>, peer: PeerAddress, now: Now) -> Self {
        let limits = Limits { body_bytes: 0, ..Limits::default() };
        let parser = Box::new(RequestParser::new(limits));
        let deadline = now.monotonic + access.settings().upgrade_timeout;
        Self {
            access,
            peer,
            phase: Phase::AwaitingUpgrade { parser, queue: SendQueue::default() },
            deadline,
            outputs: VecDeque::new(),
            waiting_bytes: 0,
            taken_at: now.monotonic,
            backlog_bytes: 0,
            wants_bytes: false,
            token: None,
            proof: None,
        }
    }

    /// The address of the client: the peer itself, or the client that a trusted proxy names.
    #[must_use]
    pub const fn client(&self) -> PeerAddress {
        self.peer
    }

    /// Takes received bytes.
    pub fn receive(&mut self, bytes: &[u8], now: Now) {
        match &mut self.phase {
            Phase::AwaitingUpgrade { parser, .. } => parser.receive(bytes),
            Phase::Open { socket, .. } | Phase::Closing { socket } => socket.receive(bytes),
            Phase::Ending { .. } | Phase::Closed { .. } => {}
        }
        self.advance(now);
    }

    /// The room for the next bytes of a large message; `None` if received bytes go to [`Self::receive`].
    pub fn room(&mut self) -> Option<&mut [u8]> {
        match &mut self.phase {
            Phase::Open { socket, .. } => socket.room(),
            _ => None,
        }
    }

    /// Takes the number of bytes that were read into [`Self::room`].
    pub fn received_into_room(&mut self, count_bytes: usize, now: Now) {
        if let Phase::Open { socket, .. } = &mut self.phase {
            socket.received_into_room(count_bytes);
        }
        self.advance(now);
    }

    /// Notes that the peer will send nothing more. A last message to it is still sent.
    pub fn handle_end(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Closing { .. } => self.take_queue(true, now),
            Phase::Ending { is_agreed, .. } => *is_agreed = true,
            Phase::AwaitingUpgrade { .. } | Phase::Open { .. } | Phase::Closed { .. } => return self.end(),
        }
        self.advance(now);
    }

    /// Notes that bytes were taken from the [`Self::send_queue`].
    pub fn handle_sent(&mut self, now: Now) {
        self.advance(now);
    }

    /// Queues the plain text of a message for the node, without HTML escapes (docs/protocol.md section 9).
    ///
    /// # Errors
    /// [`NotSent`]; the connection stays open.
    pub fn send(&mut self, text: Vec<u8>, now: Now) -> Result<(), NotSent> {
        let settings = self.access.settings();
        let Phase::Open { socket, node: Some(_) } = &mut self.phase else { return Err(NotSent::NotConnected) };
        let text = if self.wants_bytes { bytes_as_characters(text) } else { text };
        let (size_bytes, limit_bytes) = (text.len(), settings.max_message_bytes);
        if size_bytes > limit_bytes {
            return Err(NotSent::TooLarge { size_bytes, limit_bytes });
        }
        let waiting_bytes = socket.send_queue().len();
        if waiting_bytes > settings.max_waiting_bytes {
            return Err(NotSent::Congested { waiting_bytes });
        }
        socket.send_text(text);
        self.note_taken(now);
        Ok(())
    }

    /// Closes the connection, after a last JSON text if one is given. Messages of the peer are ignored from now on.
    pub fn close(&mut self, refusal: Option<&str>, now: Now) {
        match std::mem::replace(&mut self.phase, Phase::Closed { queue: SendQueue::default() }) {
            Phase::AwaitingUpgrade { .. } => self.outputs.push_back(WebSocketServerOutput::Close),
            Phase::Open { mut socket, .. } => {
                if let Some(text) = refusal {
                    socket.send_text(text.as_bytes().to_vec());
                }
                socket.send_close(Some(if refusal.is_some() { close_code::POLICY } else { close_code::NORMAL }), "");
                self.phase = Phase::Closing { socket };
                self.deadline = now.monotonic + CLOSE_TIMEOUT;
            }
            phase => self.phase = phase,
        }
        self.advance(now);
    }

    /// The bytes to send; call [`Self::handle_sent`] after some were taken.
    pub const fn send_queue(&mut self) -> &mut SendQueue {
        match &mut self.phase {
            Phase::Open { socket, .. } | Phase::Closing { socket } => socket.send_queue(),
            Phase::AwaitingUpgrade { queue, .. } | Phase::Ending { queue, .. } | Phase::Closed { queue } => queue,
        }
    }

    /// Number of bytes of an incomplete message.
    #[must_use]
    pub fn incoming_bytes(&self) -> usize {
        match &self.phase {
            Phase::Open { socket, .. } => socket.buffered_bytes(),
            _ => 0,
        }
    }

    /// Whether to read from the socket: not while the peer does not take what we send.
    #[must_use]
    pub const fn wants_read(&self) -> bool {
        match &self.phase {
            Phase::Open { socket, .. } => !socket.is_congested() && !self.is_verifying(),
            Phase::AwaitingUpgrade { .. } | Phase::Closing { .. } | Phase::Ending { .. } => true,
            Phase::Closed { .. } => false,
        }
    }

    /// The id of the node, once it has registered and while it is connected.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        match &self.phase {
            Phase::Open { node, .. } => *node,
            _ => None,
        }
    }

    /// The next side effect.
    pub fn poll_output(&mut self) -> Option<WebSocketServerOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        if matches!(self.phase, Phase::Closed { .. }) {
            return None;
        }
        let write = (self.waiting_bytes > 0).then(|| self.taken_at + self.access.settings().write_timeout);
        write.into_iter().chain(self.check_at()).chain([self.deadline]).min()
    }

    /// Handles deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.check_again(now);
        self.advance(now);
        if self.poll_timeout().is_none_or(|deadline| now.monotonic < deadline) {
            return;
        }
        if now.monotonic < self.deadline {
            self.log_refusal("does not take what is sent to it, closed", now);
            return self.end();
        }
        match &self.phase {
            Phase::AwaitingUpgrade { .. } => {
                self.log_refusal("sent no WebSocket request in time, closed", now);
                self.end();
            }
            Phase::Open { .. } => {
                self.refuse(self.silence(), now);
                self.advance(now);
            }
            Phase::Closing { .. } | Phase::Ending { .. } | Phase::Closed { .. } => self.end(),
        }
    }

    /// Ends the connection at once.
    fn end(&mut self) {
        if !matches!(self.phase, Phase::Closed { .. }) {
            self.phase = Phase::Closed { queue: SendQueue::default() };
            self.waiting_bytes = 0;
            self.outputs.push_back(WebSocketServerOutput::Close);
        }
    }

    /// Sends the rest of `queue`, then closes.
    fn wind_up(&mut self, queue: SendQueue, is_agreed: bool, now: Now) {
        self.phase = Phase::Ending { queue, is_agreed, is_shut_down: false };
        self.deadline = now.monotonic + CLOSE_TIMEOUT;
    }

    fn refuse(&mut self, message: &str, now: Now) {
        let name = self.node().map_or_else(String::new, |node| format!(" node {node}:"));
        self.log_refusal(&format!("WebSocket{name} {message}, closed"), now);
        let text = format!("{{\"code\":500,\"message\":\"{message}\"}}");
        self.close(Some(&text), now);
    }

    fn log_refusal(&mut self, reason: &str, now: Now) {
        let line = self.access.refusal_line(self.peer, reason, now.monotonic);
        self.outputs.extend(line.map(WebSocketServerOutput::Log));
    }

    fn advance(&mut self, now: Now) {
        self.read_request(now);
        self.read_events(now);
        self.account_backlog(now);
        self.note_taken(now);
        if self.waiting_bytes > 0 {
            return;
        }
        if let Phase::Ending { is_agreed, is_shut_down, .. } = &mut self.phase {
            if *is_agreed {
                self.end();
            } else if !*is_shut_down {
                *is_shut_down = true;
                self.deadline = now.monotonic + LINGER;
                self.outputs.push_back(WebSocketServerOutput::Shutdown);
            }
        }
    }

    /// Counts an incomplete message that is larger than usual towards the limit of all nodes.
    fn account_backlog(&mut self, now: Now) {
        let bytes = match &self.phase {
            Phase::Open { socket, .. } => socket.incoming_bytes(),
            _ => 0,
        };
        let bytes = if bytes > self.access.settings().max_message_bytes { bytes } else { 0 };
        if bytes == self.backlog_bytes {
            return;
        }
        if self.access.account(self.backlog_bytes, bytes) {
            self.backlog_bytes = bytes;
        } else {
            self.log_refusal(
                &format!("a message of {bytes} bytes exceeds the limit of all nodes together, closed"),
                now,
            );
            self.close(None, now);
        }
    }

    fn note_taken(&mut self, now: Now) {
        let waiting_bytes = self.send_queue().len();
        if waiting_bytes < self.waiting_bytes || self.waiting_bytes == 0 {
            self.taken_at = now.monotonic;
        }
        self.waiting_bytes = waiting_bytes;
    }

    fn read_request(&mut self, now: Now) {
        let Phase::AwaitingUpgrade { parser, queue } = &mut self.phase else { return };
        match parser.poll_event() {
            Ok(Some(RequestEvent::Head(head))) => {
                let empty = Box::new(RequestParser::new(Limits::default()));
                let remaining = std::mem::replace(parser, empty).into_remaining();
                self.handle_request(&head, remaining, now);
            }
            Ok(_) => {}
            Err(error) => {
                let status = error.status();
                let body = format!(r#"{{"error":"http_error_{status}","message":"{error}"}}"#).into();
                let persistence = Persistence::Close;
                let response = Response { status, body, allow: None, document: None, persistence, head_only: false };
                let mut queue = std::mem::take(queue);
                response.write(&HttpDate::new(now.wall), &mut queue);
                self.log_refusal(&format!("{error}, closed"), now);
                self.wind_up(queue, false, now);
            }
        }
    }

    fn handle_request(&mut self, head: &RequestHead, remaining: ReceiveBuffer, now: Now) {
        self.peer = self.access.client_of(self.peer, &head.source);
        let response = match upgrade::accept(head) {
            Ok(response) => response,
            Err(refusal) => {
                let mut queue = SendQueue::default();
                queue.push(refusal.response(&HttpDate::new(now.wall)));
                self.log_refusal(&format!("{refusal}, closed"), now);
                return self.wind_up(queue, false, now);
            }
        };
        self.wants_bytes = head.upgrade.as_ref().is_some_and(|upgrade| upgrade.is_from(PERL_NODE));
        let settings = self.access.settings();
        let limits = Settings { max_message_bytes: settings.max_message_bytes };
        let mut socket = Box::new(WebSocketConnection::server(limits, remaining));
        socket.send_queue().push(response);
        self.deadline = now.monotonic + settings.registration_timeout;
        self.phase = Phase::Open { socket, node: None };
        if let Some(admitted) = self.access.invited(head.authorization.as_deref(), now) {
            self.outputs.push_back(WebSocketServerOutput::Admitted(admitted));
            return self.close(Some(ADMITTED), now);
        }
        // The original refuses a wrong token only at the first message. Here it is refused at once, because nothing
        // else can follow.
        match self.access.admit(head.authorization.as_deref(), self.peer, now.monotonic) {
            Admission::Granted(token) => self.token = token,
            Admission::Ask(claim) => self.verify(claim),
            Admission::Wrong => self.refuse(WRONG_TOKEN, now),
            Admission::Braked => self.refuse(BRAKED, now),
        }
    }

    fn read_events(&mut self, now: Now) {
        if self.is_verifying() {
            return;
        }
        while let Phase::Open { socket, .. } | Phase::Closing { socket } = &mut self.phase {
            let event = match socket.poll_event() {
                Ok(Some(event)) => event,
                Ok(None) => return,
                Err(error) => {
                    self.log_refusal(&format!("{error}, closed"), now);
                    return self.take_queue(false, now);
                }
            };
            match (event, &mut self.phase) {
                (Event::Closed { .. }, _) => self.take_queue(true, now),
                (event, Phase::Open { node, .. }) => {
                    if node.is_some() {
                        self.deadline = now.monotonic + self.access.settings().silence_timeout;
                    }
                    match event {
                        Event::Text(text) => self.handle_text(&text, now),
                        Event::Binary(_) => self.refuse(UNREADABLE, now),
                        Event::Ping | Event::Pong | Event::Closed { .. } => {}
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes the send queue of the WebSocket that has ended, to send its last bytes.
    fn take_queue(&mut self, is_agreed: bool, now: Now) {
        match std::mem::replace(&mut self.phase, Phase::Closed { queue: SendQueue::default() }) {
            Phase::Open { socket, .. } | Phase::Closing { socket } => {
                self.wind_up(socket.into_send_queue(), is_agreed, now);
            }
            phase => self.phase = phase,
        }
    }
}

/// Converts each byte to the character with its number.
fn bytes_as_characters(text: Vec<u8>) -> Vec<u8> {
    if text.is_ascii() {
        return text;
    }
    text.into_iter().map(char::from).collect::<String>().into_bytes()
}
