//! A client as libzmq and Perl make it: it keeps its routing id and its key when the connection breaks, knows only one
//! key, changes it on `[KEY]`, ignores what it cannot open, and never starts over by itself.

use std::time::Duration;

use super::super::pair_tests::{listener_settings, now_at};
use super::tests::Bench;
use super::*;
use crate::wire::gorgone::key_exchange::{is_key, parse_key};
use crate::wire::gorgone::sealing::SessionKey;
use crate::wire::gorgone::seeded_random::SeededRandom;

struct Stubborn {
    bench: Bench,
    settings: ListenerSettings,
    key: SessionKey,
    keys_seen: usize,
    connection: u64,
    now_ms: u64,
    row: Option<StoredSession>,
}

impl Stubborn {
    fn new() -> Self {
        let settings = ListenerSettings { rotation: Duration::from_secs(1), ..listener_settings() };
        let mut bench = Bench::new(settings.clone(), Vec::new());
        bench.ready(1, "gorgone-a", 0);
        let key = bench.open(1, 0);
        bench.sent.clear();
        Self { bench, settings, key, keys_seen: 0, connection: 1, now_ms: 0, row: None }
    }

    /// Takes what the listener sent on the current connection. Returns how many messages could be opened.
    fn receive(&mut self, lost: bool) -> usize {
        self.row = self.bench.stored.drain(..).next_back().or_else(|| self.row.take());
        let mut opened = 0;
        for (connection, payload) in self.bench.sent.drain(..) {
            assert_ne!(payload, HANDSHAKE_ISSUE, "it always holds a key that the listener knows");
            if lost || connection != ConnectionId(self.connection) {
                continue;
            }
            let Some(plain) = self.key.open(&payload).filter(|plain| envelope::begins_with_word(plain)) else {
                continue;
            };
            if is_key(&plain) {
                self.key = SessionKey::new(parse_key(&plain).unwrap());
                self.keys_seen += 1;
            } else {
                opened += 1;
            }
        }
        opened
    }

    fn wait(&mut self, milliseconds: u64, lost: bool) {
        self.now_ms += milliseconds;
        self.bench.timeout(self.now_ms);
        self.receive(lost);
    }

    /// Sends a message and gets its answer. Returns whether the answer could be read.
    fn round_trip(&mut self, lost: bool) -> bool {
        self.bench.feed(self.connection, &self.key.seal(b"[PING] [] [] {}"), self.now_ms);
        let (client, _) = self.bench.messages.pop().expect("the listener reads whatever it sends");
        self.bench.listener.send(client, &[b"[PONG] [] [] {}"]);
        self.bench.drain();
        self.receive(lost) == 1
    }

    fn reconnect(&mut self, close_first: bool) {
        if close_first {
            self.bench.listener.handle_closed(ConnectionId(self.connection));
        }
        self.connection += 1;
        self.bench.ready(self.connection, "gorgone-a", self.now_ms);
    }

    fn restart_listener(&mut self) {
        self.receive(true);
        let rows = self.row.clone().into_iter().collect();
        let mut bench = Bench::new(self.settings.clone(), rows);
        // Time continues: the restored row is younger than a day throughout.
        std::mem::swap(&mut self.bench.random, &mut bench.random);
        self.bench = bench;
        self.reconnect(false);
    }
}

#[test]
fn whatever_is_lost_and_whoever_restarts_a_stubborn_client_is_back_within_seconds() {
    let mut choice = SeededRandom::new(&[11; 32]);
    let mut client = Stubborn::new();
    let mut unread = 0;
    for round in 0..400 {
        for _ in 0..20 {
            let wait = choice.below(1_500);
            match choice.below(10) {
                0 => {
                    client.wait(wait, true);
                    client.round_trip(true);
                    let close_first = choice.below(2) == 0;
                    client.reconnect(close_first);
                }
                1 => {
                    client.wait(wait, false);
                    client.restart_listener();
                }
                2 => client.wait(wait * 10, false),
                _ => {
                    client.wait(wait, false);
                    unread += usize::from(!client.round_trip(false));
                }
            }
        }
        client.round_trip(false);
        client.wait(2_000, false);
        assert!(client.round_trip(false), "round {round} at {} ms", now_at(client.now_ms).monotonic.as_millis());
    }
    assert!(client.keys_seen > 1_000, "{}", client.keys_seen);
    assert!(client.bench.gone.is_empty());
    assert_eq!(unread, 0, "a lost key is sent again before the answer");
}
