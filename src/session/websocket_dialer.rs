//! The WebSocket that we open to a central (module `pullwss`; docs/protocol.md section 9, the node's side), with
//! reconnection.
//!
//! Out of scope: sockets, TLS (requested with `StartTls`), clocks, and the conversation (`node` registers, answers
//! pings and sends its history).

mod refusals;
mod settings;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

pub use self::settings::{WebSocketDialerSettings, WebSocketProxy};
use super::NotSent;
use super::back_off::{BackOff, Severity};
use super::log_throttle::LogThrottle;
use super::turns::Turns;
use crate::model::connection::Endpoint;
use crate::model::log::{Level, LogLine};
use crate::model::message::Message;
use crate::model::random::Random;
use crate::model::text;
use crate::model::time::{Monotonic, Now};
use crate::model::token::Token;
use crate::wire::gorgone::envelope;
use crate::wire::receive_buffer::ReceiveBuffer;
use crate::wire::send_queue::SendQueue;
use crate::wire::websocket::connection::{Event, Settings, WebSocketConnection, close_code};
use crate::wire::websocket::entities::{self, Extent};
use crate::wire::websocket::upgrade::{self, UpgradeCall};

const MODULE: &str = "pullwss";
/// Time after which a connection counts as successful, however it ends.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// Time that the central has after [`WebSocketDialer::stop`] to take the last messages and to answer our close.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// One side effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebSocketDialerOutput {
    /// Connect; answered by `handle_connected` or `handle_disconnected`.
    Connect {
        /// The central, or the proxy in front of it.
        endpoint: Endpoint,
    },
    /// Begin TLS on the connection: the send queue is encrypted from now on, and received bytes are decrypted.
    StartTls {
        /// Host name or address that the certificate must be valid for.
        server_name: String,
    },
    /// Drop the connection or the attempt to open one. Nothing more is reported about it.
    Disconnect,
    /// The WebSocket is open.
    Up,
    /// The connection broke, or an attempt failed. The next attempt follows automatically.
    Down {
        /// The cause, as a sentence for the log and for rows.
        reason: String,
    },
    /// A message from the central.
    Message(Message),
    /// The central sent an invalid message.
    Malformed {
        /// The token, if it could be read.
        token: Option<Token>,
        /// What is wrong.
        reason: String,
    },
    /// Write a line to the log.
    Log(LogLine),
}

enum State {
    /// Not started, or stopped.
    Stopped,
    /// Waiting for the next attempt.
    Waiting { until: Monotonic },
    /// The TCP connection is being opened.
    Connecting { deadline: Monotonic },
    /// The proxy's answer to CONNECT is awaited.
    Tunnelling { deadline: Monotonic, received: ReceiveBuffer },
    /// The TLS handshake and the upgrade to a WebSocket are in progress.
    Upgrading { deadline: Monotonic, call: UpgradeCall, received: ReceiveBuffer },
    /// Connected. `is_probed`: whether a ping was sent since the last bytes from the central.
    Up { socket: Box<WebSocketConnection>, since: Monotonic, heard_at: Monotonic, is_probed: bool },
    /// Our close is queued.
    Leaving { socket: Box<WebSocketConnection>, deadline: Monotonic },
}

/// The state machine. After every `handle_*`, `receive`, `send`, `reset` and `stop` take all outputs of
/// [`WebSocketDialer::poll_output`], then write the [`Self::send_queue`].
pub struct WebSocketDialer {
    settings: WebSocketDialerSettings,
    state: State,
    /// Bytes to send before the WebSocket is open.
    requests: SendQueue,
    back_off: BackOff,
    turns: Turns<(String, u16)>,
    log: LogThrottle,
    /// Whether the last log line above `debug` was about a failure, not about an open WebSocket.
    failure_shown: bool,
    /// Whether the central is an original Gorgone.
    is_perl: bool,
    /// Whether the central is of our own kind, which needs the fewest references.
    is_ours: bool,
    outputs: VecDeque<WebSocketDialerOutput>,
}

impl WebSocketDialer {
    /// Creates a connection that does nothing until [`WebSocketDialer::handle_start`].
    #[must_use]
    pub fn new(settings: WebSocketDialerSettings) -> Self {
        Self {
            settings,
            state: State::Stopped,
            requests: SendQueue::default(),
            back_off: BackOff::default(),
            turns: Turns::default(),
            log: LogThrottle::default(),
            failure_shown: true,
            is_perl: false,
            is_ours: false,
            outputs: VecDeque::new(),
        }
    }

    /// Starts to connect.
    pub fn handle_start(&mut self, now: Now) {
        if matches!(self.state, State::Stopped) {
            self.connect(now);
        }
    }

    /// Notes that the TCP connection is open.
    pub fn handle_connected(&mut self, now: Now, random: &mut dyn Random) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        match &self.settings.proxy {
            Some(proxy) => {
                let auth = proxy.auth.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
                self.requests.push(upgrade::connect_request(&self.settings.host, self.settings.port, auth));
                self.state = State::Tunnelling { deadline: self.step_deadline(now), received: ReceiveBuffer::new() };
            }
            None => self.ask(now, random),
        }
    }

    /// Handles a connection that broke or could not be opened, or whose TLS handshake failed.
    pub fn handle_disconnected(&mut self, reason: &str, now: Now, random: &mut dyn Random) {
        match self.state {
            State::Stopped | State::Waiting { .. } => {}
            State::Leaving { .. } => self.state = State::Stopped,
            _ => {
                let text = format!("no connection to {}: {reason}", self.settings.shown_address());
                self.fail(text, Severity::Transient, false, now, random);
            }
        }
    }

    /// Takes received bytes, decrypted if TLS was started.
    pub fn receive(&mut self, bytes: &[u8], now: Now, random: &mut dyn Random) {
        match &mut self.state {
            State::Tunnelling { received, .. } | State::Upgrading { received, .. } => received.extend_from_slice(bytes),
            State::Up { socket, .. } | State::Leaving { socket, .. } => socket.receive(bytes),
            State::Stopped | State::Waiting { .. } | State::Connecting { .. } => return,
        }
        self.read_tunnel(now, random);
        self.read_upgrade(now, random);
        self.read_events(now, random);
    }

    /// The room for the next bytes of a large message; `None` if received bytes go to [`Self::receive`].
    pub fn room(&mut self) -> Option<&mut [u8]> {
        match &mut self.state {
            State::Up { socket, .. } => socket.room(),
            _ => None,
        }
    }

    /// Takes the number of bytes that were read into [`Self::room`].
    pub fn received_into_room(&mut self, count_bytes: usize, now: Now, random: &mut dyn Random) {
        if let State::Up { socket, .. } = &mut self.state {
            socket.received_into_room(count_bytes);
        }
        self.read_events(now, random);
    }

    /// Queues the plain text of a message. It is HTML-escaped, except for REGISTERNODES and UNREGISTERNODES.
    ///
    /// # Errors
    /// [`NotSent`]; the connection stays open.
    pub fn send(&mut self, text: Vec<u8>) -> Result<(), NotSent> {
        // A row of the history may be larger than an original central accepts; the sender finds out (`node::dial_out`).
        let is_history = text.starts_with(b"[SETLOGS]");
        let WebSocketDialerSettings { max_message_bytes, max_waiting_bytes, .. } = self.settings;
        let limit_bytes = if is_history { max_waiting_bytes } else { max_message_bytes };
        let State::Up { socket, .. } = &mut self.state else { return Err(NotSent::NotConnected) };
        let text = if text.starts_with(b"[REGISTERNODES]") || text.starts_with(b"[UNREGISTERNODES]") {
            text
        } else {
            as_html(text, if self.is_ours { 0 } else { max_message_bytes })
        };
        let size_bytes = text.len();
        if size_bytes > limit_bytes {
            return Err(NotSent::TooLarge { size_bytes, limit_bytes });
        }
        let waiting_bytes = socket.send_queue().len();
        if waiting_bytes > max_waiting_bytes {
            return Err(NotSent::Congested { waiting_bytes });
        }
        socket.send_text(text);
        Ok(())
    }

    /// Handles deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) {
        if self.poll_timeout().is_none_or(|deadline| now.monotonic < deadline) {
            return;
        }
        let step = match &mut self.state {
            State::Stopped => return,
            State::Waiting { .. } => return self.connect(now),
            State::Leaving { .. } => return self.leave(),
            State::Up { socket, heard_at, is_probed, .. } => {
                if !std::mem::replace(is_probed, true) {
                    return socket.send_ping();
                }
                let seconds = now.monotonic.since(*heard_at).as_secs();
                let text = format!("{} was silent for {seconds} s", self.settings.shown_address());
                return self.fail(text, Severity::Transient, true, now, random);
            }
            State::Connecting { .. } => "to connect",
            State::Tunnelling { .. } => "to open the way through the proxy",
            State::Upgrading { .. } if self.settings.is_tls => "for TLS and to become a WebSocket",
            State::Upgrading { .. } => "to become a WebSocket",
        };
        let seconds = self.settings.step_timeout.as_secs();
        let text = format!("{} took more than {seconds} s {step}", self.settings.shown_address());
        self.fail(text, Severity::Transient, true, now, random);
    }

    /// When to call [`WebSocketDialer::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        match &self.state {
            State::Stopped => None,
            State::Waiting { until: deadline }
            | State::Connecting { deadline }
            | State::Tunnelling { deadline, .. }
            | State::Upgrading { deadline, .. }
            | State::Leaving { deadline, .. } => Some(*deadline),
            State::Up { heard_at, is_probed: false, .. } => Some(*heard_at + self.settings.silence_timeout / 2),
            State::Up { heard_at, .. } => Some(*heard_at + self.settings.silence_timeout),
        }
    }

    /// The next side effect.
    pub fn poll_output(&mut self) -> Option<WebSocketDialerOutput> {
        self.outputs.pop_front()
    }

    /// The bytes to send over the connection, through TLS after `StartTls`.
    pub const fn send_queue(&mut self) -> &mut SendQueue {
        match &mut self.state {
            State::Up { socket, .. } | State::Leaving { socket, .. } => socket.send_queue(),
            _ => &mut self.requests,
        }
    }

    /// Whether to read from the socket: not while the central does not take what we send.
    #[must_use]
    pub const fn wants_read(&self) -> bool {
        match &self.state {
            State::Up { socket, .. } => !socket.is_congested(),
            _ => true,
        }
    }

    /// Whether the WebSocket is open.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether the central of the last connection is an original Gorgone.
    #[must_use]
    pub const fn is_perl(&self) -> bool {
        self.is_perl
    }

    /// Whether the connection was never started, or has ended after [`WebSocketDialer::stop`].
    #[must_use]
    #[cfg(test)]
    pub const fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Drops the connection and reconnects at once. A connection that was not started stays so.
    pub fn reset(&mut self, now: Now) {
        match self.state {
            State::Stopped | State::Leaving { .. } => return,
            State::Waiting { .. } => {}
            _ => self.outputs.push_back(WebSocketDialerOutput::Disconnect),
        }
        if self.is_up() {
            let reason = format!("the connection to {} is built again", self.settings.shown_address());
            self.outputs.push_back(WebSocketDialerOutput::Down { reason });
        }
        self.connect(now);
    }

    /// Ends the connection permanently: sends the waiting messages, then a close; `Disconnect` follows within two
    /// seconds.
    pub fn stop(&mut self, now: Now) {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Stopped | State::Waiting { .. } => {}
            State::Up { mut socket, .. } => {
                socket.send_close(Some(close_code::GOING_AWAY), "");
                self.state = State::Leaving { socket, deadline: now.monotonic + STOP_TIMEOUT };
            }
            leaving @ State::Leaving { .. } => self.state = leaving,
            _ => self.outputs.push_back(WebSocketDialerOutput::Disconnect),
        }
    }

    fn connect(&mut self, now: Now) {
        self.requests = SendQueue::default();
        self.state = State::Connecting { deadline: self.step_deadline(now) };
        let (host, port) = match &self.settings.proxy {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            None => (self.settings.host.clone(), self.settings.port),
        };
        self.outputs.push_back(WebSocketDialerOutput::Connect { endpoint: Endpoint::Tcp { host, port } });
    }

    /// Starts TLS if configured, and requests the upgrade to a WebSocket.
    fn ask(&mut self, now: Now, random: &mut dyn Random) {
        let settings = &self.settings;
        if settings.is_tls {
            self.outputs.push_back(WebSocketDialerOutput::StartTls { server_name: settings.host.clone() });
        }
        let call = UpgradeCall::new(random);
        self.requests.push(call.request(
            &settings.host,
            settings.port,
            settings.is_tls,
            &settings.uri,
            &settings.token,
        ));
        self.state = State::Upgrading { deadline: self.step_deadline(now), call, received: ReceiveBuffer::new() };
    }

    fn read_tunnel(&mut self, now: Now, random: &mut dyn Random) {
        let State::Tunnelling { received, .. } = &mut self.state else { return };
        let has_surplus = |received: &ReceiveBuffer| !received.is_empty();
        match upgrade::read_connect_response(received) {
            Ok(false) => {}
            // With or without TLS the central must not send anything before our request, and our request is sent before
            // the answer of the proxy is complete.
            Ok(true) if has_surplus(received) || !self.requests.is_empty() => {
                let text = format!("{} sent unexpected bytes", self.settings.shown_proxy());
                self.fail(text, Severity::Transient, true, now, random);
            }
            Ok(true) => self.ask(now, random),
            Err(problem) => {
                let (text, severity) = refusals::of_proxy(&self.settings, &problem);
                self.fail(text, severity, true, now, random);
            }
        }
    }

    fn read_upgrade(&mut self, now: Now, random: &mut dyn Random) {
        let State::Upgrading { call, received, .. } = &mut self.state else { return };
        match call.read_response(received) {
            Ok(false) => {}
            Ok(true) => {
                (self.is_perl, self.is_ours) = (call.is_perl(), call.is_ours());
                let limits = Settings { max_message_bytes: self.settings.max_message_bytes };
                let mut socket = Box::new(WebSocketConnection::client(limits, std::mem::take(received), random));
                // The request has been sent completely, because the answer depends on it.
                *socket.send_queue() = std::mem::take(&mut self.requests);
                let at = now.monotonic;
                self.turns.works();
                self.state = State::Up { socket, since: at, heard_at: at, is_probed: false };
                self.outputs.push_back(WebSocketDialerOutput::Up);
                let level = if std::mem::take(&mut self.failure_shown) { Level::Info } else { Level::Debug };
                let text = format!("connected to {}", self.settings.shown_address());
                self.outputs.push_back(WebSocketDialerOutput::Log(LogLine::new(level, MODULE, text)));
            }
            Err(problem) => {
                let (text, severity) = refusals::of_upgrade(&self.settings, &problem);
                self.fail(text, severity, true, now, random);
            }
        }
    }

    fn read_events(&mut self, now: Now, random: &mut dyn Random) {
        loop {
            let (State::Up { socket, .. } | State::Leaving { socket, .. }) = &mut self.state else { return };
            let event = match socket.poll_event() {
                Ok(Some(event)) => event,
                Ok(None) => return,
                Err(error) => {
                    let text = format!("{}: {error}", self.settings.shown_address());
                    return self.fail(text, Severity::Transient, true, now, random);
                }
            };
            match (event, &mut self.state) {
                (Event::Closed { .. }, State::Leaving { .. }) => return self.leave(),
                (_, State::Leaving { .. }) => {}
                (Event::Closed { code, reason }, _) => {
                    let text = refusals::of_close(&self.settings, code, &reason);
                    return self.fail(text, Severity::Transient, true, now, random);
                }
                (event, state) => {
                    if let State::Up { heard_at, is_probed, .. } = state {
                        (*heard_at, *is_probed) = (now.monotonic, false);
                    }
                    match event {
                        Event::Text(text) => self.handle_text(text, now, random),
                        Event::Binary(bytes) => {
                            let reason = format!("a binary message of {} bytes", bytes.len());
                            self.outputs.push_back(WebSocketDialerOutput::Malformed { token: None, reason });
                        }
                        Event::Ping | Event::Pong | Event::Closed { .. } => {}
                    }
                }
            }
        }
    }

    fn handle_text(&mut self, text: Vec<u8>, now: Now, random: &mut dyn Random) {
        if let Some(message) = refusals::message_of(&text) {
            let (text, severity) = refusals::of_central(&self.settings, &message);
            return self.fail(text, severity, true, now, random);
        }
        self.outputs.push_back(match envelope::parse(text) {
            Ok(message) => WebSocketDialerOutput::Message(message),
            Err(error) => WebSocketDialerOutput::Malformed { reason: error.to_string(), token: error.token },
        });
    }

    /// Ends the attempt or the connection. The next attempt follows after the back-off.
    fn fail(&mut self, reason: String, severity: Severity, disconnect: bool, now: Now, random: &mut dyn Random) {
        if matches!(self.state, State::Leaving { .. }) {
            return self.leave();
        }
        if let State::Up { since, .. } = &self.state
            && now.monotonic.since(*since) >= STABLE_AFTER
        {
            self.back_off.reset();
        }
        if disconnect {
            self.outputs.push_back(WebSocketDialerOutput::Disconnect);
        }
        self.requests = SendQueue::default();
        let (was_up, settings) = (matches!(self.state, State::Up { .. }), &mut self.settings);
        let mut place = (settings.host.clone(), settings.port);
        let delay = self.turns.next(&mut place, was_up, &mut self.back_off, severity, random);
        (settings.host, settings.port) = place;
        self.state = State::Waiting { until: now.monotonic + delay };
        let level = if severity == Severity::NeedsOperator { Level::Error } else { Level::Warning };
        let line = self.log.line(level, MODULE, reason.clone(), now.monotonic);
        self.failure_shown |= line.level > Level::Debug;
        self.outputs.push_back(WebSocketDialerOutput::Log(line));
        self.outputs.push_back(WebSocketDialerOutput::Down { reason });
    }

    fn leave(&mut self) {
        self.state = State::Stopped;
        self.outputs.push_back(WebSocketDialerOutput::Disconnect);
    }

    fn step_deadline(&self, now: Now) -> Monotonic {
        now.monotonic + self.settings.step_timeout
    }
}

/// Escapes a text as the original does; if the result is too large for the central, only with the references that are
/// necessary.
fn as_html(text: Vec<u8>, limit_bytes: usize) -> Vec<u8> {
    let html = {
        let text = text::from_bytes(&text);
        let fits = entities::encoded_bytes(&text, Extent::Usual) <= limit_bytes;
        let extent = if fits { Extent::Usual } else { Extent::Least };
        match entities::encode(&text, extent) {
            Cow::Borrowed(_) => None,
            Cow::Owned(html) => Some(html.into_bytes()),
        }
    };
    html.unwrap_or(text)
}
