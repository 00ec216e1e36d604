//! pullwss nodes opposite the Python library websockets: a node on our central, and our node under a central.

use std::time::Instant;

use serde_json::json;

use crate::platform::api::{Connection, code, data, number};
use crate::platform::{Daemon, Plan, Platform, assert_within, free_port, seconds, until};
use crate::script::Script;

pub const TOKEN: &str = "t0k3n-0f-the-test";

/// A central with a WebSocket listener on `port`, `lines` being further options of it, that knows node 7.
pub fn central(platform: &Platform, port: u16, lines: &[&str]) -> Plan {
    let mut plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss").with_proxy("ping: 1");
    plan = plan.with_proxy("httpserver:");
    for line in ["enable: true", "address: 127.0.0.1", &format!("port: {port}"), &format!("token: {TOKEN}")] {
        plan = plan.with_proxy(&format!("  {line}"));
    }
    lines.iter().fold(plan, |plan, line| plan.with_proxy(&format!("  {line}")))
}

/// Our node 7, which dials to `port`.
pub fn node(platform: &Platform, port: u16, lines: &[&str]) -> Plan {
    let mut all = vec!["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {TOKEN}")];
    all.extend(lines.iter().map(ToString::to_string));
    platform.plan("node", 7).with_module("pullwss", &all)
}

fn start(port: u16, scenario: &str) -> Script {
    Script::start("websocket_node", &[&format!("ws://127.0.0.1:{port}/"), TOKEN, scenario])
}

/// A central and a node that is the scenario.
#[track_caller]
fn play(scenario: &str) {
    let platform = Platform::new();
    let port = free_port();
    let mut central = Daemon::start(central(&platform, port, &[]));
    start(port, scenario).succeeds(seconds(60));
    central.assert_running();
}

#[test]
fn a_node_with_encoded_texts_is_pinged_commanded_and_its_log_is_read() {
    let platform = Platform::new();
    let port = free_port();
    let central = Daemon::start(central(&platform, port, &[]));
    let early = central.api().command(7, "echo too early");
    let rows = central.api().finished_rows(0, &early, seconds(10));
    assert!(rows.iter().any(|row| code(row) == 1), "{rows:?}");
    let script = start(port, "serve");
    central.api().wait_for_pong(7, seconds(10));
    let token = central.api().command(7, "echo <&\"'> café €");
    let rows = central.api().finished_rows(7, &token, seconds(15));
    assert!(rows.iter().any(|row| data(row)["message"] == "done <afar> & 'café' \"€\""), "{rows:?}");
    script.succeeds(seconds(20));
    until("a command to the node that left ends", seconds(15), || {
        let late = central.api().command(7, "echo too late");
        central.api().finished_rows(0, &late, seconds(15)).iter().any(|row| code(row) == 1).then_some(())
    });
}

#[test]
fn parts_out_of_order_doubled_or_missing_are_stored_once_and_the_mark_waits_for_all() {
    let platform = Platform::new();
    let port = free_port();
    let plan = central(&platform, port, &[]).with_proxy("synchistory_time: 1").with_proxy("synchistory_timeout: 2");
    let central = Daemon::start(plan);
    start(port, "parts").succeeds(seconds(60));
    let query =
        "SELECT group_concat(token) FROM (SELECT token FROM gorgone_history WHERE token LIKE 'part-%' ORDER BY token)";
    let stored: String = central.database().query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(stored, "part-1,part-2,part-3");
}

#[test]
fn refusals_are_worded_as_the_contract_says() {
    play("refusals");
}

#[test]
fn a_client_that_stays_silent_is_told_and_closed() {
    play("silent");
}

#[test]
fn a_message_above_262144_bytes_is_closed_with_1009_unless_a_registered_node_sends_it() {
    play("too_large");
}

#[test]
fn control_frames_and_fragments_are_served() {
    play("control_frames");
}

#[test]
fn the_second_connection_of_a_node_replaces_the_first() {
    let platform = Platform::new();
    let port = free_port();
    let central = Daemon::start(central(&platform, port, &[]));
    let script = start(port, "replaced");
    // The command may still go to the first connection, which does not answer.
    let api = central.api();
    api.wait_for_pong(7, seconds(15));
    let token = api.command(7, "echo which");
    let rows = api.finished_rows(7, &token, seconds(20));
    assert!(rows.iter().any(|row| data(row)["message"] == "the second"), "{rows:?}");
    script.succeeds(seconds(20));
}

#[test]
fn a_node_speaks_only_for_itself() {
    let platform = Platform::new();
    let port = free_port();
    let central = Daemon::start(central(&platform, port, &[]).with_dial_in_node(8, "wss"));
    start(port, "foreign").succeeds(seconds(30));
    let forged: i64 = central
        .database()
        .query_row("SELECT count(*) FROM gorgone_history WHERE token = 'forged'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(forged, 0);
    assert_eq!(number(&central.api().node_status(8)["ping_ok"]), 0, "{}", central.api().node_status(8));
}

#[test]
fn two_thousand_commands_reach_twenty_nodes_in_order_under_two_hundred_pongs_a_second() {
    let platform = Platform::new();
    let port = free_port();
    let plan = (101..=120).fold(central(&platform, port, &[]), |plan, id| plan.with_dial_in_node(id, "wss"));
    let central = Daemon::start(plan);
    let mut script = start(port, "fleet");
    assert_eq!(script.line(), "ready");
    for id in 101..=120 {
        central.api().wait_for_pong(id, seconds(10));
    }
    let mut api = Connection::open(central.plan.api_port.unwrap()).unwrap();
    for count in 0..100 {
        for id in 101..=120 {
            let body = json!([{ "command": format!("echo {count}") }]).to_string();
            let answer =
                api.call("POST", &format!("/api/nodes/{id}/core/action/command"), "", body.as_bytes()).unwrap();
            assert_eq!(answer.status, 200);
        }
    }
    script.succeeds(seconds(30));
}

/// Starts `websocket_central.py`, ready.
fn python_central(port: u16, scenario: &str, path: &str) -> Script {
    let mut script = Script::start("websocket_central", &[&port.to_string(), TOKEN, scenario, path]);
    assert_eq!(script.line(), "ready");
    script
}

#[test]
fn our_node_serves_a_central_whose_frames_are_not_utf8_and_takes_its_leave() {
    let platform = Platform::new();
    let port = free_port();
    let mut script = python_central(port, "work", "/centreon/gorgone/pullwss/websocket");
    let lines = ["central_uri: /centreon/gorgone/pullwss/websocket", "max_msg_size: 2048"];
    let mut node = Daemon::start(node(&platform, port, &lines));
    assert_eq!(script.line(), "stop");
    assert!(node.stop().0.success());
    script.succeeds(seconds(20));
}

#[test]
fn our_node_comes_back_each_time_it_is_dropped() {
    let platform = Platform::new();
    let port = free_port();
    let script = python_central(port, "drop", "/");
    let start = Instant::now();
    let _node = Daemon::start(node(&platform, port, &[]));
    script.succeeds(seconds(30));
    assert_within(start.elapsed(), seconds(10));
}

#[test]
fn our_node_goes_through_an_http_proxy_with_and_without_credentials() {
    for (credentials, url) in [("", "http://127.0.0.1"), ("user:p@ss", "http://user:p%40ss@127.0.0.1")] {
        let platform = Platform::new();
        let (port, proxy) = (free_port(), free_port());
        let listen = proxy.to_string();
        let arguments: Vec<&str> = [&listen, credentials].into_iter().filter(|word| !word.is_empty()).collect();
        let mut tunnel = Script::start("connect_proxy", &arguments);
        assert_eq!(tunnel.line(), "ready");
        let script = python_central(port, "arrives", "/");
        let _node = Daemon::start(node(&platform, port, &[&format!("proxy: \"{url}:{proxy}\"")]));
        script.succeeds(seconds(20));
        assert_eq!(tunnel.line(), format!("127.0.0.1:{port}"));
    }
}

#[test]
fn a_proxy_that_wants_another_password_shows_in_the_log_without_the_password() {
    let platform = Platform::new();
    let proxy = free_port();
    let mut tunnel = Script::start("connect_proxy", &[&proxy.to_string(), "user:right"]);
    assert_eq!(tunnel.line(), "ready");
    let node =
        Daemon::start(node(&platform, free_port(), &[&format!("proxy: http://user:wrong-one@127.0.0.1:{proxy}")]));
    node.wait_for_log("407", seconds(15));
    assert!(!node.log().contains("wrong-one"), "{}", node.log());
}

#[test]
fn our_node_with_a_wrong_token_says_so_in_its_log_without_the_token() {
    let platform = Platform::new();
    let port = free_port();
    let mut plan = central(&platform, port, &[]);
    plan.proxy
        .iter_mut()
        .filter(|line| line.contains("token:"))
        .for_each(|line| "  token: another-one".clone_into(line));
    let _central = Daemon::start(plan);
    let node = Daemon::start(node(&platform, port, &[]));
    node.wait_for_log("token authorization unallowed", seconds(15));
    assert!(!node.log().contains(TOKEN), "{}", node.log());
}

#[test]
fn a_central_with_the_habits_of_a_perl_one_gets_every_row_of_six_hundred_commands_at_once() {
    let platform = Platform::new();
    let port = free_port();
    let mut script = Script::start("perl_central", &[&port.to_string(), TOKEN, "600"]);
    assert_eq!(script.line(), "ready");
    let _node = Daemon::start(node(&platform, port, &[]));
    script.succeeds(seconds(170));
}

#[test]
fn three_thousand_rows_and_a_large_one_of_a_node_with_the_habits_of_a_perl_one_arrive_once_and_unchanged() {
    let platform = Platform::new();
    let port = free_port();
    let central = Daemon::start(central(&platform, port, &[]).with_proxy("synchistory_time: 1"));
    let mut script = start_script(port, "3000");
    assert_eq!(script.line(), "sent");
    let count: (i64, i64) = central
        .database()
        .query_row(
            "SELECT count(*), count(DISTINCT token) FROM gorgone_history WHERE token LIKE 'row-%' OR token = 'large'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(count, (3_001, 3_001));
    let text: String = central
        .database()
        .query_row("SELECT data FROM gorgone_history WHERE token = 'row-2999'", [], |row| row.get(0))
        .unwrap();
    assert!(text.contains("café € 日本 русский 🙂 <&"), "{text}");
}

fn start_script(port: u16, rows: &str) -> Script {
    Script::start("perl_node", &[&format!("ws://127.0.0.1:{port}/"), TOKEN, rows])
}
