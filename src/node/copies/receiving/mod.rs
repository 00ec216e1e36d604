//! Copies that we receive (docs/protocol.md section 12): PROCESSCOPY messages become steps of jobs, in the order of
//! their token, and rows. Reading from a sender pauses while too much waits for the disk.
//!
//! Out of scope: files.

mod left;
mod request;
#[cfg(test)]
mod tests;

use crate::model::host_work::HostWork;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::copy::{Attributes, CopyFailure, SinkDone, SinkId, SinkSpec, SinkStep, SourceId};
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;
use crate::model::token::Token;

use super::ending::{confirm, failure_data};
use crate::node::context::Context;
use crate::node::flow::Why;
use crate::node::json;
use crate::node::nodes::pathway::Route;
use crate::node::output::Output;
use crate::node::peer::{Handled, Peer};
use crate::node::timers::Timer;
use left::IDLE;
use request::{Asked, CopyPart};

/// Maximum number of copies in progress.
const SINKS_MAX: usize = 256;
/// Number of bytes waiting for the disk above which reading from senders pauses, and below which it resumes.
const HIGH_BYTES: usize = 4 << 20;
const LOW_BYTES: usize = 1 << 20;
/// Maximum number of steps of a job. A sender of our own kind is told of them when the job is done, and its window
/// should not run empty.
const STEPS_MAX: usize = 2;
/// Maximum number of remembered copies that have ended and whose senders may not know of the end yet.
const ENDED_MAX: usize = 1_000;
/// Minimum interval between the progress rows of a copy whose sender tells the total size. A Perl sender gets a row for
/// each chunk, as from the original.
const ROW_EVERY: Duration = Duration::from_millis(250);

/// Who is told the result of a message.
#[derive(Clone, Debug)]
struct Hears {
    client: Option<ClientId>,
    /// Whether a central that we dial asks for it.
    wants_ack: bool,
    asked: Asked,
    len_bytes: usize,
}

/// A copy for a host that is reached by SSH.
#[derive(Clone, Debug)]
pub(in crate::node) struct ForHost {
    /// The host.
    pub through: NodeId,
    /// The target: the host, or a node behind it.
    pub target: NodeId,
    /// Its place in the order of all copies, by which commands know the copies before them.
    pub order: SourceId,
    /// The content of the end message.
    pub end: Option<(SinkSpec, Attributes)>,
}

/// A completely received copy for a host that is reached by SSH.
#[derive(Debug)]
pub(in crate::node) struct Gathered {
    pub sink: SinkId,
    pub token: Token,
    /// Whether rows are written.
    pub logging: bool,
    pub for_host: ForHost,
}

/// One copy.
#[derive(Debug)]
struct Incoming {
    sink: SinkId,
    waiting: VecDeque<(SinkStep, Hears)>,
    running: Vec<Hears>,
    /// Whether rows are written.
    logging: bool,
    /// Total size in bytes, if the sender tells it.
    total: Option<u64>,
    /// Why it is aborted as soon as the current step is done.
    killed: Option<String>,
    /// The host that it goes to by SSH; `None` for a local destination.
    for_host: Option<ForHost>,
    /// Identifies the copy if it is requested again under another token.
    identity: Option<String>,
    /// Whether its sender has been silent for long.
    is_left: bool,
    /// How it ended; further messages are answered with that.
    ended: Option<(Code, String)>,
    /// Whether a row says so. A copy that starts again could end its token a second time.
    has_end_row: bool,
    last_row: Option<Monotonic>,
}

/// All copies that we receive.
#[derive(Debug, Default)]
pub(in crate::node) struct Receiving {
    all: BTreeMap<Token, Incoming>,
    tokens: BTreeMap<SinkId, Token>,
    next: u64,
    bytes: usize,
    gathered: Vec<Gathered>,
    /// Answers to questions of this daemon itself.
    found: Vec<(Token, String)>,
    /// Copies that ended with a row, the most recent ones.
    ended: VecDeque<(Token, Code)>,
}

impl Incoming {
    /// Returns whether all data has arrived but is not in place yet.
    fn is_ending(&self) -> bool {
        let is_end = |hears: &Hears| hears.asked == Asked::End;
        self.running.iter().any(is_end) || self.waiting.iter().any(|(_, hears)| is_end(hears))
    }
}

impl Receiving {
    /// Returns the state of a daemon that starts; these copies have ended here recently.
    pub(super) fn new(ended: Vec<(Token, Code)>) -> Self {
        let mut receiving = Self::default();
        ended.into_iter().for_each(|(token, code)| receiving.remember_end(token, code));
        receiving
    }

    /// Returns whether a copy is known by its token.
    pub(super) fn has(&self, token: &Token) -> bool {
        self.all.contains_key(token)
    }

    /// Returns the number of bytes that wait for the disk.
    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether all data of a copy to this daemon has arrived but is not in place yet.
    pub(in crate::node) fn is_ending(&self) -> bool {
        self.all.values().any(|incoming| incoming.for_host.is_none() && incoming.is_ending())
    }

    /// Returns whether all data of a copy for a host has arrived but is not being sent to it yet; with an id, only
    /// earlier copies count.
    pub(in crate::node) fn is_ending_for(&self, target: NodeId, before: Option<SourceId>) -> bool {
        self.all.values().filter(|incoming| incoming.is_ending()).any(|incoming| {
            let for_host = incoming.for_host.as_ref().filter(|for_host| for_host.target == target);
            for_host.is_some_and(|for_host| before.is_none_or(|before| for_host.order < before))
        })
    }

    /// Returns whether no job is in progress.
    pub(in crate::node) fn is_idle(&self) -> bool {
        self.all.values().all(|incoming| incoming.running.is_empty())
    }
}

impl Receiving {
    /// Handles a PROCESSCOPY. With a route it is for a host that is reached by SSH: it is received completely first and
    /// then sent.
    pub(in crate::node) fn take(
        &mut self,
        context: &mut Context,
        peer: Peer,
        token: &Token,
        data: String,
        route: Option<Route>,
    ) -> Handled {
        let len_bytes = data.len();
        let action = context.options.modules.action.as_ref();
        let bounds = action.map(|action| (action.copy_roots.clone(), action.max_unpack_ratio));
        let request = match CopyPart::read(data, token, bounds.unwrap_or_default(), route.is_some()) {
            Ok(request) => request,
            Err(refusal) => {
                if refusal.logging {
                    context.fail(token, refusal.text);
                }
                return Handled::refused(json::message(refusal.text));
            }
        };
        if let SinkStep::Query { identity: Some(identity), .. } = &request.step {
            self.take_over(context, token, identity);
        }
        if !context.stores && !self.all.contains_key(token) {
            // None of its rows could be stored. Writing this one tries the database again.
            context.fail(token, "database issue");
            return Handled::refused(json::message("database issue"));
        }
        if !self.all.contains_key(token) && self.all.len() >= SINKS_MAX {
            self.close_left(context);
        }
        if !self.all.contains_key(token) && self.all.len() >= SINKS_MAX {
            let text = "too many copies at once, try again later";
            if request.logging {
                context.fail(token, text);
            }
            return Handled::refused(json::message(text));
        }
        let CopyPart { step, logging, total, wants_ack, asked } = request;
        let hears = Hears { client: peer.client(), wants_ack, asked, len_bytes };
        let for_host = route.filter(|_| !self.all.contains_key(token)).map(|Route { through, target, .. }| {
            let order = context.begin_copy();
            ForHost { through, target, order, end: None }
        });
        if let Asked::Query(_) | Asked::Difference(_) = asked
            && let Some((_, code)) = self.ended.iter().find(|(ended, _)| ended == token)
        {
            // The sender does not know of the end. No second row is written.
            let failed = || json::message("process copy failed");
            let data = if *code == Code::FINISHED_OK { finished_data(&[]) } else { failed() };
            self.answer(context, token, &hears, *code, data);
            return Handled::Later;
        }
        let incoming = self.incoming(token, for_host);
        // With the digest of the whole, a query ends a copy whose destination is equal.
        let may_end = asked == Asked::End || matches!(step, SinkStep::Query { md5: Some(_), .. });
        if may_end && logging {
            context.journal.work_on(token);
        }
        if let (Some(for_host), SinkStep::End { spec, attributes, .. }) = (&mut incoming.for_host, &step) {
            for_host.end = Some((spec.clone(), attributes.clone()));
        }
        if matches!(asked, Asked::Query(_) | Asked::Difference(_)) && !incoming.has_end_row {
            // The sender starts again.
            incoming.ended = None;
        }
        if let Some((code, data)) = incoming.ended.clone() {
            self.answer(context, token, &hears, code, data);
            return Handled::Later;
        }
        if let Asked::Difference(number) = asked {
            context.timers.set(Timer::Sink(token.clone()), context.now.monotonic + IDLE);
            let data = format!("{{\"query\":{number},\"received\":0,\"manifest\":true}}");
            self.answer(context, token, &hears, Code::BEGIN, data);
            return Handled::Later;
        }
        if let SinkStep::Query { identity, .. } = &step {
            incoming.identity.clone_from(identity);
        }
        incoming.is_left = false;
        incoming.logging = logging;
        incoming.total = total.or(incoming.total);
        incoming.waiting.push_back((step, hears));
        self.bytes += len_bytes;
        context.timers.set(Timer::Sink(token.clone()), context.now.monotonic + IDLE);
        if self.bytes > HIGH_BYTES
            && let Some(client) = peer.client()
        {
            context.hold(Why::Disk, client);
        }
        self.run_sink(context, token);
        Handled::Later
    }

    fn incoming(&mut self, token: &Token, for_host: Option<ForHost>) -> &mut Incoming {
        self.all.entry(token.clone()).or_insert_with(|| {
            let sink = SinkId(self.next);
            self.next += 1;
            self.tokens.insert(sink, token.clone());
            Incoming {
                sink,
                waiting: VecDeque::new(),
                running: Vec::new(),
                logging: true,
                total: None,
                killed: None,
                for_host,
                identity: None,
                is_left: false,
                ended: None,
                has_end_row: false,
                last_row: None,
            }
        })
    }

    /// Starts a job for the waiting steps, unless one is in progress.
    fn run_sink(&mut self, context: &mut Context, token: &Token) {
        let Some(incoming) = self.all.get_mut(token) else { return };
        if !incoming.running.is_empty() || incoming.waiting.is_empty() {
            return;
        }
        let count = incoming.waiting.len().min(STEPS_MAX);
        let (steps, hears): (Vec<_>, Vec<_>) = incoming.waiting.drain(..count).unzip();
        incoming.running = hears;
        let sink = incoming.sink;
        context.output(Output::Host(HostWork::WriteSink { sink, steps }));
    }

    /// Takes the answers to questions of this daemon itself about what is there.
    pub(super) fn take_found(&mut self) -> Vec<(Token, String)> {
        std::mem::take(&mut self.found)
    }

    /// Takes the completely received copies for hosts. The SSH sessions send them.
    pub(in crate::node) fn take_gathered(&mut self) -> Vec<Gathered> {
        std::mem::take(&mut self.gathered)
    }

    /// Handles the results of steps.
    pub(in crate::node) fn done(&mut self, context: &mut Context, sink: SinkId, done: Vec<SinkDone>) {
        let Some(token) = self.tokens.get(&sink).cloned() else { return };
        let Some(incoming) = self.all.get_mut(&token) else { return };
        let hears = std::mem::take(&mut incoming.running);
        for (hears, done) in hears.into_iter().zip(done) {
            self.bytes = self.bytes.saturating_sub(hears.len_bytes);
            self.step_done(context, &token, &hears, done);
        }
        if self.bytes < LOW_BYTES {
            context.release_all(Why::Disk);
        }
        self.refuse_late_steps(context, &token);
        self.run_sink(context, &token);
        self.forget_if_over(context, &token);
    }

    fn step_done(&mut self, context: &mut Context, token: &Token, hears: &Hears, done: SinkDone) {
        let Some(incoming) = self.all.get_mut(token) else { return };
        if let Some((code, data)) = incoming.ended.clone() {
            return self.answer(context, token, hears, code, data);
        }
        match done {
            SinkDone::Found { received, md5, pieces, same_size } => {
                let Asked::Query(number) = hears.asked else { return };
                if !incoming.is_ending() {
                    context.journal.work_is_over(token);
                }
                let pieces = if pieces.is_empty() { pieces } else { format!(",\"pieces\":\"{pieces}\"") };
                let data = format!(
                    "{{\"query\":{number},\"received\":{received},\"md5\":\"{md5}\",\"same_size\":{same_size}{pieces}}}"
                );
                self.answer(context, token, hears, Code::BEGIN, data);
            }
            SinkDone::Compared(page) => {
                let Asked::Query(number) = hears.asked else { return };
                self.answer(context, token, hears, Code::BEGIN, format!("{{\"query\":{number},{page}}}"));
            }
            SinkDone::Written(received) => {
                if hears.asked == Asked::Chunk {
                    self.progress_row(context, token, received);
                }
                self.answer(context, token, hears, Code::BEGIN, format!("{{\"received\":{received}}}"));
            }
            SinkDone::Repeated(received) => {
                let text = format!("copy {token}: a chunk arrived twice, {received} bytes are stored");
                context.log(LogLine::warning("action", text).of_token(token));
                self.answer(context, token, hears, Code::BEGIN, format!("{{\"received\":{received}}}"));
            }
            SinkDone::Unchanged(notes) => self.copy_is_there(context, token, hears, notes, true),
            SinkDone::Finished(notes) => self.copy_is_there(context, token, hears, notes, false),
            SinkDone::Failed(failure) => {
                self.log_failure(context, token, &failure);
                self.end(context, token, Code::FINISHED_KO, failure_data(&failure));
                self.answer(context, token, hears, Code::FINISHED_KO, failure_data(&failure));
            }
            SinkDone::Gathered => self.hand_over(context, token, hears),
            SinkDone::Discarded => match incoming.killed.take() {
                Some(reason) => self.end(context, token, Code::FINISHED_KO, json::message(&reason)),
                None => incoming.ended = Some((Code::FINISHED_KO, json::message("the sender gave up the copy"))),
            },
        }
    }

    fn hand_over(&mut self, context: &mut Context, token: &Token, hears: &Hears) {
        let Some(incoming) = self.all.get_mut(token) else { return };
        let (sink, logging, token) = (incoming.sink, incoming.logging, token.clone());
        // The host's session ends it.
        if let Some(for_host) = incoming.for_host.take() {
            self.gathered.push(Gathered { sink, logging, token: token.clone(), for_host });
        }
        self.answer(context, &token, hears, Code::BEGIN, "{\"unchanged\":false}".to_owned());
        self.forget(context, &token);
        if logging {
            context.journal.work_on(&token);
        }
    }

    fn copy_is_there(
        &mut self,
        context: &mut Context,
        token: &Token,
        hears: &Hears,
        notes: Vec<String>,
        unchanged: bool,
    ) {
        let data = finished_data(&notes);
        for note in notes {
            context.log(LogLine::error("action", format!("Copy processing - {note}")).of_token(token));
        }
        self.end(context, token, Code::FINISHED_OK, data);
        let number = match hears.asked {
            Asked::Query(number) => format!(",\"query\":{number}"),
            _ => String::new(),
        };
        self.answer(context, token, hears, Code::BEGIN, format!("{{\"unchanged\":{unchanged}{number}}}"));
    }

    fn log_failure(&mut self, context: &mut Context, token: &Token, failure: &CopyFailure) {
        let detail = if failure.detail.is_empty() { String::new() } else { format!(" ({})", failure.detail) };
        context.log(
            LogLine::error("action", format!("Copy processing - {}{detail}, token {token}", failure.message))
                .of_token(token),
        );
    }

    /// Ends a copy with its last row. Further messages are answered with it.
    fn end(&mut self, context: &mut Context, token: &Token, code: Code, data: String) {
        let Some(incoming) = self.all.get_mut(token) else { return };
        incoming.ended = Some((code, data.clone()));
        incoming.has_end_row = incoming.logging;
        if incoming.logging {
            context.finish(token, code, data);
        }
    }

    fn progress_row(&mut self, context: &mut Context, token: &Token, received: u64) {
        let now = context.now.monotonic;
        let Some(incoming) = self.all.get_mut(token).filter(|incoming| incoming.logging) else { return };
        let is_due = incoming.last_row.is_none_or(|last| now.since(last) >= ROW_EVERY);
        let data = match incoming.total {
            Some(total) if is_due || received >= total => {
                format!("{{\"message\":\"process copy inprogress\",\"received\":{received},\"total\":{total}}}")
            }
            Some(_) => return,
            None => format!("{{\"message\":\"process copy inprogress\",\"received\":{received}}}"),
        };
        incoming.last_row = Some(now);
        context.row(token, Code::COPY_IN_PROGRESS, data);
    }

    fn answer(&mut self, context: &mut Context, token: &Token, hears: &Hears, code: Code, data: String) {
        let Some(client) = hears.client else {
            if matches!(hears.asked, Asked::Query(_)) {
                self.found.push((token.clone(), data));
            }
            return;
        };
        if client.parent().is_none() || hears.wants_ack {
            confirm(context, client, token, code, data);
        }
    }

    /// Refuses the waiting steps of a copy that has ended, up to a query that starts it again.
    fn refuse_late_steps(&mut self, context: &mut Context, token: &Token) {
        loop {
            let Some(incoming) = self.all.get_mut(token) else { return };
            let Some((code, data)) = incoming.ended.clone() else { return };
            if incoming.waiting.front().is_none_or(|(_, hears)| matches!(hears.asked, Asked::Query(_))) {
                return;
            }
            let Some((_, hears)) = incoming.waiting.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(hears.len_bytes);
            self.answer(context, token, &hears, code, data);
        }
    }

    /// Forgets a successful copy. More messages of a failed one may still arrive.
    fn forget_if_over(&mut self, context: &mut Context, token: &Token) {
        let Some(incoming) = self.all.get(token) else { return };
        let is_over = matches!(incoming.ended, Some((Code::FINISHED_OK, _)));
        if is_over && incoming.running.is_empty() && incoming.waiting.is_empty() {
            self.forget(context, token);
            self.remember_end(token.clone(), Code::FINISHED_OK);
        }
    }

    fn remember_end(&mut self, token: Token, code: Code) {
        self.ended.push_back((token, code));
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }

    fn forget(&mut self, context: &mut Context, token: &Token) {
        if let Some(incoming) = self.all.remove(token) {
            self.tokens.remove(&incoming.sink);
            context.journal.work_is_over(token);
            context.timers.cancel(&Timer::Sink(token.clone()));
        }
    }
}

/// Returns the data of the last row of a copy that is in place.
fn finished_data(notes: &[String]) -> String {
    let message = "process copy finished successfully";
    match notes {
        [] => json::message(message),
        notes => serde_json::json!({ "message": message, "detail": notes.join("; ") }).to_string(),
    }
}
