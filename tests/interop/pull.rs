//! Nodes that dial in over ZeroMQ, opposite real libzmq: a pull node on our central, and our pull node under a ROUTER.

use crate::platform::api::{code, data};
use crate::platform::{Daemon, Plan, Platform, free_port, keys, seconds, until};
use crate::script::Script;

/// Runs `pull.py ROLE ENDPOINT KEY SCENARIO`.
fn start(role: &str, port: u16, owner: &str, scenario: &str) -> Script {
    let key = keys::private_file(owner);
    Script::start("pull", &[role, &format!("tcp://127.0.0.1:{port}"), key.to_str().unwrap(), scenario])
}

/// Our node 6, which dials to `port`.
fn node(platform: &Platform, port: u16, more: &[&str]) -> Plan {
    let mut lines = vec!["target_type: tcp".to_owned(), format!("target_path: 127.0.0.1:{port}")];
    lines.extend(more.iter().map(ToString::to_string));
    platform.plan("node", 6).with_module("pull", &lines)
}

#[test]
fn a_libzmq_pull_node_is_pinged_commanded_and_its_log_is_read() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(6, "pull").with_authorized("poller");
    let central = Daemon::start(plan.with_proxy("ping: 1"));
    let early = central.api().command(6, "echo too early");
    let rows = central.api().finished_rows(0, &early, seconds(5));
    let said: Vec<String> = rows.iter().map(|row| data(row)["message"].to_string()).collect();
    assert!(said.iter().any(|text| text.contains("proxy - node '6' had never been connected")), "{said:?}");

    let script = start("node", central.plan.port, "poller", "serve");
    central.api().wait_for_pong(6, seconds(10));
    assert_eq!(central.api().node_status(6)["type"], "pull");
    let token = central.api().command(6, "echo hello");
    let rows = central.api().finished_rows(6, &token, seconds(15));
    assert!(rows.iter().any(|row| data(row)["message"] == "done afar"), "{rows:?}");
    script.succeeds(seconds(20));

    // The node has unregistered: requests for it end now instead of waiting for ever.
    let late = central.api().command(6, "echo too late");
    let rows = central.api().finished_rows(0, &late, seconds(15));
    assert!(rows.iter().any(|row| code(row) == 1), "{rows:?}");
}

#[test]
fn our_pull_node_serves_a_libzmq_central_and_takes_its_leave() {
    let platform = Platform::new();
    let port = free_port();
    let mut script = start("central", port, "central", "serve");
    assert_eq!(script.line(), "ready");
    let mut node = Daemon::start(node(&platform, port, &[]));
    assert_eq!(script.line(), "stop");
    let (status, _) = node.stop();
    assert!(status.success(), "{status}");
    script.succeeds(seconds(15));
}

#[test]
fn our_pull_node_takes_a_new_routing_id_when_its_central_stays_silent() {
    let platform = Platform::new();
    let port = free_port();
    let mut script = start("central", port, "central", "silent");
    assert_eq!(script.line(), "ready");
    let _node = Daemon::start(node(&platform, port, &["ping_timeout: 1"]));
    script.succeeds(seconds(25));
}

#[test]
fn a_pull_node_of_ours_is_back_within_five_seconds_of_its_central() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(6, "pull").with_authorized("poller");
    let mut central = Daemon::start(plan.with_proxy("ping: 1"));
    let _node = Daemon::start(node(&platform, central.plan.port, &[]));
    central.api().wait_for_pong(6, seconds(10));
    assert_eq!(central.api().output_of(6, "echo first", seconds(15)), "first");
    central.kill();
    central.start_again();
    until("a command reaches the node again", seconds(5), || {
        let token = central.api().command(6, "echo second");
        let rows = central.api().finished_rows(6, &token, seconds(5));
        rows.iter().any(|row| code(row) == 2).then_some(())
    });
}
