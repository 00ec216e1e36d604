//! A central and a poller, made of two cores and two histories in memory, with a link that loses the messages in
//! transit when it breaks.

use crate::model::host_work::{HostDone, HostWork};
use std::collections::{BTreeMap, VecDeque};

use crate::config::modules::Modules;
use crate::config::modules::dial_in::PullWssSettings;
use crate::model::api::{ApiCall, CallId, Method};
use crate::model::code::Code;
use crate::model::command::{CommandEnd, CommandOutcome, OutputCut};
use crate::model::connection::{ClientId, ConnectionId, ParentKind};
use crate::model::history::{HistoryRow, LogFilter, LogPage, PageLimit, StoreChange};
use crate::model::message::{Message, Outgoing};
use crate::model::random::Random;
use crate::model::registration::{NodeKind, Registration};
use crate::model::time::{Monotonic, Now, WallTime};

use super::CoreOptions;
use super::core::Core;
use super::input::Input;
use super::output::Output;
use super::testing::{START_SECONDS, id, options, pull_settings, pullwss_settings, push_node};
use crate::model::stored::Restored;

/// A small random number generator with a seed.
#[derive(Clone)]
struct Seeded(u64);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

/// A core with a history.
struct Daemon {
    core: Core,
    rows: Vec<HistoryRow>,
    ticks: i64,
    answers: BTreeMap<CallId, String>,
}

impl Daemon {
    fn new(options: CoreOptions, seed: u64) -> Self {
        let core = Core::new(options, Restored::default(), Box::new(Seeded(seed)), Now::default());
        Self { core, rows: Vec::new(), ticks: 0, answers: BTreeMap::new() }
    }

    fn insert(&mut self, mut row: HistoryRow) {
        row.id = self.rows.last().map_or(1, |last| last.id + 1);
        self.rows.push(row);
    }

    fn query(&self, filter: &LogFilter, limit: PageLimit) -> LogPage {
        let mut rows: Vec<HistoryRow> = self.rows.iter().filter(|row| filter.matches(row)).cloned().collect();
        if let Some(newest) = filter.newest.map(|newest| usize::try_from(newest).unwrap()) {
            rows.drain(..rows.len().saturating_sub(newest));
        }
        let more = rows.len() > limit.rows;
        rows.truncate(limit.rows);
        LogPage { rows, more, ..LogPage::default() }
    }

    /// Drains the core, simulating its database, its child processes and its callers. Returns the messages for the
    /// peer.
    fn turn(&mut self, now: Now) -> Vec<Outgoing> {
        let mut sent = Vec::new();
        loop {
            let mut later = Vec::new();
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::Store { change, receipt } => {
                        if let StoreChange::InsertRow(mut row) = change {
                            // Like in the database, it increases even if the clock does not.
                            self.ticks = (now.wall.as_micros() / 10).max(self.ticks + 1);
                            row.ctime = WallTime::from_micros(self.ticks * 10).as_seconds_f64();
                            self.insert(row);
                        }
                        later.extend(receipt.map(|receipt| Input::Stored { receipt, stored: true }));
                    }
                    Output::Host(HostWork::Query { query, filter, limit }) => {
                        later
                            .push(Input::Host(HostDone::QueryAnswer { query, result: Ok(self.query(&filter, limit)) }));
                    }
                    Output::Host(HostWork::RunCommand { command, .. }) => {
                        let end = CommandEnd::Exited(0);
                        let output = b"done\n".to_vec();
                        let outcome = CommandOutcome {
                            end,
                            output,
                            cut: OutputCut::default(),
                            started: now.wall,
                            ended: now.wall,
                        };
                        later.push(Input::Host(HostDone::CommandEnded { command, outcome }));
                    }
                    Output::Answer { call, answer } => {
                        self.answers.insert(call, answer.body);
                    }
                    Output::SendToNode { outgoing, .. }
                    | Output::SendToClient { outgoing, .. }
                    | Output::SendToParent { outgoing, .. } => sent.push(outgoing),
                    _ => {}
                }
            }
            if later.is_empty() {
                return sent;
            }
            for input in later {
                self.core.handle_input(input, now);
            }
        }
    }

    fn terminal_rows(&self, token: &str) -> usize {
        let is_end = |row: &&HistoryRow| row.token.as_deref() == Some(token) && row.is_last();
        self.rows.iter().filter(is_end).count()
    }
}

/// Maximum number of characters of one part of an answer over a WebSocket.
const PART_CHARS_MAX: usize = 3_000;
/// Text of rows that the central writes itself.
const OF_CENTRAL: [&str; 3] = ["proxy - ", "cannot get connection", "Send message problem"];

/// How the two are connected.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    Push,
    Pull,
    WebSocket,
}

struct World {
    transport: Transport,
    /// The central's name for the poller's session or WebSocket.
    client: ClientId,
    central: Daemon,
    poller: Daemon,
    millis: u64,
    linked: bool,
    /// Messages that wait for the link, as in the real link.
    unsent: VecDeque<Outgoing>,
    random: Seeded,
}

impl Transport {
    /// Returns the central's name for the poller after a connection made at this time.
    const fn client(self, millis: u64) -> ClientId {
        match self {
            Self::WebSocket => ClientId::WebSocket(ConnectionId(millis)),
            Self::Push | Self::Pull => ClientId::Zmq(1),
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self::over(Transport::Push, seed)
    }

    fn over(transport: Transport, seed: u64) -> Self {
        let node = match transport {
            Transport::Push => push_node(2),
            Transport::Pull => Registration { kind: NodeKind::Pull, ..push_node(2) },
            Transport::WebSocket => Registration { kind: NodeKind::WebSocket, ..push_node(2) },
        };
        let own_id = (transport != Transport::Push).then(|| id(2));
        let central = Daemon::new(options(vec![node]), seed);
        // This is small, so that most answers come in parts.
        let pullwss = PullWssSettings { max_message_size: PART_CHARS_MAX, ..pullwss_settings() };
        let mut dials = CoreOptions { id: own_id, ..options(Vec::new()) };
        let (pull, pullwss) = (Some(pull_settings()), Some(pullwss));
        dials.modules = Modules { proxy: None, pull, pullwss, ..dials.modules };
        let poller = Daemon::new(dials, seed + 1);
        let (unsent, random) = (VecDeque::new(), Seeded(seed + 2));
        Self { transport, client: transport.client(0), central, poller, millis: 0, linked: false, unsent, random }
    }

    const fn parent(&self) -> ParentKind {
        if matches!(self.transport, Transport::Pull) { ParentKind::Pull } else { ParentKind::WebSocket }
    }

    /// Lets the poller dial, or lose its connection.
    fn dial(&mut self, up: bool) {
        let (now, kind, client) = (self.now(), self.parent(), self.client);
        if up {
            let identity = "gorgone-2-x".to_owned();
            self.poller.core.handle_input(Input::ParentUp { kind, identity }, now);
            return;
        }
        self.poller.core.handle_input(Input::ParentDown { kind, reason: "reset".to_owned() }, now);
        if self.transport == Transport::Pull {
            self.central.core.handle_input(Input::ClientNotReached { client, token: None }, now);
        } else {
            self.central.core.handle_input(Input::ClientGone(client), now);
            self.client = self.transport.client(self.millis);
        }
    }

    fn now(&self) -> Now {
        let micros = START_SECONDS * 1_000_000 + i64::try_from(self.millis).unwrap() * 1_000;
        Now { monotonic: Monotonic::from_millis(self.millis), wall: WallTime::from_micros(micros) }
    }

    fn link(&mut self, up: bool) {
        let was_linked = std::mem::replace(&mut self.linked, up);
        if self.transport != Transport::Push {
            if was_linked != up {
                self.dial(up);
            }
            return;
        }
        let input = if up { Input::LinkUp(id(2)) } else { Input::LinkDown { node: id(2), reason: "reset".to_owned() } };
        self.central.core.handle_input(input, self.now());
    }

    /// Delivers all messages and those that they cause. With `breaks` the link may break at any message.
    fn settle(&mut self, breaks: bool) {
        let now = self.now();
        loop {
            self.unsent.extend(self.central.turn(now));
            self.not_reached(now);
            let back = self.poller.turn(now);
            if back.is_empty() && (self.unsent.is_empty() || !self.linked) {
                return;
            }
            let mut messages: VecDeque<(bool, Outgoing)> = back.into_iter().map(|sent| (false, sent)).collect();
            if self.linked {
                messages.extend(self.unsent.drain(..).map(|sent| (true, sent)));
            }
            while let Some((to_poller, sent)) = messages.pop_front() {
                if breaks && self.linked && self.random.below(40) == 0 {
                    self.link(false);
                }
                if !self.linked {
                    continue;
                }
                if self.transport != Transport::Push {
                    self.deliver_dialled(to_poller, sent, now);
                } else if to_poller {
                    let Outgoing::Request(message) = sent else { continue };
                    let message = Message { target: Some("".into()), ..message };
                    self.poller.core.handle_input(Input::ClientMessage { client: ClientId::Zmq(1), message }, now);
                } else {
                    let Outgoing::Reply(reply) = sent else { continue };
                    let data = format!("{{\"code\":{},\"data\":{}}}", reply.code.0, reply.data);
                    let message = Message { action: reply.kind, token: reply.token, target: None, data };
                    self.central.core.handle_input(Input::NodeMessage { node: id(2), message }, now);
                }
            }
        }
    }

    /// Reports to the central that its messages to a poller that has not dialled were not sent.
    fn not_reached(&mut self, now: Now) {
        if self.transport == Transport::Push || self.linked {
            return;
        }
        while let Some(sent) = self.unsent.pop_front() {
            let Outgoing::Request(Message { token, .. }) = sent else { continue };
            self.central.core.handle_input(Input::ClientNotReached { client: self.client, token }, now);
            self.unsent.extend(self.central.turn(now));
        }
    }

    fn deliver_dialled(&mut self, to_poller: bool, sent: Outgoing, now: Now) {
        let message = match sent {
            Outgoing::Request(message) => message,
            Outgoing::Reply(reply) => {
                let data = format!("{{\"code\":{},\"data\":{}}}", reply.code.0, reply.data);
                Message { action: reply.kind, token: reply.token, target: Some("".into()), data }
            }
        };
        if to_poller {
            self.poller.core.handle_input(Input::ParentMessage { kind: self.parent(), message }, now);
        } else if self.transport == Transport::Pull {
            self.central.core.handle_input(Input::ClientMessage { client: self.client, message }, now);
        } else {
            assert!(message.data.len() <= PART_CHARS_MAX, "no part is larger than the setting");
            self.central.core.handle_input(Input::WebSocketMessage { client: self.client, message }, now);
        }
    }

    fn pass(&mut self, millis: u64, breaks: bool) {
        let end = self.millis + millis;
        while self.millis < end {
            let next = [&self.central, &self.poller].iter().filter_map(|daemon| daemon.core.poll_timeout()).min();
            self.millis = next.map_or(end, |next| next.as_millis().clamp(self.millis, end));
            let now = self.now();
            self.central.core.handle_timeout(now);
            self.poller.core.handle_timeout(now);
            self.settle(breaks);
        }
    }

    fn command(&mut self, number: u64, log_wait_micros: u64) {
        let call = ApiCall {
            below_api: true,
            wishes: Default::default(),
            method: Method::Post,
            path: ["nodes", "2", "core", "action", "command"].map(str::to_owned).to_vec(),
            query: vec![("log_wait".to_owned(), log_wait_micros.to_string())],
            body: br#"[{"command":"true"}]"#.to_vec(),
            caller: crate::model::api::Caller::default(),
        };
        self.central.core.handle_input(Input::ApiCall { id: CallId(number), call }, self.now());
    }

    /// Asserts that the central has every row of the poller with a token exactly once.
    fn assert_taken_over(&self) {
        let of_poller = |rows: &[HistoryRow]| -> Vec<(Option<String>, Code, String)> {
            let mut rows: Vec<_> = rows
                .iter()
                .filter(|row| row.code != Code::STARTED && !OF_CENTRAL.iter().any(|text| row.data.contains(text)))
                .map(|row| (row.token.clone(), row.code, row.data.clone()))
                .collect();
            rows.sort();
            rows
        };
        assert_eq!(of_poller(&self.central.rows), of_poller(&self.poller.rows));
    }
}

#[test]
fn two_hundred_commands_come_back_within_a_quarter_of_a_second() {
    for transport in [Transport::Push, Transport::Pull, Transport::WebSocket] {
        run_two_hundred_commands(World::over(transport, 1));
    }
}

fn run_two_hundred_commands(mut world: World) {
    world.link(true);
    world.pass(1_000, false);
    for number in 0..200 {
        world.command(number, 10_000_000);
    }
    world.settle(false);
    world.pass(250, false);
    assert_eq!(world.central.answers.len(), 200);
    assert!(world.central.answers.values().all(|body| body.contains("commands processing has finished successfully")));
    world.assert_taken_over();
}

#[test]
fn a_long_history_is_taken_over_in_pages() {
    for transport in [Transport::Push, Transport::Pull, Transport::WebSocket] {
        take_over_a_long_history(World::over(transport, 2));
    }
}

fn take_over_a_long_history(mut world: World) {
    world.settle(false);
    for number in 0..5_500_u32 {
        world.poller.insert(HistoryRow {
            id: 0,
            token: Some(format!("t{number}")),
            code: Code::FINISHED_OK,
            etime: 1,
            ctime: 1_000_000.0 + f64::from(number / 3),
            instant: false,
            data: "{}".to_owned(),
            origin: None,
        });
    }
    world.link(true);
    world.pass(100, false);
    assert!(world.central.rows.len() > 5_500);
    world.assert_taken_over();
}

#[test]
fn a_poller_with_a_new_database_is_taken_over_from_its_start() {
    let mut world = World::new(3);
    world.link(true);
    world.pass(1_000, false);
    for number in 0..10 {
        world.command(number, 0);
    }
    world.pass(1_000, false);
    let before = world.central.rows.len();
    world.poller.rows.clear();
    world.command(10, 0);
    world.pass(61_000, false);
    assert_eq!(world.central.rows.len(), before + 4);
    // The next one grows past the mark before it is queried.
    world.poller.rows.clear();
    world.link(false);
    let now = world.now();
    for number in 0..20 {
        let data = r#"{"content":[{"command":"true"}]}"#;
        let message = super::testing::message("COMMAND", &format!("t{number}"), Some(""), data);
        world.poller.core.handle_input(Input::ClientMessage { client: ClientId::Zmq(9), message }, now);
    }
    world.poller.turn(now);
    world.link(true);
    world.pass(1_000, false);
    assert_eq!(world.central.rows.len(), before + 4 + 80);
}

#[test]
fn whatever_breaks_every_token_ends_once_and_every_row_arrives_once() {
    for transport in [Transport::Push, Transport::Pull, Transport::WebSocket] {
        break_the_connection_everywhere(transport);
    }
}

fn break_the_connection_everywhere(transport: Transport) {
    let mut lost = 0;
    for seed in 0..60 {
        let mut world = World::over(transport, 100 + seed);
        world.pass(10, false);
        for number in 0..60 {
            if !world.linked {
                world.link(true);
            }
            world.command(number, 1_000);
            world.settle(true);
            let pause = world.random.below(400);
            world.pass(pause, true);
        }
        world.link(false);
        world.link(true);
        world.pass(400_000, false);
        world.assert_taken_over();
        let transport = format!("{transport:?}");
        let tokens: std::collections::BTreeSet<String> =
            world.central.rows.iter().filter_map(|row| row.token.clone()).collect();
        assert_eq!(tokens.len(), 60, "{transport} seed {seed}");
        for token in tokens {
            assert_eq!(world.central.terminal_rows(&token), 1, "{transport} seed {seed} token {token}");
        }
        assert_eq!(world.central.answers.len(), 60, "{transport} seed {seed}");
        lost += world.central.rows.iter().filter(|row| row.data.contains("was lost before")).count();
    }
    assert!(lost > 20, "the link broke too seldom to prove anything: {transport:?} {lost}");
}
