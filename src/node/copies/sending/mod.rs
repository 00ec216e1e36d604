//! Copies that we send (docs/protocol.md section 12): jobs read and pack the source of a REMOTECOPY, which is sent as
//! PROCESSCOPY messages. A few copies are in progress at a time.
//!
//! A push node and every node of our own kind confirm each message; for any other the transport's send queue shows when
//! to send more. A receiver of our own kind is queried first: an interrupted copy resumes, and a file that is already
//! there is not sent.
//!
//! Out of scope: files, and the work of the receiver.

mod answers;
mod breaks;
mod differences;
mod kind;
mod speed;
#[cfg(test)]
mod tests;

use crate::model::host_work::HostWork;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::action::Action;
use crate::model::broken::{self, Fault};
use crate::model::copy::{Chunk, CopyFailure, CopyKind, DigestKind, SourceDone, SourceId, SourceStep};
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;
use crate::model::token::Token;

use super::ending::refusal_row;
use super::pace::Pace;
use super::request::{CopyRequest, Dialect, web_socket_chunk_bytes};
use crate::node::context::Context;
use crate::node::nodes::Nodes;
use crate::node::nodes::node::Link;
use crate::node::nodes::pathway::Route;
use crate::node::output::Output;
use crate::node::timers::Timer;

use speed::Speed;

/// Maximum number of copies, including waiting ones.
const COPIES_MAX: usize = 10_000;
/// Maximum number of copies that are read and sent at the same time.
const ACTIVE_MAX: usize = 8;
/// Maximum number of unconfirmed chunks.
const WINDOW: usize = 8;
/// The full size of a chunk where `buffer_size` is larger.
const FULL_BYTES: usize = 128 << 10;
/// Number of chunks that a job reads. Below this number of ready chunks the next job is started.
const READ_COUNT: usize = 2;
/// Maximum number of chunks that are sealed in one go, because no job starts and no byte is sent in the meantime. The
/// next confirmation sends more.
const SEND_COUNT: usize = 2;

/// The state of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It waits for other copies.
    Queued,
    /// The source is being opened, or a directory packed.
    Opening,
    /// It is not known yet whether the receiver is of our own kind.
    AwaitingKind,
    /// The receiver was queried for its data, with the digest of the whole file if it may have all of it.
    Asking { number: u64, md5: Option<String> },
    /// The digest of the whole file is computed for that query.
    Digesting,
    /// The source is read again up to the receiver's position, to compare with the receiver's digest.
    Rewinding { received: u64, md5: String, pieces: String },
    /// They differ. The pieces of both are compared, to go on behind those that agree.
    Comparing { received: u64 },
    /// The receiver compares the manifest with this digest.
    Differing { number: u64, md5: String },
    /// A part of its answer is taken. `next` is the number of the entry to ask for.
    Selecting { md5: String, next: Option<u64> },
    /// The directory is packed: all of it, or what the receiver needs of the manifest with this digest.
    Packing { md5: Option<String> },
    /// Chunks are being sent.
    Sending,
    /// All chunks are sent, and the digest is computed.
    Finishing,
    /// Everything is read, and the last chunks are being confirmed.
    Confirming { md5: String },
    /// The connection broke. The copy resumes when it is back.
    Interrupted,
}

#[derive(Debug)]
struct Copy {
    token: Token,
    request: CopyRequest,
    route: Route,
    kind: CopyKind,
    total: u64,
    /// The digest that is fastest here, offered to a receiver of our own kind.
    digest: DigestKind,
    state: State,
    /// Whether the receiver is known to be of our own kind.
    is_ours: bool,
    /// Whether an archive has what differs from a manifest that was sent.
    by_difference: bool,
    /// Whether a step is in progress, and whether its result is not needed any more.
    has_step: bool,
    is_stale: bool,
    /// Chunks that have been read.
    ready: VecDeque<Chunk>,
    /// Whether all chunks have been read.
    all_read: bool,
    /// The end positions of the unconfirmed chunks.
    in_flight: VecDeque<u64>,
    /// How fast the way is.
    speed: Speed,
    /// Whether the transport has room, for a receiver that does not confirm.
    has_room: bool,
    /// Whether a chunk has been sent over the link.
    has_sent: bool,
    /// Whether the receiver has answered a query.
    has_answer: bool,
    /// Whether the receiver got the digest of the whole file and has not answered. If it has the file, the copy has ended
    /// there.
    may_have_ended: bool,
    /// Until when a route that is broken behind a relay is retried.
    retry_until: Option<Monotonic>,
}

/// Every copy that we send.
#[derive(Debug, Default)]
pub(in crate::node) struct Sending {
    all: BTreeMap<SourceId, Copy>,
    by_token: BTreeMap<Token, SourceId>,
    queued: VecDeque<SourceId>,
    next_query: u64,
    pace: Pace,
}

/// The copies that we send, with references to the state that they use.
pub(in crate::node) struct Sender<'a> {
    pub context: &'a mut Context,
    pub nodes: &'a mut Nodes,
    pub sending: &'a mut Sending,
}

impl Sending {
    /// Returns whether a token belongs to a copy that continues.
    pub(super) fn has(&self, token: &Token) -> bool {
        self.by_token.contains_key(token)
    }

    /// Returns whether copies to a node are in progress; with an id, only earlier ones count. Interrupted copies do not
    /// count.
    pub(super) fn is_sending_to(&self, target: NodeId, before: Option<SourceId>) -> bool {
        let is_before = |source: &SourceId| before.is_none_or(|before| *source < before);
        self.all
            .iter()
            .any(|(source, copy)| copy.route.target == target && is_before(source) && copy.state != State::Interrupted)
    }

    fn of_token(&self, token: &str) -> Option<SourceId> {
        self.by_token.get(token).copied()
    }

    fn of_node(&self, through: NodeId) -> Vec<SourceId> {
        self.all.iter().filter(|(_, copy)| copy.route.through == through).map(|(source, _)| *source).collect()
    }

    fn active(&self) -> usize {
        self.all.values().filter(|copy| !matches!(copy.state, State::Queued | State::Interrupted)).count()
    }
}

impl Sender<'_> {
    /// Starts a REMOTECOPY with another target than this daemon or an SSH host.
    pub(in crate::node) fn begin(&mut self, token: &Token, route: Route, data: &str) {
        if self.sending.has(token) {
            let text = format!("REMOTECOPY with the token {token} of a copy in progress: ignored");
            return self.context.log(LogLine::warning("proxy", text).of_token(token));
        }
        let request = match CopyRequest::read(data) {
            Ok(request) => request,
            Err(reason) => return refusal_row(self.context, token, reason),
        };
        if self.sending.all.len() >= COPIES_MAX {
            return self.context.fail(token, "proxy - too many copies wait, try again later");
        }
        let source = self.context.begin_copy();
        let round_trip = self.nodes.get(route.through).and_then(|node| node.liveness.round_trip);
        self.context.open_token(token, None);
        let copy = Copy {
            token: token.clone(),
            request,
            route,
            kind: CopyKind::Regular,
            total: 0,
            digest: DigestKind::Md5,
            state: State::Queued,
            is_ours: false,
            by_difference: false,
            has_step: false,
            is_stale: false,
            ready: VecDeque::new(),
            all_read: false,
            in_flight: VecDeque::new(),
            speed: Speed::new(round_trip),
            has_room: true,
            has_sent: false,
            has_answer: false,
            may_have_ended: false,
            retry_until: None,
        };
        self.sending.all.insert(source, copy);
        self.sending.by_token.insert(token.clone(), source);
        self.sending.queued.push_back(source);
        self.start_queued();
    }

    fn start_queued(&mut self) {
        while self.sending.active() < ACTIVE_MAX {
            let Some(source) = self.sending.queued.pop_front() else { break };
            let Some(copy) = self.sending.all.get_mut(&source) else { continue };
            copy.state = State::Opening;
            self.open(source);
        }
    }

    fn source_step(&mut self, source: SourceId, step: SourceStep) {
        if let Some(copy) = self.sending.all.get_mut(&source) {
            copy.has_step = true;
            self.context.output(Output::Host(HostWork::ReadSource { source, step }));
        }
    }

    /// Handles the result of a step of a copy.
    pub(in crate::node) fn done(&mut self, source: SourceId, done: SourceDone) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        copy.has_step = false;
        let is_stale = std::mem::take(&mut copy.is_stale);
        if let SourceDone::Failed(failure) = done {
            return self.fail(source, &failure);
        }
        if is_stale {
            // The connection is back.
            if self.is_link_up(source) {
                self.resume(source);
            }
            return;
        }
        match (done, copy.state.clone()) {
            (SourceDone::Opened { kind, total, notes, digest }, state) => {
                copy.kind = kind;
                copy.digest = digest;
                copy.total = total;
                copy.request.complete_destination(kind);
                copy.request.note(&notes);
                for note in notes {
                    self.context.log(LogLine::warning("proxy", note));
                }
                match state {
                    State::Packing { .. } => self.packed(source),
                    _ => self.find_out_kind(source),
                }
            }
            (SourceDone::Selected, State::Selecting { md5, next: Some(next) }) => {
                self.ask_what_differs(source, md5, next)
            }
            (SourceDone::Selected, State::Selecting { md5, next: None }) => self.pack(source, Some(md5)),
            (SourceDone::Nothing, State::Packing { md5: Some(md5) }) => {
                let data = copy.request.end(CopyKind::Manifest, &md5, Dialect::Ours);
                self.send_end(source, data);
            }
            (SourceDone::Chunks(chunks), State::Sending) => {
                copy.all_read = chunks.len() < READ_COUNT
                    || chunks.last().is_none_or(|chunk| chunk.offset + chunk.len_bytes >= copy.total);
                copy.ready.extend(chunks);
                self.go_on(source);
            }
            (SourceDone::Digest(md5), State::Digesting) => self.ask_receiver(source, Some(md5), None),
            (SourceDone::Digest(md5), State::Rewinding { received, md5: theirs, pieces }) => {
                if md5 == theirs && received <= copy.total {
                    copy.state = State::Sending;
                    copy.all_read = received == copy.total && received > 0;
                    self.go_on(source);
                } else if pieces.is_empty() || received > copy.total {
                    self.ask_receiver(source, None, Some(0));
                } else {
                    copy.state = State::Comparing { received };
                    self.source_step(source, SourceStep::Agree { pieces, kind: DigestKind::of(&theirs) });
                }
            }
            (SourceDone::Agreed(agreed), State::Comparing { received }) => {
                let (token, text) = (&copy.token, if agreed == 0 { "from its beginning" } else { "behind the rest" });
                let text = format!(
                    "copy {token}: {agreed} of the {received} bytes that node '{}' has are those of the source: it \
                     goes on {text}",
                    copy.route.target
                );
                self.context.log(LogLine::info("proxy", text));
                // A receiver that has the same again would be asked for ever.
                self.ask_receiver(source, None, Some(if agreed < received { agreed } else { 0 }));
            }
            (SourceDone::Digest(md5), State::Finishing) => {
                copy.state = State::Confirming { md5 };
                self.go_on(source);
            }
            _ => {}
        }
    }

    /// Handles [`Timer::Copy`].
    pub(in crate::node) fn timer_due(&mut self, source: SourceId) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        if copy.state == State::AwaitingKind {
            return self.copy_plainly(source);
        }
        if self.try_way_again(source) {
            return;
        }
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        // The node is not silent while our own job takes long.
        if copy.has_step {
            return self.await_progress(source);
        }
        let through = copy.route.through;
        let text = format!("proxy - node '{through}' did not continue the copy in time");
        self.fail(source, &CopyFailure { message: text, detail: String::new() });
    }

    /// Starts the usual time limit for progress of the node.
    fn await_progress(&mut self, source: SourceId) {
        let patience = self.context.proxy_settings().pong_discard_timeout.max(Duration::from_secs(1));
        self.context.timers.set(Timer::Copy(source), self.context.now.monotonic + patience);
    }

    fn is_link_up(&self, source: SourceId) -> bool {
        let copy = self.sending.all.get(&source);
        copy.and_then(|copy| self.nodes.get(copy.route.through)).is_some_and(|node| node.link == Link::Up)
    }

    /// Sends what may be sent, and starts the next reading job.
    fn go_on(&mut self, source: SourceId) {
        for _ in 0..SEND_COUNT {
            if !self.send_next_chunk(source) {
                break;
            }
        }
        let buffer_size = self.context.proxy_settings().buffer_size;
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        if copy.has_step {
            return;
        }
        match &copy.state {
            State::Sending if !copy.all_read && copy.ready.len() < READ_COUNT => {
                let frame = copy.request.frame(copy.kind, copy.dialect());
                let is_push = self.nodes.get(copy.route.through).is_some_and(|node| node.registration.kind.confirms());
                let chunk_bytes = if is_push && copy.route.through == copy.route.target {
                    buffer_size
                } else {
                    buffer_size.min(web_socket_chunk_bytes(&frame))
                };
                let chunk_bytes = if copy.is_ours { copy.speed.chunk_bytes(chunk_bytes) } else { chunk_bytes };
                self.source_step(source, SourceStep::Read { count: READ_COUNT, chunk_bytes, frame });
            }
            State::Sending if copy.all_read && copy.ready.is_empty() => {
                copy.state = State::Finishing;
                self.source_step(source, SourceStep::Finish);
            }
            State::Confirming { md5 } if copy.in_flight.is_empty() && copy.kind == CopyKind::Manifest => {
                let md5 = md5.clone();
                self.ask_what_differs(source, md5, 0);
            }
            State::Confirming { md5 } if copy.in_flight.is_empty() && self.nodes.has_link(copy.route.through) => {
                let data = copy.request.end(copy.kind, md5, copy.dialect());
                self.send_end(source, data);
            }
            _ => {}
        }
    }

    /// Sends the next chunk. Returns whether there was one to send.
    fn send_next_chunk(&mut self, source: SourceId) -> bool {
        let now = self.context.now.monotonic;
        let settings = self.context.proxy_settings();
        let (limit, buffer_size) = (settings.copy_rate_limit, settings.buffer_size);
        let Some(copy) = self.sending.all.get_mut(&source) else { return false };
        if copy.state != State::Sending || copy.ready.is_empty() {
            return false;
        }
        let Some(node) = self.nodes.get(copy.route.through).filter(|node| node.has_link()) else { return false };
        let is_confirmed = copy.is_ours || node.registration.kind.confirms();
        let has_room = copy.has_room || broken::is(Fault::BackPressureOff);
        let window = if copy.is_ours { copy.speed.window(full_bytes(buffer_size), WINDOW) } else { WINDOW };
        let window = if broken::is(Fault::BackPressureOff) { usize::MAX } else { window };
        let may_send = if is_confirmed { copy.in_flight.len() < window } else { has_room };
        if !may_send {
            return false;
        }
        if let Some(limit) = limit
            && let len_bytes = copy.ready.front().map_or(0, |chunk| chunk.len_bytes)
            && let Err(at) = self.sending.pace.take(copy.route.target, limit, len_bytes, now)
        {
            self.context.timers.set(Timer::CopyPace(copy.route.target), at);
            return false;
        }
        let Some(chunk) = copy.ready.pop_front() else { return false };
        let (through, client) = (copy.route.through, node.client);
        copy.has_sent |= node.link == Link::Up;
        if is_confirmed {
            copy.in_flight.push_back(chunk.offset + chunk.len_bytes);
            let under_way = usize::try_from(chunk.len_bytes).unwrap_or(usize::MAX);
            copy.speed.sent(now, under_way.saturating_mul(copy.in_flight.len()));
        } else {
            copy.has_room = false;
        }
        let message = copy.message(chunk.data);
        self.nodes.send(self.context, through, message);
        self.await_progress(source);
        if !is_confirmed {
            self.context.output(Output::AwaitRoom { node: through, client });
        }
        true
    }

    /// Sends the end. The receiver owes the last row from then on, as for any request.
    fn send_end(&mut self, source: SourceId, data: String) {
        let Some(copy) = self.forget(source) else { return };
        let through = copy.route.through;
        self.owe(&copy);
        let message = copy.message(data);
        self.nodes.send(self.context, through, message);
        self.start_queued();
    }

    /// Notes that the receiver owes the last row of a copy.
    fn owe(&mut self, copy: &Copy) {
        let through = copy.route.through;
        if let Some(node) = self.nodes.get_mut(through) {
            node.owed.sent_copy(copy.token.clone(), node.sync.serial);
            self.context.open_token(&copy.token, Some(through));
        }
    }

    /// Notes that a token has its last row, whoever wrote it.
    pub(in crate::node) fn token_ended(&mut self, token: &str) {
        if let Some(source) = self.sending.of_token(token) {
            drop(self.forget(source));
            self.start_queued();
        }
    }

    fn forget(&mut self, source: SourceId) -> Option<Copy> {
        let copy = self.sending.all.remove(&source)?;
        self.sending.by_token.remove(&copy.token);
        self.context.timers.cancel(&Timer::Copy(source));
        self.context.output(Output::Host(HostWork::ReadSource { source, step: SourceStep::Close }));
        Some(copy)
    }

    fn fail(&mut self, source: SourceId, failure: &CopyFailure) {
        let Some(copy) = self.forget(source) else { return };
        if copy.is_ours && self.nodes.get(copy.route.through).is_some_and(|node| node.link == Link::Up) {
            let message = copy.message(copy.request.abort(copy.kind));
            self.nodes.send(self.context, copy.route.through, message);
        }
        self.end_failed(&copy, failure);
        self.start_queued();
    }
}

/// The size of a chunk from which on the way is as fast as need be: that of a WebSocket, if it is smaller.
fn full_bytes(buffer_size: usize) -> usize {
    buffer_size.min(FULL_BYTES)
}

impl Copy {
    const fn dialect(&self) -> Dialect {
        match (self.is_ours, self.by_difference) {
            (true, true) => Dialect::Difference,
            (true, false) => Dialect::Ours,
            (false, _) => Dialect::Plain,
        }
    }

    fn message(&self, data: String) -> Message {
        let target = Some(self.route.target_field());
        Message { action: Action::ProcessCopy, token: Some(self.token.clone()), target, data }
    }
}
