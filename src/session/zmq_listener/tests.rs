use super::super::pair_tests::{client_key, listener_settings, now_at, server_key};
use super::*;
use crate::model::log::Level;
use crate::model::message::Message;
use crate::model::token::Token;
use crate::wire::gorgone::key_exchange::{DialJob, DialResult, HelloOutcome, encode_public_key, parse_key};
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::gorgone::sealing::SessionKey;
use crate::wire::gorgone::seeded_random::SeededRandom;

const PEER: PeerAddress = PeerAddress::Local;

/// A listener and all its outputs.
pub(super) struct Bench {
    pub(super) listener: ZmqListener,
    pub(super) random: SeededRandom,
    pub(super) sent: Vec<(ConnectionId, Vec<u8>)>,
    closed: Vec<ConnectionId>,
    pub(super) messages: Vec<(ClientId, Message)>,
    malformed: Vec<Option<Token>>,
    pub(super) gone: Vec<ClientId>,
    jobs: VecDeque<(HelloId, HelloWork)>,
    pub(super) stored: Vec<StoredSession>,
    dropped: Vec<Vec<u8>>,
    log: Vec<LogLine>,
}

impl Bench {
    pub(super) fn new(settings: ListenerSettings, restored: Vec<StoredSession>) -> Self {
        let mut bench = Self {
            listener: ZmqListener::new(settings, restored, now_at(0)),
            random: SeededRandom::new(&[7; 32]),
            sent: Vec::new(),
            closed: Vec::new(),
            messages: Vec::new(),
            malformed: Vec::new(),
            gone: Vec::new(),
            jobs: VecDeque::new(),
            stored: Vec::new(),
            dropped: Vec::new(),
            log: Vec::new(),
        };
        bench.drain();
        bench
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.listener.poll_output() {
            match output {
                ListenerOutput::Send { connection, payload } => self.sent.push((connection, payload)),
                ListenerOutput::Close { connection, .. } => self.closed.push(connection),
                ListenerOutput::Authenticated(_) | ListenerOutput::Identified { .. } | ListenerOutput::Admitted(_) => {}
                ListenerOutput::Message { client, message } => self.messages.push((client, message)),
                ListenerOutput::Malformed { token, .. } => self.malformed.push(token),
                ListenerOutput::ClientGone(client) => self.gone.push(client),
                ListenerOutput::OpenHello { hello, job, .. } => self.jobs.push_back((hello, job)),
                ListenerOutput::StoreSession(stored) => self.stored.push(stored),
                ListenerOutput::DropSession(routing_id) => self.dropped.push(routing_id),
                ListenerOutput::Pin { .. } | ListenerOutput::Gathered { .. } => {}
                ListenerOutput::Log(line) => self.log.push(line),
            }
        }
    }

    pub(super) fn ready(&mut self, connection: u64, routing_id: &str, at_ms: u64) {
        self.ready_from(PEER, connection, routing_id, at_ms);
    }

    fn ready_from(&mut self, peer: PeerAddress, connection: u64, routing_id: &str, at_ms: u64) {
        self.listener.handle_ready(ConnectionId(connection), routing_id.as_bytes().to_vec(), peer, now_at(at_ms));
        self.drain();
    }

    pub(super) fn feed(&mut self, connection: u64, payload: &[u8], at_ms: u64) {
        self.listener.handle_message(ConnectionId(connection), payload, now_at(at_ms), &mut self.random);
        self.drain();
    }

    pub(super) fn timeout(&mut self, at_ms: u64) {
        self.listener.handle_timeout(now_at(at_ms), &mut self.random);
        self.drain();
    }

    fn run_job(&mut self, at_ms: u64) {
        let (hello, job) = self.jobs.pop_front().unwrap();
        self.listener.handle_hello(hello, job.run(&server_key()), now_at(at_ms));
        self.drain();
    }

    /// Does a whole handshake. Returns the key of the session.
    pub(super) fn open(&mut self, connection: u64, at_ms: u64) -> SessionKey {
        self.feed(connection, &hello_of(&client_key()), at_ms);
        self.run_job(at_ms);
        self.key_from_last_reply()
    }

    fn key_from_last_reply(&self) -> SessionKey {
        let payload = self.sent.last().unwrap().1.clone();
        match (DialJob::OpenKey { payload, seed: [1; 32] }).run(&client_key()) {
            DialResult::Key(material) => SessionKey::new(material),
            _ => panic!("no key"),
        }
    }
}

fn hello_of(key: &PrivateKey) -> Vec<u8> {
    let job = DialJob::SealHello {
        payload: encode_public_key(&server_key().public().to_pem()),
        name: "gorgone-6".into(),
        public_key_pem: key.public().to_pem().into(),
        seed: [1; 32],
    };
    match job.run(key) {
        DialResult::Hello { payload, .. } => payload,
        _ => panic!("no hello"),
    }
}

#[test]
fn the_public_key_is_told_at_any_time() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    bench.feed(1, b"[GETPUBKEY]", 0);
    let key = bench.open(1, 0);
    bench.feed(1, b"[GETPUBKEY]", 0);
    bench.feed(1, &key.seal(b"[PING] [] [] {}"), 0);
    let offered = [encode_public_key(&server_key().public().to_pem()), b" [LINK] [auto]".to_vec()].concat();
    assert_eq!(bench.sent[0].1, offered);
    assert_eq!(bench.sent[0], bench.sent[2]);
    assert_eq!(bench.messages.len(), 1, "the session goes on");
}

#[test]
fn a_routing_id_that_is_not_ours_is_ignored_with_one_line_and_disturbs_nobody() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    let key = bench.open(1, 0);
    let lines = bench.log.len();
    bench.ready(2, "perl", 0);
    let sent = bench.sent.len();
    for payload in [&b"[GETPUBKEY]"[..], &key.seal(b"[PING] [] [] {}"), b"gorgone-a", &hello_of(&client_key())] {
        bench.feed(2, payload, 0);
    }
    assert_eq!((bench.sent.len(), bench.messages.len(), bench.log.len()), (sent, 0, lines + 1));
    bench.feed(1, &key.seal(b"[PING] [] [] {}"), 0);
    assert_eq!(bench.messages.len(), 1);
}

#[test]
fn a_newer_connection_takes_a_routing_id_over_with_its_session() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    let key = bench.open(1, 0);
    bench.ready(2, "gorgone-a", 0);
    assert_eq!(bench.closed, [ConnectionId(1)]);
    bench.listener.handle_closed(ConnectionId(1));
    bench.feed(2, &key.seal(b"[PING] [] [] {}"), 0);
    let client = bench.messages[0].0;
    assert_eq!(bench.listener.send(client, &[b"[PONG] [] [] {}"]), Delivery::Sent);
    assert_eq!(bench.listener.connection_of(client), Some(ConnectionId(2)));
    assert_eq!(bench.listener.client_of(b"gorgone-a"), Some(client));
    assert_eq!(bench.listener.routing_id(client), Some(&b"gorgone-a"[..]));
    bench.listener.handle_closed(ConnectionId(2));
    assert_eq!(bench.listener.send(client, &[b"[PONG] [] [] {}"]), Delivery::NotConnected);
}

#[test]
fn the_answer_to_a_handshake_reaches_a_client_that_was_reconnected_meanwhile() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    bench.feed(1, &hello_of(&client_key()), 0);
    bench.listener.handle_closed(ConnectionId(1));
    bench.ready(2, "gorgone-a", 0);
    bench.run_job(0);
    assert_eq!(bench.sent[0].0, ConnectionId(2));
    let key = bench.key_from_last_reply();
    bench.feed(2, &key.seal(b"[PING] [] [] {}"), 0);
    assert_eq!(bench.messages.len(), 1);
}

#[test]
fn the_answer_to_a_handshake_of_a_client_that_left_is_dropped() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    bench.feed(1, &hello_of(&client_key()), 0);
    bench.listener.handle_closed(ConnectionId(1));
    bench.run_job(0);
    assert!(bench.sent.is_empty() && bench.stored.is_empty());
}

#[test]
fn a_handshake_on_a_newer_connection_supersedes_the_pending_one() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    bench.feed(1, &hello_of(&server_key()), 0);
    bench.ready(2, "gorgone-a", 0);
    bench.feed(2, &hello_of(&client_key()), 0);
    bench.feed(2, &hello_of(&client_key()), 0);
    assert_eq!(bench.jobs.len(), 2, "a repetition on one connection is not judged twice");
    bench.run_job(0);
    assert!(bench.sent.is_empty());
    bench.run_job(0);
    assert_eq!(bench.stored.len(), 1);
}

#[test]
fn refused_clients_all_get_the_same_bytes_and_the_log_one_line_a_minute() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    bench.feed(1, &hello_of(&server_key()), 0);
    bench.run_job(0);
    bench.feed(1, b"[gorgone-a] [aGk=] [aGk=]", 0);
    bench.run_job(0);
    bench.feed(1, b"noise", 0);
    assert_eq!(bench.sent.len(), 3);
    assert!(bench.sent.iter().all(|(_, payload)| payload == HANDSHAKE_ISSUE));
    assert_eq!(bench.log.iter().filter(|line| line.level >= Level::Info).count(), 1);
    assert!(bench.log[0].text.contains("add '- key: "), "{}", bench.log[0].text);
}

#[test]
fn handshakes_are_limited_by_peer_and_in_all() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    for connection in 0..10 {
        bench.ready(connection, &format!("gorgone-{connection}"), 0);
        bench.feed(connection, &hello_of(&client_key()), 0);
    }
    assert_eq!((bench.jobs.len(), bench.sent.len()), (2, 8), "one address does not take all places");
    let slow = ListenerSettings { hellos_per_peer_per_second: 1, ..listener_settings() };
    let mut bench = Bench::new(slow, Vec::new());
    bench.ready(1, "gorgone-1", 0);
    for _ in 0..10 {
        bench.feed(1, &hello_of(&client_key()), 0);
        if !bench.jobs.is_empty() {
            bench.run_job(0);
        }
    }
    bench.drain();
    assert_eq!(bench.stored.len(), 5);
}

#[test]
fn an_address_that_had_a_session_gets_in_while_strangers_take_every_place() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    bench.open(1, 0);
    for number in 0..50 {
        let stranger = PeerAddress::Ip(std::net::IpAddr::from([10, 0, 0, number]));
        bench.ready_from(stranger, 100 + u64::from(number), &format!("gorgone-x{number}"), 0);
        bench.feed(100 + u64::from(number), &hello_of(&client_key()), 0);
    }
    assert_eq!(bench.jobs.len(), 4, "four places for strangers");
    bench.ready(2, "gorgone-b", 0);
    bench.feed(2, &hello_of(&client_key()), 0);
    assert_eq!(bench.jobs.len(), 5);
}

#[test]
fn a_replay_after_the_session_was_dropped_is_told_to_start_over_once_a_second() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    let key = bench.open(1, 0);
    let message = key.seal(b"[PING] [] [] {}");
    bench.feed(1, &message, 0);
    let day = 86_400_000;
    bench.timeout(day);
    assert_eq!((bench.gone.len(), bench.dropped.as_slice()), (1, &[b"gorgone-a".to_vec()][..]));
    let sent = bench.sent.len();
    for at_ms in [0, 1, 999, 1_000] {
        bench.feed(1, &message, day + at_ms);
    }
    assert_eq!((bench.sent.len() - sent, bench.messages.len()), (2, 1));
    let key = bench.open(1, day + 2_000);
    bench.feed(1, &key.seal(b"[PING] [] [] {}"), day + 2_000);
    assert_eq!(bench.messages.len(), 2);
}

#[test]
fn a_client_that_writes_nonsense_under_its_key_keeps_its_session() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    let key = bench.open(1, 0);
    for (text, token) in [("hello €", None), ("", None), ("[PING]", None), ("[PING] [../x] [] {}", None)] {
        bench.feed(1, &key.seal(text.as_bytes()), 0);
        assert_eq!(bench.malformed.pop().unwrap().as_ref().map(Token::as_str), token, "{text}");
    }
    bench.feed(1, &key.seal(format!("[PING] [tok] [{}] {{}}", "x".repeat(300)).as_bytes()), 0);
    assert_eq!(bench.malformed.pop().unwrap().unwrap().as_str(), "tok");
    bench.feed(1, &key.seal(b"[PING] [t] [\xe9] {\"a\":\"\xe9\"}"), 0);
    assert_eq!(bench.messages[0].1.data, "{\"a\":\"é\"}");
}

#[test]
fn a_handshake_replayed_by_a_stranger_does_not_make_the_client_deaf() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    let key = bench.open(1, 0);
    bench.feed(1, &key.seal(b"[PING] [] [] {}"), 0);
    for replay in 2..5 {
        bench.ready(replay, "gorgone-a", replay * 10_000);
        bench.feed(replay, &hello_of(&client_key()), replay * 10_000);
        bench.run_job(replay * 10_000);
    }
    bench.ready(9, "gorgone-a", 60_000);
    bench.feed(9, &key.seal(b"[PING] [] [] {}"), 60_000);
    assert_eq!(bench.messages.len(), 2);
    assert_eq!(bench.messages[0].0, bench.messages[1].0, "it is still the same client");
    let reminder = key.open(&bench.sent.last().unwrap().1).unwrap();
    let key = SessionKey::new(parse_key(&reminder).unwrap());
    bench.feed(9, &key.seal(b"[PING] [] [] {}"), 60_000);
    assert_eq!(bench.messages.len(), 3);
}

#[test]
fn another_rsa_key_on_a_routing_id_is_another_client() {
    let thumbprints = [client_key(), server_key()].map(|key| key.public().thumbprint());
    let settings = ListenerSettings { authorized: thumbprints.to_vec(), ..listener_settings() };
    let mut bench = Bench::new(settings, Vec::new());
    bench.ready(1, "gorgone-a", 0);
    bench.open(1, 0);
    bench.feed(1, &hello_of(&server_key()), 0);
    bench.run_job(0);
    assert_eq!(bench.gone.len(), 1);
    assert_ne!(bench.listener.client_of(b"gorgone-a"), Some(bench.gone[0]));
}

#[test]
fn stored_sessions_come_back_unless_they_are_old_damaged_or_too_many() {
    let seconds = now_at(0).wall.as_seconds();
    let stored = |name: &str, used: i64, key_len: usize| StoredSession {
        routing_id: name.as_bytes().to_vec(),
        created: seconds - 200_000,
        used,
        key: vec![1; key_len],
        iv: vec![2; 16],
        old_key: Some(vec![3; 32]),
        old_iv: Some(vec![4; 16]),
        thumbprint: None,
    };
    let settings = ListenerSettings { max_sessions: 2, ..listener_settings() };
    let rows = vec![
        stored("gorgone-old", seconds - 86_400, 32),
        stored("gorgone-damaged", seconds, 31),
        stored("gorgone-future", seconds + 99_999, 32),
        stored("gorgone-new", seconds - 1, 32),
        stored("gorgone-new", seconds - 2, 32),
        stored("gorgone-third", seconds - 3, 32),
    ];
    let mut bench = Bench::new(settings, rows);
    assert_eq!(bench.dropped.len(), 4);
    bench.ready(1, "gorgone-new", 0);
    let key = |byte, iv| SessionKey::new(KeyMaterial::new(vec![byte; 32], &[iv; 16]).unwrap());
    bench.feed(1, &key(3, 4).seal(b"[PING] [] [] {}"), 0);
    let reminder = key(3, 4).open(&bench.sent[0].1).unwrap();
    assert!(parse_key(&reminder).unwrap() == *key(1, 2).material());
    bench.timeout(1_000);
    assert_eq!(bench.stored.len(), 0, "no rotation before the client has shown the newest key");
    bench.feed(1, &key(1, 2).seal(b"[PING] [] [] {}"), 2_000);
    assert_eq!(bench.messages.len(), 2);
    assert_eq!(bench.listener.poll_timeout(), Some(Monotonic::from_millis(0)), "now the rotation is overdue");
    bench.timeout(2_000);
    assert_eq!(bench.stored[0].old_key.as_deref(), Some(&[1; 32][..]));
    assert!(parse_key(&key(1, 2).open(&bench.sent[1].1).unwrap()).is_ok());
}

#[test]
fn a_stored_session_comes_back_while_its_key_is_authorized() {
    let seconds = now_at(0).wall.as_seconds();
    let stored = |name: &str, thumbprint: Option<&str>| StoredSession {
        routing_id: name.as_bytes().to_vec(),
        created: seconds,
        used: seconds,
        key: vec![1; 32],
        iv: vec![2; 16],
        old_key: None,
        old_iv: None,
        thumbprint: thumbprint.map(str::to_owned),
    };
    let rows =
        || vec![stored("gorgone-a", Some("one")), stored("gorgone-b", Some("gone")), stored("gorgone-perl", None)];
    let dropped = |fresh_sessions, authorized: &[&str]| {
        let authorized = authorized.iter().map(|key| (*key).to_owned()).collect();
        let mut bench = Bench::new(ListenerSettings { fresh_sessions, authorized, ..listener_settings() }, rows());
        let before = bench.dropped.len();
        bench.listener.authorize(&[], true);
        bench.drain();
        (before, bench.dropped.len())
    };
    assert_eq!(dropped(false, &["one"]), (1, 3), "with the last key all go");
    assert_eq!(dropped(true, &["one", "gone"]), (1, 3), "the original does not say with which key its was agreed");
}

#[test]
fn the_session_of_a_connected_client_outlives_a_purge_however_silent_it_is() {
    let seconds = now_at(0).wall.as_seconds();
    let absent = StoredSession {
        routing_id: b"gorgone-absent".to_vec(),
        created: seconds,
        used: seconds,
        key: vec![1; 32],
        iv: vec![2; 16],
        old_key: None,
        old_iv: None,
        thumbprint: None,
    };
    let mut bench = Bench::new(listener_settings(), vec![absent]);
    bench.ready(1, "gorgone-a", 0);
    bench.open(1, 0);
    bench.stored.clear();
    bench.listener.keep_connected(seconds - 3_600);
    bench.drain();
    assert!(bench.stored.is_empty(), "nothing of it would be purged");
    bench.listener.keep_connected(seconds + 3_600);
    bench.drain();
    let kept: Vec<(&[u8], i64)> = bench.stored.iter().map(|row| (&*row.routing_id, row.used)).collect();
    assert_eq!(kept, [(&b"gorgone-a"[..], seconds + 3_600)]);
}

#[test]
fn the_time_of_last_use_is_stored_once_a_minute() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    let key = bench.open(1, 0);
    for second in 0..150 {
        bench.feed(1, &key.seal(b"[PING] [] [] {}"), second * 1_000);
    }
    assert_eq!(bench.stored.len(), 3);
    assert_eq!(bench.stored[2].used, now_at(120_000).wall.as_seconds());
}

#[test]
fn a_full_house_gives_up_the_longest_unused_session_without_a_connection() {
    let settings = ListenerSettings { max_sessions: 2, ..listener_settings() };
    let mut bench = Bench::new(settings, Vec::new());
    for (connection, name) in [(1, "gorgone-a"), (2, "gorgone-b")] {
        bench.ready(connection, name, 0);
        bench.open(connection, connection * 1_000);
    }
    bench.ready(3, "gorgone-c", 3_000);
    bench.feed(3, &hello_of(&client_key()), 3_000);
    bench.run_job(3_000);
    assert_eq!(bench.sent.last().unwrap().1, HANDSHAKE_ISSUE);
    bench.listener.handle_closed(ConnectionId(2));
    bench.open(3, 4_000);
    assert_eq!(bench.dropped, [b"gorgone-b".to_vec()]);
}

#[test]
fn garbage_never_panics_and_never_ends_another_session() {
    let mut bench = Bench::new(listener_settings(), Vec::new());
    bench.ready(1, "gorgone-a", 0);
    let key = bench.open(1, 0);
    bench.ready(2, "gorgone-b", 0);
    let mut random = SeededRandom::new(&[99; 32]);
    let seeds: [&[u8]; 6] = [
        b"[gorgone-b] [aGk=] [aGk=]",
        b"[GETPUBKEY]",
        b"[KEY] {}",
        b"[PING] [] [] {}",
        b"",
        b"AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    for turn in 0..3_000_u64 {
        let mut payload = seeds[usize::try_from(random.below(6)).unwrap()].to_vec();
        for _ in 0..random.below(8) {
            let at = usize::try_from(random.below(u64::try_from(payload.len()).unwrap() + 1)).unwrap();
            payload.insert(at, u8::try_from(random.below(256)).unwrap());
        }
        let connection = 1 + random.below(2);
        bench.feed(connection, &payload, turn);
        bench.feed(1, &key.seal(&payload), turn);
        while let Some((hello, _)) = bench.jobs.pop_front() {
            let reason = crate::wire::gorgone::key_exchange::RefusalReason::Proof;
            let outcome = HelloOutcome::Refused { thumbprint: None, reason };
            bench.listener.handle_hello(hello, HelloResult::Classic(outcome), now_at(turn));
        }
    }
    bench.drain();
    let before = bench.messages.len();
    bench.feed(1, &key.seal(b"[PING] [] [] {}"), 5_000);
    assert_eq!((bench.messages.len(), bench.gone.len()), (before + 1, 0));
    assert!(bench.sent.len() < 6_000);
}
