//! The daemon that reads a node: the copies that it fetches, each a chain of steps. What comes goes to
//! [`Receiving`], which writes the rows, keeps what is there for another request, and puts it in place.

mod breaks;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{self, Answer, Numbers, Step};
use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::copy::{CopyFailure, CopyKind, DigestKind, SourceId};
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;
use crate::model::token::Token;
use crate::node::context::Context;
use crate::node::copies::ending::{failure_row, refusal_row};
use crate::node::copies::pace::Pace;
use crate::node::copies::receiving::Receiving;
use crate::node::copies::request::{CopyRequest, Dialect};
use crate::node::nodes::Nodes;
use crate::node::nodes::node::Link;
use crate::node::nodes::pathway::Route;
use crate::node::peer::Peer;
use crate::node::timers::Timer;

/// Maximum number of copies, including waiting ones.
const COPIES_MAX: usize = 10_000;
/// Maximum number of copies in progress.
const ACTIVE_MAX: usize = 8;
/// Maximum number of chunks of a copy that are asked for and have not come.
const WINDOW: usize = 8;
/// Size of a chunk in bytes; its message fits into every transport.
const CHUNK_BYTES: u64 = 120_000;
/// Number of bytes waiting for the disk above which no more are asked for.
const WAITING_MAX: usize = 1 << 20;
/// Time without an answer after which the node is asked whether it is at work, and interval of attempts on a broken
/// route.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Time for which it may stay unknown of what kind the node is.
const KIND_PATIENCE: Duration = Duration::from_secs(10);

/// The state of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It waits for other copies.
    Queued,
    /// It is not known yet whether the node is of our own kind.
    AwaitingKind,
    /// The node opens the source, or packs a directory.
    Opening,
    /// The receiving end looks for what it has; with the number of the question, and whether it got the digest of the
    /// whole.
    Looking { number: u64, has_digest: bool },
    /// The node computes the digest of the whole.
    Digesting,
    /// The node goes to the place where the receiving end is, which has this digest there.
    Rewinding { received: u64, digest: String, pieces: String },
    /// They differ, and the node looks from which piece on.
    Comparing { received: u64 },
    /// Chunks come.
    Reading,
    /// All chunks are here, and the node checks that the source is unchanged.
    Finishing,
    /// The receiving end has everything.
    Ending,
    /// The connection broke. The copy goes on when it is back.
    Interrupted,
}

/// One copy.
#[derive(Debug)]
struct Fetch {
    token: Token,
    request: CopyRequest,
    route: Route,
    kind: CopyKind,
    total: u64,
    digest: DigestKind,
    state: State,
    /// The number of the current step, except reading.
    step: u64,
    /// The numbers of the chunks that are asked for.
    reads: VecDeque<u64>,
    /// How far it is asked for, and has come.
    asked: u64,
    got: u64,
    /// Whether the node has ever answered.
    has_answer: bool,
    /// Whether it has told what is to be said of the source.
    has_notes: bool,
    /// When the node answered last, or the copy began.
    heard: Monotonic,
}

/// Every copy that we fetch.
#[derive(Debug, Default)]
pub(in crate::node) struct Fetching {
    all: BTreeMap<SourceId, Fetch>,
    by_token: BTreeMap<Token, SourceId>,
    queued: VecDeque<SourceId>,
    next_number: u64,
    pace: Pace,
}

/// The copies that we fetch, with references to the state that they use.
pub(in crate::node) struct Fetcher<'a> {
    pub context: &'a mut Context,
    pub nodes: &'a mut Nodes,
    pub receiving: &'a mut Receiving,
    pub fetching: &'a mut Fetching,
}

/// The answer of the receiving end to a question.
#[derive(Deserialize)]
struct Found {
    query: u64,
    #[serde(default)]
    received: u64,
    #[serde(default)]
    md5: String,
    #[serde(default)]
    pieces: String,
    #[serde(default)]
    same_size: bool,
}

impl Fetching {
    /// Returns whether nothing is being fetched.
    pub(in crate::node::copies) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn of_node(&self, through: NodeId) -> Vec<SourceId> {
        self.all.iter().filter(|(_, fetch)| fetch.route.through == through).map(|(id, _)| *id).collect()
    }

    fn active(&self) -> usize {
        self.all.values().filter(|fetch| !matches!(fetch.state, State::Queued | State::Interrupted)).count()
    }

    /// Returns whether no other copy goes to the same destination.
    fn is_alone(&self, id: SourceId) -> bool {
        let destination = |fetch: &Fetch| fetch.request.destination.clone();
        let own = self.all.get(&id).map(destination);
        !self.all.iter().any(|(other, fetch)| *other != id && Some(destination(fetch)) == own)
    }
}

impl Fetcher<'_> {
    /// Starts a FETCH from another node, which is neither this daemon nor an SSH host.
    pub(in crate::node) fn begin(&mut self, token: &Token, route: Route, data: &str) {
        if self.fetching.by_token.contains_key(token) {
            let text = format!("FETCH with the token {token} of a copy in progress: ignored");
            return self.context.log(LogLine::warning("proxy", text).of_token(token));
        }
        let request = match CopyRequest::read_whole(data) {
            Ok(request) => request,
            Err(reason) => return refusal_row(self.context, token, reason),
        };
        if self.fetching.all.len() >= COPIES_MAX {
            return self.context.fail(token, "proxy - too many copies wait, try again later");
        }
        let id = self.context.begin_copy();
        self.context.open_token(token, None);
        let fetch = Fetch {
            token: token.clone(),
            request,
            route,
            kind: CopyKind::Regular,
            total: 0,
            digest: DigestKind::Md5,
            state: State::Queued,
            step: 0,
            reads: VecDeque::new(),
            asked: 0,
            got: 0,
            has_answer: false,
            has_notes: false,
            heard: self.context.now.monotonic,
        };
        self.fetching.all.insert(id, fetch);
        self.fetching.by_token.insert(token.clone(), id);
        self.fetching.queued.push_back(id);
        self.start_queued();
    }

    fn start_queued(&mut self) {
        while self.fetching.active() < ACTIVE_MAX {
            let Some(id) = self.fetching.queued.pop_front() else { break };
            let Some(fetch) = self.fetching.all.get_mut(&id) else { continue };
            fetch.state = State::AwaitingKind;
            fetch.heard = self.context.now.monotonic;
            self.find_out_kind(id);
        }
    }

    /// Opens the source as soon as the node is known to be of our own kind.
    fn find_out_kind(&mut self, id: SourceId) {
        let Some(fetch) = self.fetching.all.get(&id) else { return };
        let (through, now) = (fetch.route.through, self.context.now.monotonic);
        let Some(node) = self.nodes.get(through) else {
            return self.fail(id, format!("proxy - node '{through}' was unregistered during the copy"));
        };
        let is_late = now.since(fetch.heard) >= KIND_PATIENCE;
        match node.sync.peer_pages() {
            Some(false) => self.fail(id, not_ours(through)),
            Some(true) if node.link == Link::Up => self.open(id),
            Some(true) => self.interrupt(id),
            None if is_late => self.fail(id, format!("proxy - node '{through}' does not tell what it is: is it up?")),
            None => self.context.timers.set(Timer::Fetch(id), now + KIND_PATIENCE),
        }
    }

    /// Handles a GETLOG answer of a node, which shows its kind.
    pub(in crate::node) fn kind_known(&mut self, through: NodeId) {
        for id in self.fetching.of_node(through) {
            if self.fetching.all.get(&id).is_some_and(|fetch| fetch.state == State::AwaitingKind) {
                self.find_out_kind(id);
            }
        }
    }

    fn open(&mut self, id: SourceId) {
        if let Some(fetch) = self.fetching.all.get_mut(&id) {
            fetch.state = State::Opening;
            fetch.reads.clear();
            self.ask(id, Step::Open);
        }
    }

    /// Sends a step to the node.
    fn ask(&mut self, id: SourceId, step: Step) {
        self.fetching.next_number += 1;
        let number = self.fetching.next_number;
        let Some(fetch) = self.fetching.all.get_mut(&id) else { return };
        match &step {
            Step::Read(_) => fetch.reads.push_back(number),
            Step::Alive | Step::Close => {}
            _ => fetch.step = number,
        }
        let (through, target) = (fetch.route.through, Some(fetch.route.target_field()));
        let (token, data) = (Some(fetch.token.clone()), wire::step(number, &step, &fetch.request));
        self.nodes.send(self.context, through, Message { action: Action::ProcessCopy, token, target, data });
        self.context.timers.set(Timer::Fetch(id), self.context.now.monotonic + ASK_AGAIN);
    }

    /// Handles a node's reply to the token of a copy. Returns `false` if it belongs to none.
    pub(in crate::node) fn confirmed(&mut self, through: NodeId, token: &Token, code: Code, data: &str) -> bool {
        let Some(id) = self.fetching.by_token.get(token).copied() else { return false };
        let Some(fetch) = self.fetching.all.get_mut(&id) else { return false };
        if fetch.route.through != through {
            return true;
        }
        if code.is_terminal() {
            let text = format!(
                "proxy - nothing can be fetched from node '{}': its daemon does not know how ({})",
                fetch.route.target,
                wire::message_of(data)
            );
            self.fail(id, text);
            return true;
        }
        let Ok(answer) = serde_json::from_str::<Answer<'_>>(data) else { return true };
        if answer.interrupted || (answer.failed.is_some() && fetch.has_answer) {
            // A restarted relay may not know yet what is behind it.
            self.interrupt(id);
        } else if let Some(text) = answer.failed {
            self.fail(id, text);
        } else if answer.plain {
            let target = fetch.route.target;
            self.fail(id, not_ours(target));
        } else {
            fetch.has_answer = true;
            fetch.heard = self.context.now.monotonic;
            self.answered(id, &answer);
        }
        true
    }

    fn answered(&mut self, id: SourceId, answer: &Answer<'_>) {
        let Some(fetch) = self.fetching.all.get_mut(&id) else { return };
        if let Some(failure) = answer.refusal() {
            return self.give_up(id, &failure);
        }
        let is_read = fetch.state == State::Reading && fetch.reads.front().copied() == answer.fetch;
        let is_current = answer.fetch == Some(fetch.step);
        let awaits = !matches!(fetch.state, State::Looking { .. } | State::Interrupted | State::Ending);
        // The node was restarted, or does nothing although it was asked to.
        if awaits && (answer.closed || answer.idle && !(fetch.state == State::Reading && fetch.reads.is_empty())) {
            return self.open(id);
        }
        match (fetch.state.clone(), answer.md5.clone()) {
            (State::Reading, _) if is_read => {
                fetch.reads.pop_front();
                self.chunk(id, answer.chunk);
            }
            (State::Opening, _) if is_current => self.opened(id, answer),
            (State::Digesting, Some(digest)) if is_current => self.look(id, Some(&digest), None),
            (State::Rewinding { received, digest, pieces }, Some(theirs)) if is_current => {
                if digest == theirs && received <= fetch.total {
                    fetch.state = State::Reading;
                    (fetch.asked, fetch.got) = (received, received);
                    if received == fetch.total && received > 0 { self.finish(id) } else { self.read_on(id) }
                } else if pieces.is_empty() || received > fetch.total {
                    self.look(id, None, Some(0));
                } else {
                    fetch.state = State::Comparing { received };
                    self.ask(id, Step::Agree(pieces, DigestKind::of(&digest)));
                }
            }
            (State::Comparing { received }, _) if is_current => {
                // What is the same again would be asked for ever.
                let agreed = answer.agreed.filter(|agreed| *agreed < received).unwrap_or(0);
                self.look(id, None, Some(agreed));
            }
            (State::Finishing, Some(digest)) if is_current => {
                if answer.grew {
                    let text = format!("it is being written to: what is here is its first {} bytes", fetch.total);
                    fetch.request.note(&[text]);
                }
                let end = fetch.request.end(fetch.kind, &digest, Dialect::Plain);
                fetch.state = State::Ending;
                self.feed(id, end);
            }
            _ => {}
        }
    }

    fn opened(&mut self, id: SourceId, answer: &Answer<'_>) {
        let Some(fetch) = self.fetching.all.get_mut(&id) else { return };
        let Some(kind) = answer.kind() else {
            return self.fail(id, "remote copy failed: the node has opened something unknown".to_owned());
        };
        (fetch.kind, fetch.total, fetch.digest) = (kind, answer.total, answer.digest());
        fetch.request.complete_destination(kind);
        if !fetch.has_notes {
            fetch.request.note(&answer.notes);
            fetch.has_notes = true;
        }
        let token = fetch.token.clone();
        for note in answer.notes.iter().take(16) {
            self.context.log(LogLine::warning("proxy", format!("copy {token}: {note}")).of_token(&token));
        }
        self.look(id, None, None);
    }

    /// Asks the receiving end what it has.
    fn look(&mut self, id: SourceId, digest: Option<&str>, keep: Option<u64>) {
        self.fetching.next_number += 1;
        let number = self.fetching.next_number;
        let is_alone = self.fetching.is_alone(id);
        let Some(fetch) = self.fetching.all.get_mut(&id) else { return };
        let from = Some(fetch.route.target).filter(|_| is_alone);
        fetch.state = State::Looking { number, has_digest: digest.is_some() };
        let question = fetch.request.query(fetch.kind, (number, fetch.total, keep), digest, from, fetch.digest);
        self.feed(id, question);
    }

    /// Handles an answer of the receiving end.
    pub(in crate::node::copies) fn found(&mut self, token: &Token, data: &str) {
        let Some(id) = self.fetching.by_token.get(token).copied() else { return };
        let Some(fetch) = self.fetching.all.get_mut(&id) else { return };
        let Ok(Found { query, received, md5, pieces, same_size }) = serde_json::from_str(data) else { return };
        let State::Looking { number, has_digest } = fetch.state else { return };
        if number != query {
            return;
        }
        fetch.heard = self.context.now.monotonic;
        let kind = DigestKind::of(&md5);
        if same_size && !has_digest && fetch.kind == CopyKind::Regular {
            fetch.state = State::Digesting;
            self.ask(id, Step::Digest(kind));
        } else {
            fetch.state = State::Rewinding { received, digest: md5, pieces };
            self.ask(id, Step::Rewind(received, kind));
        }
    }

    /// Takes a chunk of the node.
    fn chunk(&mut self, id: SourceId, chunk: Option<&RawValue>) {
        let Some(fetch) = self.fetching.all.get_mut(&id) else { return };
        if let Some(chunk) = chunk {
            match serde_json::from_str::<Numbers>(chunk.get()) {
                Ok(Numbers { offset, size }) if offset == fetch.got => fetch.got = fetch.got.saturating_add(size),
                _ => return self.fail(id, "remote copy failed: a chunk came out of order".to_owned()),
            }
            let data = fetch.request.fetched_chunk(fetch.kind, chunk.get());
            let is_whole = fetch.got >= fetch.total;
            self.feed(id, data);
            if is_whole {
                return self.finish(id);
            }
        }
        self.read_on(id);
    }

    fn finish(&mut self, id: SourceId) {
        if let Some(fetch) = self.fetching.all.get_mut(&id) {
            fetch.state = State::Finishing;
            fetch.reads.clear();
            self.ask(id, Step::Finish);
        }
    }

    /// Asks for more chunks, as far as the disk has taken those before.
    fn read_on(&mut self, id: SourceId) {
        while self.receiving.held_bytes() <= WAITING_MAX
            && let Some(fetch) = self.fetching.all.get_mut(&id)
        {
            if fetch.state != State::Reading || fetch.reads.len() >= WINDOW {
                return;
            }
            if fetch.reads.is_empty() {
                // Chunks may have been smaller than was asked for.
                fetch.asked = fetch.got;
            } else if fetch.asked >= fetch.total {
                return;
            }
            let (target, now) = (fetch.route.target, self.context.now.monotonic);
            if let Some(limit) = self.context.proxy_settings().copy_rate_limit
                && let Err(at) = self.fetching.pace.take(target, limit, CHUNK_BYTES, now)
            {
                return self.context.timers.set(Timer::Fetch(id), at);
            }
            fetch.asked = fetch.asked.saturating_add(CHUNK_BYTES);
            self.ask(id, Step::Read(CHUNK_BYTES));
        }
    }

    /// Asks on where the disk has taken what came.
    pub(in crate::node::copies) fn go_on(&mut self) {
        let reading = self.fetching.all.iter().filter(|(_, fetch)| fetch.state == State::Reading).map(|(id, _)| *id);
        for id in reading.collect::<Vec<_>>() {
            self.read_on(id);
        }
    }

    /// Has a message received like one of another daemon.
    fn feed(&mut self, id: SourceId, data: String) {
        if let Some(fetch) = self.fetching.all.get(&id) {
            let token = fetch.token.clone();
            self.receiving.take(self.context, Peer::Ourselves, &token, data, None);
        }
    }

    /// Notes that a token has its last row, whoever wrote it.
    pub(in crate::node) fn token_ended(&mut self, token: &str) {
        if let Some(id) = self.fetching.by_token.get(token).copied() {
            drop(self.forget(id));
            self.start_queued();
        }
    }

    fn forget(&mut self, id: SourceId) -> Option<Fetch> {
        let fetch = self.fetching.all.get(&id)?;
        if fetch.has_answer && self.nodes.get(fetch.route.through).is_some_and(|node| node.link == Link::Up) {
            self.ask(id, Step::Close);
        }
        self.context.timers.cancel(&Timer::Fetch(id));
        let fetch = self.fetching.all.remove(&id)?;
        self.fetching.by_token.remove(&fetch.token);
        Some(fetch)
    }

    /// Ends a copy whose way has failed. What has come is kept for another request.
    fn fail(&mut self, id: SourceId, message: String) {
        if let Some(fetch) = self.forget(id) {
            failure_row(self.context, &fetch.token, &CopyFailure { message, detail: String::new() });
            self.start_queued();
        }
    }

    /// Ends a copy whose source has failed. What has come is removed.
    fn give_up(&mut self, id: SourceId, failure: &CopyFailure) {
        let Some(fetch) = self.forget(id) else { return };
        failure_row(self.context, &fetch.token, failure);
        if self.receiving.has(&fetch.token) {
            let abort = fetch.request.abort(fetch.kind);
            self.receiving.take(self.context, Peer::Ourselves, &fetch.token, abort, None);
            self.receiving.write_no_more_rows(&fetch.token);
        }
        self.start_queued();
    }
}

fn not_ours(node: NodeId) -> String {
    format!("proxy - nothing can be fetched from node '{node}': it is not a Stheno daemon")
}
