//! Which nodes are alive, and what dead nodes cost (docs/protocol.md sections 5 and 6).

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::platform::api::{code, data, number};
use crate::platform::{Daemon, Platform, assert_within, free_port, seconds, until};

#[test]
fn every_node_that_can_be_reached_is_alive_within_two_seconds_and_without_a_failed_ping() {
    let platform = Platform::new();
    let pollers: Vec<Daemon> = (2..5).map(|id| Daemon::start(platform.plan(&format!("poller{id}"), id))).collect();
    let start = Instant::now();
    let central = Daemon::start(platform.central_with(&pollers.iter().collect::<Vec<_>>()));
    for poller in &pollers {
        central.api().wait_for_pong(poller.plan.id, seconds(2));
        let status = central.api().node_status(poller.plan.id);
        assert_eq!(number(&status["ping_failed"]), 0, "{status}");
        assert!(number(&status["last_ping_recv"]) > 0, "{status}");
        assert_eq!(status["type"], json!("push_zmq"));
    }
    assert_within(start.elapsed(), seconds(3));
}

#[test]
fn twenty_dead_nodes_of_twenty_one_cost_the_live_one_nothing() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 2));
    let mut plan = platform.central_with(&[&poller]).with_proxy("ping: 1").with_proxy("pong_discard_timeout: 1");
    // Three kinds of dead nodes: nobody listens, somebody listens and says nothing, and packets are dropped.
    let silent: Vec<TcpListener> = (0..7).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
    for id in 100..106 {
        plan = plan.with_node(id, free_port());
    }
    for (id, listener) in (200..).zip(&silent) {
        plan = plan.with_node(id, listener.local_addr().unwrap().port());
    }
    for id in 300..307 {
        plan.nodes.push((id, "192.0.2.1".to_owned(), 5556));
    }
    assert_eq!(plan.nodes.len(), 21);
    let central = Daemon::start(plan);
    let api = central.api();
    api.wait_for_pong(2, seconds(2));
    let end = Instant::now() + seconds(4);
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        let start = Instant::now();
        assert_eq!(api.output_of(2, "echo alive", seconds(3)), "alive");
        slowest = slowest.max(start.elapsed());
    }
    assert_within(slowest, seconds(1));
    for id in [100, 200, 300] {
        assert_eq!(number(&api.node_status(id)["ping_ok"]), 0, "node {id}");
    }
    assert!(number(&api.node_status(2)["ping_ok"]) >= 2);
    until("a node that refuses counts a failed ping", seconds(15), || {
        (number(&api.node_status(100)["ping_failed"]) >= 1).then_some(())
    });
}

#[test]
fn a_dead_node_that_comes_back_is_served_within_seconds() {
    let platform = Platform::new();
    let plan = platform.plan("poller", 2);
    let central = Daemon::start(platform.plan("central", 1).with_api().with_node(2, plan.port).with_proxy("ping: 1"));
    until("a failed ping", seconds(20), || (number(&central.api().node_status(2)["ping_failed"]) >= 1).then_some(()));
    let _poller = Daemon::start(plan);
    central.api().wait_for_pong(2, seconds(5));
    assert_eq!(central.api().output_of(2, "echo back", seconds(5)), "back");
}

#[test]
fn nodes_come_and_go_at_run_time() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 3));
    let central = Daemon::start(platform.plan("central", 1).with_api());
    let api = central.api();
    let mut client = central.client();
    let node = json!({ "id": "3", "type": "push_zmq", "address": "127.0.0.1", "port": poller.plan.port.to_string() });
    client.request("REGISTERNODES", "register", "", &json!({ "nodes": [node] }));
    api.wait_for_pong(3, seconds(3));
    assert_eq!(api.output_of(3, "echo registered", seconds(5)), "registered");
    client.request("UNREGISTERNODES", "unregister", "", &json!({ "nodes": [{ "id": 3 }] }));
    until("node 3 is forgotten", seconds(2), || api.node_status(3).is_null().then_some(()));
    let rows = api.finished_rows(0, &api.command(3, "echo gone"), seconds(3));
    assert!(data(rows.last().unwrap())["message"].as_str().unwrap().contains("proxy - unknown target"), "{rows:?}");
}

#[test]
fn a_command_for_nobody_ends_with_a_reason() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api());
    let api = central.api();
    let rows = api.finished_rows(0, &api.command(42, "echo nobody"), seconds(3));
    assert_eq!(rows.iter().map(code).filter(|code| *code == 1).count(), 1, "{rows:?}");
    assert_eq!(data(rows.last().unwrap())["message"], json!("proxy - unknown target 42"));
}
