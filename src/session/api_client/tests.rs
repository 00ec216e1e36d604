use std::sync::Arc;

use super::access::{ApiClientSettings, ApiUser};
use super::admission::{FORBIDDEN, UNAUTHORIZED};
use super::*;
use crate::model::rights::Rights;
use crate::model::time::WallTime;
use crate::session::forwarded::Ranges;
use crate::session::same_site::OwnNames;

/// A connection and what its peer sees, under virtual time.
struct Rig {
    client: ApiClient,
    at_ms: u64,
    calls: Vec<(u64, ApiCall)>,
    logs: Vec<String>,
    checks: usize,
    sent: String,
    has_shutdown: bool,
    has_closed: bool,
}

impl Rig {
    fn new(settings: ApiClientSettings) -> Self {
        let settings = ApiClientSettings { own_names: OwnNames::new(["a".to_owned()]), ..settings };
        let client = ApiClient::new(Rc::new(ApiAccess::new(settings)), peer(), at(0));
        let (calls, logs) = (Vec::new(), Vec::new());
        Self { client, at_ms: 0, calls, logs, checks: 0, sent: String::new(), has_shutdown: false, has_closed: false }
    }

    fn now(&self) -> Now {
        at(self.at_ms)
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.client.poll_output() {
            assert!(!self.has_closed, "nothing comes after Close");
            match output {
                ApiClientOutput::Call { number, call } => self.calls.push((number, call)),
                ApiClientOutput::CheckLogin(_) => self.checks += 1,
                ApiClientOutput::Shutdown => self.has_shutdown = true,
                ApiClientOutput::Close => self.has_closed = true,
                ApiClientOutput::Log(line) => self.logs.push(line.text),
            }
        }
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.receive(bytes.as_ref(), self.now());
        self.take_outputs();
    }

    fn answer(&mut self, number: u64, body: &str) {
        self.client.handle_answer(number, ApiAnswer::json(200, body), self.now());
        self.take_outputs();
    }

    /// The peer reads everything that waits.
    fn read_all(&mut self) {
        while !self.client.send_queue().is_empty() {
            self.read_some(usize::MAX);
        }
    }

    fn read_some(&mut self, max_bytes: usize) {
        let queue = self.client.send_queue();
        let count = queue.front().len().min(max_bytes);
        self.sent.push_str(str::from_utf8(&queue.front()[..count]).unwrap());
        queue.consume(count);
        let now = self.now();
        self.client.handle_sent(now);
        self.take_outputs();
    }

    /// Lets time pass, with time-outs when they are due.
    fn pass(&mut self, milliseconds: u64) {
        let end_ms = self.at_ms + milliseconds;
        while let Some(due) = self.client.poll_timeout().filter(|due| due.as_millis() <= end_ms) {
            self.at_ms = self.at_ms.max(due.as_millis());
            self.client.handle_timeout(self.now());
            self.take_outputs();
        }
        self.at_ms = end_ms;
    }

    fn statuses(&mut self) -> Vec<String> {
        self.read_all();
        let is_status = |line: &&str| line.starts_with("HTTP/1.1 ");
        self.sent.lines().filter(is_status).map(|line| line[9..12].to_owned()).collect()
    }
}

fn at(milliseconds: u64) -> Now {
    Now { monotonic: Monotonic::from_millis(milliseconds), wall: WallTime::from_micros(0) }
}

fn peer() -> PeerAddress {
    PeerAddress::Ip("192.0.2.1".parse().unwrap())
}

fn open() -> Rig {
    Rig::new(ApiClientSettings::default())
}

fn with_auth() -> Rig {
    Rig::new(ApiClientSettings { auth: Some(("x".to_owned(), "y".to_owned())), ..ApiClientSettings::default() })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

const AUTHORIZED: &str = "GET /api/a HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n\r\n";

#[test]
fn a_request_becomes_a_call_and_its_answer_a_response() {
    let text = "POST /api/core/action%20/x?a=b%26 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n[{}]";
    for step in [1, 7, text.len()] {
        let mut rig = open();
        text.as_bytes().chunks(step).for_each(|piece| rig.receive(piece));
        let [(0, call)] = &rig.calls[..] else { panic!("one call") };
        assert_eq!((call.method, call.body.as_slice()), (Method::Post, b"[{}]".as_slice()));
        assert_eq!(call.path, ["core", "action ", "x"]);
        assert_eq!(call.query, [("a".to_owned(), "b&".to_owned())]);
        rig.answer(0, "{}");
        rig.read_all();
        assert!(rig.sent.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{}", rig.sent);
        assert!(rig.sent.ends_with("\r\nContent-Length: 3\r\n\r\n{}\n"), "{}", rig.sent);
        assert!(!rig.sent.contains("Connection:"));
    }
}

#[test]
fn answers_go_out_in_the_order_of_the_requests_whenever_they_come() {
    let mut rig = open();
    rig.receive(get("/api/0") + &get("/api/1") + &get("/other") + &get("/api/3"));
    assert_eq!(rig.calls.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 3]);
    rig.answer(3, "three");
    rig.answer(1, "one");
    rig.answer(77, "nobody asked");
    assert!(rig.client.send_queue().is_empty());
    rig.answer(0, "zero");
    rig.answer(0, "again");
    rig.read_all();
    let bodies: Vec<_> =
        rig.sent.split("\r\n\r\n").filter_map(|part| part.split_once('\n')).map(|(body, _)| body).collect();
    assert_eq!(bodies[1..], ["zero", "one", FORBIDDEN, "three"].map(str::to_owned)[..]);
}

#[test]
fn wrong_credentials_get_401_and_the_connection_stays_usable() {
    let mut rig = with_auth();
    rig.receive(get("/api/a"));
    rig.receive("POST /api/a HTTP/1.1\r\nHost: a\r\nAuthorization: Basic AAAA\r\nContent-Length: 3\r\n\r\nGET");
    assert_eq!((rig.statuses(), rig.calls.len(), rig.logs.len()), (vec!["401".into(), "401".into()], 0, 1));
    assert!(rig.sent.contains("WWW-Authenticate: Basic realm=") && rig.sent.contains(UNAUTHORIZED));
    rig.receive(AUTHORIZED);
    assert_eq!(rig.calls.len(), 1);
    assert!(!rig.has_shutdown);
}

#[test]
fn a_connection_may_not_guess_for_ever() {
    let mut rig = with_auth();
    rig.receive(get("/api/a").repeat(12) + AUTHORIZED);
    assert_eq!(rig.statuses(), ["401"; 10]);
    assert!(rig.calls.is_empty() && rig.has_shutdown);
}

#[test]
fn credentials_come_before_everything_else() {
    let mut rig = with_auth();
    rig.receive(get("/secret") + "BREW /api/a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(rig.statuses(), ["401", "401"]);
}

#[test]
fn peers_outside_the_allowed_ranges_are_answered_without_being_heard() {
    let allowed = Some(Ranges::one("10.0.0.0", 8));
    let mut rig = Rig::new(ApiClientSettings { allowed, ..ApiClientSettings::default() });
    rig.receive("G");
    assert_eq!(rig.statuses(), ["401"]);
    assert_eq!(rig.logs, ["192.0.2.1: not in allowed_hosts.subnets, refused"]);
    assert!(rig.has_shutdown);
}

#[test]
fn behind_a_trusted_proxy_the_client_counts_and_behind_no_other() {
    let request = |from: &str| format!("GET /api/a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1, {from}\r\n\r\n");
    for (proxy, from, status, logged) in [
        ("192.0.2.0", "10.0.0.9", None, None),
        ("192.0.2.0", "198.51.100.1", Some("401"), Some("198.51.100.1: not in allowed_hosts.subnets, refused")),
        ("198.51.100.0", "10.0.0.9", Some("401"), Some("192.0.2.1: not in allowed_hosts.subnets, refused")),
    ] {
        let allowed = Some(Ranges::one("10.0.0.0", 8));
        let trusted_proxies = Ranges::one(proxy, 24);
        let mut rig = Rig::new(ApiClientSettings { allowed, trusted_proxies, ..ApiClientSettings::default() });
        rig.receive(request(from));
        assert_eq!(rig.statuses().first().map(String::as_str), status, "{proxy} {from}");
        assert_eq!(rig.logs.first().map(String::as_str), logged);
        assert_eq!(rig.calls.len(), usize::from(status.is_none()));
        if let Some((_, call)) = rig.calls.first() {
            assert_eq!(call.caller.address, PeerAddress::Ip(from.parse().unwrap()));
        }
    }
}

#[test]
fn a_page_of_another_site_is_refused_and_its_body_is_not_run() {
    let mut rig = open();
    let post = "POST /api/core/action/command HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n";
    rig.receive(format!("{post}Content-Type: text/plain\r\nOrigin: http://evil.example\r\n\r\n[]"));
    rig.receive(format!("{post}Sec-Fetch-Site: cross-site\r\n\r\n[]"));
    rig.receive("GET /api/internal/constatus HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(rig.statuses(), ["403", "403", "403"]);
    assert!(rig.calls.is_empty() && rig.logs.len() == 3, "{:?}", rig.logs);
    rig.receive(format!("{post}Origin: http://a\r\nSec-Fetch-Site: same-origin\r\n\r\n[]"));
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn a_name_that_is_not_ours_does_with_the_right_password_only() {
    for (mut rig, statuses, calls) in [(with_auth(), "403", 1), (open(), "403 403", 0)] {
        rig.receive((get("/api/a") + AUTHORIZED).replace("Host: a", "Host: alias.example"));
        assert_eq!((rig.statuses().join(" ").as_str(), rig.calls.len()), (statuses, calls));
    }
}

#[test]
fn a_password_of_a_user_is_checked_by_a_worker_before_the_call() {
    let mut rights = Rights::default();
    rights.add("read");
    let user = ApiUser { name: "x".into(), password_hash: "HASH".into(), rights: Arc::new(rights) };
    let mut rig = Rig::new(ApiClientSettings { users: vec![user], ..ApiClientSettings::default() });
    rig.receive(AUTHORIZED.repeat(2));
    assert_eq!((rig.checks, rig.calls.len()), (1, 0));
    assert!(!rig.client.wants_read(), "what follows waits");
    rig.client.handle_login(true, rig.now());
    rig.take_outputs();
    assert_eq!((rig.checks, rig.calls.len()), (1, 2), "it is known now");
    assert_eq!(rig.calls[0].1.caller.user.as_deref(), Some("x"));
    rig.receive(AUTHORIZED.replace("eDp5", "eDp6"));
    rig.client.handle_login(false, rig.now());
    rig.take_outputs();
    rig.answer(0, "{}");
    rig.answer(1, "{}");
    assert_eq!(rig.statuses(), ["200", "200", "401"]);
}

#[test]
fn many_wrong_passwords_are_not_even_looked_at() {
    let auth = Some(("x".to_owned(), "y".to_owned()));
    let mut rig = Rig::new(ApiClientSettings { auth, ..ApiClientSettings::default() });
    let wrong = AUTHORIZED.replace("eDp5", "eDp6");
    rig.receive(wrong.repeat(9));
    assert_eq!(rig.statuses(), ["401"; 9]);
    let access = Rc::clone(&rig.client.access);
    let mut rig = Rig { client: ApiClient::new(access, peer(), at(0)), ..Rig::new(ApiClientSettings::default()) };
    rig.receive(wrong.repeat(2));
    rig.receive(AUTHORIZED);
    assert_eq!(rig.statuses(), ["401", "429", "429"]);
    rig.at_ms = 60_000;
    rig.receive(AUTHORIZED);
    assert_eq!(rig.calls.len(), 1, "{:?}", rig.logs);
}

#[test]
fn paths_outside_the_api_are_refused_and_a_method_of_no_path_is_a_call_that_is_told_the_others() {
    let mut rig = open();
    for path in ["/page", "/apis/x", "/x/api", "/../api"] {
        rig.receive(get(path));
    }
    rig.receive("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nBREW /api/pot HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(rig.statuses(), ["403", "403", "403", "403", "403"]);
    let methods: Vec<Method> = rig.calls.iter().map(|(_, call)| call.method).collect();
    assert!(methods == [Method::Other] && !rig.has_shutdown);
}

#[test]
fn what_cannot_be_framed_is_refused_once_and_nothing_behind_it_is_read() {
    let smuggled =
        "POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut rig = open();
    rig.receive(get("/api/first") + smuggled + &get("/api/smuggled"));
    rig.receive(get("/api/later"));
    assert_eq!(rig.calls.len(), 1);
    rig.answer(0, "first");
    assert_eq!(rig.statuses(), ["200", "400"]);
    assert!(
        rig.sent.contains("Connection: close") && rig.sent.contains(r#"{"error":"http_error_400","message":"Content-"#)
    );
    assert!(rig.has_shutdown && !rig.has_closed);
    rig.receive("more");
    rig.pass(2_000);
    assert!(rig.has_closed);
}

#[test]
fn after_the_last_answer_the_sending_side_ends_and_then_the_connection() {
    for headers in ["1.1\r\nHost: a\r\nConnection: close", "1.0"] {
        let mut rig = open();
        rig.receive(format!("GET /api/a HTTP/{headers}\r\n\r\n") + &get("/api/ignored"));
        rig.answer(0, "x");
        assert!(!rig.has_shutdown, "not before the answer is sent");
        assert_eq!((rig.statuses(), rig.calls.len()), (vec!["200".into()], 1));
        assert!(rig.has_shutdown && !rig.has_closed && rig.client.wants_read());
        rig.client.handle_end(rig.now());
        rig.take_outputs();
        assert!(rig.has_closed && rig.client.poll_timeout().is_none());
    }
    let mut rig = open();
    rig.receive("GET /api/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    rig.answer(0, "x");
    rig.read_all();
    assert!(rig.sent.contains("Connection: keep-alive") && !rig.has_shutdown);
}

#[test]
fn a_peer_that_ends_its_sending_still_gets_its_answers() {
    let mut rig = Rig::new(ApiClientSettings { max_pipelined: 2, ..ApiClientSettings::default() });
    rig.receive(get("/api/a").repeat(5) + "GET /api/cut");
    rig.client.handle_end(rig.now());
    for number in 0..5 {
        rig.answer(number, "x");
    }
    assert!(!rig.has_closed);
    assert_eq!(rig.statuses(), ["200"; 5]);
    assert!(rig.has_closed);
}

#[test]
fn a_client_that_waits_for_100_gets_it_when_its_turn_has_come() {
    let mut rig = open();
    rig.receive(get("/api/a") + "POST /api/b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert!(rig.client.send_queue().is_empty());
    rig.answer(0, "a");
    assert_eq!(rig.statuses(), ["200", "100"]);
    rig.receive("hi");
    assert_eq!(rig.calls[1].1.body, b"hi");
    rig.answer(1, "b");
    assert_eq!(rig.statuses(), ["200", "100", "200"]);

    let mut rig = with_auth();
    rig.receive("POST /api/b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(rig.statuses(), ["401"]);
    assert!(rig.has_shutdown, "whether the body comes is unknown");
}

#[test]
fn bodies_are_bounded_each_and_together() {
    let post =
        |len: usize| format!("POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{}", "x".repeat(len));
    let settings = ApiClientSettings { max_body_bytes: 1000, ..ApiClientSettings::default() };
    let mut rig = Rig::new(settings);
    rig.receive(post(600).repeat(5));
    assert_eq!(rig.calls.len(), 2, "the rest waits until the first ones are answered");
    assert!(!rig.client.wants_read());
    for number in 0..5 {
        rig.answer(number, "");
    }
    assert_eq!(rig.statuses(), ["204"; 5]);
    rig.receive(post(1001));
    assert_eq!(rig.statuses().last().map(String::as_str), Some("413"));
    assert!(rig.has_shutdown);
}

#[test]
fn a_head_that_trickles_in_is_given_up_after_its_time() {
    let mut rig = open();
    for byte in get("/api/a").bytes().take(11) {
        assert!(!rig.has_shutdown);
        rig.receive([byte]);
        rig.read_all();
        rig.pass(1_000);
    }
    assert_eq!(rig.statuses(), ["408"]);
    assert!(rig.has_shutdown);
    rig.pass(2_000);
    assert!(rig.has_closed);
}

#[test]
fn a_body_has_to_come_at_some_speed() {
    let mut rig = open();
    rig.receive("POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    for _ in 0..40 {
        rig.receive([b'x'; 2_048]);
        rig.pass(2_000);
    }
    assert!(rig.statuses().is_empty(), "a slow body is fine");
    for _ in 0..40 {
        rig.receive("x");
        rig.pass(1_000);
    }
    assert_eq!(rig.statuses(), ["408"]);
}

#[test]
fn connections_without_a_request_are_closed_silently() {
    let mut rig = open();
    rig.pass(9_999);
    assert!(!rig.has_closed);
    rig.pass(1);
    assert!(rig.has_closed && rig.sent.is_empty());

    let mut rig = open();
    rig.receive(get("/api/a"));
    rig.pass(3_600_000);
    assert!(!rig.has_closed, "a call may take its time");
    rig.answer(0, "x");
    rig.read_all();
    rig.pass(59_999);
    assert!(!rig.has_closed);
    rig.pass(1);
    assert!(rig.has_closed);
}

#[test]
fn a_client_that_does_not_read_is_neither_read_nor_kept_for_ever() {
    let mut rig = Rig::new(ApiClientSettings { max_pipelined: 64, ..ApiClientSettings::default() });
    let answer = "x".repeat(100_000);
    let mut answered = 0;
    rig.receive(get("/api/a").repeat(10_000));
    while answered < rig.calls.len() {
        assert!(rig.calls.len() - answered <= 64);
        rig.answer(answered as u64, &answer);
        answered += 1;
    }
    assert!(!rig.client.wants_read());
    assert!(answered < 200, "{answered} answers are kept");
    // It wakes up in time and takes a little, then never again.
    rig.pass(29_000);
    rig.read_some(10_000);
    rig.read_some(10_000);
    rig.pass(29_999);
    assert!(!rig.has_closed);
    rig.pass(1);
    assert!(rig.has_closed);
    assert_eq!(rig.logs, ["192.0.2.1: does not take its answers, closed"]);
}

#[test]
fn ten_thousand_pipelined_requests_are_all_answered_to_a_client_that_reads() {
    let mut rig = open();
    rig.receive(get("/api/a").repeat(10_000));
    let mut answered = 0;
    while answered < rig.calls.len() {
        rig.answer(answered as u64, "0123456789".repeat(100).as_str());
        answered += 1;
        if answered == rig.calls.len() {
            rig.read_all();
        }
    }
    assert_eq!(answered, 10_000);
    assert_eq!(rig.statuses().len(), 10_000);
    assert!(rig.client.wants_read() && !rig.has_shutdown);
}

#[test]
fn garbage_in_pieces_never_breaks_it_and_every_connection_ends() {
    let seeds = [
        get("/api/a").repeat(2),
        AUTHORIZED.replace("GET", "POST"),
        "POST /api/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n".to_owned(),
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    for round in 0..3_000 {
        let mut rig = if round % 2 == 0 { open() } else { with_auth() };
        let mut answered = 0;
        for _ in 0..next(8) {
            let mut bytes = seeds[next(3) as usize].clone().into_bytes();
            for _ in 0..next(3) {
                let index = next(bytes.len() as u64) as usize;
                bytes[index] = next(256) as u8;
            }
            bytes.truncate(next(bytes.len() as u64 * 2) as usize);
            rig.receive(&bytes);
            rig.pass(next(3_000));
            if next(2) == 0 && answered < rig.calls.len() {
                rig.answer(rig.calls[answered].0, "x");
                answered += 1;
            }
            if next(2) == 0 {
                rig.read_all();
            }
        }
        for index in answered..rig.calls.len() {
            rig.answer(rig.calls[index].0, "x");
        }
        rig.read_all();
        rig.pass(200_000);
        assert!(rig.has_closed, "round {round}");
    }
}
