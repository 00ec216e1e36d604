//! `stheno exec` and `stheno copy` while they run: what a user sees, and Ctrl-C.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::json;

use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, STHENO, seconds, until};

/// A subcommand that runs; killed when dropped.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(daemon: &Daemon, command: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(STHENO)
            .args([command, "--config"])
            .arg(daemon.plan.config_file())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// The rest of its output, what it complained of, and how it ended.
    fn end(mut self) -> (String, String, ExitStatus) {
        let status = until("the subcommand ends", seconds(20), || self.child.try_wait().unwrap());
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (out, err, status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A command line that goes on when a file is there.
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
    // On the daemon itself, on a node, and on one behind a relay.
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
