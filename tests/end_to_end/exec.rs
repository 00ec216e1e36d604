//! `stheno exec` and `stheno copy` while they run: what a user sees, and Ctrl-C.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::platform::api::{code, data};
use crate::platform::small_disk::SmallDisk;
use crate::platform::{Daemon, Platform, seconds, until};
use crate::subcommand::Running;

/// A command that waits until a file exists.
fn until_there(file: &Path, before: &str, after: &str) -> String {
    format!("{before}; while [ ! -e '{}' ]; do sleep 0.02; done; {after}", file.display())
}

#[test]
fn output_is_shown_while_the_command_runs_and_once_only() {
    let platform = Platform::new();
    let behind = Daemon::start(platform.plan("node-8", 8).with_authorized("poller"));
    let relay = Daemon::start(platform.plan("node-3", 3).with_node(8, behind.plan.port));
    let central = Daemon::start(platform.central_with(&[&relay]).with_authorized("poller").with_proxy("ping: 1"));
    until("the node behind the relay is known", seconds(10), || {
        central.api().node_status(3)["nodes"].get("8").is_some().then_some(())
    });
    // The command runs on the daemon itself, on a node, and on a node behind a relay.
    for node in ["1", "3", "8"] {
        let file = platform.path(&format!("go-{node}"));
        let line = until_there(&file, "echo first; echo oops >&2; printf 'seco'", "echo 'nd \u{20ac}'; exit 5");
        let mut exec = Running::start(&central, "exec", &[node, "--", &line]);
        assert_eq!((exec.line(), exec.line()), ("first\n".to_owned(), "oops\n".to_owned()), "node {node}");
        assert!(exec.child.try_wait().unwrap().is_none(), "node {node}: it still runs");
        fs::write(&file, "").unwrap();
        let (out, err, status) = exec.end();
        assert_eq!((out.as_str(), err.as_str(), status.code()), ("second \u{20ac}\n", "", Some(5)), "node {node}");
    }
    let (out, err, status) = Running::start(&central, "exec", &["3", "--", "echo bye; kill -9 $$"]).end();
    assert_eq!((out.as_str(), err.as_str(), status.code()), ("bye\n", "", Some(137)));
}

#[test]
fn what_a_command_prints_leaves_rows_only_where_they_are_asked_for() {
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 1).with_api());
    let api = node.api();
    let codes = |body: &serde_json::Value| {
        let token = api.post("/api/core/action/command", body).json()["token"].as_str().unwrap().to_owned();
        let rows = api.finished_rows(0, &token, seconds(10));
        let pieces = rows.iter().filter(|row| code(row) == 600).map(|row| data(row)["output"].clone());
        pieces.collect::<Vec<_>>()
    };
    assert_eq!(codes(&json!([{ "command": "echo a; sleep 0.1; echo b" }])), Vec::<serde_json::Value>::new());
    let pieces = codes(&json!([{ "command": "echo a; sleep 0.4; echo b; sleep 0.4", "stream": true }]));
    assert_eq!(pieces, [json!("a\n"), json!("b\n")]);
}

#[test]
fn ctrl_c_ends_the_waiting_and_says_what_goes_on() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let file = platform.path("go");
    let line = until_there(&file, "echo begun", "echo done");
    let mut exec = Running::start(&central, "exec", &["2", "--", &line]);
    assert_eq!(exec.line(), "begun\n");
    exec.signal("INT");
    let (out, err, status) = exec.end();
    assert_eq!((out.as_str(), status.code()), ("", Some(130)));
    let token = err.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(err.contains("interrupted: the command goes on at node 2"), "{err}");
    fs::write(&file, "").unwrap();
    let rows = central.api().finished_rows(2, &token, seconds(20));
    assert_eq!(rows.iter().map(code).max(), Some(600));
    let result = rows.iter().find(|row| code(row) == 100).map(data).unwrap();
    assert_eq!(result["result"]["stdout"], "begun\ndone");
}

/// A central and a poller whose copies take some seconds, and a file to copy.
fn slow_pair(platform: &Platform) -> (Daemon, Daemon, String, String) {
    let poller = Daemon::start(platform.plan("poller", 2));
    let central = Daemon::start(platform.central_with(&[&poller]).with_proxy("copy_rate_limit: 2000000"));
    central.api().wait_for_pong(2, seconds(10));
    let source = platform.write("source", vec![7; 6_000_000]).display().to_string();
    (central, poller, source, platform.path("there").display().to_string())
}

#[test]
fn ctrl_c_ends_the_waiting_for_a_copy_and_the_copy_goes_on() {
    let platform = Platform::new();
    let (central, _poller, source, there) = slow_pair(&platform);
    let mut copy = Running::start(&central, "copy", &["--json", &source, &format!("2:{there}")]);
    assert!(copy.line().contains("\"total\":6000000"));
    copy.signal("INT");
    let (out, err, status) = copy.end();
    assert_eq!((err.as_str(), status.code()), ("", Some(130)));
    let said: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(said["ok"], false, "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(message.starts_with("interrupted: the copy to node 2 goes on; its token is "), "{message}");
    let rows = central.api().finished_rows(2, said["token"].as_str().unwrap(), seconds(30));
    assert_eq!(rows.iter().map(code).find(|code| matches!(code, 1 | 2)), Some(2));
    assert_eq!(fs::metadata(there).unwrap().len(), 6_000_000);
}

#[test]
fn a_reader_that_leaves_ends_a_subcommand_quietly() {
    let platform = Platform::new();
    let (central, _poller, source, there) = slow_pair(&platform);
    let mut copy = Running::start(&central, "copy", &["--json", &source, &format!("2:{there}")]);
    copy.line();
    copy.out = None;
    let (_, err, status) = copy.end();
    assert_eq!((err.as_str(), status.code()), ("", Some(141)));

    let mut exec = Running::start(&central, "exec", &["2", "--", "while echo more; do sleep 0.1; done"]);
    assert_eq!(exec.line(), "more\n");
    exec.out = None;
    let (_, err, status) = exec.end();
    assert_eq!((err.as_str(), status.code()), ("", Some(141)));

    // The exit status reports what is known by then.
    let mut exec = Running::start(&central, "exec", &["2", "--json", "--", "echo once; exit 3"]);
    exec.out = None;
    let (_, err, status) = exec.end();
    assert_eq!((err.as_str(), status.code()), ("", Some(3)));
    let mut check = Running::start(&central, "check", &["--json"]);
    check.out = None;
    let (_, err, status) = check.end();
    assert_eq!((err.as_str(), status.code()), ("", Some(0)));
}

#[test]
fn a_terminal_that_is_closed_ends_the_waiting() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let mut exec = Running::start(&central, "exec", &["2", "--", "echo begun; sleep 20"]);
    assert_eq!(exec.line(), "begun\n");
    exec.signal("HUP");
    assert_eq!(exec.end().2.code(), Some(130));
}

#[test]
fn a_node_that_gives_no_sign_of_life_ends_the_waiting_with_a_sentence() {
    let platform = Platform::new();
    let mut poller = Daemon::start(platform.plan("poller", 2));
    let central = Daemon::start(platform.central_with(&[&poller]));
    central.api().wait_for_pong(2, seconds(10));
    // This acts like a link that silently drops everything: the connection stays open, and nothing arrives.
    poller.signal("STOP");
    let waits = [Running::start(&central, "exec", &["2", "--", "uptime"]), {
        let source = platform.write("source", "text").display().to_string();
        Running::start(&central, "copy", &[&source, &format!("2:{}", platform.path("there").display())])
    }];
    for waiting in waits {
        let (out, err, status) = waiting.end_within(seconds(25));
        assert_ne!(status.code(), Some(0), "{err}");
        assert_eq!(out, "");
        assert!(err.contains("waiting for node 2: ") && err.contains("node 2 has not answered for "), "{err}");
        assert!(err.contains("its token is "), "{err}");
    }
    poller.signal("CONT");
    poller.kill();
    let (_, err, status) = Running::start(&central, "exec", &["2", "--", "uptime"]).end_within(seconds(25));
    assert_eq!(status.code(), Some(255));
    assert!(err.contains("node 2 has not answered for ") || err.contains("problem for '2'"), "{err}");
}

#[test]
fn a_copy_to_the_daemon_itself_is_told_what_to_use() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let (_, err, status) = Running::start(&central, "copy", &["/etc/hosts", "1:/tmp/"]).end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(err, "stheno: node 1 is this machine itself, and a copy needs another one: use cp /etc/hosts /tmp/\n");
}

#[test]
fn a_configuration_with_hashed_passwords_only_is_told_what_exec_needs_and_check_says_that_a_password_is() {
    let platform = Platform::new();
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$Ui0CzYAYXnG/ElBoSRSrJA$R83I5bvVo1mKlkNjr6OnJ1SkBgdOn4se2SWku4FzQL8";
    let users = format!("auth: {{enabled: \"true\", users: [{{name: reader, password_hash: '{hash}', may: read}}]}}");
    let central = Daemon::start(platform.plan("central", 1).with_api().with_api_option(&users));
    let (_, err, status) = Running::start(&central, "exec", &["1", "--", "true"]).end();
    assert!(err.contains("has hashes of passwords only") && err.contains("set these"), "{err}");
    assert_eq!(status.code(), Some(255));
    let (out, _, _) = Running::start(&central, "check", &[]).end();
    assert!(out.contains("password needed"), "{out}");
}

#[test]
fn nodes_whose_ids_are_mixed_up_are_told_at_once_and_get_nothing() {
    let platform = Platform::new();
    let first = Daemon::start(platform.plan("first", 3));
    let second = Daemon::start(platform.plan("second", 2));
    let plan = platform.plan("central", 1).with_api().with_node(2, first.plan.port).with_node(3, second.plan.port);
    let central = Daemon::start(plan);
    let line = "node '2' sends PONG of node '3': ignored, and nothing is sent to it; compare its address and port here \
        with 'gorgonecore.id' there";
    central.wait_for_log(line, seconds(10));
    central.wait_for_log("node '3' sends PONG of node '2'", seconds(10));
    let there = platform.path("there");
    let source = platform.write("source", "text").display().to_string();
    for (command, arguments) in [
        ("exec", vec!["2".to_owned(), "--".to_owned(), format!("touch {}", there.display())]),
        ("copy", vec![source, format!("2:{}", there.display())]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (_, err, status) = Running::start(&central, command, &arguments).end_within(seconds(5));
        assert_ne!(status.code(), Some(0));
        assert!(err.contains("what answers as node '2' calls itself node '3'"), "{err}");
        assert!(!err.contains("waiting for"), "{err}");
    }
    assert!(!there.exists(), "nothing reaches the wrong machine");
    assert_eq!(central.log().matches("sends PONG of node").count(), 2, "{}", central.log());
}

#[test]
fn a_central_whose_disk_is_full_says_so_instead_of_waiting() {
    let platform = Platform::new();
    let Some(disk) = SmallDisk::new(platform.path("disk")) else { return };
    let poller = Daemon::start(platform.plan("poller", 2));
    let mut plan = platform.central_with(&[&poller]);
    plan.database = disk.0.join("history.sdb");
    let central = Daemon::start(plan);
    central.api().wait_for_pong(2, seconds(10));
    let (begun, go_on) = (platform.path("begun"), platform.path("go on"));
    let line = until_there(&go_on, &format!("touch '{}'", begun.display()), "echo end");
    let running = Running::start(&central, "exec", &["2", "--", &line]);
    until("the command runs", seconds(10), || begun.exists().then_some(()));
    fs::write(disk.0.join("fill"), vec![0; 1 << 20]).unwrap_err();
    fs::write(&go_on, "").unwrap();
    let (_, err, status) = running.end_within(seconds(25));
    assert_eq!(status.code(), Some(255));
    assert!(err.contains("the history of this daemon cannot be written"), "{err}");
    let started = std::time::Instant::now();
    let (_, err, _) = Running::start(&central, "exec", &["2", "--", "echo hi"]).end_within(seconds(5));
    // A last small row may still find room: then the request is taken, and what comes after it fails.
    assert!(err.contains("the history of this daemon cannot be written; its log says why"), "{err}");
    assert!(started.elapsed() < seconds(5));
    fs::remove_file(disk.0.join("fill")).unwrap();
    until("room on the disk is noticed", seconds(20), || {
        let (out, ..) = Running::start(&central, "exec", &["2", "--", "echo hi"]).end();
        (out == "hi\n").then_some(())
    });
}
