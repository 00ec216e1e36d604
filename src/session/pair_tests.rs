//! A dialer and a listener connected to each other. Jobs run at once; the test controls time and connections.

mod sealed;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::zmq_dialer::{DialerOutput, DialerSettings, ZmqDialer};
use super::zmq_listener::{Delivery, ListenerOutput, ListenerSettings, ZmqListener};
use crate::model::connection::{ClientId, ConnectionId, Endpoint, FingerprintMode, PeerAddress};
use crate::model::link::{LinkKind, LinkMode};
use crate::model::log::{Level, LogLine};
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::session::StoredSession;
use crate::model::time::{Monotonic, Now, WallTime};
use crate::model::token::Token;
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::gorgone::seeded_random::SeededRandom;
use crate::wire::gorgone::test_keys::{CLIENT_PKCS1, SERVER_PKCS1};
use crate::wire::tls_link::{ClientTls, ServerTls, TlsIdentity};

pub fn server_key() -> PrivateKey {
    PrivateKey::from_pem(SERVER_PKCS1.as_bytes()).ok().unwrap()
}

pub fn client_key() -> PrivateKey {
    PrivateKey::from_pem(CLIENT_PKCS1.as_bytes()).ok().unwrap()
}

pub fn now_at(milliseconds: u64) -> Now {
    let wall = WallTime::from_micros(1_800_000_000_000_000 + i64::try_from(milliseconds).unwrap() * 1_000);
    Now { monotonic: Monotonic::from_millis(milliseconds), wall }
}

pub fn listener_settings() -> ListenerSettings {
    ListenerSettings {
        public_key_pem: server_key().public().to_pem(),
        successors: std::sync::Arc::default(),
        fresh_sessions: false,
        link: LinkMode::Auto,
        tls: Some(ServerTls::new(&TlsIdentity::new(&server_key()).unwrap()).unwrap()),
        pinned: BTreeMap::new(),
        authorized: vec![client_key().public().thumbprint()],
        key_size: 32,
        rotation: Duration::from_secs(86_400),
        hostname: "poller".into(),
        session_idle: Duration::from_secs(86_400),
        max_sessions: 100,
        max_pending_hellos: 4,
        hellos_per_peer_per_second: 20,
        hellos_of_strangers_per_second: 100,
    }
}

pub fn dialer_settings() -> DialerSettings {
    DialerSettings {
        own_name: "gorgone-proxy-1-2".into(),
        endpoint: Endpoint::Tcp { host: "192.0.2.7".into(), port: 5556 },
        fingerprint_mode: FingerprintMode::First,
        node: NodeId::new(2).ok(),
        stored_fingerprint: None,
        successors: std::sync::Arc::default(),
        link: LinkMode::Classic,
        tls: Some(ClientTls::new(&TlsIdentity::new(&client_key()).unwrap()).unwrap()),
        is_pinned: false,
        public_key_pem: client_key().public().to_pem(),
        queue_messages: 10_000,
        queue_bytes: 32 << 20,
        step_timeout: Duration::from_secs(10),
        max_wait: Duration::from_secs(10),
    }
}

/// What somebody in between does with a payload.
type Between = Box<dyn FnMut(bool, Vec<u8>) -> Vec<Vec<u8>>>;

/// What is on its way to the listener or the dialer.
enum Transit {
    ToListener(ConnectionId, Vec<u8>),
    ToDialer(ConnectionId, Vec<u8>),
}

struct Pair {
    listener: ZmqListener,
    dialer: ZmqDialer,
    settings: ListenerSettings,
    now_ms: u64,
    random: SeededRandom,
    connections: u64,
    /// The dialer's connection.
    connection: Option<ConnectionId>,
    /// Whether the node can be reached.
    reachable: bool,
    /// Payloads from the listener of this kind are lost.
    lose_from_listener: bool,
    /// What somebody in between does with a payload; the flag says whether it goes to the listener.
    between: Between,
    /// What somebody in between does with the routing id, which is sent in clear.
    rename: fn(Vec<u8>) -> Vec<u8>,
    transit: VecDeque<Transit>,
    database: BTreeMap<Vec<u8>, StoredSession>,
    at_listener: Vec<(ClientId, Message)>,
    at_dialer: Vec<Message>,
    failed: Vec<(Option<Token>, String)>,
    downs: Vec<String>,
    ups: usize,
    kinds: Vec<LinkKind>,
    pins: usize,
    fingerprints: Vec<String>,
    log: Vec<LogLine>,
    gone: usize,
}

impl Pair {
    fn new(settings: ListenerSettings, dialer: DialerSettings) -> Self {
        let mut pair = Self {
            listener: ZmqListener::new(settings.clone(), Vec::new(), now_at(0)),
            dialer: ZmqDialer::new(dialer),
            settings,
            now_ms: 0,
            random: SeededRandom::new(&[42; 32]),
            connections: 0,
            connection: None,
            reachable: true,
            lose_from_listener: false,
            between: Box::new(|_, payload| vec![payload]),
            rename: |routing_id| routing_id,
            transit: VecDeque::new(),
            database: BTreeMap::new(),
            at_listener: Vec::new(),
            at_dialer: Vec::new(),
            failed: Vec::new(),
            downs: Vec::new(),
            ups: 0,
            kinds: Vec::new(),
            pins: 0,
            fingerprints: Vec::new(),
            log: Vec::new(),
            gone: 0,
        };
        pair.dialer.handle_start(now_at(0), &mut pair.random);
        pair.pump();
        pair
    }

    fn standard() -> Self {
        Self::new(listener_settings(), dialer_settings())
    }

    fn now(&self) -> Now {
        now_at(self.now_ms)
    }

    /// Moves everything until nothing is on its way.
    fn pump(&mut self) {
        loop {
            let now = self.now();
            if let Some(output) = self.dialer.poll_output() {
                self.dialer_did(output);
            } else if let Some(output) = self.listener.poll_output() {
                self.listener_did(output);
            } else if let Some(transit) = self.transit.pop_front() {
                match transit {
                    Transit::ToListener(connection, payload) => {
                        self.listener.handle_message(connection, &payload, now, &mut self.random);
                    }
                    Transit::ToDialer(connection, payload) if self.connection == Some(connection) => {
                        self.dialer.handle_payload(&payload, now, &mut self.random);
                    }
                    Transit::ToDialer(..) => {}
                }
            } else {
                return;
            }
        }
    }

    fn dialer_did(&mut self, output: DialerOutput) {
        let now = self.now();
        match output {
            DialerOutput::Connect { routing_id, .. } => {
                assert!(routing_id.starts_with(b"gorgone-proxy-1-2-") && routing_id.len() == 18 + 24);
                if !self.reachable {
                    return self.dialer.handle_disconnected("connection refused", now, &mut self.random);
                }
                self.connections += 1;
                let connection = ConnectionId(self.connections);
                self.connection = Some(connection);
                let peer = PeerAddress::Ip([192, 0, 2, 1].into());
                self.listener.handle_ready(connection, (self.rename)(routing_id), peer, now);
                self.dialer.handle_connected(now);
            }
            DialerOutput::Disconnect => {
                if let Some(connection) = self.connection.take() {
                    self.listener.handle_closed(connection);
                }
            }
            DialerOutput::Send(payload) => {
                let connection = self.connection.unwrap();
                let passed = (self.between)(true, payload);
                self.transit.extend(passed.into_iter().map(|payload| Transit::ToListener(connection, payload)));
            }
            DialerOutput::Gathered => panic!("nobody asked for it"),
            DialerOutput::Up(kind) => {
                self.ups += 1;
                self.kinds.push(kind);
            }
            DialerOutput::Pin { .. } => self.pins += 1,
            DialerOutput::Down { reason } => self.downs.push(reason),
            DialerOutput::Message(message) => self.at_dialer.push(message),
            DialerOutput::Malformed { reason, .. } => panic!("{reason}"),
            DialerOutput::Failed { token, reason } => self.failed.push((token, reason)),
            DialerOutput::RunJob(ticket) => {
                self.dialer.handle_job(ticket.run(&client_key()), now, &mut self.random);
            }
            DialerOutput::StoreFingerprint { target, thumbprint } => {
                assert_eq!(target, "tcp://192.0.2.7:5556");
                self.fingerprints.push(thumbprint);
            }
            DialerOutput::Log(line) => self.log.push(line),
        }
    }

    fn listener_did(&mut self, output: ListenerOutput) {
        match output {
            ListenerOutput::Send { payload, connection } => {
                if !self.lose_from_listener {
                    let passed = (self.between)(false, payload);
                    self.transit.extend(passed.into_iter().map(|payload| Transit::ToDialer(connection, payload)));
                }
            }
            ListenerOutput::Gathered { .. } => panic!("nobody asked for it"),
            ListenerOutput::Close { connection, .. } => self.close(connection),
            ListenerOutput::Authenticated(_) | ListenerOutput::Identified { .. } | ListenerOutput::Admitted(_) => {}
            ListenerOutput::Message { client, message } => self.at_listener.push((client, message)),
            ListenerOutput::Malformed { reason, .. } => panic!("{reason}"),
            ListenerOutput::ClientGone(_) => self.gone += 1,
            ListenerOutput::OpenHello { hello, job, .. } => {
                self.listener.handle_hello(hello, job.run(&server_key()), now_at(self.now_ms));
            }
            ListenerOutput::StoreSession(stored) => {
                self.database.insert(stored.routing_id.clone(), stored);
            }
            ListenerOutput::DropSession(routing_id) => {
                self.database.remove(&routing_id);
            }
            ListenerOutput::Pin { .. } => self.pins += 1,
            ListenerOutput::Log(line) => self.log.push(line),
        }
    }

    /// Lets virtual time pass, from one timer to the next.
    fn advance(&mut self, milliseconds: u64) {
        let end = self.now_ms + milliseconds;
        loop {
            let next = [self.dialer.poll_timeout(), self.listener.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.map(Monotonic::as_millis).filter(|at| *at <= end) else { break };
            self.now_ms = self.now_ms.max(next);
            let now = self.now();
            self.dialer.handle_timeout(now, &mut self.random);
            self.listener.handle_timeout(now, &mut self.random);
            self.pump();
        }
        self.now_ms = end;
    }

    /// Sends a message there and an answer back. Returns whether both arrived.
    fn round_trip(&mut self, number: usize) -> bool {
        let text = format!("[PING] [t{number}] [] {{\"x\":\"€\"}}");
        let (before, answered) = (self.at_listener.len(), self.at_dialer.len());
        let now = self.now();
        self.dialer.send(&[text.as_bytes()], Token::parse("t").ok(), now, &mut self.random);
        self.pump();
        let Some((client, message)) = self.at_listener.get(before).cloned() else { return false };
        let answer = format!("[PONG] [{}] [] {{\"x\":\"é\"}}", message.token.unwrap());
        if self.listener.send(client, &[answer.as_bytes()]) != Delivery::Sent {
            return false;
        }
        self.pump();
        self.at_dialer.len() == answered + 1
    }

    fn restart_listener(&mut self, keep_sessions: bool) {
        if !keep_sessions {
            self.database.clear();
        }
        let restored = self.database.values().cloned().collect();
        self.listener = ZmqListener::new(self.settings.clone(), restored, self.now());
    }

    /// The listener has closed a connection.
    fn close(&mut self, connection: ConnectionId) {
        if self.connection == Some(connection) {
            self.connection = None;
            self.listener.handle_closed(connection);
            let now = self.now();
            self.dialer.handle_disconnected("closed by the peer", now, &mut self.random);
        }
    }

    fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.listener.handle_closed(connection);
            let now = self.now();
            self.dialer.handle_disconnected("connection reset", now, &mut self.random);
            self.pump();
        }
    }

    fn shown(&self, level: Level) -> usize {
        self.log.iter().filter(|line| line.level >= level).count()
    }
}

#[test]
fn a_link_comes_up_and_carries_messages_both_ways() {
    let mut pair = Pair::standard();
    assert_eq!((pair.ups, pair.downs.len()), (1, 0));
    assert!((0..20).all(|number| pair.round_trip(number)));
    assert_eq!(pair.at_dialer.last().unwrap().data, "{\"x\":\"é\"}");
    assert_eq!(pair.database.len(), 1);
    assert_eq!(pair.fingerprints, [server_key().public().thumbprint()]);
}

#[test]
fn messages_sent_before_the_link_is_up_arrive_in_order() {
    let mut pair = Pair::standard();
    pair.reachable = false;
    pair.cut();
    for number in 0..50 {
        let now = pair.now();
        pair.dialer.send(&[format!("[PING] [t{number}] [] {{}}").as_bytes()], None, now, &mut pair.random);
    }
    pair.reachable = true;
    pair.advance(6_000);
    let tokens: Vec<String> = pair.at_listener.iter().map(|(_, m)| m.token.as_ref().unwrap().to_string()).collect();
    assert_eq!(tokens, (0..50).map(|number| format!("t{number}")).collect::<Vec<_>>());
}

#[test]
fn a_refused_key_is_explained_on_both_sides_and_tried_again_slowly() {
    let settings = ListenerSettings { authorized: vec!["other".into()], ..listener_settings() };
    let mut pair = Pair::new(settings, dialer_settings());
    let thumbprint = client_key().public().thumbprint();
    let told = |pair: &Pair, module| {
        pair.log.iter().any(|line| line.module == module && line.text.contains(&format!("- key: {thumbprint}")))
    };
    assert!(told(&pair, "core") && told(&pair, "proxy"));
    pair.advance(600_000);
    assert_eq!(pair.ups, 0);
    assert!((20..60).contains(&pair.downs.len()), "{}", pair.downs.len());
    assert!(pair.shown(Level::Info) <= 3 + 11, "{}", pair.shown(Level::Info));
    pair.settings = listener_settings();
    pair.restart_listener(true);
    pair.cut();
    pair.advance(31_000);
    assert!(pair.round_trip(1));
}

#[test]
fn an_unreachable_node_is_tried_often_and_its_messages_fail_in_time() {
    let mut pair = Pair::standard();
    pair.reachable = false;
    pair.cut();
    let now = pair.now();
    pair.dialer.send(&[b"[PING] [a] [] {}"], Token::parse("a").ok(), now, &mut pair.random);
    pair.advance(9_999);
    assert!(pair.failed.is_empty());
    pair.advance(1);
    assert_eq!(pair.failed[0].0.as_ref().unwrap().as_str(), "a");
    assert!(pair.failed[0].1.contains("connection refused"), "{}", pair.failed[0].1);
    pair.advance(3_600_000);
    assert!(pair.downs.len() > 700);
    assert!(pair.shown(Level::Info) < 20, "{}", pair.shown(Level::Info));
    pair.reachable = true;
    pair.advance(5_000);
    assert!(pair.round_trip(1));
}

#[test]
fn a_rotation_every_second_under_traffic_loses_nothing() {
    let settings = ListenerSettings { rotation: Duration::from_secs(1), ..listener_settings() };
    let mut pair = Pair::new(settings, dialer_settings());
    let mut keys = std::collections::BTreeSet::new();
    for number in 0..1_000 {
        assert!(pair.round_trip(number), "{number}");
        pair.advance(37);
        keys.extend(pair.database.values().map(|stored| stored.key.clone()));
    }
    assert!((30..=38).contains(&keys.len()), "{}", keys.len());
    assert_eq!((pair.ups, pair.downs.len()), (1, 0));
}

#[test]
fn a_rotation_whose_key_is_lost_is_repeated_under_the_old_key() {
    let settings = ListenerSettings { rotation: Duration::from_secs(60), ..listener_settings() };
    let mut pair = Pair::new(settings, dialer_settings());
    assert!(pair.round_trip(0));
    pair.lose_from_listener = true;
    pair.advance(600_000);
    assert!(pair.database.values().all(|stored| stored.old_key.is_some()), "rotated once");
    pair.lose_from_listener = false;
    pair.round_trip(1);
    assert!(pair.round_trip(2) && pair.round_trip(3));
    assert_eq!((pair.ups, pair.downs.len()), (1, 0), "no new handshake was needed");
}

#[test]
fn a_restart_of_the_node_is_survived_with_and_without_its_sessions() {
    let mut pair = Pair::standard();
    for turn in 0..20 {
        assert!(pair.round_trip(turn));
        pair.restart_listener(turn % 2 == 0);
        pair.cut();
        pair.advance(5_000);
    }
    assert_eq!(pair.ups, 21);
    assert!(pair.round_trip(99));
}

#[test]
fn a_node_that_forgets_the_session_on_a_live_connection_gets_a_new_handshake() {
    let mut pair = Pair::standard();
    assert!(pair.round_trip(0));
    pair.restart_listener(false);
    let (connection, peer) = (pair.connection.unwrap(), PeerAddress::Ip([192, 0, 2, 1].into()));
    pair.listener.handle_ready(connection, b"gorgone-proxy-1-2-x".to_vec(), peer, now_at(0));
    assert!(!pair.round_trip(1));
    assert!(pair.downs[0].contains("lost our session"), "{:?}", pair.downs);
    pair.advance(200);
    assert!(pair.round_trip(2));
}

#[test]
fn a_restart_of_the_client_makes_a_new_session_each_time() {
    let mut pair = Pair::standard();
    for turn in 0..20 {
        assert!(pair.round_trip(turn));
        if let Some(connection) = pair.connection.take() {
            pair.listener.handle_closed(connection);
        }
        pair.dialer = ZmqDialer::new(dialer_settings());
        let now = pair.now();
        pair.dialer.handle_start(now, &mut pair.random);
        pair.pump();
    }
    assert!(pair.round_trip(99));
    assert_eq!(pair.database.len(), 21);
    pair.advance(86_500_000);
    assert!(pair.database.is_empty() && pair.gone == 21, "unused ones go after a day");
}

#[test]
fn a_reset_builds_the_link_again_at_once() {
    let mut pair = Pair::standard();
    let now = pair.now();
    pair.dialer.reset(now, &mut pair.random);
    pair.pump();
    assert_eq!((pair.ups, pair.downs.len()), (2, 1));
    assert!(pair.round_trip(1));
}

#[test]
fn the_fingerprint_modes_accept_and_refuse_as_they_say() {
    let known = Some(server_key().public().thumbprint());
    let other = Some("other".to_owned());
    for (mode, stored, up, stores, told) in [
        (FingerprintMode::Always, other.clone(), 1, 0, ""),
        (FingerprintMode::First, None, 1, 1, ""),
        (FingerprintMode::First, known.clone(), 1, 0, ""),
        (FingerprintMode::First, other.clone(), 0, 0, "stheno keys trust --config FILE 2 "),
        (FingerprintMode::Strict, known, 1, 0, ""),
        (FingerprintMode::Strict, other, 0, 0, "stheno keys trust --config FILE 2 "),
        (FingerprintMode::Strict, None, 0, 0, "stheno keys trust --config FILE 2 "),
    ] {
        let settings = DialerSettings { fingerprint_mode: mode, stored_fingerprint: stored, ..dialer_settings() };
        let pair = Pair::new(listener_settings(), settings);
        assert_eq!((pair.ups, pair.fingerprints.len()), (up, stores), "{mode:?}");
        let lines: String = pair.downs.concat();
        assert!(lines.contains(told), "{mode:?} {lines}");
    }
}

#[test]
fn silence_in_every_step_ends_in_a_new_attempt() {
    let mut pair = Pair::standard();
    pair.lose_from_listener = true;
    pair.cut();
    pair.advance(10_200);
    assert!(pair.downs.last().unwrap().contains("public key"), "{:?}", pair.downs);
    pair.lose_from_listener = false;
    // The attempt after it has lost its answer, too.
    pair.advance(10_200);
    assert!(pair.round_trip(1));
}
