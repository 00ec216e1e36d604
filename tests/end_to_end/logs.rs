//! Where lines of the log go and what they look like: entries of the systemd journal, JSON, the original's form.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::platform::{Daemon, Platform, STHENO, seconds, until};

/// Replaces the folder of the journal's socket for one program.
const WITH_JOURNAL: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";

/// A journal in a folder: its socket is where `systemd-journald` has it.
struct Journal {
    folder: std::path::PathBuf,
    socket: UnixDatagram,
}

impl Journal {
    /// # Errors
    /// Mount namespaces are not allowed on this machine.
    fn new(platform: &Platform) -> Result<Self, String> {
        let folder = platform.path("journal");
        fs::create_dir(&folder).unwrap();
        let socket = UnixDatagram::bind(folder.join("socket")).unwrap();
        socket.set_read_timeout(Some(seconds(20))).unwrap();
        let journal = Self { folder, socket };
        let tried = journal.command(&["true"]).output().map_err(|error| format!("unshare: {error}"))?;
        if tried.status.success() { Ok(journal) } else { Err(String::from_utf8_lossy(&tried.stderr).into_owned()) }
    }

    /// A program that finds this journal instead of the machine's.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", WITH_JOURNAL]).arg(&self.folder).args(words);
        command
    }

    /// Returns the fields of the next entry.
    fn next(&self) -> BTreeMap<String, String> {
        let mut bytes = vec![0; 65_536];
        let length = self.socket.recv(&mut bytes).expect("an entry comes in time");
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        text.lines().map(|line| line.split_once('=').unwrap()).map(|(key, value)| (key.into(), value.into())).collect()
    }

    /// Returns the first entry whose message contains these words.
    #[track_caller]
    fn entry(&self, words: &str) -> BTreeMap<String, String> {
        until(words, seconds(20), || Some(self.next()).filter(|entry| entry["MESSAGE"].contains(words)))
    }
}

#[test]
fn without_a_log_file_lines_are_entries_of_the_journal_with_level_node_and_token() {
    let platform = Platform::new();
    let journal = match Journal::new(&platform) {
        Ok(journal) => journal,
        Err(reason) => return println!("skipped: no mount namespace: {reason}"),
    };
    // A node that refuses connections.
    let plan = platform.plan("central", 1).with_api().with_node(2, 1);
    plan.write();
    let stream = File::create(platform.path("stream")).unwrap();
    let own = stream.metadata().unwrap();
    let mut command = journal.command(&[STHENO, "run"]);
    command.arg(format!("--config={}", plan.config_file().display()));
    command.env("JOURNAL_STREAM", format!("{}:{}", own.dev(), own.ino())).stdout(Stdio::null()).stderr(stream);
    let mut child = command.spawn().unwrap();
    let start = journal.entry("starts as");
    assert_eq!([&start["PRIORITY"], &start["SYSLOG_IDENTIFIER"], &start["MODULE"]], ["6", "stheno", "core"]);
    assert!(!start.contains_key("NODE") && !start.contains_key("TOKEN"));
    let refused = journal.entry("node '2': ");
    assert_eq!([&refused["PRIORITY"], &refused["NODE"]], ["4", "2"], "{refused:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(platform.path("stream")).unwrap(), "", "each line stands in one place");
}

#[test]
fn beside_a_log_file_the_journal_gets_every_line_if_it_is_asked_for() {
    let platform = Platform::new();
    let journal = match Journal::new(&platform) {
        Ok(journal) => journal,
        Err(reason) => return println!("skipped: no mount namespace: {reason}"),
    };
    let plan = platform
        .plan("poller", 2)
        .with_core("log_format: journal")
        .with_action("whitelist_cmds: true")
        .with_action("allowed_cmds: ['^true$']");
    let daemon = Daemon::start_as(plan, journal.command(&[STHENO, "run"]));
    let mut client = daemon.client();
    client.request("COMMAND", "t-1", "", &json!({ "content": [{ "command": "echo a" }] }));
    let entry = journal.entry("command not allowed");
    assert_eq!([&entry["PRIORITY"], &entry["TOKEN"], &entry["MODULE"]], ["3", "t-1", "action"]);
    daemon.wait_for_log(" - ERROR - [action] command not allowed", seconds(10));
}

#[test]
fn lines_are_json_where_that_is_asked_for_and_a_reload_changes_the_form() {
    let platform = Platform::new();
    let mut daemon = Daemon::start(platform.plan("poller", 2).with_core("log_format: json"));
    for line in daemon.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["time"].as_str().unwrap().ends_with('Z') && line["message"].is_string(), "{line}");
        assert!(["info", "warning"].contains(&line["level"].as_str().unwrap()), "{line}");
    }
    let file = daemon.plan.config_file();
    let text = fs::read_to_string(&file).unwrap().replace("log_format: json", "log_severity: debug");
    fs::write(&file, text).unwrap();
    daemon.signal("HUP");
    // The daemons of the tests are started with `--severity`.
    let told = "gorgonecore.log_severity has changed, but '--severity' of the command line counts";
    daemon.wait_for_log(told, seconds(10));
    let mut client = daemon.client();
    client.request("PING", "p-1", "", &json!({}));
    daemon.wait_for_log(" - INFO - [core] client gorgone-client", seconds(10));
    daemon.assert_running();
}
