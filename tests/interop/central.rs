//! Our central, and the client that the other tests use, opposite a ROUTER on real libzmq.

use serde_json::json;

use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, free_port, keys, seconds};
use crate::script::Script;

/// Starts a push poller on libzmq, `poller.py PORT KEY SCENARIO`; it is ready when it has printed a line.
fn poller(port: u16, owner: &str, scenario: &str) -> Script {
    let key = keys::private_file(owner);
    let mut script = Script::start("poller", &[&port.to_string(), key.to_str().unwrap(), scenario]);
    assert_eq!(script.line(), "ready");
    script
}

#[test]
fn the_client_of_our_own_tests_speaks_with_libzmq() {
    let port = free_port();
    let _poller = poller(port, "poller", "serve");
    let mut client = Client::connect(port, "client", "gorgone-client").unwrap();
    let reply = client.request("PING", "token-1", "", &json!({}));
    assert_eq!((reply.kind.as_str(), &reply.json["data"]["message"]), ("PONG", &json!("ping ok")));
    assert_eq!(reply.json["data"]["id"], json!("2"));
    let rows = client.wait_for_rows("kept", seconds(2));
    assert_eq!(rows[0]["data"], json!("{\"message\":\"from afar\"}"));
}

#[test]
fn our_central_shakes_hands_pings_and_reads_the_log_of_a_libzmq_poller() {
    let platform = Platform::new();
    let port = free_port();
    let script = poller(port, "poller", "sync");
    let plan = platform.plan("central", 1).with_api().with_node(2, port).with_proxy("synchistory_time: 1");
    let central = Daemon::start(plan);
    central.api().wait_for_pong(2, seconds(5));
    let rows = central.api().finished_rows(0, "from-the-poller", seconds(10));
    assert_eq!(rows.len(), 1, "{rows:?}");
    let late = central.api().finished_rows(0, "a-later-row", seconds(10));
    assert_eq!(late.len(), 1, "{late:?}");
    // The script itself checks that the second GETLOG asked from the newest ctime on.
    script.succeeds(seconds(20));
    let marks: Vec<(String, f64)> = central
        .database()
        .prepare("SELECT id, ctime FROM gorgone_synchistory")
        .unwrap()
        .query_map([], |row| Ok((row.get::<_, rusqlite::types::Value>(0).map(|id| format!("{id:?}"))?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert!((marks[0].1 - 2000.5).abs() < 0.001, "{marks:?}");
}

#[test]
fn a_command_of_the_rest_api_reaches_a_libzmq_poller_word_for_word() {
    let platform = Platform::new();
    let port = free_port();
    let script = poller(port, "poller", "command");
    let central = Daemon::start(platform.plan("central", 1).with_api().with_node(2, port));
    let token = central.api().command(2, "echo hello");
    // The central reads the node's log because of this request; the script ends afterwards.
    let rows = central.api().finished_rows(2, &token, seconds(10));
    assert!(rows.iter().any(|row| row["data"].as_str().unwrap().contains("done afar")), "{rows:?}");
    let said = script.succeeds(seconds(20));
    assert!(said.contains(&token), "{said}");
}

#[test]
fn a_poller_whose_key_changed_is_refused_with_a_line_that_says_what_to_do() {
    let platform = Platform::new();
    let port = free_port();
    let first = poller(port, "poller", "serve");
    let plan = platform.plan("central", 1).with_api().with_node(2, port).with_proxy("ping: 1");
    let mut central = Daemon::start(plan.clone());
    central.api().wait_for_pong(2, seconds(5));
    central.kill();
    drop(first);
    let _impostor = poller(port, "stranger", "serve");
    central.start_again();
    central.wait_for_log("keys trust", seconds(15));
    let line = central.log().lines().find(|line| line.contains("keys trust")).unwrap().to_owned();
    assert!(line.contains(&format!("tcp://127.0.0.1:{port}")), "the line names the target: {line}");
    assert!(central.api().node_status(2)["ping_ok"].as_i64().unwrap_or(0) == 0, "an impostor never counts as alive");
}

#[test]
fn a_poller_that_refuses_our_key_shows_in_the_log_with_the_key_to_authorise_there() {
    let platform = Platform::new();
    let port = free_port();
    let _poller = poller(port, "poller", "refuse");
    let central = Daemon::start(platform.plan("central", 1).with_api().with_node(2, port));
    central.wait_for_log(&keys::thumbprint("central"), seconds(15));
    // The message names the place and the node.
    central.wait_for_log("authorized_clients", seconds(5));
    central.wait_for_log(&port.to_string(), seconds(5));
}
