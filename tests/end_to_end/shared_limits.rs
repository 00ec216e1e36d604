//! No client can use up what all share: descriptors, memory, places of calls.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;

use serde_json::json;

use crate::platform::api::request;
use crate::platform::{Daemon, Platform, STHENO, seconds, until};

#[test]
fn strangers_that_hold_every_descriptor_keep_neither_clients_nor_commands_nor_the_history_out() {
    let platform = Platform::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 300; exec \"$0\" run \"$@\"", STHENO]);
    let mut central = Daemon::start_as(platform.plan("central", 1).with_api(), command);
    let address = ([127, 0, 0, 1], central.plan.port).into();
    let silent: Vec<_> = (0..800).filter_map(|_| TcpStream::connect_timeout(&address, seconds(5)).ok()).collect();
    for round in 0..5 {
        let mut client = central.client();
        assert_eq!(client.request("PING", "ping", "", &json!({})).kind, "PONG");
        let token = format!("command-{round}");
        client.send("COMMAND", &token, "", &json!({ "content": [{ "command": "echo here" }] })).unwrap();
        let rows = client.wait_for_rows(&token, seconds(20));
        assert!(rows.iter().any(|row| row.to_string().contains("here")), "{rows:?}");
    }
    drop(silent);
    central.assert_running();
}

#[test]
fn a_register_file_that_changes_while_the_daemon_starts_is_read() {
    let platform = Platform::new();
    for round in 0..8 {
        let name = format!("central{round}");
        let mut staged = platform.plan(&name, 1).with_node(77, 9);
        staged.name = format!("staged{round}");
        staged.write();
        let mut command = Command::new("sh");
        let delay = format!("0.0{:02}", 4 + 12 * round);
        let (new, old) =
            (platform.path(&format!("staged{round}-nodes.yaml")), platform.path(&format!("{name}-nodes.yaml")));
        let change = format!("(sleep {delay}; mv '{}' '{}') &", new.display(), old.display());
        command.args(["-c", &format!("{change} exec \"$0\" run \"$@\""), STHENO]);
        let central = Daemon::start_as(platform.plan(&name, 1).with_api().with_node(2, 9), command);
        let api = central.api();
        until("node 77 is known", seconds(10), || (!api.node_status(77).is_null()).then_some(()));
        assert!(api.node_status(2).is_null());
    }
}

#[test]
fn waits_of_callers_that_went_away_and_of_one_address_leave_places_for_others() {
    let platform = Platform::new();
    // Nobody listens for node 2, so a call that waits for its log waits as long as it may.
    let central = Daemon::start(platform.plan("central", 1).with_api().with_node(2, 9));
    let port = central.plan.api_port.unwrap();
    let wait = request("GET", "/api/nodes/2/log/nobody?sync_wait=600000000", "", b"");
    let waiting: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(&wait.repeat(64)).unwrap();
            stream
        })
        .collect();
    let api = central.api();
    let short = || api.get("/api/nodes/2/log/nobody?sync_wait=1000").status;
    until("one address has its share", seconds(10), || (short() == 503).then_some(()));
    assert_eq!(api.get("/api/internal/information").status, 200, "what does not wait is answered");
    let mut elsewhere = from([127, 0, 0, 2], port);
    elsewhere.write_all(&request("GET", "/api/nodes/2/log/nobody?sync_wait=1000", "", b"")).unwrap();
    let mut status = [0; 12];
    elsewhere.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200", "another address has its own share");
    drop(waiting);
    until("the waits end with their connections", seconds(5), || (short() == 200).then_some(()));
}

/// Opens a connection from another address of this machine.
fn from(address: [u8; 4], port: u16) -> TcpStream {
    let (family, kind) = (rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM);
    let socket = rustix::net::socket(family, kind, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((address, 0))).unwrap();
    rustix::net::connect(&socket, &SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    TcpStream::from(socket)
}

#[test]
fn a_caller_that_ends_its_sending_direction_gets_what_is_there_without_a_wait() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api().with_node(2, 9));
    let mut stream = TcpStream::connect(("127.0.0.1", central.plan.api_port.unwrap())).unwrap();
    stream.write_all(&request("GET", "/api/nodes/2/log/nobody?sync_wait=600000000", "", b"")).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(seconds(20))).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("No log found for token"), "{answer}");
}

#[test]
fn answers_that_nobody_reads_take_a_bounded_amount_of_memory_and_others_are_answered() {
    const CONNECTIONS: usize = 10;
    let platform = Platform::new();
    let mut central = Daemon::start(platform.plan("central", 1).with_api());
    let database = rusqlite::Connection::open(central.database().path().unwrap()).unwrap();
    let text = "x".repeat(60_000);
    let insert =
        "INSERT INTO gorgone_history (token, code, etime, ctime, instant, data) VALUES ('big', 2, 1, ?1, 0, ?2)";
    for row in 0..120 {
        database.execute(insert, rusqlite::params![1_000.0 + f64::from(row), format!("{{\"a\":\"{text}\"}}")]).unwrap();
    }
    let port = central.plan.api_port.unwrap();
    let question = request("GET", "/api/log/big", "", b"");
    let deaf: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(&question.repeat(64)).unwrap();
            stream
        })
        .collect();
    let mut client = central.client();
    for round in 0..20 {
        assert_eq!(client.request("PING", "ping", "", &json!({})).kind, "PONG");
        client.send("COMMAND", &format!("c{round}"), "", &json!({ "content": [{ "command": "true" }] })).unwrap();
        client.wait_for_rows(&format!("c{round}"), seconds(30));
    }
    assert!(central.peak_kib() < 200_000, "{} KiB at most", central.peak_kib());
    central.wait_for_log("does not read its answers", seconds(30));
    drop(deaf);
    assert_eq!(central.api().get("/api/log/big").status, 200);
    central.assert_running();
}

#[test]
fn outputs_of_many_commands_share_one_budget() {
    let platform = Platform::new();
    let mut central = Daemon::start(platform.plan("central", 1).with_api());
    let mut client = central.client();
    let command = "head -c 3000000 /dev/zero | tr '\\0' x";
    for number in 0..30 {
        let content = json!({ "content": [{ "command": command, "timeout": 60 }] });
        client.send("COMMAND", &format!("loud{number}"), "", &content).unwrap();
    }
    let ended = || {
        let rows: i64 = central
            .database()
            .query_row("SELECT count(*) FROM gorgone_history WHERE token LIKE 'loud%' AND code = 100", [], |row| {
                row.get(0)
            })
            .unwrap();
        (rows == 30).then_some(())
    };
    until("all have ended", seconds(60), ended);
    assert!(central.peak_kib() < 90_000, "{} KiB at most", central.peak_kib());
    central.assert_running();
}

#[test]
fn the_second_of_two_daemons_with_one_id_is_refused_with_one_line_that_names_both_addresses() {
    const TOKEN: &str = "t0k3n-0f-the-test";
    let platform = Platform::new();
    let port = crate::platform::free_port();
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss");
    let plan = plan.with_proxy("httpserver:").with_proxy("  enable: true").with_proxy("  address: 127.0.0.1");
    let central = Daemon::start(plan.with_proxy(&format!("  port: {port}")).with_proxy(&format!("  token: {TOKEN}")));
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {TOKEN}")];
    let node = |name| Daemon::start(platform.plan(name, 7).with_module("pullwss", &lines));
    let first = node("first");
    central.wait_for_log("node '7' is connected\n", seconds(20));
    let second = node("second");
    second.wait_for_log("refused us: another daemon is connected as node '7' and answers; give one", seconds(20));
    let line = "node '7' is connected twice, from 127.0.0.1 and from 127.0.0.1; the first answers, so the second is \
        refused";
    central.wait_for_log(line, seconds(20));
    assert_eq!(central.log().matches("node '7' is connected\n").count(), 1, "{}", central.log());
    assert_eq!(central.log().matches("is connected twice").count(), 1, "{}", central.log());
    assert!(!first.log().contains("ERROR"), "{}", first.log());
    drop(first);
    until("the second is taken when the first is gone", seconds(60), || {
        (central.log().matches("node '7' is connected\n").count() == 2).then_some(())
    });
}

#[test]
fn messages_that_come_by_halves_share_one_budget_and_small_ones_go_on() {
    const CONNECTIONS: usize = 20;
    let platform = Platform::new();
    let mut central = Daemon::start(platform.plan("central", 1).with_api());
    let port = central.plan.api_port.unwrap();
    let body = vec![b' '; 7 << 20];
    let head = "POST /api/core/action/command HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 8000000\r\n\r\n";
    let slow: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            // What the daemon does not read stays in this socket.
            let _not_all = stream.write_all(&body);
            stream
        })
        .collect();
    let mut client = central.client();
    for round in 0..20 {
        assert_eq!(client.request("PING", "ping", "", &json!({})).kind, "PONG");
        client.send("COMMAND", &format!("c{round}"), "", &json!({ "content": [{ "command": "true" }] })).unwrap();
        client.wait_for_rows(&format!("c{round}"), seconds(30));
    }
    assert!(central.peak_kib() < 140_000, "{} KiB at most", central.peak_kib());
    central.wait_for_log("the rest of its message does not come", seconds(30));
    drop(slow);
    let large = format!("[{}]", " ".repeat(1 << 20));
    assert_eq!(central.api().call("POST", "/api/core/action/command", large.as_bytes()).status, 200);
    central.assert_running();
}
