//! Which nodes are known, and the routes to nodes behind others (docs/protocol.md sections 5 and 7).

use std::fs;

use serde_json::json;

use crate::platform::api::number;
use crate::platform::{Daemon, Platform, seconds, until};

/// Returns how many sessions a central has opened with a poller so far.
fn sessions(poller: &Daemon) -> usize {
    poller.log().lines().filter(|line| line.contains("gorgone-proxy-1-")).count()
}

#[test]
fn a_changed_register_file_takes_effect_and_leaves_the_other_connections_alone() {
    let platform = Platform::new();
    let pollers: Vec<Daemon> = (2..5).map(|id| Daemon::start(platform.plan(&format!("poller{id}"), id))).collect();
    let [kept, dropped, added] = &pollers[..] else { unreachable!() };
    let mut central = Daemon::start(platform.central_with(&[kept, dropped]));
    let api = central.api();
    api.wait_for_pong(2, seconds(5));
    api.wait_for_pong(3, seconds(5));
    let before = sessions(kept);
    assert!(before > 0, "{}", kept.log());

    let register = platform.path("central-nodes.yaml");
    fs::write(&register, "nodes:\n  - id: 2\n    type: push_zmq\n   broken").unwrap();
    central.wait_for_log("the nodes stay as they were", seconds(5));
    assert!(!api.node_status(3).is_null());

    let mut staged = platform.central_with(&[kept, added]);
    "staged".clone_into(&mut staged.name);
    staged.write();
    // Editors do it this way: a new file replaces the old one.
    fs::rename(platform.path("staged-nodes.yaml"), &register).unwrap();
    api.wait_for_pong(4, seconds(5));
    assert!(api.node_status(3).is_null());
    assert_eq!(api.output_of(4, "echo added", seconds(5)), "added");
    assert_eq!(sessions(kept), before, "an untouched connection was dropped");

    // An unchanged file changes nothing; SIGHUP reads it, too.
    central.signal("HUP");
    central.wait_for_log("lists the same 2 nodes as before", seconds(5));
    fs::write(&register, "nodes: []\n").unwrap();
    until("no node is left", seconds(5), || {
        (api.node_status(2).is_null() && api.node_status(4).is_null()).then_some(())
    });
    central.assert_running();
}

/// A node of the register file with nodes behind it.
fn with_subnode(register: &std::path::Path, nodes: &[(u32, u16, i32)]) {
    let mut text = "nodes:\n".to_owned();
    for (id, port, score) in nodes {
        text += &format!(
            "  - id: {id}\n    type: push_zmq\n    address: 127.0.0.1\n    port: {port}\n    nodes:\n      - {{id: 9, pathscore: {score}}}\n"
        );
    }
    fs::write(register, text).unwrap();
}

/// Returns the rows of a token in a history, without those that relays write.
fn rows_of(daemon: &Daemon, token: &str) -> Vec<(i64, i64, i64, String)> {
    let database = daemon.database();
    let sql = "SELECT code, etime, instant, data FROM gorgone_history WHERE token = ?1 ORDER BY id";
    let mut query = database.prepare(sql).unwrap();
    let rows = query.query_map([token], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    let rows = rows.map(Result::unwrap);
    rows.filter(|(.., data): &(i64, i64, i64, String)| !data.contains("proxy - passed on")).collect()
}

#[test]
fn when_the_preferred_relay_dies_the_next_takes_over_until_it_is_back() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 9).with_authorized("poller"));
    let mut relays: Vec<Daemon> = [(2, "first"), (3, "second")]
        .into_iter()
        .map(|(id, name)| Daemon::start(platform.plan(name, id).with_node(9, poller.plan.port)))
        .collect();
    let plan = platform.plan("central", 1).with_api().with_proxy("ping: 1").with_proxy("failover_after: 1");
    let central = Daemon::start(plan);
    let ways: Vec<(u32, u16, i32)> =
        relays.iter().zip([1, 5]).map(|(relay, score)| (relay.plan.id, relay.plan.port, score)).collect();
    with_subnode(&platform.path("central-nodes.yaml"), &ways);
    let api = central.api();
    let in_use = || api.get("/api/internal/routes/9").json()["data"]["9"]["in_use"].clone();
    until("both relays answer", seconds(10), || {
        let answered = |id| number(&api.node_status(id)["ping_ok"]) >= 1;
        (answered(2) && answered(3)).then_some(())
    });
    assert_eq!(in_use(), json!(2));
    assert_eq!(api.output_of(9, "echo preferred", seconds(10)), "preferred");

    relays[0].kill();
    until("the other relay is used", seconds(10), || (in_use() == json!(3)).then_some(()));
    let why = api.get("/api/internal/routes/9").json()["data"]["9"]["candidates"][0]["why"].clone();
    assert!(why.as_str().unwrap().contains("failover_after: 1"), "{why}");
    let during = api.command(9, "echo during");
    api.finished_rows(9, &during, seconds(10));

    relays[0].start_again();
    until("the preferred relay is used again", seconds(20), || (in_use() == json!(2)).then_some(()));
    assert_eq!(api.output_of(9, "echo again", seconds(10)), "again");
    // Both relays have taken over the rows of the poller; the central has each of them once.
    until("the relay that was away has caught up", seconds(10), || {
        (rows_of(&relays[0], &during).len() == rows_of(&poller, &during).len()).then_some(())
    });
    assert_eq!(rows_of(&central, &during), rows_of(&poller, &during));
}

#[test]
fn commands_logs_and_listeners_work_through_a_relay_that_is_pushed_to_and_one_that_dials() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 9).with_authorized("poller"));
    let upper = Daemon::start(platform.plan("upper", 2).with_authorized("poller").with_dial_in_node(3, "pull"));
    let pull =
        ["target_type: tcp".to_owned(), format!("target_path: 127.0.0.1:{}", upper.plan.port), "ping: 1".to_owned()];
    let lower = platform.plan("lower", 3).with_node(9, poller.plan.port).with_module("pull", &pull);
    let _lower = Daemon::start(lower);
    let central = Daemon::start(platform.central_with(&[&upper]).with_proxy("ping: 1"));
    let api = central.api();
    until("the central knows the way", seconds(90), || {
        (api.get("/api/internal/routes/9").json()["data"]["9"]["in_use"] == json!(2)).then_some(())
    });
    let token = api.command(9, "echo far");
    let rows = api.finished_rows(9, &token, seconds(15));
    assert!(rows.iter().any(|row| row["data"].as_str().unwrap_or("").contains("far")), "{rows:?}");
    assert_eq!(rows_of(&central, &token), rows_of(&poller, &token), "each row once, unchanged, in order");

    // The relays pass on a row of the poller by themselves: the period of the central is a minute.
    let mut local = poller.client();
    local.request("COMMAND", "local", "", &json!({ "content": [{ "command": "echo local" }] }));
    until("the poller's own row is in the central", seconds(20), || {
        (!rows_of(&central, "local").is_empty()).then_some(())
    });

    // The event that a listener waits for happens behind both relays.
    let mut client = central.client();
    let event = json!([{ "event": "BCASTLOGGER", "token": "heard", "target": "9", "log_pace": 1, "timeout": 60 }]);
    let reply = client.request("ADDLISTENER", "listen", "", &event);
    assert_eq!(reply.json["code"], json!(2), "{}", reply.json);
    client.request("COMMAND", "heard", "9", &json!({ "content": [{ "command": "echo heard" }] }));
    client.wait_for_rows("heard", seconds(20));
    let counted = || {
        let information = api.get("/api/internal/information").json();
        number(&information["data"]["counters"]["internal"]["bcastlogger"])
    };
    until("the listener's action has run", seconds(10), || (counted() >= 1).then_some(()));
}

#[test]
fn rows_copies_and_calls_of_the_api_pass_two_relays_within_the_central_s_long_period() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 9).with_authorized("poller"));
    let quick = "synchistory_time: 1";
    let lower = platform.plan("lower", 3).with_authorized("poller").with_node(9, poller.plan.port);
    let lower = Daemon::start(lower.with_proxy("ping: 1").with_proxy(quick));
    let upper = platform.plan("upper", 2).with_node(3, lower.plan.port).with_proxy("ping: 1").with_proxy(quick);
    let upper = Daemon::start(upper);
    let plan = platform.central_with(&[&upper]).with_proxy("ping: 1").with_proxy("synchistory_time: 3600");
    let central = Daemon::start(plan);
    let api = central.api();
    until("the central knows the way", seconds(30), || {
        (api.get("/api/internal/routes/9").json()["data"]["9"]["in_use"] == json!(2)).then_some(())
    });

    // Nobody waits for these rows: one ends a token and one does not.
    let mut local = poller.client();
    for (token, code) in [("going-on", 4), ("ended", 2)] {
        let row = json!({ "code": code, "etime": 5, "token": token, "instant": 0, "data": { "of": "the poller" } });
        assert_eq!(local.request("PUTLOG", "put", "", &row).json["code"], json!(0));
        until("the row is in the central", seconds(20), || (!rows_of(&central, token).is_empty()).then_some(()));
        assert_eq!(rows_of(&central, token), rows_of(&poller, token));
    }

    let source = platform.write("source", vec![b'x'; 300_000]);
    let (destination, cache) = (platform.path("copied"), platform.path("cache"));
    fs::create_dir_all(&cache).unwrap();
    let body = json!({ "source": source, "destination": destination, "cache_dir": cache });
    let token = api.post("/api/nodes/9/core/proxy/remotecopy", &body).json()["token"].as_str().unwrap().to_owned();
    let rows = api.finished_rows(9, &token, seconds(30));
    assert_eq!(crate::platform::api::code(rows.last().unwrap()), 2, "{rows:?}");
    assert!(fs::read(&destination).unwrap() == fs::read(&source).unwrap());

    let waited = api.post("/api/nodes/9/core/action/command?log_wait=20000000", &json!([{ "command": "echo waited" }]));
    let text = String::from_utf8_lossy(&waited.body).into_owned();
    assert!(waited.status == 200 && text.contains("waited") && text.contains("metadata"), "{text}");
    let mut client = central.client();
    for (action, words) in [("GETTHUMBPRINT", "thumbprint"), ("INFORMATION", "counters"), ("CONSTATUS", "constatus")] {
        assert_eq!(client.request(action, action, "9", &json!({})).json["code"], json!(0));
        let rows = client.wait_for_rows(action, seconds(20));
        assert!(rows.iter().any(|row| row["data"].as_str().unwrap().contains(words)), "{action}: {rows:?}");
    }
    assert_eq!(client.request("GETLOG", "get", "9", &json!({ "ctime": 0 })).json["code"], json!(0));
    client.wait_for_rows("get", seconds(20));
}
