//! `stheno nodes`, `routes` and `log`: what a user sees of a running daemon.

use serde_json::{Value, json};

use crate::platform::{Daemon, Platform, seconds, until};
use crate::subcommand::Running;

fn run(central: &Daemon, command: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
    let (out, err, status) = Running::start(central, command, arguments).end();
    (out, err, status.code())
}

fn lines_of_json(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn nodes_and_their_ways_are_listed_for_people_and_as_json() {
    let platform = Platform::new();
    let behind = Daemon::start(platform.plan("node-8", 8).with_authorized("poller"));
    let relay = Daemon::start(platform.plan("node-3", 3).with_node(8, behind.plan.port));
    let plan = platform.central_with(&[&relay]).with_authorized("poller").with_proxy("ping: 1");
    let central = Daemon::start(plan.with_dial_in_node(5, "pull"));
    until("the node behind the relay is known", seconds(10), || {
        central.api().node_status(3)["nodes"].get("8").is_some().then_some(())
    });
    central.api().wait_for_pong(3, seconds(10));
    let (out, err, status) = run(&central, "nodes", &["--json"]);
    assert_eq!((err.as_str(), status), ("", Some(0)));
    let nodes: Vec<Value> = serde_json::from_str(&out).unwrap();
    let of = |id: u64| nodes.iter().find(|node| node["id"] == id).unwrap();
    assert_eq!((&of(3)["kind"], &of(3)["state"]), (&json!("push_zmq"), &json!("up")));
    assert!(of(3)["last_ping"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!((&of(8)["through"], &of(8)["state"]), (&json!(3), &json!("up")));
    assert_eq!((&of(5)["state"], &of(5)["last_ping"]), (&json!("never"), &Value::Null));
    let (out, ..) = run(&central, "nodes", &[]);
    assert!(out.starts_with("ID  BEHIND  KIND      STATE  LINK"), "{out}");
    assert!(out.contains("\n3   -       push_zmq  up ") && out.contains("\n5   -       pull      never"), "{out}");
    assert_eq!(run(&central, "nodes", &["3"]).0.lines().count(), 2);
    let (_, err, status) = run(&central, "nodes", &["99"]);
    assert_eq!(
        (err.as_str(), status),
        ("stheno: node 99 is not known; 'stheno nodes' lists those that are\n", Some(1))
    );

    let (out, _, status) = run(&central, "routes", &["8"]);
    assert_eq!(status, Some(0));
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["8", "3", "push_zmq", "dynamic", "yes", "-"]);
    let (out, ..) = run(&central, "routes", &["--json"]);
    let routes: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(routes.as_object().unwrap().keys().collect::<Vec<_>>(), ["3", "5", "8"]);
    assert!(run(&central, "routes", &["99"]).0.contains("proxy - unknown target 99"));
}

#[test]
fn the_log_is_searched_by_token_node_code_time_and_text_and_followed() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let api = central.api();
    let good = api.command(2, "echo 'Some Words'");
    api.finished_rows(2, &good, seconds(10));
    let bad = api.command(99, "true");
    api.finished_rows(0, &bad, seconds(10));
    let (out, err, status) = run(&central, "log", &["--json", "--token", &good]);
    assert_eq!((err.as_str(), status), ("", Some(0)));
    let rows = lines_of_json(&out);
    assert!(rows.iter().all(|row| row["token"] == json!(good)));
    let result = rows.iter().find(|row| row["code"] == 100).unwrap();
    assert_eq!((&result["node"], &result["data"]["result"]["stdout"]), (&json!(2), &json!("Some Words")));
    let of = |arguments: &[&str]| lines_of_json(&run(&central, "log", &[&["--json"], arguments].concat()).0);
    let tokens = |rows: &[Value]| rows.iter().map(|row| row["token"].clone()).collect::<Vec<_>>();
    assert!(
        tokens(&of(&["--code", "1"])).contains(&json!(bad)) && !tokens(&of(&["--code", "1"])).contains(&json!(good))
    );
    assert_eq!(tokens(&of(&["--grep", "some words", "--code", "100,2"])), [json!(good)]);
    assert!(of(&["--node", "2"]).iter().all(|row| row["node"] == 2) && !of(&["--node", "2"]).is_empty());
    assert!(tokens(&of(&["--node", "1", "--since", "1h"])).contains(&json!(bad)));
    assert_eq!(of(&["--since", "4000000000"]), Vec::<Value>::new());
    assert_eq!(of(&["--limit", "2"]).len(), 2);
    let (out, ..) = run(&central, "log", &["--token", &good, "--code", "100"]);
    assert!(out.contains("  2    100  command has finished successfully (exit code 0): Some Words  "), "{out}");

    let mut follow = Running::start(&central, "log", &["--follow", "--json", "--grep", "later words", "--code", "100"]);
    until("it asks", seconds(10), || central.log().contains("listening").then_some(()));
    api.finished_rows(2, &api.command(2, "echo later words"), seconds(10));
    let row: Value = serde_json::from_str(&follow.line()).unwrap();
    assert_eq!(row["data"]["result"]["stdout"], "later words");
    follow.signal("INT");
    assert_eq!(follow.end().2.code(), Some(0));
    assert_eq!(api.call("POST", "/api/log", b"").status, 404);
    assert_eq!(api.get("/api/log?limit=x").status, 400);
}
