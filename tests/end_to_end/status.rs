//! What a daemon shows of itself: `GET /api/status`, `/healthz`, `/readyz`.

use serde_json::{Value, json};

use crate::platform::{Daemon, Platform, seconds, until};

fn node(status: &Value, id: u64) -> &Value {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["id"] == json!(id)).unwrap_or(&Value::Null)
}

#[test]
fn the_status_shows_the_daemon_its_nodes_and_those_behind_them() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 3));
    let relay = Daemon::start(platform.plan("relay", 2).with_node(3, poller.plan.port));
    let central =
        Daemon::start(platform.plan("central", 1).with_api().with_proxy("ping: 1").with_node(2, relay.plan.port));
    let api = central.api();
    let status = || api.get("/api/status").json();
    until("node 2 is up", seconds(20), || (node(&status(), 2)["state"] == json!("up")).then_some(()));
    until("node 3 is behind node 2", seconds(20), || (node(&status(), 3)["through"] == json!(2)).then_some(()));
    let shown = status();
    let relay_shown = node(&shown, 2);
    assert_eq!((&relay_shown["kind"], &relay_shown["link"]), (&json!("push_zmq"), &json!("classic")));
    assert_eq!(relay_shown["version"], json!(env!("CARGO_PKG_VERSION")));
    assert!(relay_shown["last_ping"].as_i64() > Some(1_700_000_000) && relay_shown["memory"].as_u64() > Some(0));
    assert_eq!(shown["daemon"]["id"], json!(1));
    assert!(shown["daemon"]["database_bytes"].as_u64() > Some(0) && shown["daemon"]["descriptors"].as_u64() > Some(3));
    assert_eq!(shown["whole"], json!(true));
    drop(poller);
    let changed = format!("/api/status?since={}", shown["revision"].as_str().unwrap());
    drop(relay);
    until("the change is shown", seconds(3), || {
        let changed = api.get(&changed).json();
        (changed["whole"] == json!(false) && node(&changed, 2)["state"] == json!("down")).then_some(())
    });
}

#[test]
fn whoever_has_the_current_status_gets_no_body() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api());
    let mut api = central.api();
    let tag = api.get("/api/status").header("etag").unwrap().to_owned();
    api.headers = format!("If-None-Match: {tag}\r\n");
    let again = api.get("/api/status");
    assert_eq!((again.status, again.body.len()), (304, 0));
    api.headers = "If-None-Match: \"x\"\r\n".to_owned();
    assert_eq!(api.get("/api/status").status, 200);
}

#[test]
fn health_and_readiness_need_no_login_and_say_whether_rows_are_stored() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api();
    let central = Daemon::start(plan.with_api_option("auth: {enabled: \"true\", user: admin, password: x}"));
    let mut api = central.api();
    api.headers = String::new();
    assert_eq!(api.get("/api/status").status, 401);
    assert_eq!(api.get("/metrics").status, 401);
    assert_eq!(api.get("/healthz").json(), json!({ "status": "ok" }));
    assert_eq!(api.get("/readyz").json(), json!({ "status": "ready" }));
    let other = rusqlite::Connection::open(&central.plan.database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = api.get("/readyz");
    assert_eq!((answer.status, answer.json()["status"].clone()), (503, json!("not ready")));
    assert_eq!(api.get("/healthz").status, 200);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(api.get("/readyz").status, 200);
}
