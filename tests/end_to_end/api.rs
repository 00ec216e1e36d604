//! The REST API as an HTTP server (docs/protocol.md section 13).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use serde_json::json;

use crate::platform::api::{Connection, code, data, request};
use crate::platform::{Daemon, Platform, assert_within, seconds};

fn central(platform: &Platform) -> Daemon {
    Daemon::start(platform.plan("central", 1).with_api())
}

#[test]
fn only_the_right_user_and_password_get_in() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api();
    let central = Daemon::start(plan.with_api_option("auth: {enabled: \"true\", user: admin, password: \"p:€w\"}"));
    let mut api = central.api();
    let expected = json!({ "error": "http_error_401", "message": "unauthorized" });
    for header in
        ["", "Authorization: Basic YWRtaW46d3Jvbmc=\r\n", "Authorization: Basic !!!\r\n", "Authorization: Bearer x\r\n"]
    {
        api.headers = header.to_owned();
        let answer = api.get("/api/internal/information");
        assert_eq!((answer.status, answer.json()), (401, expected.clone()), "{header}");
        assert!(answer.body.ends_with(b"\n"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    // admin:p:€w
    api.headers = "Authorization: Basic YWRtaW46cDrigqx3\r\n".to_owned();
    assert_eq!(api.get("/api/internal/information").status, 200);
}

#[test]
fn only_allowed_hosts_get_in() {
    let platform = Platform::new();
    let plan = platform.plan("far", 1).with_api();
    let far = Daemon::start(plan.with_api_option("allowed_hosts: {enabled: true, subnets: [192.0.2.0/24]}"));
    // This is the answer of the original, which has no other for a stranger.
    let answer = Connection::open(far.plan.api_port.unwrap())
        .unwrap()
        .call("GET", "/api/internal/information", "", b"")
        .unwrap();
    let expected = json!({ "error": "http_error_401", "message": "unauthorized" });
    assert_eq!((answer.status, answer.json()), (401, expected));
    let plan = platform.plan("near", 1).with_api();
    let near =
        Daemon::start(plan.with_api_option("allowed_hosts: {enabled: true, subnets: [192.0.2.0/24, 127.0.0.0/8]}"));
    assert_eq!(near.api().get("/api/internal/information").status, 200);
}

#[test]
fn errors_have_the_status_and_the_body_of_the_original() {
    let platform = Platform::new();
    let central = central(&platform);
    let api = central.api();
    let unknown = json!({ "error": "method_unknown", "message": "Method not implemented" });
    for path in ["/api/", "/api/x", "/api/internal/nothing", "/api/core/action/nothing"] {
        let answer = api.get(path);
        assert_eq!((answer.status, answer.json()), (404, unknown.clone()), "{path}");
    }
    for path in ["/page", "/index.html", "/apix", "/../api/internal/information"] {
        let answer = api.get(path);
        assert_eq!(answer.json(), json!({ "error": "http_error_403", "message": "forbidden" }), "{path}");
        assert_eq!(answer.status, 403, "{path}");
    }
    let wrong_method = api.get("/api/core/proxy/remotecopy");
    assert_eq!((wrong_method.status, wrong_method.json()), (404, unknown));
    assert_eq!(wrong_method.header("allow"), Some("POST"));
    for body in ["{", "no json", "[1,]", "\u{1}"] {
        let answer = api.call("POST", "/api/core/action/command", body.as_bytes());
        let expected = json!({ "error": "decode_error", "message": "POST content must be JSON-formated" });
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
        assert!(answer.body.ends_with(b"\n"));
    }
}

#[test]
fn the_internal_calls_answer_with_what_the_core_says() {
    let platform = Platform::new();
    let central = central(&platform);
    let api = central.api();
    for (path, field) in [
        ("information", "counters"),
        ("information", "modules"),
        ("information", "api_endpoints"),
        ("thumbprint", "thumbprint"),
    ] {
        let answer = api.get(&format!("/api/internal/{path}"));
        assert_eq!(answer.status, 200);
        let json = answer.json();
        assert!(json["data"].get(field).or_else(|| json.get(field)).is_some(), "{path} has {field}: {json}");
    }
    let answer = api.post("/api/internal/logger", &json!({ "severity": "debug" }));
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
}

#[test]
fn the_first_answer_comes_quickly_after_the_start() {
    let platform = Platform::new();
    let start = Instant::now();
    let central = central(&platform);
    assert_eq!(central.api().get("/api/internal/information").status, 200);
    assert_within(start.elapsed(), seconds(1));
}

#[test]
fn one_connection_serves_many_requests_one_after_another_and_pipelined() {
    let platform = Platform::new();
    let central = central(&platform);
    let mut connection = Connection::open(central.plan.api_port.unwrap()).unwrap();
    for _ in 0..50 {
        let answer = connection.call("GET", "/api/internal/thumbprint", "", b"").unwrap();
        assert_eq!(answer.status, 200);
    }
    let mut bytes = Vec::new();
    for number in 0..50 {
        bytes.extend(request("GET", &format!("/api/log/token-{number}"), "", b""));
        bytes.extend(request("POST", "/api/core/action/command", "", b"broken"));
    }
    connection.send(&bytes).unwrap();
    for number in 0..50 {
        assert_eq!(
            connection.receive().unwrap().json()["token"],
            json!(format!("token-{number}")),
            "answers keep their order"
        );
        assert_eq!(connection.receive().unwrap().status, 400);
    }
    let last = connection.call("GET", "/api/internal/thumbprint", "Connection: close\r\n", b"").unwrap();
    assert_eq!(last.status, 200);
    assert!(connection.receive().is_err(), "the server closes when it is asked to");
    // HTTP/1.0 closes the connection unless asked not to, HEAD has no body, and a chunked body counts as a body.
    let mut old = Connection::open(central.plan.api_port.unwrap()).unwrap();
    old.send(b"GET /api/internal/thumbprint HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(old.receive().unwrap().status, 200);
    assert!(old.receive().is_err());
    let mut chunked = Connection::open(central.plan.api_port.unwrap()).unwrap();
    let head = "POST /api/core/action/command HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    chunked.send(format!("{head}3\r\n[{{\"\r\n11;x=y\r\ncommand\":\"true\"}}]\r\n0\r\n\r\n").as_bytes()).unwrap();
    assert!(chunked.receive().unwrap().json()["token"].is_string());
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    let platform = Platform::new();
    let central = central(&platform);
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "X: a\r\n Content-Length: 5\r\n",
        "X: a\0b\r\n",
        "X\r\n",
    ] {
        let mut connection = Connection::open(central.plan.api_port.unwrap()).unwrap();
        let head = format!("POST /api/core/action/command HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}");
        connection.send(head.as_bytes()).unwrap();
        let answer = connection.receive();
        assert!(
            answer.as_ref().map_or(true, |answer| matches!(answer.status, 400 | 413 | 501)),
            "{headers:?}: {answer:?}"
        );
        // Nothing that follows on the same connection may be read as a request.
        let _may_be_closed = connection.send(&request("GET", "/api/internal/thumbprint", "", b""));
        let next = connection.receive();
        assert!(next.is_err(), "{headers:?}: {next:?}");
    }
    assert_eq!(central.api().get("/api/internal/thumbprint").status, 200);
}

#[test]
fn headers_and_bodies_without_end_are_cut_off() {
    let platform = Platform::new();
    let central = central(&platform);
    let port = central.plan.api_port.unwrap();
    let line = format!("X-Long: {}\r\n", "y".repeat(1_000));
    for (start, more) in
        [("GET / HTTP/1.1\r\n", line.as_str()), ("GET /", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), ("", "\r\n")]
    {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_write_timeout(Some(seconds(5))).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        let (chunk, begun) = (more.repeat(1 + 10_000 / more.len()), Instant::now());
        while stream.write_all(chunk.as_bytes()).is_ok() {
            assert!(begun.elapsed() < seconds(10), "the server still takes what begins with {start:?}");
        }
    }
    let answer = Connection::open(port).unwrap().call(
        "POST",
        "/api/core/action/command",
        "Content-Length: 52428800\r\nExpect: 100-continue\r\n",
        b"",
    );
    assert!(answer.as_ref().map_or(true, |answer| matches!(answer.status, 413 | 417)), "{answer:?}");
    assert!(central.resident_kib() < 100_000, "{} KiB", central.resident_kib());
    assert_eq!(central.api().get("/api/internal/thumbprint").status, 200);
}

#[test]
fn slow_clients_hold_up_nobody() {
    let platform = Platform::new();
    let central = central(&platform);
    let port = central.plan.api_port.unwrap();
    let bytes = request("GET", "/api/internal/thumbprint", "", b"");
    let mut slow: Vec<Connection> = (0..100).map(|_| Connection::open(port).unwrap()).collect();
    for byte in &bytes {
        for connection in &mut slow {
            connection.send(&[*byte]).unwrap();
        }
        assert_eq!(central.api().get("/api/internal/thumbprint").status, 200);
    }
    for connection in &mut slow {
        assert_eq!(connection.receive().unwrap().status, 200, "slow, but served");
    }
}

#[test]
fn ten_thousand_pipelined_requests_that_nobody_reads_cost_bounded_memory() {
    let platform = Platform::new();
    let central = central(&platform);
    let mut stream = TcpStream::connect(("127.0.0.1", central.plan.api_port.unwrap())).unwrap();
    stream.set_write_timeout(Some(seconds(1))).unwrap();
    let one = request("GET", "/api/internal/information", "", b"");
    let all = one.repeat(10_000);
    // The server is right to stop reading here; the write then times out somewhere in the middle.
    let mut sent = 0;
    while sent < all.len() {
        match stream.write(&all[sent..]) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    assert!(central.resident_kib() < 60_000, "{} KiB", central.resident_kib());
    assert_eq!(central.api().get("/api/internal/thumbprint").status, 200, "others are served meanwhile");
    // As soon as the client reads, every complete request is answered.
    stream.shutdown(Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(seconds(20))).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let count = answers.windows(12).filter(|window| window == b"HTTP/1.1 200").count();
    assert_eq!(count, sent / one.len());
}

#[test]
fn under_the_own_id_an_internal_call_gives_a_token_whose_row_has_the_content() {
    let platform = Platform::new();
    let central = central(&platform);
    let api = central.api();
    for (name, field) in [("thumbprint", "thumbprint"), ("information", "counters")] {
        let answer = api.get(&format!("/api/nodes/1/internal/{name}")).json();
        let token = answer["token"].as_str().unwrap_or_else(|| panic!("{name}: {answer}"));
        let rows = api.finished_rows(0, token, seconds(10));
        let content = rows.iter().find(|row| code(row) == 2).map(data).unwrap();
        assert!(content["data"].get(field).is_some(), "{name}: {content}");
    }
    let direct = api.get("/api/internal/thumbprint").json();
    assert!(direct["data"]["thumbprint"].is_string(), "{direct}");
}

#[test]
fn options_name_the_methods_of_a_path_and_words_for_numbers_find_no_row() {
    let platform = Platform::new();
    let central = central(&platform);
    let api = central.api();
    let answer = api.call("OPTIONS", "/api/core/action/command", b"");
    assert_eq!((answer.status, answer.header("allow")), (404, Some("POST")));
    for path in ["/api/log/some-token?code=abc", "/api/log/some-token?limit=abc"] {
        let answer = api.get(path);
        assert_eq!((answer.status, answer.json()["error"].clone()), (200, json!("no_log")), "{path}");
    }
    let answer = api.post("/api/core/action/command?log_wait=word", &json!([{ "command": "true" }])).json();
    assert_eq!(answer["error"], "no_log", "{answer}");
    let rows = api.finished_rows(0, answer["token"].as_str().unwrap(), seconds(20));
    assert!(rows.iter().any(|row| code(row) == 2), "the command ran: {rows:?}");
    let command = json!([{ "command": "no-such-program-here --x", "no_shell_interpretation": 1 }]);
    let answer = api.post("/api/core/action/command", &command).json();
    let rows = api.finished_rows(0, answer["token"].as_str().unwrap(), seconds(20));
    let result = rows.iter().find(|row| code(row) == 100).map(data).unwrap();
    assert_eq!(result["result"]["exit_code"], 127, "{result}");
}

#[test]
fn a_user_with_a_role_asks_for_what_it_may_and_leaves_audit_lines() {
    let platform = Platform::new();
    let hashed = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("echo s3cret | '{}' keys hash-password", crate::platform::STHENO))
        .output()
        .unwrap();
    let hash = String::from_utf8(hashed.stdout).unwrap();
    let users = format!(
        "auth: {{enabled: \"true\", users: [{{name: reader, password_hash: '{0}', may: read}}, {{name: runner, \
         password_hash: '{0}', may: [\"command:echo *\"]}}]}}",
        hash.trim()
    );
    let audit = platform.path("audit.log");
    let plan = platform.plan("central", 1).with_api().with_api_option(&users);
    let central = Daemon::start(plan.with_core(&format!("audit_log: {}", audit.display())));
    let mut api = central.api();
    let command = |line: &str| json!([{ "command": line }]);
    // reader:s3cret
    api.headers = "Authorization: Basic cmVhZGVyOnMzY3JldA==\r\n".to_owned();
    assert_eq!(api.get("/api/internal/information").status, 200);
    assert_eq!(api.post("/api/core/action/command", &command("echo a")).status, 403);
    central.wait_for_log("user 'reader' from 127.0.0.1 may not ask for COMMAND on this node: refused", seconds(5));
    // runner:s3cret
    api.headers = "Authorization: Basic cnVubmVyOnMzY3JldA==\r\n".to_owned();
    assert_eq!(api.post("/api/core/action/command", &command("echo a; id")).status, 403);
    let answer = api.post("/api/core/action/command?log_wait=20000000", &command("echo allowed")).json();
    assert!(answer.to_string().contains("allowed"), "{answer}");
    let lines = crate::platform::until("the audit line", seconds(5), || {
        std::fs::read_to_string(&audit).ok().filter(|text| text.contains("echo allowed"))
    });
    assert!(
        lines.contains("user 'runner' from 127.0.0.1: COMMAND on this node") && !lines.contains("reader"),
        "{lines}"
    );
    // runner:wrong
    api.headers = "Authorization: Basic cnVubmVyOndyb25n\r\n".to_owned();
    assert_eq!(api.get("/api/internal/information").status, 401);
}

#[test]
fn a_page_of_another_site_runs_nothing() {
    let platform = Platform::new();
    let central = central(&platform);
    let port = central.plan.api_port.unwrap();
    let command = br#"[{"command":"touch /tmp/never"}]"#;
    for headers in ["Origin: http://evil.example\r\nContent-Type: text/plain\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let mut connection = Connection::open(port).unwrap();
        let answer = connection.call("POST", "/api/core/action/command", headers, command).unwrap();
        assert_eq!(answer.status, 403, "{headers}");
    }
    let mut connection = Connection::open(port).unwrap();
    connection.send(b"GET /api/internal/constatus HTTP/1.1\r\nHost: evil.example\r\n\r\n").unwrap();
    assert_eq!(connection.receive().unwrap().status, 403);
    central.wait_for_log("it comes from a page of another site", seconds(5));
}
