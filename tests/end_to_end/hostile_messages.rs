//! Authorised clients that send nonsense get a clear answer, and everyone else is served.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, seconds, until};

fn central(platform: &Platform) -> Daemon {
    Daemon::start(platform.plan("central", 1).with_api())
}

/// Returns the rows of a token on the central.
#[track_caller]
fn rows(client: &mut Client, token: &str) -> Vec<Value> {
    client.request("GETLOG", "look", "", &json!({ "token": token })).json["data"]["result"].as_array().cloned().unwrap()
}

#[test]
fn tokens_that_could_become_file_names_are_refused() {
    let platform = Platform::new();
    let central = central(&platform);
    let mut client = central.client();
    for token in ["../x", "a/b", "a\nb", "a b", "€", "a\0b", &"x".repeat(256)] {
        client
            .send_plain(format!("[COMMAND] [{token}] [] {{\"content\":[{{\"command\":\"true\"}}]}}").as_bytes())
            .unwrap();
        let plain = client.receive_plain().unwrap();
        let text = String::from_utf8_lossy(&plain);
        assert!(text.contains("\"code\":1"), "{token:?}: {text}");
    }
    let longest = "x".repeat(255);
    assert_eq!(client.request("PING", &longest, "", &json!({})).kind, "PONG");
    let database = central.database();
    let count: u32 = database
        .query_row("SELECT count(*) FROM gorgone_history WHERE token LIKE '%/%' OR length(token) > 255", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(count, 0);
    let answer = central.api().get("/api/log/..%2F..%2Fx");
    assert!(answer.status >= 400 || answer.json()["error"] == json!("no_log"), "{answer:?}");
}

#[test]
fn the_euro_sign_and_latin_1_are_fine_in_every_field() {
    let platform = Platform::new();
    let (mut central, mut poller) = platform.pair();
    let api = central.api();
    let mut client = central.client();
    for text in ["€", "caf\u{e9}", "𝄞", "\u{feff}", "日本語"] {
        assert_eq!(api.output_of(2, &format!("echo '{text}'"), seconds(5)), text, "as a command and its output");
        let row = json!({ "code": 4, "etime": 1, "token": "field", "instant": 0, "data": { text: text } });
        assert_eq!(client.request("PUTLOG", "put", "", &row).json["code"], json!(0));
        let data = rows(&mut client, "field").pop().unwrap()["data"].as_str().unwrap().to_owned();
        assert_eq!(serde_json::from_str::<Value>(&data).unwrap()[text], json!(text));
    }
    // Bytes that are not UTF-8 in the action, the target, the data, and a name in the handshake.
    let latin: [&[u8]; 5] = [
        b"[CAF\xe9] [t1] [] {}",
        b"[PING] [t2] [caf\xe9] {}",
        b"[PUTLOG] [t3] [] {\"code\":4,\"token\":\"latin\",\"data\":\"caf\xe9\"}",
        b"[COMMAND] [t4] [2] {\"content\":[{\"command\":\"echo caf\xe9\"}]}",
        "[€] [t5] [€] {\"€\":€}".as_bytes(),
    ];
    for plain in latin {
        client.send_plain(plain).unwrap();
    }
    assert_eq!(client.request("PING", "after", "", &json!({})).token, "after");
    assert_eq!(rows(&mut client, "latin")[0]["data"], json!("\"café\""));
    let output = api.finished_rows(2, "t4", seconds(5));
    assert!(output.iter().any(|row| row["data"].as_str().unwrap().contains("café")), "{output:?}");
    let named = Client::connect(central.plan.port, "client", "gorgone-caf\u{e9}€");
    assert!(named.is_ok(), "{:?}", named.err());
    central.assert_running();
    poller.assert_running();
}

#[test]
fn envelopes_and_json_that_are_none_get_a_code_1_and_the_session_goes_on() {
    let platform = Platform::new();
    let mut central = central(&platform);
    let mut client = central.client();
    let deep = format!("[PUTLOG] [deep] [] {}", "[".repeat(1_000_000));
    let deep_objects = format!("[COMMAND] [deeper] [] {}", "{\"a\":".repeat(200_000));
    let plain: [&str; 12] = [
        "[COMMAND]",
        "[COMMAND] [broken",
        "[COMMAND] [t] [] {",
        "[COMMAND] [t] [] []",
        "[COMMAND] [t] [] null",
        "[COMMAND] [t] [] 1e999999999",
        "[GETLOG] [t] [] {\"id\":\"'; DROP TABLE gorgone_history; --\"}",
        "[PUTLOG] [t] [] {\"code\":{},\"etime\":[],\"token\":5,\"data\":null}",
        "[REGISTERNODES] [t] [] {\"nodes\":[{\"id\":{\"a\":1},\"type\":5,\"address\":[],\"port\":\"x\"}]}",
        "[ADDLISTENER] [t] [] [{\"event\":1}]",
        &deep,
        &deep_objects,
    ];
    for text in plain {
        client.send_plain(text.as_bytes()).unwrap();
        assert_eq!(
            client.request("PING", "step", "", &json!({})).kind,
            "PONG",
            "after {}",
            &text[..text.len().min(60)]
        );
    }
    assert!(rows(&mut client, "t").iter().all(|row| row["code"] != json!(2)), "nothing of it was done");
    central.assert_running();
}

#[test]
fn fifty_megabytes_of_json_are_refused_on_both_doors() {
    let platform = Platform::new();
    let mut central = central(&platform);
    let text = "x".repeat(50_000_000);
    let mut client = central.client();
    let row = json!({ "code": 4, "etime": 1, "token": "huge", "instant": 0, "data": text });
    // Either the frame is refused while it arrives, or the message is answered with code 1.
    let refused = client.send("PUTLOG", "huge", "", &row).is_err()
        || client.receive().map_or(true, |reply| reply.json["code"] == json!(1));
    assert!(refused);
    let body = format!("[{{\"command\":\"{text}\"}}]");
    let mut connection = crate::platform::api::Connection::open(central.plan.api_port.unwrap()).unwrap();
    let answer = connection.call("POST", "/api/core/action/command", "", body.as_bytes());
    assert!(answer.as_ref().map_or(true, |answer| matches!(answer.status, 400 | 413)), "{answer:?}");
    let mut client = central.client();
    assert_eq!(rows(&mut client, "huge"), Vec::<Value>::new());
    // A large message within the limit passes.
    let row = json!({ "code": 4, "etime": 1, "token": "large", "instant": 0, "data": "y".repeat(5_000_000) });
    assert_eq!(client.request("PUTLOG", "large", "", &row).json["code"], json!(0));
    assert_eq!(rows(&mut client, "large")[0]["data"].as_str().unwrap().len(), 5_000_002);
    assert!(central.resident_kib() < 200_000, "{} KiB", central.resident_kib());
    central.assert_running();
}

#[test]
fn ten_thousand_requests_of_a_client_that_does_not_read_cost_bounded_memory_and_nobody_waits() {
    let platform = Platform::new();
    let central = central(&platform);
    let client = central.client();
    let frames: Vec<Vec<u8>> = (0..10_000)
        .map(|number| client.seal(format!("[INFORMATION] [n{number}] [] {{}}").as_bytes()))
        .map(|message| crate::platform::zmtp::frame(0, &message))
        .collect();
    let (mut writer, mut reader) = client.split().unwrap();
    let writing = thread::spawn(move || writer.send_bytes(&frames.concat()).unwrap());
    // This client does not read; others are served, and memory stays bounded.
    let mut other = central.client();
    let end = Instant::now() + seconds(3);
    while Instant::now() < end {
        assert_eq!(other.request("PING", "other", "", &json!({})).kind, "PONG");
        assert_eq!(central.api().get("/api/internal/thumbprint").status, 200);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(central.resident_kib() < 80_000, "{} KiB", central.resident_kib());
    for number in 0..10_000 {
        assert_eq!(reader.receive().unwrap().token, format!("n{number}"), "every request is answered once, in order");
    }
    writing.join().unwrap();
}

#[test]
fn a_client_that_floods_commands_is_bounded_and_every_token_ends() {
    let platform = Platform::new();
    let central = central(&platform);
    let mut client = central.client();
    for number in 0..500 {
        client.send("COMMAND", &format!("flood-{number}"), "", &json!({ "content": [{ "command": "true" }] })).unwrap();
    }
    for _ in 0..500 {
        client.receive().unwrap();
    }
    let ended = || -> u32 {
        let query = "SELECT count(*) FROM gorgone_history WHERE token LIKE 'flood-%' AND code IN (1, 2)";
        central.database().query_row(query, [], |row| row.get(0)).unwrap()
    };
    until("500 tokens end", seconds(30), || (ended() >= 500).then_some(()));
    assert_eq!(ended(), 500, "each token ends exactly once");
}

#[test]
fn a_client_whose_message_is_too_large_hears_why_although_it_still_sends() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1));
    let mut client = central.client();
    let mut message = b"[PUTLOG] [large] [] ".to_vec();
    message.resize(50_000_000, b'a');
    client.send_plain(&message).expect("what is too large is taken and dropped");
    let reply = client.receive().expect("an answer, not a reset connection");
    assert_eq!((reply.json["code"].clone(), reply.json["data"]["error"].clone()), (json!(1), json!("message_refused")));
    assert!(client.receive().is_err(), "the connection is closed after it");
}
