//! `stheno exec` and `stheno copy` for several nodes.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use crate::platform::{Daemon, Platform, seconds, until};
use crate::subcommand::Running;

/// A central with a poller 2 and a relay 3, behind which is node 8.
fn with_relay(platform: &Platform) -> (Daemon, [Daemon; 3]) {
    let behind = Daemon::start(platform.plan("node-8", 8).with_authorized("poller"));
    let relay = Daemon::start(platform.plan("node-3", 3).with_node(8, behind.plan.port));
    let poller = Daemon::start(platform.plan("poller", 2));
    let plan = platform.central_with(&[&relay, &poller]).with_authorized("poller").with_proxy("ping: 1");
    let central = Daemon::start(plan);
    central.api().wait_for_pong(2, seconds(10));
    until("the node behind the relay is known", seconds(10), || {
        central.api().node_status(3)["nodes"].get("8").is_some().then_some(())
    });
    (central, [poller, relay, behind])
}

fn lines_of_json(out: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["node"].as_u64());
    lines
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn all_stands_for_every_node_also_behind_a_relay_and_each_line_names_its_node() {
    let platform = Platform::new();
    let (central, _others) = with_relay(&platform);
    let (out, err, status) = Running::start(&central, "exec", &["all", "--", "echo one; printf two"]).end();
    assert_eq!((err.as_str(), status.code()), ("", Some(0)), "{out}");
    let (output, table) = out.split_once("\n\n").unwrap();
    assert_eq!(sorted(output), ["2: one", "2: two", "3: one", "3: two", "8: one", "8: two"]);
    assert!(table.starts_with("NODE  EXIT  SECONDS  MESSAGE\n2     0 "), "{table}");
    assert!(table.ends_with("\n3 nodes: 3 ended with 0, 0 did not\n"), "{table}");

    let (out, _, status) = Running::start(&central, "exec", &["--json", "8,2,8", "--", "echo hi"]).end();
    let lines = lines_of_json(&out);
    assert_eq!(lines.iter().map(|line| line["node"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 8]);
    assert!(lines.iter().all(|line| line["exit_code"] == 0 && line["stdout"] == "hi" && line["token"].is_string()));
    assert_eq!(status.code(), Some(0));

    let (out, _, status) = Running::start(&central, "exec", &["--by-node", "2,1", "--", "echo here"]).end();
    assert!(
        out.contains("--- node 2: exit code 0\nhere\n") && out.contains("--- node 1: exit code 0\nhere\n"),
        "{out}"
    );
    assert_eq!(status.code(), Some(0));
}

#[test]
fn one_node_that_fails_makes_the_status_1_and_holds_up_no_other() {
    let platform = Platform::new();
    let (central, _others) = with_relay(&platform);
    let (out, err, status) = Running::start(&central, "exec", &["2,99,8", "--", "echo done; exit 7"]).end();
    assert_eq!(status.code(), Some(1));
    assert!(out.contains("2: done\n") && out.contains("8: done\n"), "{out}");
    assert!(err.contains("stheno: node 99: proxy - unknown target 99"), "{err}");
    assert!(out.contains("\n2     7     ") && out.contains("\n99    -     "), "{out}");

    let (out, _, status) = Running::start(&central, "exec", &["--json", "2,99", "--", "true"]).end();
    let lines = lines_of_json(&out);
    assert_eq!((&lines[0]["exit_code"], &lines[1]["exit_code"]), (&Value::from(0), &Value::Null));
    assert_eq!((lines[1]["node"].as_u64(), status.code()), (Some(99), Some(1)));
    // An id that is given twice counts as one node, with the status of its command.
    let (out, _, status) = Running::start(&central, "exec", &["2,2", "--", "echo hi; exit 7"]).end();
    assert_eq!((out.as_str(), status.code()), ("hi\n", Some(7)));
    for words in ["", ",", "2,,3", "2,x"] {
        let (_, err, status) = Running::start(&central, "exec", &[words, "--", "true"]).end();
        assert_eq!((err.lines().count(), status.code()), (1, Some(2)), "{words}: {err}");
    }
}

#[test]
fn nodes_are_taken_at_once_as_many_as_allowed_and_ctrl_c_leaves_out_the_rest() {
    let platform = Platform::new();
    let (central, _others) = with_relay(&platform);
    // The commands can only end if two run at the same time.
    let both = format!(
        "touch '{0}/ran-'$$; while [ $(ls {0} | grep -c ^ran-) -lt 2 ]; do sleep 0.05; done",
        platform.path("").display()
    );
    let (_, err, status) = Running::start(&central, "exec", &["--timeout", "20", "2,8", "--", &both]).end();
    assert_eq!((err.as_str(), status.code()), ("", Some(0)));

    let line = "echo begun; sleep 20";
    let mut exec = Running::start(&central, "exec", &["--at-once", "1", "2,8", "--", line]);
    assert_eq!(exec.line(), "2: begun\n");
    exec.signal("INT");
    let started = Instant::now();
    let (out, err, status) = exec.end();
    assert!(started.elapsed() < seconds(10));
    assert_eq!(status.code(), Some(130));
    assert!(err.contains("node 2: interrupted: the command goes on at node 2; its token is "), "{err}");
    assert!(out.contains("interrupted: the command was not started\n"), "{out}");
}

#[test]
fn all_without_a_node_is_told_so() {
    let platform = Platform::new();
    let central = Daemon::start(platform.central_with(&[]));
    let (out, err, status) = Running::start(&central, "exec", &["all", "--", "true"]).end();
    assert_eq!((out.as_str(), status.code()), ("", Some(1)));
    assert_eq!(err, "stheno: 'all' stands for the nodes that the daemon knows, and it knows none\n");
}

#[test]
fn a_copy_to_several_nodes_shows_each_of_them_and_ends_with_a_table() {
    let platform = Platform::new();
    let pollers = [2, 3].map(|id| Daemon::start(platform.plan(&format!("node-{id}"), id)));
    let plan = platform.central_with(&[&pollers[0], &pollers[1]]).with_proxy("copy_rate_limit: 2000000");
    let central = Daemon::start(plan);
    let _pongs = [2, 3].map(|id| central.api().wait_for_pong(id, seconds(10)));
    let source = platform.write("source", vec![7; 8_000_000]).display().to_string();
    // Each node would write to the same place on this machine, so each gets its own file.
    let there = platform.path("there").display().to_string();
    let (out, err, status) = Running::start(&central, "copy", &[&source, &format!("2,99,1:{there}")]).end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(fs::metadata(&there).unwrap().len(), 8_000_000);
    assert!(err.contains("node 2: ") && err.contains(" of 8.00 MB, ") && err.contains(" s left"), "{err}");
    assert!(err.contains("node 99: proxy - unknown target 99"), "{err}");
    assert!(err.contains("node 1: node 1 is this machine itself"), "{err}");
    assert!(
        out.starts_with("NODE  COPY    SIZE     SECONDS  RATE") && out.contains("\n2     ok      8.00 MB"),
        "{out}"
    );
    assert!(out.ends_with("3 nodes: 1 have it, 2 do not\n"), "{out}");

    let (out, _, status) = Running::start(&central, "copy", &["--json", &source, &format!("all:{there}")]).end();
    let lines = lines_of_json(&out);
    assert_eq!(lines.iter().map(|line| line["node"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3]);
    assert!(lines.iter().all(|line| line["exit_code"] == 0 && line["ok"] == true), "{out}");
    assert_eq!(status.code(), Some(0));
}
