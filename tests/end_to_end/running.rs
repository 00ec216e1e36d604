//! Running commands: the list for a node, and how to cancel them over the API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::api::{Answer, code, data};
use crate::platform::{Daemon, Platform, seconds, until};
use crate::subcommand::Running;

/// A central with a poller 2 and a relay 3, behind which is node 8.
fn with_relay(platform: &Platform, central_option: &str) -> (Daemon, [Daemon; 3]) {
    let behind = Daemon::start(platform.plan("node-8", 8).with_authorized("poller"));
    let relay = Daemon::start(platform.plan("node-3", 3).with_node(8, behind.plan.port));
    let poller = Daemon::start(platform.plan("poller", 2));
    let plan = platform.central_with(&[&relay, &poller]).with_authorized("poller").with_proxy("ping: 1");
    let plan = if central_option.is_empty() { plan } else { plan.with_api_option(central_option) };
    let central = Daemon::start(plan);
    until("node 2 is known", seconds(10), || central.log().contains("node '2': link to").then_some(()));
    (central, [poller, relay, behind])
}

fn running(central: &Daemon, node: u32) -> Vec<Value> {
    let answer = central.api().get(&format!("/api/nodes/{node}/running"));
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["running"].as_array().unwrap().clone()
}

fn cancel(central: &Daemon, node: u32, token: &str) -> Answer {
    central.api().call("DELETE", &format!("/api/nodes/{node}/running/{token}"), b"")
}

/// Returns the end of a token: its only last row.
fn end_of(central: &Daemon, node: u32, token: &str, limit: Duration) -> Value {
    let rows = central.api().finished_rows(node, token, limit);
    let ends: Vec<&Value> = rows.iter().filter(|row| crate::platform::api::is_last(row)).collect();
    assert_eq!(ends.len(), 1, "{rows:?}");
    assert_eq!(code(ends[0]), 1);
    data(ends[0])
}

fn is_gone(pid: &str) -> bool {
    !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists()
}

#[test]
fn a_command_anywhere_is_listed_and_cancelled_and_its_token_ends_once() {
    let platform = Platform::new();
    let (central, _others) = with_relay(&platform, "");
    until("the node behind the relay is known", seconds(10), || {
        central.api().node_status(3)["nodes"].get("8").is_some().then_some(())
    });
    for node in [1, 2, 3, 8] {
        let file = platform.path(&format!("pid-{node}"));
        // A shell with a child that ignores TERM.
        let line =
            format!("sh -c 'trap \"\" TERM; echo $$ > {0}.tmp; mv {0}.tmp {0}; sleep 600' & wait", file.display());
        let token = central.api().command(node, &line);
        until("the command runs", seconds(10), || file.exists().then_some(()));
        let listed = running(&central, node);
        assert_eq!(listed.len(), 1, "node {node}: {listed:?}");
        assert_eq!((&listed[0]["token"], &listed[0]["state"]), (&json!(token), &json!("running")));
        assert!(listed[0]["command"].as_str().unwrap().starts_with("sh -c 'trap"), "{listed:?}");
        let answer = cancel(&central, node, &token);
        assert_eq!(answer.status, 200, "{}", answer.json());
        // The leader ends at once; its child is killed after the grace period.
        let end = end_of(&central, node, &token, seconds(20));
        assert!(end["message"].as_str().unwrap().starts_with("cancelled by the API from 127.0.0.1"), "{end}");
        let pid = std::fs::read_to_string(&file).unwrap();
        until("the child is killed", seconds(10), || is_gone(&pid).then_some(()));
        assert_eq!(running(&central, node), Vec::<Value>::new());
        let again = cancel(&central, node, &token);
        assert_eq!((again.status, &again.json()["error"]), (409, &json!("ended")), "{}", again.json());
        let unknown = cancel(&central, node, "nothing");
        assert_eq!((unknown.status, &unknown.json()["error"]), (404, &json!("unknown_token")));
    }
    // Without a node, the command is looked for on the node that it was sent to.
    let token = central.api().command(8, "sleep 600");
    until("the command runs", seconds(10), || (running(&central, 8).len() == 1).then_some(()));
    let answer = central.api().call("DELETE", &format!("/api/running/{token}"), b"");
    assert_eq!(answer.status, 200, "{}", answer.json());
    end_of(&central, 8, &token, seconds(10));
    for (method, path) in [("POST", "/api/nodes/2/running"), ("GET", "/api/nodes/2/running/t"), ("GET", "/api/running")]
    {
        assert_eq!(central.api().call(method, path, b"").status, 404, "{method} {path}");
    }
    assert_eq!(central.api().get("/api/nodes/99/running").status, 502);
}

#[test]
fn what_waits_for_its_turn_is_cancelled_and_never_begins() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 2).with_action("max_concurrent_commands: 1"));
    let central = Daemon::start(platform.central_with(&[&poller]));
    central.api().wait_for_pong(2, seconds(10));
    let first = central.api().command(2, "sleep 600");
    let file = platform.path("begun");
    let second = central.api().command(2, &format!("touch {}", file.display()));
    let states = || running(&central, 2).iter().map(|one| one["state"].clone()).collect::<Vec<_>>();
    until("both are there", seconds(10), || (states() == ["running", "waiting"]).then_some(()));
    assert_eq!(cancel(&central, 2, &second).status, 200);
    end_of(&central, 2, &second, seconds(10));
    assert_eq!(cancel(&central, 2, &first).status, 200);
    end_of(&central, 2, &first, seconds(10));
    // The node continues with the next command.
    assert_eq!(central.api().output_of(2, "echo next", seconds(10)), "next");
    assert!(!file.exists());
    // The second command of the request does not start either.
    let body = json!([{ "command": "sleep 600" }, { "command": format!("touch {}", file.display()) }]);
    let answer = central.api().post("/api/nodes/2/core/action/command", &body);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    until("it runs", seconds(10), || (states() == ["running"]).then_some(()));
    assert_eq!(cancel(&central, 2, &token).status, 200);
    end_of(&central, 2, &token, seconds(10));
    assert!(!file.exists());
}

#[test]
fn only_admin_central_and_who_started_it_may_cancel() {
    let platform = Platform::new();
    let line = format!("echo s3cret | '{}' keys hash-password", crate::platform::STHENO);
    let hashed = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
    let hash = String::from_utf8(hashed.stdout).unwrap();
    let entry = |(name, may, _): &(&str, &str, &str)| {
        format!("{{name: {name}, password_hash: '{}', may: '{may}'}}", hash.trim())
    };
    // These are the logins with the secret `s3cret`.
    let users = [
        ("ops", "central", "b3BzOnMzY3JldA=="),
        ("reader", "read", "cmVhZGVyOnMzY3JldA=="),
        ("runner", "command:sleep *", "cnVubmVyOnMzY3JldA=="),
        ("other", "command:sleep *", "b3RoZXI6czNjcmV0"),
    ];
    let entries: Vec<String> = users.iter().map(entry).collect();
    let option = format!("auth: {{enabled: \"true\", users: [{}]}}", entries.join(", "));
    let (central, _others) = with_relay(&platform, &option);
    let call = |name: &str, method: &str, path: &str, body: &str| {
        let (.., login) = users.iter().find(|(known, ..)| *known == name).unwrap();
        let mut api = central.api();
        api.headers = format!("Authorization: Basic {login}\r\n");
        api.call(method, path, body.as_bytes())
    };
    let start = || {
        let answer = call("runner", "POST", "/api/nodes/2/core/action/command", r#"[{"command":"sleep 600"}]"#);
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        until("it runs", seconds(10), || {
            let listed = call("reader", "GET", "/api/nodes/2/running", "").json();
            (listed["running"].as_array()?.len() == 1).then_some(())
        });
        token
    };
    let path = |token: &str| format!("/api/nodes/2/running/{token}");
    let token = start();
    for user in ["reader", "other"] {
        assert_eq!(call(user, "DELETE", &path(&token), "").status, 403, "{user}");
    }
    assert_eq!(call("runner", "GET", "/api/nodes/2/running", "").status, 403);
    assert_eq!(call("runner", "DELETE", &path(&token), "").status, 200);
    until("it has ended", seconds(10), || {
        let rows = call("reader", "GET", &format!("/api/nodes/2/log/{token}"), "").json();
        rows.to_string().contains("cancelled by user 'runner' from 127.0.0.1").then_some(())
    });
    let token = start();
    assert_eq!(call("ops", "DELETE", &path(&token), "").status, 200);
}

#[test]
fn the_command_line_lists_and_cancels_and_ctrl_c_cancels_if_it_is_asked_to() {
    let platform = Platform::new();
    let (central, poller) = platform.pair();
    let out = |command: &str, arguments: &[&str]| {
        let (out, err, status) = Running::start(&central, command, arguments).end();
        (out, err, status.code())
    };
    assert_eq!(out("running", &["2"]), ("no command runs on node 2\n".to_owned(), String::new(), Some(0)));
    let token = central.api().command(2, "sleep 600");
    until("the command runs", seconds(10), || (running(&central, 2).len() == 1).then_some(()));
    let (text, _, status) = out("running", &["2"]);
    assert!(
        text.starts_with("STATE    SINCE                COMMAND    TOKEN\nrunning  20") && text.contains(&token),
        "{text}"
    );
    assert_eq!(status, Some(0));
    let (text, _, _) = out("running", &["--json", "2"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()[0]["token"], json!(token));
    assert_eq!(out("cancel", &[&token]), ("cancelled by the API from 127.0.0.1\n".to_owned(), String::new(), Some(0)));
    end_of(&central, 2, &token, seconds(10));
    let (text, err, status) = out("cancel", &["--node", "2", &token]);
    assert_eq!((text.as_str(), status), ("", Some(1)));
    assert!(err.ends_with("has ended already\n"), "{err}");
    let (text, _, status) = out("cancel", &["--json", "unknown"]);
    assert_eq!((&serde_json::from_str::<Value>(&text).unwrap()["ok"], status), (&json!(false), Some(1)));

    let arguments = ["--cancel-on-interrupt", "2", "--", "echo begun; sleep 600"];
    let mut exec = Running::start(&central, "exec", &arguments);
    assert_eq!(exec.line(), "begun\n");
    exec.signal("INT");
    let (_, err, status) = exec.end();
    assert_eq!(status.code(), Some(130));
    assert!(err.contains("interrupted: the command on node 2 is cancelled; its token is "), "{err}");
    until("nothing runs there", seconds(10), || running(&central, 2).is_empty().then_some(()));
    drop(poller);
    let (_, err, status) = out("running", &["2"]);
    assert_eq!((status, err.lines().count()), (Some(1), 1), "{err}");
}

#[test]
fn what_waits_in_the_queue_of_a_node_is_cancelled_by_the_same_command() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api().with_node(2, crate::platform::free_port()));
    let answer = central.api().post("/api/nodes/2/core/action/command?ttl=600", &json!([{ "command": "true" }]));
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let (out, err, status) = Running::start(&central, "cancel", &[&token]).end();
    assert_eq!((err.as_str(), status.code()), ("", Some(0)));
    assert!(out.starts_with("cancelled"), "{out}");
    let rows = central.api().finished_rows(0, &token, seconds(10));
    assert!(rows.iter().any(|row| data(row)["message"].as_str().unwrap().starts_with("cancelled")), "{rows:?}");
}
