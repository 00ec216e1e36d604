//! Clients of the WebSocket listener that violate HTTP, RFC 6455 or the rules for nodes are refused, and a well-behaved
//! node notices nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use crate::platform::{Daemon, Plan, Platform, free_port, seconds, until};

const TOKEN: &str = "t0k3n-0f-the-test";
const REGISTER: &[u8] = br#"[REGISTERNODES] [] [] {"nodes":[{"id":8,"type":"wss","identity":8}]}"#;

fn plan(platform: &Platform, port: u16) -> Plan {
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss").with_dial_in_node(8, "wss");
    let plan =
        plan.with_dial_in_node(9, "wss").with_proxy("ping: 1").with_proxy("httpserver:").with_proxy("  enable: true");
    let plan = plan.with_proxy("  address: 127.0.0.1").with_proxy(&format!("  port: {port}"));
    plan.with_proxy(&format!("  token: {TOKEN}"))
}

/// A central on `port`, and our node 7, which is connected and must stay so.
fn central_and_node(platform: &Platform, port: u16) -> (Daemon, Daemon) {
    let central = Daemon::start(plan(platform, port));
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {TOKEN}")];
    let node = Daemon::start(platform.plan("node", 7).with_module("pullwss", &lines));
    central.api().wait_for_pong(7, seconds(10));
    (central, node)
}

#[track_caller]
fn assert_serves(central: &mut Daemon) {
    central.assert_running();
    assert_eq!(central.api().output_of(7, "echo here", seconds(15)), "here");
}

fn upgrade(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{lines}\r\n")
}

/// Returns the headers of a good request after its first lines.
fn good_lines() -> String {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    format!("{key}Authorization: Bearer {TOKEN}\r\n")
}

fn open(port: u16, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(seconds(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Returns the head of the answer.
#[track_caller]
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the daemon closes, which it must.
#[track_caller]
fn rest(stream: &mut TcpStream, what: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}: not closed: {error}");
    }
    bytes
}

/// Returns a frame as a client sends it: `first` is FIN, the reserved bits and the opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Returns the code of the first close frame among frames of a server.
fn close_code(mut bytes: &[u8]) -> Option<u16> {
    loop {
        let (head, body) = bytes.split_first_chunk::<2>()?;
        let (length, body) = match head[1] {
            126 => (usize::from(u16::from_be_bytes(*body.first_chunk()?)), body.get(2..)?),
            127 => (usize::try_from(u64::from_be_bytes(*body.first_chunk()?)).ok()?, body.get(8..)?),
            length => (usize::from(length), body),
        };
        let payload = body.get(..length)?;
        if head[0] & 0x0f == 8 {
            return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
        bytes = body.get(length..)?;
    }
}

#[test]
fn a_good_handshake_is_answered_with_the_key_of_the_rfc() {
    let platform = Platform::new();
    let port = free_port();
    let _central = Daemon::start(plan(&platform, port));
    let answer = head(&mut open(port, &upgrade(&good_lines())));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(lower.contains("upgrade: websocket\r\n") && lower.contains("connection: upgrade\r\n"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
}

#[test]
fn handshakes_that_are_none_are_not_upgraded() {
    let platform = Platform::new();
    let port = free_port();
    let (mut central, _node) = central_and_node(&platform, port);
    let good = upgrade(&good_lines());
    for (what, request) in [
        ("no key", good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        ("a short key", good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhl")),
        ("version 8", good.replace("Version: 13", "Version: 8")),
        ("no version", good.replace("Sec-WebSocket-Version: 13\r\n", "")),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0")),
        ("POST", good.replace("GET", "POST")),
        ("no upgrade", good.replace("Upgrade: websocket\r\n", "")),
        ("another upgrade", good.replace("websocket", "h2c")),
        ("no HTTP", "\x16\x03\x01\x02\r\n\r\n".to_owned()),
        ("a head without end", format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(200_000))),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(seconds(60))).unwrap();
        let _may_be_cut_off = stream.write_all(request.as_bytes());
        let answer = head(&mut stream);
        assert!(!answer.contains(" 101 "), "{what}: {answer}");
        if what == "version 8" {
            assert!(answer.contains("Sec-WebSocket-Version: 13"), "{answer}");
        }
    }
    assert_serves(&mut central);
}

#[test]
fn a_token_in_the_wrong_place_or_nearly_right_is_refused() {
    let platform = Platform::new();
    let port = free_port();
    let (mut central, _node) = central_and_node(&platform, port);
    let good = upgrade(&good_lines());
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for (what, request) in [
        ("none", good.replace(&bearer, "")),
        ("in the query", good.replace(&bearer, "").replace("GET / ", &format!("GET /?token={TOKEN} "))),
        ("in another header", good.replace("Authorization: Bearer", "X-Token:")),
        ("as Basic", good.replace("Bearer", "Basic")),
        ("too short", good.replace(TOKEN, &TOKEN[1..])),
        ("too long", good.replace(TOKEN, &format!("{TOKEN}t"))),
        ("empty", good.replace(TOKEN, "")),
    ] {
        let mut stream = open(port, &request);
        let answer = head(&mut stream);
        let _may_be_refused_already = stream.write_all(&frame(0x81, REGISTER));
        let said = rest(&mut stream, what);
        let said = String::from_utf8_lossy(&said);
        assert!(!answer.contains(" 101 ") || said.contains("token authorization unallowed"), "{what}: {answer}{said}");
    }
    assert_eq!(central.api().node_status(8)["ping_ok"].as_i64().unwrap_or(0), 0);
    assert_serves(&mut central);
}

#[test]
fn frames_that_break_the_protocol_close_their_connection_alone() {
    let platform = Platform::new();
    let port = free_port();
    let (mut central, _node) = central_and_node(&platform, port);
    let with_length = |length: u64| [&[0x81, 0xff], &length.to_be_bytes()[..], &[1, 2, 3, 4]].concat();
    let ping_of = |count: usize| frame(0x89, &vec![b'x'; count]);
    for (what, bytes, codes) in [
        ("unmasked", [&[0x81, 5], &b"hello"[..]].concat(), &[1002][..]),
        ("reserved bits", frame(0xc1, b"x"), &[1002]),
        ("an unknown opcode", frame(0x83, b"x"), &[1002]),
        ("2^62 bytes", with_length(1 << 62), &[1009, 1002]),
        ("2^63 bytes", with_length(1 << 63), &[1002, 1009]),
        ("a ping of 126 bytes", ping_of(126), &[1002]),
        ("a ping in pieces", frame(0x09, b"x"), &[1002]),
        ("a continuation of nothing", frame(0x80, b"x"), &[1002]),
        ("text within text", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), &[1002]),
        ("close with code 1005", frame(0x88, &1005_u16.to_be_bytes()), &[1002]),
        ("close with code 999", frame(0x88, &999_u16.to_be_bytes()), &[1002]),
        ("close with one byte", frame(0x88, b"x"), &[1002]),
        ("fragments without end", [frame(0x01, b"a"), frame(0x00, &[b'x'; 65_536]).repeat(260)].concat(), &[1009]),
    ] {
        let mut stream = open(port, &upgrade(&good_lines()));
        assert!(head(&mut stream).contains(" 101 "), "{what}");
        stream.write_all(&frame(0x81, REGISTER)).unwrap();
        let _may_be_cut_off = stream.write_all(&bytes);
        let code = close_code(&rest(&mut stream, what));
        // A reset may destroy the close frame if the daemon has not read everything.
        assert!(code.is_none_or(|code| codes.contains(&code)), "{what}: closed with {code:?}");
    }
    assert!(central.resident_kib() < 60_000, "{} KiB", central.resident_kib());
    assert_serves(&mut central);
}

#[test]
fn a_good_close_is_answered_with_its_own_code() {
    let platform = Platform::new();
    let port = free_port();
    let _central = Daemon::start(plan(&platform, port));
    let mut stream = open(port, &upgrade(&good_lines()));
    assert!(head(&mut stream).contains(" 101 "));
    stream.write_all(&frame(0x81, REGISTER)).unwrap();
    stream.write_all(&frame(0x88, &1000_u16.to_be_bytes())).unwrap();
    assert_eq!(close_code(&rest(&mut stream, "a close")), Some(1000));
}

#[test]
fn a_flood_of_registrations_and_a_message_above_the_limit_disturb_nobody() {
    let platform = Platform::new();
    let port = free_port();
    let (mut central, _node) = central_and_node(&platform, port);
    let mut flood = open(port, &upgrade(&good_lines()));
    assert!(head(&mut flood).contains(" 101 "));
    for _ in 0..50_000 {
        if flood.write_all(&frame(0x81, REGISTER)).is_err() {
            break;
        }
    }
    drop(flood);
    let mut large = open(port, &upgrade(&good_lines()));
    assert!(head(&mut large).contains(" 101 "));
    // This is another node: a second connection of the first one would be refused for that reason.
    let register = String::from_utf8_lossy(REGISTER).replace('8', "9");
    large.write_all(&frame(0x81, register.as_bytes())).unwrap();
    let row = format!(r#"[SETLOGS] [] [] {{"code":0,"data":{{"result":[{{"data":"{}"}}]}}}}"#, "x".repeat(17 << 20));
    let _may_be_cut_off = large.write_all(&frame(0x81, row.as_bytes()));
    assert!(close_code(&rest(&mut large, "a message of 17 MiB")).is_none_or(|code| code == 1009));
    assert!(central.resident_kib() < 60_000, "{} KiB", central.resident_kib());
    assert_serves(&mut central);
}

#[test]
fn the_shared_token_takes_over_neither_a_pull_node_nor_the_central_itself() {
    let platform = Platform::new();
    let port = free_port();
    let plan = plan(&platform, port).with_dial_in_node(6, "pull").with_authorized("poller");
    let lines = [format!("target_path: 127.0.0.1:{}", plan.port)];
    let _node = Daemon::start(platform.plan("node", 6).with_module("pull", &lines));
    let central = Daemon::start(plan);
    central.api().wait_for_pong(6, seconds(10));
    for id in [6, 1] {
        let mut stream = open(port, &upgrade(&good_lines()));
        assert!(head(&mut stream).contains(" 101 "));
        let register = String::from_utf8_lossy(REGISTER).replace('8', &id.to_string());
        stream.write_all(&frame(0x81, register.as_bytes())).unwrap();
        let said = String::from_utf8_lossy(&rest(&mut stream, "an id of another")).into_owned();
        assert!(said.contains("please registernodes") && !said.contains("GETLOG"), "node {id}: {said}");
    }
    assert_eq!(central.api().output_of(6, "echo mine", seconds(15)), "mine");
}

#[test]
fn a_token_that_is_bound_to_a_node_speaks_for_that_node_only() {
    let platform = Platform::new();
    let port = free_port();
    // The SHA-256 of 'abc'; there is no common token.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss").with_dial_in_node(8, "wss");
    let plan = plan.with_proxy("httpserver:").with_proxy("  enable: true").with_proxy("  address: 127.0.0.1");
    let plan = plan.with_proxy(&format!("  port: {port}"));
    let plan = plan.with_proxy(&format!("  tokens: [{{name: seven, hash: {hash}, node: 7}}]"));
    let mut central = Daemon::start(plan);
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), "token: 'seven:abc'".to_owned()];
    let _node = Daemon::start(platform.plan("node", 7).with_module("pullwss", &lines));
    central.api().wait_for_pong(7, seconds(10));
    assert_serves(&mut central);

    let refused = |token: &str| {
        let mut stream = open(port, &upgrade(&good_lines().replace(TOKEN, token)));
        assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
        let _may_be_cut_off = stream.write_all(&frame(0x81, REGISTER));
        String::from_utf8_lossy(&rest(&mut stream, token)).into_owned()
    };
    for token in ["abc", "seven:abc"] {
        let answer = refused(token);
        assert!(answer.contains("the token 'seven' speaks for node 7, not for node 8"), "{answer}");
    }
    assert!(refused(TOKEN).contains("token authorization unallowed"));
    // All run at the same time, because each waits until the daemon closes.
    let guesses: Vec<_> = (0..40).map(|_| open(port, &upgrade(&good_lines()))).collect();
    let is_braked = |mut guess: TcpStream| {
        let answer = rest(&mut guess, "a guess");
        String::from_utf8_lossy(&answer).contains("too many wrong tokens from this address")
    };
    assert!(guesses.into_iter().map(is_braked).filter(|braked| *braked).count() > 10, "guesses go on");
    assert!(refused("abc").contains("not for node 8"), "a token that was right from here before is no guess");
    assert_serves(&mut central);
}

#[test]
fn a_flood_of_new_ids_takes_no_place_from_anybody_and_is_forgotten_with_its_connections() {
    let platform = Platform::new();
    let port = free_port();
    let plan = plan(&platform, port).with_proxy("only_listed: false");
    let mut central = Daemon::start(plan);
    let request = upgrade(&good_lines());
    let mut sockets = Vec::new();
    for id in 1_000..1_150 {
        let mut stream = open(port, &request);
        assert!(head(&mut stream).contains(" 101 "));
        let text = format!(r#"[REGISTERNODES] [] [] {{"nodes":[{{"id":{id},"type":"wss","identity":{id}}}]}}"#);
        stream.write_all(&frame(0x81, text.as_bytes())).unwrap();
        sockets.push(stream);
    }
    let known = |central: &Daemon| {
        let map = central.api().get("/api/internal/constatus").json();
        map["data"].as_object().unwrap().keys().filter(|id| id.len() == 4).count()
    };
    until("a hundred of one address", seconds(20), || (known(&central) == 100).then_some(()));
    let lines = central.log().matches("in no list").count();
    assert!((1..=12).contains(&lines), "{lines} lines");
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {TOKEN}")];
    let _node = Daemon::start(platform.plan("node", 7).with_module("pullwss", &lines));
    central.api().wait_for_pong(7, seconds(10));
    drop(sockets);
    until("none is left", seconds(20), || (known(&central) == 0).then_some(()));
    assert_serves(&mut central);
}

#[test]
fn a_node_that_no_list_has_is_refused_where_there_is_one() {
    let platform = Platform::new();
    let port = free_port();
    let (mut central, _node) = central_and_node(&platform, port);
    // A refused connection stays open for a moment so that its last bytes arrive; all wait for that together.
    let refused = (0..20).map(|_| {
        let mut stream = open(port, &upgrade(&good_lines()));
        assert!(head(&mut stream).contains(" 101 "));
        let text = br#"[REGISTERNODES] [] [] {"nodes":[{"id":99,"type":"wss","identity":99}]}"#;
        stream.write_all(&frame(0x81, text)).unwrap();
        stream
    });
    for mut stream in refused.collect::<Vec<_>>() {
        assert_eq!(close_code(&rest(&mut stream, "unlisted")), Some(1008));
    }
    assert_eq!(central.log().matches("node '99'").count(), 1, "{}", central.log());
    assert_serves(&mut central);
}
