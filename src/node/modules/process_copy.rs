//! Copies that we receive (docs/protocol.md section 12): PROCESSCOPY messages become steps of jobs, in the order of
//! their token, and rows. A sender is read no further while too much waits for the disk.
//!
//! Out of scope: files.

mod left;
mod request;
#[cfg(test)]
mod tests;

use crate::model::host_work::HostWork;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::copy::{Attributes, CopyFailure, SinkDone, SinkId, SinkSpec, SinkStep, SourceId};
use crate::model::log::LogLine;
use crate::model::message::{Outgoing, Reply};
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;
use crate::model::token::Token;

use crate::node::core::Core;
use crate::node::flow::Why;
use crate::node::json;
use crate::node::nodes::pathway::Route;
use crate::node::output::Output;
use crate::node::peer::{Handled, Peer};
use crate::node::remote_copy::failure_data;
use crate::node::timers::Timer;
use left::IDLE;
use request::{Asked, Request};

/// Copies at most that are under way.
const SINKS_MAX: usize = 256;
/// Bytes that may wait for the disk before senders are read no further, and below which they are read again.
const HIGH_BYTES: usize = 4 << 20;
const LOW_BYTES: usize = 1 << 20;
/// Steps of one job at most: a sender of our own kind hears of them when the job is done, and its window should not run
/// dry.
const STEPS_MAX: usize = 2;
/// Copies that ended well and are remembered, because their sender may not know yet.
const ENDED_MAX: usize = 1_000;
/// Rows of one copy that tell of its progress come at most so often where the sender tells the size of the whole: more
/// would show nobody anything. A Perl sender gets a row for each chunk, as it is used to.
const ROW_EVERY: Duration = Duration::from_millis(250);

/// Who hears how a message went.
#[derive(Clone, Debug)]
struct Hears {
    client: Option<ClientId>,
    /// A central that we dial asks for it.
    wants_ack: bool,
    asked: Asked,
    len_bytes: usize,
}

/// A copy for a host that is reached by SSH.
#[derive(Clone, Debug)]
pub(in crate::node) struct PassedOn {
    /// The host.
    pub through: NodeId,
    /// Whom it is for: the host, or somebody behind it.
    pub target: NodeId,
    /// Its place among all copies, so that commands know what they came after.
    pub order: SourceId,
    /// What the end said.
    pub end: Option<(SinkSpec, Attributes)>,
}

/// One copy.
#[derive(Debug)]
struct Incoming {
    sink: SinkId,
    waiting: VecDeque<(SinkStep, Hears)>,
    running: Vec<Hears>,
    /// Whether rows are written.
    logging: bool,
    /// Bytes of the whole, where the sender tells.
    total: Option<u64>,
    /// Why it is given up here, once what is under way is done.
    killed: Option<String>,
    /// Where it goes by SSH; `None` for a place here.
    passed_on: Option<PassedOn>,
    /// What stands for it when it is asked for anew under another token.
    identity: Option<String>,
    /// Whether its sender has been silent for long.
    is_left: bool,
    /// How it ended, when it has; what comes then is answered with that.
    ended: Option<(Code, String)>,
    last_row: Option<Monotonic>,
}

/// All copies that we receive.
#[derive(Debug, Default)]
pub(in crate::node) struct Sinks {
    all: BTreeMap<Token, Incoming>,
    tokens: BTreeMap<SinkId, Token>,
    next: u64,
    bytes: usize,
    ended_well: VecDeque<Token>,
}

impl Incoming {
    /// Whether all has come, and is not in its place yet.
    fn is_ending(&self) -> bool {
        let is_end = |hears: &Hears| hears.asked == Asked::End;
        self.running.iter().any(is_end) || self.waiting.iter().any(|(_, hears)| is_end(hears))
    }
}

impl Sinks {
    /// Whether all of a copy to here has come, and is not in its place yet.
    pub(in crate::node) fn is_ending(&self) -> bool {
        self.all.values().any(|incoming| incoming.passed_on.is_none() && incoming.is_ending())
    }

    /// Whether all of a copy for a host has come, and is not under way to it yet; with an id, of those before it.
    pub(in crate::node) fn is_ending_for(&self, target: NodeId, before: Option<SourceId>) -> bool {
        self.all.values().filter(|incoming| incoming.is_ending()).any(|incoming| {
            let passed_on = incoming.passed_on.as_ref().filter(|passed_on| passed_on.target == target);
            passed_on.is_some_and(|passed_on| before.is_none_or(|before| passed_on.order < before))
        })
    }

    /// Whether no job is under way.
    pub(in crate::node) fn is_idle(&self) -> bool {
        self.all.values().all(|incoming| incoming.running.is_empty())
    }
}

impl Core {
    /// PROCESSCOPY
    pub(in crate::node) fn process_copy(&mut self, peer: Peer, token: &Token, data: String) -> Handled {
        self.take_copy(peer, token, data, None)
    }

    /// PROCESSCOPY for a host that is reached by SSH: gathered here, then sent.
    pub(in crate::node) fn process_copy_by_ssh(
        &mut self,
        peer: Peer,
        token: &Token,
        data: String,
        route: Route,
    ) -> Handled {
        self.take_copy(peer, token, data, Some(route))
    }

    fn take_copy(&mut self, peer: Peer, token: &Token, data: String, route: Option<Route>) -> Handled {
        let len_bytes = data.len();
        let action = self.context.options.action.as_ref();
        let bounds = action.map(|action| (action.copy_roots.clone(), action.max_unpack_ratio));
        let request = match Request::read(data, token, bounds.unwrap_or_default(), route.is_some()) {
            Ok(request) => request,
            Err(refusal) => {
                if refusal.logging {
                    self.context.fail(token, refusal.text);
                }
                return Handled::refused(json::message(refusal.text));
            }
        };
        if let SinkStep::Query { identity: Some(identity), .. } = &request.step {
            self.take_over(token, identity);
        }
        if !self.sinks.all.contains_key(token) && self.sinks.all.len() >= SINKS_MAX {
            self.close_left_sink();
        }
        if !self.sinks.all.contains_key(token) && self.sinks.all.len() >= SINKS_MAX {
            let text = "too many copies at once, try again later";
            if request.logging {
                self.context.fail(token, text);
            }
            return Handled::refused(json::message(text));
        }
        let Request { step, logging, total, wants_ack, asked } = request;
        let hears = Hears { client: peer.client(), wants_ack, asked, len_bytes };
        let passed_on = route.filter(|_| !self.sinks.all.contains_key(token)).map(|Route { through, target }| {
            let order = self.context.begin_copy();
            PassedOn { through, target, order, end: None }
        });
        if matches!(asked, Asked::Query(_)) && self.sinks.ended_well.contains(token) {
            // Its sender has not heard of the end. A second one would be one too many.
            self.answer_copy(token, &hears, Code::FINISHED_OK, finished_data(&[]));
            return Handled::Later;
        }
        let incoming = self.incoming(token, passed_on);
        if let (Some(passed_on), SinkStep::End { spec, attributes, .. }) = (&mut incoming.passed_on, &step) {
            passed_on.end = Some((spec.clone(), attributes.clone()));
        }
        if matches!(asked, Asked::Query(_)) {
            // The sender begins anew.
            incoming.ended = None;
        }
        if let Some((code, data)) = incoming.ended.clone() {
            self.answer_copy(token, &hears, code, data);
            return Handled::Later;
        }
        if let SinkStep::Query { identity, .. } = &step {
            incoming.identity.clone_from(identity);
        }
        incoming.is_left = false;
        incoming.logging = logging;
        incoming.total = total.or(incoming.total);
        incoming.waiting.push_back((step, hears));
        self.sinks.bytes += len_bytes;
        self.context.timers.set(Timer::Sink(token.clone()), self.context.now.monotonic + IDLE);
        if self.sinks.bytes > HIGH_BYTES
            && let Some(client) = peer.client()
        {
            self.context.hold(Why::Disk, client);
        }
        self.run_sink(token);
        Handled::Later
    }

    fn incoming(&mut self, token: &Token, passed_on: Option<PassedOn>) -> &mut Incoming {
        let sinks = &mut self.sinks;
        sinks.all.entry(token.clone()).or_insert_with(|| {
            let sink = SinkId(sinks.next);
            sinks.next += 1;
            sinks.tokens.insert(sink, token.clone());
            Incoming {
                sink,
                waiting: VecDeque::new(),
                running: Vec::new(),
                logging: true,
                total: None,
                killed: None,
                passed_on,
                identity: None,
                is_left: false,
                ended: None,
                last_row: None,
            }
        })
    }

    /// Hands what waits to a job, unless one is under way.
    fn run_sink(&mut self, token: &Token) {
        let Some(incoming) = self.sinks.all.get_mut(token) else { return };
        if !incoming.running.is_empty() || incoming.waiting.is_empty() {
            return;
        }
        let count = incoming.waiting.len().min(STEPS_MAX);
        let (steps, hears): (Vec<_>, Vec<_>) = incoming.waiting.drain(..count).unzip();
        incoming.running = hears;
        let sink = incoming.sink;
        self.context.output(Output::Host(HostWork::WriteSink { sink, steps }));
    }

    /// Steps are done.
    pub(in crate::node) fn sink_done(&mut self, sink: SinkId, done: Vec<SinkDone>) {
        let Some(token) = self.sinks.tokens.get(&sink).cloned() else { return };
        let Some(incoming) = self.sinks.all.get_mut(&token) else { return };
        let hears = std::mem::take(&mut incoming.running);
        for (hears, done) in hears.into_iter().zip(done) {
            self.sinks.bytes = self.sinks.bytes.saturating_sub(hears.len_bytes);
            self.sink_step_done(&token, &hears, done);
        }
        if self.sinks.bytes < LOW_BYTES {
            self.context.release_all(Why::Disk);
        }
        self.refuse_late_steps(&token);
        self.run_sink(&token);
        self.forget_sink_if_over(&token);
    }

    fn sink_step_done(&mut self, token: &Token, hears: &Hears, done: SinkDone) {
        let Some(incoming) = self.sinks.all.get_mut(token) else { return };
        if let Some((code, data)) = incoming.ended.clone() {
            return self.answer_copy(token, hears, code, data);
        }
        match done {
            SinkDone::Found { received, md5, same_size } => {
                let Asked::Query(number) = hears.asked else { return };
                let data = format!(
                    "{{\"query\":{number},\"received\":{received},\"md5\":\"{md5}\",\"same_size\":{same_size}}}"
                );
                self.answer_copy(token, hears, Code::BEGIN, data);
            }
            SinkDone::Written(received) => {
                self.progress_row(token, received);
                self.answer_copy(token, hears, Code::BEGIN, format!("{{\"received\":{received}}}"));
            }
            SinkDone::Repeated(received) => {
                let text = format!("copy {token}: a chunk came twice, {received} bytes are here");
                self.context.log(LogLine::warning("action", text));
                self.answer_copy(token, hears, Code::BEGIN, format!("{{\"received\":{received}}}"));
            }
            SinkDone::Unchanged(notes) => self.copy_is_there(token, hears, notes, true),
            SinkDone::Finished(notes) => self.copy_is_there(token, hears, notes, false),
            SinkDone::Failed(failure) => {
                self.log_copy_failure(token, &failure);
                self.end_incoming(token, Code::FINISHED_KO, failure_data(&failure));
                self.answer_copy(token, hears, Code::FINISHED_KO, failure_data(&failure));
            }
            SinkDone::Gathered => self.pass_copy_on(token, hears),
            SinkDone::Discarded => match incoming.killed.take() {
                Some(reason) => self.end_incoming(token, Code::FINISHED_KO, json::message(&reason)),
                None => incoming.ended = Some((Code::FINISHED_KO, json::message("the sender gave the copy up"))),
            },
        }
    }

    /// All is here; the rest is up to the session with the host.
    fn pass_copy_on(&mut self, token: &Token, hears: &Hears) {
        let Some(incoming) = self.sinks.all.get_mut(token) else { return };
        let (sink, logging) = (incoming.sink, incoming.logging);
        if let Some(passed_on) = incoming.passed_on.take() {
            self.ssh.send_gathered_copy(&mut self.context, sink, token, logging, passed_on);
        }
        self.answer_copy(token, hears, Code::BEGIN, "{\"unchanged\":false}".to_owned());
        self.forget_sink(token);
    }

    fn copy_is_there(&mut self, token: &Token, hears: &Hears, notes: Vec<String>, unchanged: bool) {
        let data = finished_data(&notes);
        for note in notes {
            self.context.log(LogLine::error("action", format!("Copy processing - {note}")));
        }
        self.end_incoming(token, Code::FINISHED_OK, data);
        let number = match hears.asked {
            Asked::Query(number) => format!(",\"query\":{number}"),
            _ => String::new(),
        };
        self.answer_copy(token, hears, Code::BEGIN, format!("{{\"unchanged\":{unchanged}{number}}}"));
    }

    fn log_copy_failure(&mut self, token: &Token, failure: &CopyFailure) {
        let detail = if failure.detail.is_empty() { String::new() } else { format!(" ({})", failure.detail) };
        self.context
            .log(LogLine::error("action", format!("Copy processing - {}{detail}, token {token}", failure.message)));
    }

    /// The last row; what still comes is answered with it.
    fn end_incoming(&mut self, token: &Token, code: Code, data: String) {
        let Some(incoming) = self.sinks.all.get_mut(token) else { return };
        incoming.ended = Some((code, data.clone()));
        if incoming.logging {
            self.context.finish(token, code, data);
        }
    }

    fn progress_row(&mut self, token: &Token, received: u64) {
        let now = self.context.now.monotonic;
        let Some(incoming) = self.sinks.all.get_mut(token).filter(|incoming| incoming.logging) else { return };
        let is_due = incoming.last_row.is_none_or(|last| now.since(last) >= ROW_EVERY);
        let data = match incoming.total {
            Some(total) if is_due || received >= total => {
                format!("{{\"message\":\"process copy inprogress\",\"received\":{received},\"total\":{total}}}")
            }
            Some(_) => return,
            None => format!("{{\"message\":\"process copy inprogress\",\"received\":{received}}}"),
        };
        incoming.last_row = Some(now);
        self.context.row(token, Code::COPY_IN_PROGRESS, data);
    }

    fn answer_copy(&mut self, token: &Token, hears: &Hears, code: Code, data: String) {
        let Some(client) = hears.client else { return };
        let reply = Reply { kind: Action::Ack, token: Some(token.clone()), code, data };
        match client.parent() {
            None => self.context.output(Output::SendToClient { client, outgoing: Outgoing::Reply(reply) }),
            // Only one of our own kind asks for it; any other would take it for a request.
            Some(kind) if hears.wants_ack => {
                self.context.output(Output::SendToParent { kind, outgoing: Outgoing::Reply(reply) });
            }
            Some(_) => {}
        }
    }

    /// What waits for a copy that has ended is not done any more, up to a question that begins it anew.
    fn refuse_late_steps(&mut self, token: &Token) {
        loop {
            let Some(incoming) = self.sinks.all.get_mut(token) else { return };
            let Some((code, data)) = incoming.ended.clone() else { return };
            if incoming.waiting.front().is_none_or(|(_, hears)| matches!(hears.asked, Asked::Query(_))) {
                return;
            }
            let Some((_, hears)) = incoming.waiting.pop_front() else { return };
            self.sinks.bytes = self.sinks.bytes.saturating_sub(hears.len_bytes);
            self.answer_copy(token, &hears, code, data);
        }
    }

    /// A copy that ended well is forgotten; of one that failed more may still come.
    fn forget_sink_if_over(&mut self, token: &Token) {
        let Some(incoming) = self.sinks.all.get(token) else { return };
        let is_over = matches!(incoming.ended, Some((Code::FINISHED_OK, _)));
        if is_over && incoming.running.is_empty() && incoming.waiting.is_empty() {
            self.forget_sink(token);
            self.sinks.ended_well.push_back(token.clone());
            if self.sinks.ended_well.len() > ENDED_MAX {
                self.sinks.ended_well.pop_front();
            }
        }
    }

    fn forget_sink(&mut self, token: &Token) {
        if let Some(incoming) = self.sinks.all.remove(token) {
            self.sinks.tokens.remove(&incoming.sink);
            self.context.timers.cancel(&Timer::Sink(token.clone()));
        }
    }
}

/// The data of the last row of a copy that is in its place.
fn finished_data(notes: &[String]) -> String {
    let message = "process copy finished successfully";
    match notes {
        [] => json::message(message),
        notes => serde_json::json!({ "message": message, "detail": notes.join("; ") }).to_string(),
    }
}
