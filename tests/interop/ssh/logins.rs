//! Logins with a password, by every way that hosts ask for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::server::Sshd;
use super::{COPIED, central, command, copy, last_message};
use crate::platform::{Daemon, Platform, free_port, seconds, until};
use crate::script::Script;

const SECRET: &str = "it's a \"secret\" wörd";

fn password(text: &str) -> String {
    format!("ssh_password: '{}'", text.replace('\'', "''"))
}

#[test]
fn a_password_opens_by_either_way_and_stays_unseen() {
    let platform = Platform::new();
    let mut script = Script::start("ssh_server", &[SECRET]);
    let port = script.line();
    let node = |user: &str, word: Option<&str>| {
        let mut lines =
            vec!["address: 127.0.0.1".to_owned(), format!("ssh_port: {port}"), format!("ssh_username: {user}")];
        lines.push("ssh_directory: /nonexistent".to_owned());
        lines.extend(word.map(password));
        lines
    };
    let good = ["password", "keyboard", "either"];
    let bad = [
        ("password", Some("mistaken"), "password: the host does not accept it"),
        ("keyboard", Some("mistaken"), "keyboard-interactive: the host does not accept it"),
        ("either", Some("mistaken"), "password: the host does not accept it; keyboard-interactive: "),
        ("change", Some(SECRET), "password: "),
        ("password", None, "no ssh_password is given"),
    ];
    let mut nodes: Vec<_> = (10..).zip(good).map(|(id, user)| (id, node(user, Some(SECRET)))).collect();
    nodes.extend((20..).zip(&bad).map(|(id, (user, word, _))| (id, node(user, *word))));
    let mut plan = central(&platform, &nodes);
    "debug".clone_into(&mut plan.severity);
    let central = Daemon::start(plan);
    let api = central.api();
    for (id, user) in (10..).zip(good) {
        api.wait_for_pong(id, seconds(20));
        assert_eq!(api.output_of_ssh(id, "some command"), format!("{user} ran some command"));
    }
    // A command whose exit status is unknown did not succeed.
    for (line, words) in
        [("leave", "the host closed the channel before the exit status"), ("cut", "the connection broke before")]
    {
        let rows = command(&api, 10, &json!([{ "command": line }]));
        assert_eq!(rows.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [0, 0, 1, 1], "{rows:?}");
        assert_eq!(rows[2].1["result"]["exit_code"], -1, "{rows:?}");
        assert!(rows[2].1["result"]["stdout"].as_str().is_some_and(|text| text.starts_with(words)), "{rows:?}");
    }
    central.wait_for_log("logged in by password", seconds(5));
    central.wait_for_log("logged in by keyboard-interactive", seconds(5));
    for (id, (user, _, words)) in (20..).zip(&bad) {
        let said = last_message(&command(&api, id, &json!([{ "command": "true" }])));
        assert!(said.contains(&format!("login as '{user}' failed")) && said.contains(words), "{id}: {said}");
    }
    let log = central.log();
    assert!(!log.contains("secret") && !log.contains("mistaken"), "{log}");
}

/// A user of this machine, with a password, a home and a key; removed in the end.
struct User {
    name: String,
    home: PathBuf,
}

impl User {
    /// Returns `None` if the test may not add users.
    fn new(platform: &Platform) -> Option<Self> {
        let name = format!("stheno-{}", std::process::id());
        let hash = Command::new("openssl").args(["passwd", "-6", SECRET]).output().unwrap().stdout;
        let hash = String::from_utf8(hash).unwrap();
        let home = std::env::temp_dir().join(&name);
        let made = Command::new("/usr/sbin/useradd")
            .args(["-M", "-N", "-s", "/bin/sh", "-p", hash.trim(), "-d"])
            .arg(&home)
            .arg(&name)
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
        let user = Self { name, home };
        let keys = user.home.join(".ssh");
        fs::create_dir_all(&keys).unwrap();
        let key = platform.path("user_key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
        assert!(made.success());
        fs::copy(key.with_extension("pub"), keys.join("authorized_keys")).unwrap();
        fs::set_permissions(&user.home, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Command::new("chown").arg("-R").arg(&user.name).arg(&user.home).status().unwrap().success());
        Some(user)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.home);
        let removed = Command::new("/usr/sbin/userdel").arg("-f").arg(&self.name).stderr(Stdio::null()).status();
        assert!(removed.unwrap().success() || std::thread::panicking(), "{} is left behind", self.name);
    }
}

/// dropbear on a port of its own, with a host key of its own.
struct Dropbear {
    port: u16,
    process: Child,
}

impl Dropbear {
    /// Returns `None` if it is not installed.
    fn start(platform: &Platform) -> Option<Self> {
        let key = platform.path("dropbear_key");
        let made = Command::new("dropbearkey").args(["-t", "ed25519", "-f"]).arg(&key).output().ok()?;
        assert!(made.status.success());
        let port = free_port();
        let mut command = Command::new("/usr/sbin/dropbear");
        command.args(["-F", "-E", "-p", &format!("127.0.0.1:{port}"), "-r"]).arg(&key);
        // dropbear removes this file when it ends, so the file must be in the test's folder.
        command.arg("-P").arg(platform.path("dropbear.pid"));
        let log = fs::File::create(platform.path("dropbear.log")).unwrap();
        let process = command.stdin(Stdio::null()).stderr(log).spawn().ok()?;
        until("dropbear listens", seconds(15), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Self { port, process })
    }
}

impl Drop for Dropbear {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn sshd_and_dropbear_let_a_user_of_this_machine_in_by_password_and_do_what_they_are_asked() {
    let platform = Platform::new();
    let Some(user) = User::new(&platform) else {
        return eprintln!("skipped: a user for password logins is made by root only");
    };
    let sshd = Sshd::start(&platform, "host", &["PasswordAuthentication yes"]);
    // The host requires both a key and a password.
    let both = ["PasswordAuthentication yes", "AuthenticationMethods publickey,password"];
    let both = Sshd::start(&platform, "both", &[both[0], both[1], "AuthorizedKeysFile .ssh/authorized_keys"]);
    let dropbear = Dropbear::start(&platform);
    if dropbear.is_none() {
        eprintln!("skipped in part: dropbear is not installed (apt-get install dropbear-bin)");
    }
    let node = |port: u16, login: String| {
        let mut lines = vec!["address: 127.0.0.1".to_owned(), format!("ssh_port: {port}"), login];
        lines.extend([format!("ssh_username: {}", user.name), "ssh_directory: /nonexistent".to_owned()]);
        lines
    };
    let mut nodes = vec![(10, node(sshd.port, password(SECRET))), (20, node(sshd.port, password("mistaken")))];
    let key = format!("ssh_identity: {}", platform.path("user_key").display());
    for (id, word) in [(13, SECRET), (23, "mistaken")] {
        nodes.push((id, node(both.port, format!("{key}\n    {}", password(word)))));
    }
    if let Some(dropbear) = &dropbear {
        nodes.push((11, node(dropbear.port, password(SECRET))));
        nodes.push((12, node(dropbear.port, key)));
        nodes.push((21, node(dropbear.port, password("mistaken"))));
    }
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    for (id, _) in nodes.iter().filter(|(id, _)| *id < 20) {
        api.wait_for_pong(*id, seconds(20));
        let rows =
            command(&api, *id, &json!([{ "command": "id -un; echo err >&2; exit 3" }, { "command": "kill -9 $$" }]));
        assert_eq!(rows[2].1["result"], json!({ "exit_code": 3, "stdout": user.name, "stderr": "err" }), "{id}");
        assert_eq!(rows[4].1["result"]["signal"], "KILL", "{id}: {rows:?}");
        // Several commands run at once over one session.
        let tokens: Vec<String> = (0..16).map(|n| api.command(*id, &format!("sleep 0.1; echo {n}"))).collect();
        for (n, token) in tokens.iter().enumerate() {
            let rows = api.finished_rows(0, token, seconds(30));
            let said = n.to_string();
            assert!(
                rows.iter().any(|row| crate::platform::api::data(row)["result"]["stdout"] == said.as_str()),
                "{id}: {rows:?}"
            );
        }
        // A command that takes too long is killed on the host.
        let marker = user.home.join(format!("marker-{id}"));
        let hour = format!("echo $$ > '{}'; exec sleep 3600", marker.display());
        command(&api, *id, &json!([{ "command": hour, "timeout": 2 }]));
        let process = PathBuf::from(format!("/proc/{}", fs::read_to_string(&marker).unwrap().trim()));
        until("the process on the host is gone", seconds(10), || (!process.exists()).then_some(()));
        let source = platform.write("source", vec![b'y'; 3_000_000]);
        let there = user.home.join(format!("file-{id}"));
        assert_eq!(copy(&api, *id, &json!({ "source": source, "destination": there })), COPIED);
        assert_eq!(fs::read(&there).unwrap().len(), 3_000_000);
    }
    for (id, _) in nodes.iter().filter(|(id, _)| *id >= 20) {
        let said = last_message(&command(&api, *id, &json!([{ "command": "true" }])));
        assert!(said.contains("password: the host does not accept it"), "{id}: {said}");
    }
    let log = central.log();
    assert!(!log.contains("secret") && !log.contains("mistaken"), "{log}");
}
