//! Nodes that dial in, with both ends ours: commands, restarts of either end, and the end of a node.

use crate::platform::api::code;
use crate::platform::{Daemon, Plan, Platform, assert_within, free_port, seconds, until};

const TOKEN: &str = "t0k3n-0f-the-test";

/// A central with both listeners. Node 6 is of type pull, node 7 of type wss.
fn central(platform: &Platform, port: u16) -> Plan {
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(6, "pull").with_dial_in_node(7, "wss");
    let plan = plan.with_authorized("poller").with_proxy("ping: 1").with_proxy("httpserver:");
    let plan = plan.with_proxy("  enable: true").with_proxy("  address: 127.0.0.1");
    plan.with_proxy(&format!("  port: {port}")).with_proxy(&format!("  token: {TOKEN}"))
}

/// The node `id` of that central.
fn node(platform: &Platform, id: u32, central: &Plan, port: u16) -> Plan {
    let plan = platform.plan(&format!("node-{id}"), id);
    if id == 6 {
        plan.with_module("pull", &[format!("target_path: 127.0.0.1:{}", central.port)])
    } else {
        let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {TOKEN}")];
        plan.with_module("pullwss", &lines)
    }
}

/// Repeats a command on the node until it succeeds.
#[track_caller]
fn wait_for_service(central: &Daemon, id: u32, limit: u64) {
    until(&format!("a command on node {id} ends well"), seconds(limit), || {
        let token = central.api().command(id, "true");
        let rows = central.api().finished_rows(id, &token, seconds(40));
        rows.iter().any(|row| code(row) == 2).then_some(())
    });
}

#[test]
fn commands_reach_nodes_of_both_kinds_and_their_kind_is_shown() {
    let platform = Platform::new();
    let port = free_port();
    let plan = central(&platform, port);
    let nodes = [6, 7].map(|id| Daemon::start(node(&platform, id, &plan, port)));
    let central = Daemon::start(plan);
    for daemon in &nodes {
        let id = daemon.plan.id;
        central.api().wait_for_pong(id, seconds(10));
        assert_eq!(central.api().output_of(id, "echo \"<&'é€>\"", seconds(15)), "<&'é€>", "node {id}");
        // Two of these rows do not fit in one part of an answer.
        let lines = ["x", "y"].map(|letter| (letter, format!("head -c 100000 /dev/zero | tr '\\0' {letter}")));
        for (letter, line) in lines {
            let large = central.api().output_of(id, &line, seconds(30));
            assert_eq!((large.len(), large.starts_with(letter)), (100_000, true), "node {id}");
        }
        let status = central.api().node_status(id);
        assert_eq!(status["type"], if id == 6 { "pull" } else { "wss" }, "{status}");
    }
}

#[test]
fn a_central_that_restarts_has_its_nodes_back_within_five_seconds() {
    let platform = Platform::new();
    let port = free_port();
    let plan = central(&platform, port);
    let _nodes = [6, 7].map(|id| Daemon::start(node(&platform, id, &plan, port)));
    let mut central = Daemon::start(plan);
    for id in [6, 7] {
        central.api().wait_for_pong(id, seconds(10));
    }
    central.kill();
    central.start_again();
    for id in [6, 7] {
        central.api().wait_for_pong(id, seconds(5));
        wait_for_service(&central, id, 5);
    }
}

#[test]
fn a_node_that_stops_takes_its_leave_and_is_accepted_at_once_when_it_is_back() {
    let platform = Platform::new();
    let port = free_port();
    let plan = central(&platform, port);
    let mut nodes = [6, 7].map(|id| Daemon::start(node(&platform, id, &plan, port)));
    let central = Daemon::start(plan);
    for daemon in &mut nodes {
        let id = daemon.plan.id;
        central.api().wait_for_pong(id, seconds(10));
        let (status, took) = daemon.stop();
        assert!(status.success(), "node {id}: {status}");
        assert_within(took, seconds(3));
        let token = central.api().command(id, "true");
        let rows = central.api().finished_rows(0, &token, seconds(10));
        assert!(rows.iter().any(|row| code(row) == 1), "node {id} has left, so the command ends: {rows:?}");
        daemon.start_again();
        wait_for_service(&central, id, 10);
    }
}

#[test]
fn a_listener_without_a_token_does_not_start_and_the_log_says_so() {
    let platform = Platform::new();
    let port = free_port();
    let mut plan = central(&platform, port);
    plan.proxy.retain(|line| !line.contains("token:"));
    let mut central = Daemon::start(plan);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    central.wait_for_log("httpserver.token: is missing or empty, so the listener does not start", seconds(5));
    central.assert_running();
}
