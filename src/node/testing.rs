//! A core under test: it takes inputs and gives outputs as lines that are readable in an `assert_eq!`.

use crate::model::host_work::{HostDone, HostWork, QueryId};
use std::time::Duration;

use crate::config::database::{DatabasePlace, DatabaseSettings};
use crate::config::modules::Modules;
use crate::config::modules::action::ActionSettings;
use crate::config::modules::dial_in::{PullSettings, PullWssSettings};
use crate::config::modules::proxy::ProxySettings;
use crate::model::action::Action;
use crate::model::api::{ApiCall, CallId, Method};
use crate::model::code::Code;
use crate::model::command::{CommandEnd, CommandId, CommandOutcome, OutputCut, Program};
use crate::model::connection::{ClientId, ConnectionId, Endpoint};
use crate::model::history::{HistoryRow, LogPage, StoreChange, SyncMark};
use crate::model::message::{Message, Outgoing};
use crate::model::node_id::NodeId;
use crate::model::random::Random;
use crate::model::registration::{NodeKind, Registration, RegistrationSource};
use crate::model::secret::Secret;
use crate::model::ssh::{SshTarget, SshTask, UploadSource};
use crate::model::status::NodeFacts;
use crate::model::time::{Monotonic, Now, WallTime};
use crate::model::time_zone::TimeZone;
use crate::model::token::Token;
use crate::model::work::{Work, WorkId, WorkOutcome};

use super::CoreOptions;
use super::core::Core;
use super::input::Input;
use super::nodes::wanted::RegistrationChanges;
use super::output::{Output, ReceiptId};
use crate::model::stored::Restored;

/// 2026-11-23 in seconds since the epoch.
pub const START_SECONDS: i64 = 1_795_450_000;

/// Bytes that count upwards, in place of random ones.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        bytes.fill(self.0);
    }
}

pub fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

pub fn push_node(number: u64) -> Registration {
    let endpoint = Endpoint::Tcp { host: "192.0.2.1".to_owned(), port: 5000 + u16::try_from(number).unwrap() };
    let kind = NodeKind::PushZmq { endpoint };
    Registration { id: id(number), uid: None, kind, identity: None, link: None, prevail: false, subnodes: Vec::new() }
}

pub fn ssh_node(number: u64) -> Registration {
    let target = SshTarget::new("192.0.2.1".to_owned(), 22, "centreon".to_owned());
    Registration { kind: NodeKind::PushSsh(Box::new(target)), ..push_node(number) }
}

pub fn pull_settings() -> PullSettings {
    PullSettings {
        others: Vec::new(),
        link: None,
        endpoint: Endpoint::Tcp { host: "192.0.2.9".to_owned(), port: 5556 },
        is_metered: false,
        ping: Duration::from_secs(60),
        ping_timeout: Duration::from_secs(30),
    }
}

pub fn pullwss_settings() -> PullWssSettings {
    PullWssSettings {
        others: Vec::new(),
        host: "192.0.2.9".to_owned(),
        port: 443,
        token: "secret".to_owned(),
        uri: "/".to_owned(),
        tls: None,
        proxy: None,
        is_metered: false,
        ping: Duration::from_secs(30),
        max_message_size: 130_000,
    }
}

pub fn database() -> DatabaseSettings {
    DatabaseSettings {
        place: DatabasePlace::Local,
        database: "centreon".to_owned(),
        username: String::new(),
        password: Secret::default(),
        tls: None,
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(10),
    }
}

pub fn options(nodes: Vec<Registration>) -> CoreOptions {
    let package = |name: &str| (name.to_owned(), format!("gorgone::modules::core::{name}::hooks"));
    CoreOptions {
        id: Some(id(1)),
        hostname: "central".to_owned(),
        thumbprint: "thumb".to_owned(),
        debug: false,
        takes_every_key: false,
        audits: false,
        delegate: Default::default(),
        nodes,
        modules: Modules {
            proxy: Some(ProxySettings::default()),
            action: Some(ActionSettings::default()),
            loaded: ["action", "dbcleaner", "httpserver", "proxy"].into_iter().map(package).collect(),
            ..Modules::default()
        },
        time_zone: TimeZone::utc(),
        memory: || Some(4_096),
    }
}

/// A core and its clock.
pub struct Bench {
    pub core: Core,
    pub millis: u64,
    /// Whether a mark, or the beginning of a COMMAND, can be stored.
    pub stores: bool,
    /// Whether a COMMAND begins before its first rows are stored, which [`Bench::commit`] does.
    pub begins_early: bool,
    /// Every log line.
    pub log: Vec<String>,
}

impl Bench {
    pub fn new(options: CoreOptions) -> Self {
        Self::restored(options, Restored::default())
    }

    pub fn restored(options: CoreOptions, restored: Restored) -> Self {
        let mut bench = Self::undrained(options, restored);
        bench.drain();
        bench
    }

    /// Returns a bench whose first outputs are not drained yet.
    pub fn fresh(options: CoreOptions) -> Self {
        Self::undrained(options, Restored::default())
    }

    pub fn undrained(options: CoreOptions, restored: Restored) -> Self {
        let core = Core::new(options, restored, Box::new(Counting(0)), Self::at(0));
        Self { core, millis: 0, stores: true, begins_early: false, log: Vec::new() }
    }

    /// Returns a central with linked nodes. Earlier outputs are discarded.
    pub fn linked(nodes: &[u64]) -> Self {
        let mut bench = Self::new(options(nodes.iter().map(|number| push_node(*number)).collect()));
        for number in nodes {
            bench.give(Input::LinkUp(id(*number)));
            bench.give(node_message(*number, "PONG", "", r#"{"code":0,"data":{"action":"ping","data":{}}}"#));
            bench.give(node_message(*number, "ACK", "", r#"{"code":0,"data":{"action":"getlog","result":[]}}"#));
        }
        bench
    }

    fn at(millis: u64) -> Now {
        let micros = START_SECONDS * 1_000_000 + i64::try_from(millis).unwrap() * 1_000;
        Now { monotonic: Monotonic::from_millis(millis), wall: WallTime::from_micros(micros) }
    }

    /// Gives an event, and leaves the outputs to the caller.
    #[cfg(feature = "centreon")]
    pub fn raw(&mut self, input: Input) {
        self.core.handle_input(input, Self::at(self.millis));
    }

    /// Lets time pass, and leaves the outputs to the caller.
    #[cfg(feature = "centreon")]
    pub fn raw_timeout(&mut self, millis: u64) {
        self.millis += millis;
        self.core.handle_timeout(Self::at(self.millis));
    }

    /// Returns all outputs except log lines. The database answers at once about a page of a sync and about the first
    /// rows of a COMMAND.
    pub fn drain(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        loop {
            while let Some(output) = self.core.poll_output() {
                if let Output::Log(line) = &output {
                    self.log.push(line.text.clone());
                }
                if let Output::Store { change: change @ StoreChange::PutSyncMark(..), receipt: Some(receipt) } = output
                {
                    lines.push(stored(&change));
                    self.tell_stored(receipt, &mut lines);
                } else if let Output::StoreMayWait { receipt, .. } = output
                    && self.begins_early
                {
                    self.core.handle_input(Input::MayBegin(receipt), Self::at(self.millis));
                } else if !is_silent(&output) {
                    lines.push(describe(&output));
                }
            }
            let receipt = self.core.commands.awaited_receipt().filter(|_| !self.begins_early);
            let Some(receipt) = receipt else { break };
            self.tell_stored(receipt, &mut lines);
        }
        lines
    }

    /// Lets the database answer about the first rows of the oldest COMMAND that waits for it.
    pub fn commit(&mut self) -> Vec<String> {
        let receipt = self.core.commands.awaited_receipt().unwrap();
        self.tell_stored(receipt, &mut []);
        self.drain()
    }

    /// Returns the number of log lines that begin with `text`.
    pub fn logged(&self, text: &str) -> usize {
        self.log.iter().filter(|line| line.starts_with(text)).count()
    }

    fn tell_stored(&mut self, receipt: ReceiptId, lines: &mut [String]) {
        // Rows with the same receipt are shown like any other.
        let suffix = format!(" (receipt {})", receipt.0);
        for line in lines {
            *line = line.strip_suffix(&suffix).unwrap_or(line).to_owned();
        }
        self.core.handle_input(Input::Stored { receipt, stored: self.stores }, Self::at(self.millis));
    }

    pub fn give(&mut self, input: Input) -> Vec<String> {
        self.core.handle_input(input, Self::at(self.millis));
        self.drain()
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, time: Duration) -> Vec<String> {
        let end = self.millis + u64::try_from(time.as_millis()).unwrap();
        let mut outputs = Vec::new();
        while let Some(next) = self.core.poll_timeout().map(Monotonic::as_millis).filter(|next| *next <= end) {
            self.millis = self.millis.max(next);
            self.core.handle_timeout(Self::at(self.millis));
            outputs.extend(self.drain());
        }
        self.millis = end;
        outputs
    }

    pub fn pass_seconds(&mut self, seconds: u64) -> Vec<String> {
        self.pass(Duration::from_secs(seconds))
    }

    /// Makes a request as client 7.
    pub fn request(&mut self, action: &str, token: &str, target: &str, data: &str) -> Vec<String> {
        self.give(Input::ClientMessage {
            client: ClientId::Zmq(7),
            message: message(action, token, Some(target), data),
        })
    }

    pub fn call(&mut self, number: u64, method: Method, path: &str, body: &str) -> Vec<String> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let call = ApiCall {
            below_api: true,
            wishes: Default::default(),
            method,
            path: path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            query: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            body: body.as_bytes().to_vec(),
            caller: crate::model::api::Caller::default(),
        };
        self.give(Input::ApiCall { id: CallId(number), call })
    }

    pub fn command_exits(&mut self, number: u64, exit_code: i32, output: &str) -> Vec<String> {
        let output = output.as_bytes().to_vec();
        self.command_ends(number, CommandEnd::Exited(exit_code), output, OutputCut::default())
    }

    pub fn command_ends(&mut self, number: u64, end: CommandEnd, output: Vec<u8>, cut: OutputCut) -> Vec<String> {
        let started = Self::at(0).wall;
        let ended = WallTime::from_micros(started.as_micros() + 2_000_000);
        let outcome = CommandOutcome { end, output, cut, started, ended };
        self.give(Input::Host(HostDone::CommandEnded { command: CommandId(number), outcome }))
    }

    pub fn work_done(&mut self, number: u64, outcome: WorkOutcome) -> Vec<String> {
        self.give(Input::Host(HostDone::WorkDone { id: WorkId(number), outcome }))
    }

    pub fn answer(&mut self, query: u64, rows: Vec<HistoryRow>, more: bool) -> Vec<String> {
        self.give(Input::Host(HostDone::QueryAnswer {
            query: QueryId(query),
            result: Ok(LogPage { rows, more, ..LogPage::default() }),
        }))
    }

    /// Lets a source list these nodes and no others.
    pub fn list(&mut self, source: RegistrationSource, wanted: Vec<Registration>) -> RegistrationChanges {
        self.core.nodes.apply_registrations(&mut self.core.context, source, wanted)
    }

    /// Returns the constatus entry of a node.
    pub fn constatus(&mut self, number: u64) -> serde_json::Value {
        let (text, _) = self.core.nodes.constatus_text(&self.core.context, false);
        let text: serde_json::Value = serde_json::from_str(&text).unwrap();
        text["data"][number.to_string()].clone()
    }
}

pub fn message(action: &str, token: &str, target: Option<&str>, data: &str) -> Message {
    Message {
        action: Action::parse(action),
        token: Token::parse(token).ok(),
        target: target.map(Into::into),
        data: data.to_owned(),
    }
}

pub fn node_message(node: u64, action: &str, token: &str, data: &str) -> Input {
    Input::NodeMessage { node: id(node), message: message(action, token, None, data) }
}

pub fn row(number: i64, token: &str, code: i64, data: &str) -> HistoryRow {
    HistoryRow {
        id: number,
        token: Some(token.to_owned()),
        code: Code(code),
        etime: 5,
        ctime: 6.5,
        instant: false,
        data: data.to_owned(),
        origin: None,
    }
}

fn outgoing(outgoing: &Outgoing) -> String {
    match outgoing {
        Outgoing::Request(message) => {
            let token = message.token.as_ref().map(Token::as_str).unwrap_or_default();
            let target = message.target.as_deref().unwrap_or_default();
            // That we unpack rows goes without saying.
            let data = message.data.replace(",\"packs\":1", "");
            format!("[{}] [{token}] [{target}] {data}", message.action.as_str())
        }
        Outgoing::Reply(reply) => {
            let token = reply.token.as_ref().map(Token::as_str).unwrap_or_default();
            format!("[{}] [{token}] {} {}", reply.kind.as_str(), reply.code.0, reply.data)
        }
    }
}

fn stored(change: &StoreChange) -> String {
    match change {
        StoreChange::InsertRow(row) => {
            let token = row.token.as_deref().unwrap_or("-");
            let instant = if row.instant { " instant" } else { "" };
            format!("row {token} {}{instant} {}", row.code.0, row.data)
        }
        StoreChange::PutSyncMark(node, SyncMark { ctime, last_id, .. }) => format!("mark {node} {ctime} {last_id}"),
        StoreChange::DeleteSyncMark(node) => format!("mark {node} forgotten"),
        StoreChange::Purge { used_before, rows_before, instant_before } => {
            format!("purge {used_before} {rows_before} {instant_before}")
        }
        _ => "another change".to_owned(),
    }
}

fn ssh_task(task: &SshTask) -> String {
    match task {
        SshTask::Run(command) => {
            format!("run for {:?}, {:?} of silence: {}", command.timeout, command.timeout_nodata, command.line)
        }
        SshTask::Submit { pipe, lines } => format!("submit to {pipe}: {lines:?}"),
        SshTask::Write { path, content, mode } => format!("write {path} {mode:o}: {content:?}"),
        SshTask::Upload(upload) => {
            let from = match &upload.source {
                UploadSource::Local(spec) => spec.source.display().to_string(),
                UploadSource::Gathered(sink, kind) => format!("{} of sink {}", kind.as_str(), sink.0),
            };
            let to = &upload.destination;
            format!("upload {from} as {} to {to}", upload.temporary)
        }
    }
}

/// Returns the number of a client as its name in tests.
fn name(client: ClientId) -> String {
    match client {
        ClientId::Zmq(number) | ClientId::WebSocket(ConnectionId(number)) => number.to_string(),
        ClientId::Parent(kind) => format!("{kind:?}"),
    }
}

/// Returns one output as one line.
pub fn describe(output: &Output) -> String {
    match output {
        Output::SendToClient { client, outgoing: sent } => format!("client {}: {}", name(*client), outgoing(sent)),
        Output::SendToNode { node, outgoing: sent } => format!("node {node}: {}", outgoing(sent)),
        Output::OpenLink { node, endpoint } => format!("open {node} {endpoint}"),
        Output::OpenSsh { node, target } => format!("open {node} {target}"),
        Output::StartSshTask { node, task, work } => format!("ssh {node} {}: {}", task.0, ssh_task(work)),
        Output::AbortSshTask { node, task, reason } => format!("abort {node} {}: {reason}", task.0),
        Output::ResetLink(node) => format!("reset {node}"),
        Output::CloseLink(node) => format!("close {node}"),
        Output::Store { change, receipt: None } => stored(change),
        Output::Store { change, receipt: Some(receipt) } => format!("{} (receipt {})", stored(change), receipt.0),
        Output::StoreMayWait { receipt, patience } => format!("receipt {} may wait {patience:?}", receipt.0),
        Output::Host(HostWork::Query { query, filter, limit }) => {
            let mut text = format!("query {} up to {}", query.0, limit.rows);
            let mut add = |name: &str, value: Option<String>| {
                text.extend(value.map(|value| format!(" {name}={value}")));
            };
            add("id>", filter.after_id.map(|value| value.to_string()));
            add("token", filter.token.clone());
            add("ctime>", filter.after_ctime.map(|value| value.to_string()));
            add("etime>", filter.after_etime.map(|value| value.to_string()));
            add("code", filter.code.map(|value| value.0.to_string()));
            add("newest", filter.newest.map(|value| value.to_string()));
            text
        }
        Output::Host(HostWork::RunCommand { command, spec }) => {
            let program = match &spec.program {
                Program::Shell(line) => format!("sh: {line}"),
                Program::Words(words) => format!("words: {words:?}"),
            };
            let streamed = if spec.streams { ", streamed" } else { "" };
            format!("run {} for {:?}{streamed}: {program}", command.0, spec.timeout)
        }
        Output::Host(HostWork::ReadPollers) => "read pollers".to_owned(),
        Output::Host(HostWork::Work { id, work }) => match work {
            Work::ReadPlugins { file } => format!("work {} plugins {file:?}", id.0),
            Work::WritePipe { file, requests, .. } => {
                let requests = requests.iter().map(|of| format!("{:?} within {:?}", of.lines, of.patience));
                format!("work {} write to {file} {}", id.0, requests.collect::<Vec<_>>().join(", "))
            }
            Work::Legacy(work) => format!("work {} {work:?}", id.0),
            Work::Queue(query) => format!("work {} {query:?}", id.0),
            Work::Statistics(work) => format!("work {} {work:?}", id.0),
            Work::Report(order) => {
                let node = |node: &NodeFacts| format!(" {}={}", node.id, node.state.as_str());
                let nodes: String = order.overview.nodes.iter().map(node).collect();
                format!("work {} report {:?} {}{nodes}", id.0, order.form, order.overview.revision())
            }
            Work::CheckCommands { lines, wanted } => format!("work {} check {lines:?} for {wanted}", id.0),
        },
        Output::Host(HostWork::KillCommand(command)) => format!("kill {}", command.0),
        Output::Host(HostWork::EndCommand(command)) => format!("end {}", command.0),
        Output::Host(HostWork::ReadSource { source, step }) => format!("source {}: {step:?}", source.0),
        Output::Host(HostWork::WriteSink { sink, steps }) => format!("sink {}: {steps:?}", sink.0),
        Output::AwaitRoom { node, .. } => format!("room for {node}?"),
        Output::PauseSender { sender, paused } => format!("pause {sender:?}: {paused}"),
        Output::Answer { call, answer } => {
            let allow = answer.allow.map(|allow| format!(" allow {allow}")).unwrap_or_default();
            format!("answer {} {}{allow} {}", call.0, answer.status, answer.body)
        }
        Output::Log(line) => format!("log {}", line.text),
        Output::SetLogLevel(level) => format!("level {level:?}"),
        Output::LearnTime(passed) => format!("learn {passed}"),
        Output::NodeMoved { node, before, client, twice } => {
            format!("node {node} moves from {} to {}: {twice:?}", name(*before), name(*client))
        }
        Output::CloseClient { client, refusal } => format!("close client {}: {refusal:?}", name(*client)),
        Output::SendToParent { kind, outgoing: sent } => format!("parent {kind:?}: {}", outgoing(sent)),
        Output::ResetParent(kind) => format!("reset parent {kind:?}"),
        Output::SetNodeKey { node, thumbprint } => format!("key of {node}: {thumbprint:?}"),
        Output::Stopped => "stopped".to_owned(),
    }
}

/// Returns whether an output is omitted because most tests do not need it.
fn is_silent(output: &Output) -> bool {
    use StoreChange::{CloseToken, OpenToken, PutLate, PutOriginMark};
    matches!(
        output,
        Output::Log(_)
            | Output::StoreMayWait { .. }
            | Output::Store { change: OpenToken { .. } | CloseToken(_) | PutLate { .. } | PutOriginMark(_), .. }
    )
}
