//! One connection to the REST API (docs/protocol.md section 13): reads requests, lets authorised ones through as calls,
//! writes the answers.
//!
//! Pipelined requests start in order, up to `max_pipelined` at once, without waiting for earlier answers. Calls are
//! handled one after the other, so a `GET` after a `POST` sees the effect of that `POST`; only their waiting for logs
//! overlaps. The answers are sent in the order of the requests.
//!
//! Out of scope: sockets, clocks, TLS, routing of paths, JSON.

pub mod access;
mod admission;
mod answers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use self::access::{ApiAccess, LoginCheck};
use self::answers::{Answers, ResponseForm};
use crate::model::api::{ApiAnswer, ApiCall, Caller, Method};
use crate::model::connection::PeerAddress;
use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};
use crate::wire::http::date::HttpDate;
use crate::wire::http::head::{BodyLength, RequestHead};
use crate::wire::http::head_scanner::Limits;
use crate::wire::http::request::{Awaited, RequestEvent, RequestParser};
use crate::wire::http::response::{CONTINUE, Persistence};
use crate::wire::send_queue::SendQueue;

const TOO_SLOW: &str = r#"{"error":"http_error_408","message":"the request did not arrive in time; send it at once"}"#;

/// Maximum number of refused credentials of a connection before it is closed.
const MAX_AUTH_FAILURES: u32 = 10;

/// Maximum size of the body of a refused request that is read and discarded; with a larger one the connection is
/// closed.
const MAX_DISCARDED_BYTES: usize = 64 * 1024;

/// Time that the peer has to close after the last answer, so that it can read that answer before unread bytes reset the
/// connection (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Fewer bytes than this taken within the write time-out count as none.
const MIN_TAKEN_BYTES: u64 = 1024;

/// Side effects for the owner of the connection.
#[derive(PartialEq, Eq)]
pub enum ApiClientOutput {
    /// Have this call answered by [`ApiClient::handle_answer`] with the same number.
    Call {
        /// The call's number on this connection.
        number: u64,
        call: ApiCall,
    },
    /// Have a worker check this password and call [`ApiClient::handle_login`].
    CheckLogin(LoginCheck),
    /// Everything is sent: shut down the sending direction, but keep reading and discarding until
    /// [`ApiClientOutput::Close`].
    Shutdown,
    /// Close the connection now. Answers to its calls are no longer needed. This is the last output.
    Close,
    /// Write a line to the log.
    Log(LogLine),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are read.
    Open,
    /// No more requests are read. Outstanding answers are sent.
    LastAnswers,
    /// Everything is sent. The peer should close before this time.
    Lingering(Monotonic),
    /// [`ApiClientOutput::Close`] was output.
    Closed,
}

/// What we wait for from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Nothing: we do not read, or the peer is waiting for us.
    Paused,
    FirstRequest,
    /// Another request.
    NextRequest,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
}

/// A request whose body is being received.
enum Current {
    /// It will become a call.
    Accepted(Box<RequestHead>, Method, Caller),
    /// The password of its head is being checked.
    Checked(Box<RequestHead>, LoginCheck),
    /// It has been answered, or there is none.
    Nothing,
}

/// The state of one connection. After every `handle_…` call take all outputs and write the [`Self::send_queue`].
pub struct ApiClient {
    access: Rc<ApiAccess>,
    peer: PeerAddress,
    parser: RequestParser,
    current: Current,
    continue_owed: bool,
    answers: Answers,
    send_queue: SendQueue,
    outputs: VecDeque<ApiClientOutput>,
    phase: Phase,
    peer_has_ended: bool,
    auth_failures: u32,
    /// The `Host` of an earlier request that was let in and did not come from a page.
    known_host: Option<Box<[u8]>>,
    date: HttpDate,
    /// Answers wait until the peer has taken enough of earlier ones.
    is_congested: bool,
    /// Number of requests begun so far. Together with `reading` it shows progress of the peer.
    requests: u64,
    reading: (u64, Reading),
    reading_since: Monotonic,
    /// Total number of bytes put into the send queue, and how many of them had been taken at `taken_at`.
    queued_bytes: u64,
    taken_bytes: u64,
    taken_at: Monotonic,
}

impl ApiClient {
    /// A newly accepted connection.
    #[must_use]
    pub fn new(access: Rc<ApiAccess>, peer: PeerAddress, now: Now) -> Self {
        let limits = Limits { body_bytes: access.settings().max_body_bytes, ..Limits::default() };
        Self {
            access,
            peer,
            parser: RequestParser::new(limits),
            current: Current::Nothing,
            continue_owed: false,
            answers: Answers::default(),
            send_queue: SendQueue::default(),
            outputs: VecDeque::new(),
            phase: Phase::Open,
            peer_has_ended: false,
            auth_failures: 0,
            known_host: None,
            date: HttpDate::new(now.wall),
            is_congested: false,
            requests: 0,
            reading: (0, Reading::FirstRequest),
            reading_since: now.monotonic,
            queued_bytes: 0,
            taken_bytes: 0,
            taken_at: now.monotonic,
        }
    }

    /// Other callers are let in from now on. A request whose password is being checked is refused, one whose body comes
    /// is judged again, and the next ones by what holds now. Whether calls are unanswered.
    #[must_use]
    pub fn renew_access(&mut self, access: &Rc<ApiAccess>, now: Now) -> bool {
        self.access = Rc::clone(access);
        self.known_host = None;
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Accepted(head, ..) => self.handle_head(head, now),
            Current::Checked(..) => self.refuse_last(401, admission::UNAUTHORIZED.to_owned()),
            Current::Nothing => {}
        }
        self.advance(now);
        !self.answers.is_empty()
    }

    /// Takes received bytes.
    pub fn receive(&mut self, bytes: &[u8], now: Now) {
        self.parser.receive(bytes);
        if self.phase != Phase::Open {
            let buffer = self.parser.receive_buffer();
            buffer.consume(buffer.len());
        } else if !self.access.is_heard(self.peer) {
            self.refuse_address(self.peer, now);
        }
        self.advance(now);
    }

    /// The peer will send nothing more. Requests already received are still answered.
    pub fn handle_end(&mut self, now: Now) {
        self.peer_has_ended = true;
        if self.phase == Phase::Open && !self.may_parse() {
            // Requests in the buffer are still parsed when there is room.
            return self.advance(now);
        }
        self.stop_reading();
        self.advance(now);
    }

    /// The answer to a call, in any order. An unknown number is ignored.
    pub fn handle_answer(&mut self, number: u64, answer: ApiAnswer, now: Now) {
        self.answers.set_answer(number, answer);
        self.advance(now);
    }

    /// Notes that bytes were taken from the [`Self::send_queue`].
    pub fn handle_sent(&mut self, now: Now) {
        self.advance(now);
    }

    /// The bytes to write; call [`Self::handle_sent`] after some were taken.
    pub const fn send_queue(&mut self) -> &mut SendQueue {
        &mut self.send_queue
    }

    /// Number of bytes of all unwritten answers, including those that wait for earlier answers.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.send_queue.len().saturating_add(self.answers.ready_bytes())
    }

    /// Bytes of a request that has not come whole.
    #[must_use]
    pub const fn incoming_bytes(&self) -> usize {
        let of_body = match self.parser.awaited() {
            Awaited::Body { received_bytes } => received_bytes,
            Awaited::Request | Awaited::Head | Awaited::Nothing => 0,
        };
        of_body.saturating_add(self.parser.buffered_bytes())
    }

    /// Whether to read from the socket: not while too many requests or answers are waiting.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Open => !self.peer_has_ended && self.may_parse(),
            Phase::LastAnswers | Phase::Lingering(_) => !self.peer_has_ended,
            Phase::Closed => false,
        }
    }

    /// The next side effect.
    pub fn poll_output(&mut self) -> Option<ApiClientOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let write = (!self.send_queue.is_empty()).then(|| self.taken_at + self.access.settings().write_timeout);
        let other = match self.phase {
            Phase::Open => self.reading_deadline(),
            Phase::LastAnswers => None,
            Phase::Lingering(until) => Some(until),
            Phase::Closed => return None,
        };
        write.into_iter().chain(other).min()
    }

    /// Handles deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.advance(now);
        if self.phase == Phase::Closed || self.poll_timeout().is_none_or(|deadline| now.monotonic < deadline) {
            return;
        }
        let write_deadline = self.taken_at + self.access.settings().write_timeout;
        if !self.send_queue.is_empty() && now.monotonic >= write_deadline {
            self.log_refusal("does not take its answers, closed", now);
            return self.close();
        }
        match (self.phase, self.reading.1) {
            (Phase::Open, Reading::Head | Reading::Body) => {
                self.refuse_last(408, TOO_SLOW.to_owned());
                self.advance(now);
            }
            _ => self.close(),
        }
    }

    fn close(&mut self) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.outputs.push_back(ApiClientOutput::Close);
        }
    }

    fn log_refusal(&mut self, reason: &str, now: Now) {
        self.log_refusal_of(self.peer, reason, now);
    }

    fn log_refusal_of(&mut self, from: PeerAddress, reason: &str, now: Now) {
        let line = self.access.refusal_line(from, reason, now.monotonic);
        self.outputs.extend(line.map(ApiClientOutput::Log));
    }

    /// Parses and writes until neither makes progress.
    fn advance(&mut self, now: Now) {
        if self.phase == Phase::Closed {
            return;
        }
        self.note_taken(now);
        loop {
            self.is_congested =
                if self.is_congested { !self.send_queue.is_below_low() } else { self.send_queue.is_above_high() };
            let has_parsed = self.phase == Phase::Open && self.may_parse() && self.parse_one(now);
            if !self.write_ready(now) && !has_parsed {
                break;
            }
        }
        if self.phase == Phase::Open && self.peer_has_ended && self.may_parse() {
            self.stop_reading();
        }
        self.end_if_done(now);
        self.note_reading(now);
    }

    fn may_parse(&self) -> bool {
        let settings = self.access.settings();
        !self.is_congested
            && !matches!(self.current, Current::Checked(..))
            && self.answers.len() < settings.max_pipelined
            && self.answers.body_bytes() < settings.max_body_bytes
    }

    /// Handles one event of the parser; `false` when it needs more bytes.
    fn parse_one(&mut self, now: Now) -> bool {
        match self.parser.poll_event() {
            Ok(None) => return false,
            Ok(Some(RequestEvent::Head(head))) => self.handle_head(head, now),
            Ok(Some(RequestEvent::Body(body))) => self.handle_body(body),
            Err(error) => {
                let status = error.status();
                self.refuse_last(status, format!(r#"{{"error":"http_error_{status}","message":"{error}"}}"#));
            }
        }
        true
    }

    fn handle_body(&mut self, body: Vec<u8>) {
        self.continue_owed = false;
        let Current::Accepted(head, method, caller) = std::mem::replace(&mut self.current, Current::Nothing) else {
            return;
        };
        let form = ResponseForm::of(&head);
        let number = self.answers.await_answer(form, body.len());
        if form.persistence == Persistence::Close {
            self.stop_reading();
        }
        let mut path = head.target.path;
        let below_api = path.first().is_some_and(|root| root == "api");
        if below_api {
            path.remove(0);
        }
        let (query, wishes) = (head.target.query, head.wishes);
        let call = ApiCall { below_api, method, path, query, wishes, body, caller };
        self.outputs.push_back(ApiClientOutput::Call { number, call });
    }

    /// Answers a request without a call. The connection stays open if the end of the body is near.
    fn refuse(&mut self, head: &RequestHead, status: u16, body: &'static str) {
        self.access.count_refused(status);
        let mut form = ResponseForm::of(head);
        // A client that awaits `100 Continue` may or may not send its body after another answer, so the next bytes are
        // ambiguous.
        let body_is_near = matches!(head.body, BodyLength::Known(..=MAX_DISCARDED_BYTES)) && !head.expects_continue;
        if !body_is_near || self.auth_failures >= MAX_AUTH_FAILURES {
            form.persistence = Persistence::Close;
        }
        self.answers.push_ready(form.refuse(status, body.into()));
        if form.persistence == Persistence::Close {
            self.stop_reading();
        } else {
            self.parser.discard_body();
        }
    }

    /// Gives the last answer of this connection to the request being read.
    fn refuse_last(&mut self, status: u16, body: String) {
        self.access.count_refused(status);
        self.answers.push_ready(ResponseForm::last().refuse(status, body.into()));
        self.stop_reading();
    }

    fn stop_reading(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::LastAnswers;
            self.current = Current::Nothing;
            self.continue_owed = false;
            let buffer = self.parser.receive_buffer();
            buffer.consume(buffer.len());
        }
    }

    /// Writes the responses that are next in order. Returns `false` if there was none.
    fn write_ready(&mut self, now: Now) -> bool {
        let before_bytes = self.send_queue.len();
        while let Some(response) = self.answers.pop_ready() {
            self.date.update(now.wall);
            response.write(&self.date, &mut self.send_queue);
        }
        if self.continue_owed && self.answers.is_empty() {
            self.continue_owed = false;
            self.send_queue.extend_from_slice(CONTINUE);
        }
        if before_bytes == 0 {
            self.taken_at = now.monotonic;
        }
        let written_bytes = self.send_queue.len().saturating_sub(before_bytes);
        self.queued_bytes = self.queued_bytes.saturating_add(u64::try_from(written_bytes).unwrap_or(u64::MAX));
        written_bytes > 0
    }

    /// After the last answer is sent: shuts down the sending direction, then waits for the peer's end.
    fn end_if_done(&mut self, now: Now) {
        if self.phase == Phase::LastAnswers && self.answers.is_empty() && self.send_queue.is_empty() {
            self.phase = Phase::Lingering(now.monotonic + LINGER);
            if !self.peer_has_ended {
                self.outputs.push_back(ApiClientOutput::Shutdown);
            }
        }
        if matches!(self.phase, Phase::Lingering(_)) && self.peer_has_ended {
            self.close();
        }
    }

    /// Notes how much of the send queue the peer has taken since the last call.
    fn note_taken(&mut self, now: Now) {
        let left_bytes = u64::try_from(self.send_queue.len()).unwrap_or(u64::MAX);
        let taken_bytes = self.queued_bytes.saturating_sub(left_bytes);
        if left_bytes == 0 || taken_bytes.saturating_sub(self.taken_bytes) >= MIN_TAKEN_BYTES {
            self.taken_bytes = taken_bytes;
            self.taken_at = now.monotonic;
        }
    }

    /// Restarts the deadline when we wait for something else than before.
    fn note_reading(&mut self, now: Now) {
        let all_is_sent = self.answers.is_empty() && self.send_queue.is_empty();
        let reading = match self.parser.awaited() {
            _ if self.phase != Phase::Open || !self.may_parse() => Reading::Paused,
            Awaited::Request if self.requests == 0 => Reading::FirstRequest,
            Awaited::Request if all_is_sent => Reading::NextRequest,
            Awaited::Request | Awaited::Nothing => Reading::Paused,
            Awaited::Head => Reading::Head,
            // The peer waits for our `100 Continue`, which waits for earlier answers.
            Awaited::Body { .. } if self.continue_owed => Reading::Paused,
            Awaited::Body { .. } => Reading::Body,
        };
        // A first head counts from the start of the connection.
        let goes_on = self.reading == (0, Reading::FirstRequest) && (self.requests, reading) == (0, Reading::Head);
        if self.reading != (self.requests, reading) {
            self.reading = (self.requests, reading);
            if !goes_on {
                self.reading_since = now.monotonic;
            }
        }
    }

    fn reading_deadline(&self) -> Option<Monotonic> {
        let settings = self.access.settings();
        let allowance = match self.reading.1 {
            Reading::Paused => return None,
            Reading::FirstRequest | Reading::Head => settings.head_timeout,
            Reading::NextRequest => settings.idle_timeout,
            Reading::Body => match self.parser.awaited() {
                Awaited::Body { received_bytes } => {
                    let seconds = u64::try_from(received_bytes / 1024).unwrap_or(u64::MAX);
                    settings.body_timeout.saturating_add(Duration::from_secs(seconds))
                }
                Awaited::Request | Awaited::Head | Awaited::Nothing => settings.body_timeout,
            },
        };
        Some(self.reading_since + allowance)
    }
}
