//! `stheno node add` on a central and `stheno join` on a node: keys, configuration and the first PONG by one word.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::platform::{Daemon, Plan, Platform, STHENO, free_port, seconds, until};

fn stheno(arguments: &[&str]) -> Output {
    Command::new(STHENO).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A central with an external socket and a WebSocket listener.
fn central(platform: &Platform) -> Plan {
    let plan = platform.plan("central", 1).with_api().with_proxy("httpserver:").with_proxy("  enable: true");
    let plan = plan.with_proxy("  address: 127.0.0.1").with_proxy(&format!("  port: {}", free_port()));
    plan.with_proxy("  token: a-common-token-of-the-test")
}

#[track_caller]
fn node(central: &Daemon, arguments: &[&str]) -> Result<String, String> {
    let config = central.plan.config_file();
    let output = stheno(&[&["node"], arguments, &["--config", config.to_str().unwrap()]].concat());
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[track_caller]
fn word(central: &Daemon, id: &str, kind: &[&str]) -> String {
    let said = node(central, &[&["add", id, "--kind"], kind].concat()).unwrap();
    assert_eq!(said.lines().count(), 1, "one word and nothing else: {said}");
    said.trim().to_owned()
}

/// A node that joins in the foreground; killed when dropped.
struct Joining {
    child: Child,
    dir: PathBuf,
}

impl Joining {
    fn start(word: &str, dir: PathBuf) -> Self {
        let child = Command::new(STHENO)
            .args(["join", word, "--foreground", "--dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    #[track_caller]
    fn joined(&mut self) {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "joined\n", "{}", self.dir.display());
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Returns why a word is refused.
#[track_caller]
fn refused(word: &str, dir: &Path) -> String {
    let output = stheno(&["join", word, "--dir", dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(!dir.join("history.sdb").exists(), "a daemon was started");
    text(&output.stderr)
}

#[test]
fn a_node_of_each_kind_joins_by_one_word_and_stays_after_restarts() {
    let platform = Platform::new();
    let mut central = Daemon::start(central(&platform));
    let push = format!("127.0.0.1:{}", free_port());
    let kinds: [(&str, &[&str]); 3] = [("2", &["pull"]), ("3", &["pullwss"]), ("4", &["push_zmq", "--address", &push])];
    let mut nodes = Vec::new();
    for (id, kind) in kinds {
        let word = word(&central, id, kind);
        let mut node = Joining::start(&word, platform.path(&format!("node-{id}")));
        node.joined();
        let output = central.api().output_of(id.parse().unwrap(), "echo joined", seconds(20));
        assert_eq!(output, "joined", "node {id}");
        if id != "4" {
            let text = refused(&word, &platform.path(&format!("again-{id}")));
            assert!(text.contains("was used already"), "{text}");
        }
        nodes.push(node);
    }
    let list: Value = serde_json::from_str(&node(&central, &["list", "--json"]).unwrap()).unwrap();
    let shown: Vec<_> =
        list.as_array().unwrap().iter().map(|node| (&node["id"], &node["kind"], &node["from"])).collect();
    let joined = json!("node add, joined");
    for (id, kind) in [(2, "pull"), (3, "pullwss"), (4, "push_zmq")] {
        assert!(shown.contains(&(&json!(id), &json!(kind), &joined)), "{list:#}");
    }
    central.stop();
    central.start_again();
    for id in [2, 3, 4] {
        until("the node is back", seconds(30), || {
            let token = central.api().command(id, "true");
            let rows = central.api().finished_rows(id, &token, seconds(20));
            rows.iter().any(|row| crate::platform::api::code(row) == 2).then_some(())
        });
    }
}

#[test]
fn a_removed_node_is_not_let_in_any_more() {
    let platform = Platform::new();
    let central = Daemon::start(central(&platform));
    for (id, kind) in [("2", "pull"), ("3", "pullwss")] {
        let mut joining = Joining::start(&word(&central, id, &[kind]), platform.path(&format!("node-{id}")));
        joining.joined();
        node(&central, &["remove", id]).unwrap();
        let nodes = central.api();
        until("the node is gone", seconds(20), || {
            nodes.get("/api/internal/constatus").json()["data"].get(id).is_none().then_some(())
        });
        let config = joining.dir.join("config.yaml");
        until("doctor on the node says why", seconds(20), || {
            let report = stheno(&["doctor", "--json", "--config", config.to_str().unwrap()]);
            let report: Value = serde_json::from_slice(&report.stdout).unwrap();
            let cause = report["cause"].as_str().unwrap().to_owned();
            ["key_not_authorized", "wrong_token"].contains(&cause.as_str()).then_some(())
        });
        assert!(node(&central, &["remove", id]).unwrap_err().contains("was not added by"));
    }
}

#[test]
fn words_that_are_no_good_are_refused_with_a_sentence_and_leave_nothing_behind() {
    let platform = Platform::new();
    let central = Daemon::start(central(&platform));
    let good = word(&central, "2", &["pull"]);
    let dir = platform.path("node");
    for (bad, said) in [
        (&good[..good.len() - 7], "not complete"),
        ("stheno-join-", "not complete"),
        ("hello", "not a word of 'stheno node add'"),
    ] {
        let text = refused(bad, &dir);
        assert!(text.contains(said) && text.lines().count() == 1, "{bad}: {text}");
    }
    // A new word for the node replaces the first one.
    let _second = word(&central, "2", &["pull"]);
    let text = refused(&good, &dir);
    assert!(text.contains("was used already, is older than an hour"), "{text}");
    // For the central the word is too old.
    let third = word(&central, "2", &["pull"]);
    let mut file = central.plan.database.clone().into_os_string();
    file.push(".nodes.json");
    let mut added: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    added["nodes"][0]["invited"]["until"] = json!(1);
    fs::write(&file, added.to_string()).unwrap();
    assert!(node(&central, &["list"]).unwrap().contains("its word has expired"));
    central.wait_for_log("nodes that are invited to join and have not yet: 1", seconds(10));
    let text = refused(&third, &platform.path("late"));
    assert!(text.contains("older than an hour"), "{text}");
    // The word belongs to another central than the one that answers.
    let mut other = platform.plan("other", 1).with_api();
    other.keys = crate::platform::keys::folder("other-central");
    let other = Daemon::start(other);
    let place = format!("127.0.0.1:{}", other.plan.port);
    let foreign = word(&central, "5", &["pull", "--central", &place]);
    let text = refused(&foreign, &platform.path("foreign"));
    assert!(text.contains("but the word is from a central with the key"), "{text}");
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let platform = Platform::new();
    let mut plan = central(&platform).with_node(9, free_port());
    plan.write();
    let register = platform.path("central-nodes.yaml");
    let listed = format!("# my nodes\n{}", fs::read_to_string(&register).unwrap());
    plan.name = "central".to_owned();
    let central = Daemon::start(plan);
    fs::write(&register, &listed).unwrap();
    assert!(node(&central, &["add", "9", "--kind", "pull"]).unwrap_err().contains("is listed in"));
    assert!(node(&central, &["add", "1", "--kind", "pull"]).unwrap_err().contains("the id of this daemon itself"));
    assert!(node(&central, &["add", "2", "--kind", "push_zmq"]).unwrap_err().contains("needs --address"));
    let word = word(&central, "2", &["pull"]);
    assert_eq!(fs::read_to_string(&register).unwrap(), listed);
    let dir = platform.path("node");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("config.yaml"), "mine\n").unwrap();
    let said = refused(&word, &dir);
    assert!(said.contains("is there already, and nothing was changed"), "{said}");
    assert_eq!(fs::read_to_string(dir.join("config.yaml")).unwrap(), "mine\n");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    // The word is still valid.
    let mut joining = Joining::start(&word, platform.path("fresh"));
    joining.joined();
}

#[test]
fn without_foreground_the_daemon_goes_on_by_itself() {
    let platform = Platform::new();
    let central = Daemon::start(central(&platform));
    let word = word(&central, "3", &["pullwss"]);
    let dir = platform.path("node");
    let output = stheno(&["join", &word, "--dir", dir.to_str().unwrap()]);
    assert_eq!(
        (text(&output.stdout), output.status.code()),
        ("joined\n".to_owned(), Some(0)),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(central.api().output_of(3, "echo alone", seconds(20)), "alone");
    let process = fs::read_to_string(dir.join("history.sdb.stheno-lock")).unwrap();
    assert!(Command::new("kill").arg(process.trim()).status().unwrap().success());
    until("it has ended", seconds(20), || {
        (!Path::new(&format!("/proc/{}", process.trim())).join("fd").exists()
            || fs::read_dir(format!("/proc/{}/fd", process.trim())).is_ok_and(|open| open.count() == 0))
        .then_some(())
    });
}

#[test]
fn an_added_token_lets_a_node_in_until_it_is_removed() {
    let platform = Platform::new();
    let central = Daemon::start(central(&platform).with_dial_in_node(7, "wss"));
    let config = central.plan.config_file();
    let token = |arguments: &[&str]| {
        let output = stheno(&[&["token"], arguments, &["--config", config.to_str().unwrap()]].concat());
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    };
    let secret = token(&["add", "paris", "--node", "7"]).unwrap();
    assert!(token(&["add", "paris"]).unwrap_err().contains("there is a token 'paris' already"));
    assert!(token(&["list"]).unwrap().contains("paris"));
    assert!(
        !text(&fs::read(format!("{}.nodes.json", central.plan.database.display())).unwrap()).contains(secret.trim())
    );
    let port = central.plan.proxy.iter().find_map(|line| line.strip_prefix("  port: ")).unwrap();
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {}", secret.trim())];
    let node = Daemon::start(platform.plan("node-7", 7).with_module("pullwss", &lines));
    central.api().wait_for_pong(7, seconds(20));
    token(&["remove", "paris"]).unwrap();
    node.wait_for_log("the token is not valid any more", seconds(20));
    assert!(token(&["remove", "paris"]).unwrap_err().contains("was not added by"));
}
