//! Hosts with few channels: OpenSSH's sshd with a small `MaxSessions`, tinysshd with one channel per connection, and
//! one that allows SFTP only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::server::Sshd;
use super::{COPIED, central, command, copy, last_message};
use crate::platform::api::{Api, code, data, number};
use crate::platform::{Daemon, Platform, free_port, seconds, until};

/// tinysshd on a port of its own. It knows the keys of `~/.ssh/authorized_keys` only, see [`OwnKey`].
struct Tinysshd {
    port: u16,
    process: Child,
}

impl Tinysshd {
    /// Returns `None` if it is not installed.
    fn start(platform: &Platform) -> Option<Self> {
        let keys = platform.path("tiny_keys");
        let made = Command::new("/usr/sbin/tinysshd-makekey").arg(&keys).status().ok()?;
        assert!(made.success());
        let port = free_port();
        let mut command = Command::new("tcpserver");
        command.args(["-HRDl0", "127.0.0.1", &port.to_string(), "/usr/sbin/tinysshd", "-x"]);
        command.arg("sftp=/usr/lib/openssh/sftp-server").arg(&keys);
        let process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        until("tinysshd listens", seconds(15), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Self { port, process })
    }
}

impl Drop for Tinysshd {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Our key among those of the user of this test, whose file is as before in the end.
struct OwnKey {
    file: PathBuf,
    before: Option<String>,
}

impl OwnKey {
    fn new(public: &str) -> Option<Self> {
        let home = PathBuf::from(std::env::var_os("HOME")?).join(".ssh");
        fs::create_dir_all(&home).ok()?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).ok()?;
        let file = home.join("authorized_keys");
        let before = fs::read_to_string(&file).ok();
        fs::write(&file, format!("{}{public}", before.as_deref().unwrap_or_default())).ok()?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).ok()?;
        Some(Self { file, before })
    }
}

impl Drop for OwnKey {
    fn drop(&mut self) {
        let _restored = match &self.before {
            Some(text) => fs::write(&self.file, text),
            None => fs::remove_file(&self.file),
        };
    }
}

/// Commands, many at once, copies of a file and of a directory, in turn and mixed.
fn use_host(platform: &Platform, api: &Api, node: u32) {
    let source = platform.write("source", "s".repeat(5_000));
    let tree = platform.path("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/file"), "inside").unwrap();
    let there = platform.path(&format!("there-{node}"));
    fs::create_dir(&there).unwrap();
    let tokens: Vec<String> = (0..6).map(|n| api.command(node, &format!("sleep 0.1; echo {n}"))).collect();
    assert_eq!(copy(api, node, &json!({ "source": source, "destination": there.join("file") })), COPIED, "{node}");
    assert_eq!(fs::read_to_string(there.join("file")).unwrap().len(), 5_000);
    for (n, token) in tokens.iter().enumerate() {
        let rows = api.finished_rows(0, token, seconds(40));
        let said = n.to_string();
        assert!(rows.iter().any(|row| data(row)["result"]["stdout"] == said.as_str()), "{node}: {rows:?}");
    }
    let request = json!({ "source": tree, "destination": there.join("tree"), "cache_dir": there });
    assert_eq!(copy(api, node, &request), COPIED, "{node}");
    assert_eq!(fs::read_to_string(there.join("tree/sub/file")).unwrap(), "inside");
    let rows = command(api, node, &json!([{ "command": "exit 3" }, { "command": "kill -9 $$" }]));
    assert_eq!((&rows[2].1["result"]["exit_code"], &rows[4].1["result"]["signal"]), (&json!(3), &json!("KILL")));
}

#[test]
fn a_host_that_gives_few_channels_does_all_that_is_asked_of_it_one_after_the_other() {
    let platform = Platform::new();
    let hosts: Vec<Sshd> =
        (1..=3).map(|n| Sshd::start(&platform, &format!("host{n}"), &[&format!("MaxSessions {n}")])).collect();
    let nodes: Vec<_> = (11..).zip(&hosts).map(|(id, host)| (id, host.node(&[]))).collect();
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    for (id, _) in &nodes {
        api.wait_for_pong(*id, seconds(20));
        use_host(&platform, &api, *id);
        // A ping during a command gets no channel; the refusal counts as an answer.
        assert_eq!(number(&api.node_status(*id)["ping_failed"]), 0);
    }
    let log = central.log();
    assert!(!log.contains("WARNING - [proxy]"), "{log}");
}

#[test]
fn a_host_with_one_channel_for_each_connection_gets_a_connection_for_each_task() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let Some(tiny) = Tinysshd::start(&platform) else {
        return eprintln!("skipped: tinysshd or tcpserver is not installed (apt-get install tinysshd ucspi-tcp)");
    };
    let Some(_key) = OwnKey::new(&sshd.public_key()) else {
        return eprintln!("skipped: ~/.ssh/authorized_keys cannot be written");
    };
    let lines = sshd.node(&[]).into_iter().filter(|line| !line.starts_with("ssh_port"));
    let node = lines.chain([format!("ssh_port: {}", tiny.port)]).collect();
    let central = Daemon::start(central(&platform, &[(4, node)]));
    let api = central.api();
    api.wait_for_pong(4, seconds(20));
    use_host(&platform, &api, 4);
    central.wait_for_log("it gives one channel in the life of a connection", seconds(5));
    assert!(!central.log().contains("WARNING - [proxy]"), "{}", central.log());
}

#[test]
fn a_host_that_allows_sftp_only_says_so_and_takes_files() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &["ForceCommand internal-sftp"]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[]))]));
    let api = central.api();
    // The host answers, so it counts as alive.
    api.wait_for_pong(4, seconds(20));
    let rows = command(&api, 4, &json!([{ "command": "echo hello" }]));
    assert_eq!(rows.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [0, 0, 1, 1], "{rows:?}");
    let said = rows[2].1["result"]["stdout"].to_string();
    assert!(said.contains("it allows SFTP only (ForceCommand internal-sftp"), "{said}");
    assert_eq!(rows[2].1["result"]["exit_code"], -1);
    let (source, there) = (platform.write("source", "content"), platform.path("there"));
    assert_eq!(copy(&api, 4, &json!({ "source": source, "destination": there })), COPIED);
    assert_eq!(fs::read_to_string(there).unwrap(), "content");
    let (tree, cache) = (platform.path("host"), platform.path(""));
    let request = json!({ "source": tree, "destination": platform.path("unpacked"), "cache_dir": cache });
    let said = copy(&api, 4, &request);
    assert!(said.contains("it allows SFTP only"), "{said}");
    let rows = api.finished_rows(0, &api.command(4, "true"), seconds(10));
    assert_eq!(rows.last().map(code), Some(1));
    assert_eq!(
        last_message(&command(&api, 4, &json!([{ "command": "a" }]))),
        "commands processing has finished with errors"
    );
}
