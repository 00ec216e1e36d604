//! Nodes without a daemon, opposite OpenSSH's sshd (and dropbear, where it is installed): logins, host keys, commands,
//! files, and hosts that misbehave.

mod commands;
mod cuts;
mod few_channels;
mod hostile;
mod logins;
mod refusals;
mod relays;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::platform::api::{Api, code, data, number};
use crate::platform::{Daemon, Plan, Platform, STHENO, SmallDisk, seconds, until};
use server::Sshd;

/// A central with SSH nodes, which are pinged as soon as they are reached, and then so seldom that a test sees no
/// second ping.
fn central(platform: &Platform, nodes: &[(u32, Vec<String>)]) -> Plan {
    let mut plan = platform.plan("central", 1).with_api();
    plan.ssh_nodes.extend(nodes.iter().cloned());
    plan
}

/// Posts a request and returns its rows, without the daemon's starting row.
fn rows_of(api: &Api, node: u32, path: &str, body: &Value) -> Vec<(i64, Value)> {
    let token = api.post(&format!("/api/nodes/{node}/{path}"), body).json()["token"].as_str().unwrap().to_owned();
    let rows = api.finished_rows(0, &token, seconds(30));
    rows.iter().map(|row| (code(row), data(row))).collect()
}

fn command(api: &Api, node: u32, body: &Value) -> Vec<(i64, Value)> {
    rows_of(api, node, "core/action/command", body)
}

/// The message of the last row.
fn last_message(rows: &[(i64, Value)]) -> String {
    rows.last().map(|(_, data)| data["message"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[test]
fn commands_run_on_a_host_without_a_daemon_and_leave_the_usual_rows() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[]))]));
    let api = central.api();
    api.wait_for_pong(4, seconds(15));
    assert_eq!(api.node_status(4)["type"], "push_ssh");

    let rows = command(
        &api,
        4,
        &json!([
            { "command": "echo out; echo err >&2; exit 3", "metadata": { "x": 1 } },
            { "command": "kill -9 $$" },
            { "command": "sleep 30", "timeout": 1 },
            { "command": "sleep 30", "timeout_nodata": 1 },
            { "command": "printf '%s|' 'a b' \"it's\" $HOME '\n'", "no_shell_interpretation": 1 },
        ]),
    );
    let messages: Vec<&str> = rows.iter().filter_map(|(_, data)| data["message"].as_str()).collect();
    assert_eq!(
        rows.iter().map(|(code, _)| *code).collect::<Vec<_>>(),
        [0, 0, 100, 0, 100, 0, 1, 0, 1, 0, 100, 1],
        "{rows:?}"
    );
    assert_eq!(messages[11], "commands processing has finished with errors");
    assert_eq!(rows[2].1["result"], json!({ "exit_code": 3, "stdout": "out", "stderr": "err" }));
    assert_eq!(rows[2].1["metadata"], json!({ "x": 1 }));
    assert_eq!(rows[4].1["result"], json!({ "exit_code": 137, "stdout": "", "stderr": "", "signal": "KILL" }));
    assert_eq!(rows[6].1["result"]["stdout"], "Command too long to execute (timeout)...");
    assert_eq!(rows[8].1["result"]["stdout"], "Command without output for 1 s (timeout_nodata)...");
    assert_eq!(rows[10].1["result"]["stdout"], "a b|it's|$HOME|\n|");

    // The output is larger than a window and than the kept part.
    let rows = command(&api, 4, &json!([{ "command": "head -c 3000000 /dev/zero | tr '\\0' x" }]));
    let messages: Vec<String> = rows.iter().map(|(_, data)| data.to_string().chars().take(300).collect()).collect();
    assert_eq!(rows[2].1["result"]["output_cut"], true, "{messages:?}\n{}", central.log());
    assert_eq!(rows[2].1["result"]["stdout"].as_str().map(str::len), Some(1 << 20));

    // The host has no history to read, and it does not know other actions.
    let token = "no-log";
    let mut client = central.client();
    client.request("GETLOG", token, "4", &json!({}));
    client.request("PUTLOG", "no-action", "4", &json!({}));
    assert_eq!(last_of(&central, token), "proxy - can't get log a ssh target or through a ssh node");
    assert_eq!(last_of(&central, "no-action"), "unsupported action");
}

fn last_of(daemon: &Daemon, token: &str) -> String {
    let rows = daemon.api().finished_rows(0, token, seconds(10));
    rows.last().map(|row| data(row)["message"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[test]
fn several_commands_run_at_once_and_a_broken_session_is_made_anew() {
    let platform = Platform::new();
    let mut sshd = Sshd::start(&platform, "host", &["MaxSessions 4"]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[]))]));
    let api = central.api();
    api.wait_for_pong(4, seconds(15));
    // Each command waits until the next one has begun, so they only end if they run at the same time.
    let gate = platform.path("gate");
    let wait = format!("touch {0}.$N; while ! [ -e {0}.$((3 - N)) ]; do sleep 0.05; done; echo met", gate.display());
    let tokens: Vec<String> = [1, 2].iter().map(|n| api.command(4, &format!("N={n}; {wait}"))).collect();
    for token in &tokens {
        let rows = api.finished_rows(0, token, seconds(15));
        assert!(rows.iter().any(|row| data(row)["result"]["stdout"] == "met"), "{rows:?}");
    }
    // These are more commands than the host has channels.
    let tokens: Vec<String> = (0..20).map(|n| api.command(4, &format!("sleep 0.05; echo {n}"))).collect();
    for (n, token) in tokens.iter().enumerate() {
        let rows = api.finished_rows(0, token, seconds(30));
        assert!(rows.iter().any(|row| data(row)["result"]["stdout"].as_str() == Some(&n.to_string())), "{rows:?}");
    }
    // A running command ends with the session; the next command runs in a new session.
    let cut = api.command(4, "echo begun; sleep 60");
    until("the command runs", seconds(10), || sshd.has_sessions().then_some(()));
    sshd.kill_sessions();
    let rows = api.finished_rows(0, &cut, seconds(15));
    assert!(
        rows.iter()
            .any(|row| data(row)["result"]["stdout"].as_str().is_some_and(|text| text.contains("connection broke"))),
        "{rows:?}"
    );
    assert_eq!(api.output_of_ssh(4, "echo again"), "again");
    sshd.stop();
    // A command that is sent before we notice the end of the session ends with it; the next one cannot connect.
    until("the host is missed", seconds(15), || {
        let rows = command(&api, 4, &json!([{ "command": "true" }]));
        last_message(&rows).starts_with("cannot connect on target node '4': ").then_some(())
    });
}

#[test]
fn every_usual_key_opens_and_each_that_does_not_is_named() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let key = |name: &str, options: &[&str]| sshd.make_key(name, options);
    let passphrase = "ssh_passphrase: \"a 'pass' phrase\"".to_owned();
    let plain_ssh_directory = platform.path("usual");
    fs::create_dir(&plain_ssh_directory).unwrap();
    let usual = sshd.make_key("usual/id_ecdsa", &["-t", "ecdsa"]);
    let identity = |path: &std::path::Path| format!("ssh_identity: {}", path.display());
    let none = "ssh_directory: /nonexistent".to_owned();
    let good = [
        vec![identity(&key("rsa_pem", &["-t", "rsa", "-m", "PEM"])), none.clone()],
        vec![identity(&key("rsa_new", &["-t", "rsa", "-b", "4096"])), none.clone()],
        vec![identity(&key("ecdsa_pem", &["-t", "ecdsa", "-b", "384", "-m", "PEM"])), none.clone()],
        vec![identity(&key("ed", &["-t", "ed25519"])), none.clone()],
        vec![identity(&key("sealed", &["-t", "ed25519", "-N", "a 'pass' phrase"])), passphrase.clone(), none.clone()],
        vec![
            identity(&key("sealed_pem", &["-t", "rsa", "-m", "PEM", "-N", "a 'pass' phrase"])),
            passphrase,
            none.clone(),
        ],
        vec![format!("ssh_directory: {}", usual.parent().unwrap().display())],
    ];
    let sealed = platform.path("sealed");
    let readable = key("readable", &["-t", "ed25519"]);
    fs::set_permissions(&readable, fs::Permissions::from_mode(0o644)).unwrap();
    let no_key = platform.write("no_key", "hello\n");
    fs::set_permissions(&no_key, fs::Permissions::from_mode(0o600)).unwrap();
    let stranger = sshd.make_stranger("stranger");
    let bad = [
        (identity(&sealed), "give its passphrase with ssh_passphrase"),
        (format!("{}\n    ssh_passphrase: wrong", identity(&sealed)), "a wrong ssh_passphrase"),
        (identity(&readable), "chmod 600"),
        (identity(&no_key), "it is not a private key"),
        (identity(&platform.path("missing")), "there is no such file"),
        (identity(&sealed.with_extension("pub")), "it is a public key"),
        (identity(&stranger), "the host does not accept it"),
    ];
    let mut nodes: Vec<(u32, Vec<String>)> = Vec::new();
    for (id, lines) in (10..).zip(&good) {
        nodes.push((id, sshd.bare_node(lines)));
    }
    for (id, (lines, _)) in (30..).zip(&bad) {
        nodes.push((id, sshd.bare_node(&[lines.clone(), none.clone()])));
    }
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    for (id, lines) in (10..).zip(&good) {
        until(&format!("node {id} {lines:?}: {}", central.log()), seconds(20), || {
            (number(&api.node_status(id)["ping_ok"]) >= 1).then_some(())
        });
    }
    for (id, (lines, words)) in (30..).zip(&bad) {
        let rows = command(&api, id, &json!([{ "command": "true" }]));
        let said = last_message(&rows);
        assert!(
            said.starts_with(&format!("cannot connect on target node '{id}': login")) && said.contains(words),
            "{lines}: {said}"
        );
    }
    let log = central.log();
    assert!(!log.contains("pass' phrase") && !log.contains("wrong;"), "{log}");
}

#[test]
fn an_agent_opens_too() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let key = sshd.make_key("agent_key", &["-t", "rsa"]);
    let socket = platform.path("agent");
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    until("the agent is there", seconds(10), || socket.exists().then_some(()));
    let added =
        Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status();
    assert!(added.unwrap().success());
    let node = sshd.bare_node(&["ssh_directory: /nonexistent".to_owned()]);
    let mut program = Command::new(STHENO);
    program.env("SSH_AUTH_SOCK", &socket);
    let central = Daemon::start_as(central(&platform, &[(4, node)]), program);
    central.api().wait_for_pong(4, seconds(20));
    central.wait_for_log("logged in by agent", seconds(5));
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn host_keys_are_known_remembered_or_refused() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let hashed = platform.write("hashed", sshd.known_hosts_line("ed25519"));
    let mut hash = Command::new("ssh-keygen");
    assert!(hash.args(["-q", "-H", "-f"]).arg(&hashed).stderr(Stdio::null()).status().unwrap().success());
    let rsa_only = platform.write("rsa_only", format!("# mine\n{}", sshd.known_hosts_line("rsa")));
    let other = sshd.make_stranger("other_host_key").with_extension("pub");
    let other = fs::read_to_string(other).unwrap();
    let changed = platform.write("changed", format!("\n[127.0.0.1]:{} {other}", sshd.port));
    let empty = platform.path("empty");
    let file = |path: &std::path::Path| format!("ssh_known_hosts: {}", path.display());
    let (strict, never) = ("strict_serverkey_check: true".to_owned(), "strict_serverkey_check: never".to_owned());
    let nodes = [
        (10, sshd.node(&[file(&hashed), strict.clone()])),
        (11, sshd.node(&[file(&rsa_only), strict.clone()])),
        (12, sshd.node(&[file(&changed), never])),
        (13, sshd.node(&[file(&empty)])),
        (20, sshd.node(std::slice::from_ref(&strict))),
        (21, sshd.node(&[file(&changed), strict])),
        (22, sshd.node(&[file(&changed)])),
    ];
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    for id in 10..=13 {
        until(&format!("node {id}: {}", central.log()), seconds(20), || {
            (number(&api.node_status(id)["ping_ok"]) >= 1).then_some(())
        });
    }
    assert_eq!(fs::read_to_string(&empty).unwrap().lines().count(), 1, "the key is remembered once");
    let place = format!("{}, line 2", changed.display());
    for (id, words) in
        [(20, "is not known, and strict_serverkey_check is true"), (21, &place), (22, "HOST KEY CHANGED")]
    {
        let said = last_message(&command(&api, id, &json!([{ "command": "true" }])));
        assert!(said.contains(words), "{id}: {said}");
    }
}

#[test]
fn a_key_that_the_database_remembers_is_not_exchanged_for_another() {
    let platform = Platform::new();
    let mut sshd = Sshd::start(&platform, "host", &[]);
    let mut central = Daemon::start(central(&platform, &[(4, sshd.node(&[]))]));
    central.api().wait_for_pong(4, seconds(15));
    central.stop();
    sshd.stop();
    sshd.change_host_keys();
    central.start_again();
    let api = central.api();
    let said = last_message(&command(&api, 4, &json!([{ "command": "true" }])));
    assert!(said.contains("HOST KEY CHANGED") && said.contains("the database"), "{said}");
    assert!(said.contains("stheno keys forget"), "{said}");

    let answer = api.call("DELETE", "/api/internal/keys/4", b"").json();
    assert!(answer["message"].as_str().unwrap().contains("forgotten"), "{answer}");
    api.wait_for_pong(4, seconds(15));
    central.stop();
    central.start_again();
    central.api().wait_for_pong(4, seconds(15));
}

#[test]
fn engine_commands_go_into_the_pipe_or_say_what_is_wrong_with_it() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let without = Sshd::start(&platform, "no_sftp", &["no sftp"]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[])), (5, without.node(&[]))]));
    let mut client = central.client();
    central.api().wait_for_pong(4, seconds(15));
    let pipe = platform.path("centengine.cmd");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let plain = platform.write("plain", "");
    let request =
        |file: &std::path::Path| json!({ "content": { "command_file": file, "commands": ["[1] A;it's", "[2] B"] } });
    client.request("ENGINECOMMAND", "good", "4", &request(&pipe));
    let rows = until("all rows are there", seconds(15), || {
        let rows = central.api().rows(0, "good");
        rows.iter().any(|row| data(row)["message"] == "commands processing has finished").then_some(rows)
    });
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert_eq!(data(&rows[1])["command"], "[1] A;it's");
    let mut text = [0; 17];
    std::io::Read::read_exact(&mut &reader, &mut text).unwrap();
    assert_eq!(std::str::from_utf8(&text), Ok("[1] A;it's\n[2] B\n"));
    for (token, node, file, words) in [
        ("missing", "4", platform.path("missing"), "must exist"),
        ("plain", "4", plain, "must be a pipe file"),
        ("sftp", "5", pipe.clone(), "offers no SFTP"),
    ] {
        client.request("ENGINECOMMAND", token, node, &request(&file));
        let said = last_of(&central, token);
        assert!(said.contains(words), "{token}: {said}");
    }
    drop(reader);
    client.request("ENGINECOMMAND", "unread", "4", &request(&pipe));
    let said = central.api().finished_rows(0, "unread", seconds(40));
    assert!(data(said.last().unwrap())["message"].as_str().unwrap().contains("nobody reads it"), "{said:?}");
    // The host's SFTP server waits for the pipe, even after its sshd has ended.
    drop(fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap());
}

fn copy(api: &Api, node: u32, content: &Value) -> String {
    last_message(&rows_of(api, node, "core/proxy/remotecopy", content))
}

const COPIED: &str = "process copy finished successfully";

#[test]
fn files_and_directories_are_copied_whole_or_not_at_all() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let without = Sshd::start(&platform, "no_sftp", &["no sftp"]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[])), (5, without.node(&[]))]));
    let api = central.api();
    api.wait_for_pong(4, seconds(15));
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let source = platform.write("a 'quoted' \"name\"\nand more", &body);
    let (there, cache) = (platform.path("there"), platform.path("cache"));
    fs::create_dir(&there).unwrap();
    fs::create_dir(&cache).unwrap();
    let name = source.file_name().unwrap().to_str().unwrap().to_owned();

    // Copy into a directory, and replace an existing file.
    let into = format!("{}/", there.display());
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let request = json!({ "source": source, "destination": into, "mode": "0640", "owner": user.trim() });
    for _ in 0..2 {
        assert_eq!(copy(&api, 4, &request), COPIED);
        let copied = there.join(&name);
        assert_eq!(fs::read(&copied).unwrap(), body);
        assert_eq!(fs::metadata(&copied).unwrap().permissions().mode() & 0o7777, 0o640);
    }
    assert_eq!(fs::read_dir(&there).unwrap().count(), 1, "no temporary file is left");

    // A script reads these members.
    let mut stheno = Command::new(STHENO);
    stheno.args(["copy", "--json", "--config"]).arg(central.plan.config_file()).arg(&source).arg(format!("4:{into}"));
    let said = stheno.output().unwrap();
    let line: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!((&line["ok"], &line["received"]), (&json!(true), &json!(body.len())), "{line}");

    // The directory contains unusual names.
    let tree = platform.path("tree");
    fs::create_dir_all(tree.join("sub 'dir'")).unwrap();
    fs::write(tree.join("sub 'dir'/x\ny"), "inside").unwrap();
    let unpacked = platform.path("un'packed\nhere");
    let request = json!({ "source": tree, "destination": unpacked, "cache_dir": cache, "type": "test" });
    assert_eq!(copy(&api, 4, &request), COPIED);
    assert_eq!(fs::read_to_string(unpacked.join("sub 'dir'/x\ny")).unwrap(), "inside");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "the archive is gone");

    for (node, request, words) in [
        (4, json!({ "source": platform.path("missing"), "destination": into }), "unknown source"),
        (4, json!({ "destination": into }), "remote copy failed"),
        (4, json!({ "source": source, "destination": platform.path("no/such/place") }), "no such file or directory"),
        (4, json!({ "source": source, "destination": there }), "Can't copy file to"),
        (5, json!({ "source": source, "destination": into }), "offers no SFTP"),
    ] {
        let said = copy(&api, node, &request);
        assert!(said.contains(words), "{request}: {said}");
    }
}

#[test]
fn a_full_disk_over_there_ends_a_copy_and_leaves_nothing_behind() {
    let platform = Platform::new();
    let Some(full) = SmallDisk::new(platform.path("full")) else { return };
    let sshd = Sshd::start(&platform, "host", &[]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[]))]));
    let api = central.api();
    api.wait_for_pong(4, seconds(15));
    let source = platform.write("large", vec![7; 4 << 20]);
    let said = copy(&api, 4, &json!({ "source": source, "destination": full.0.join("large") }));
    assert!(said.contains("cannot sftp copy file") && said.contains("disk"), "{said}");
    assert_eq!(fs::read_dir(&full.0).unwrap().count(), 0);
}

#[test]
fn the_demo_shows_a_node_by_ssh_where_there_is_an_sshd() {
    let demo = |path: Option<&str>| {
        let mut command = Command::new(crate::platform::STHENO);
        command.args(["demo", "--once", "--ssh"]).stdin(Stdio::null());
        command.envs(path.map(|path| ("PATH", path)));
        let output = command.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
        said
    };
    let said = demo(None);
    assert!(said.contains("   5   100  command has finished successfully: hello from"), "{said}");
    let said = demo(Some("/nonexistent"));
    assert!(said.contains("sshd or ssh-keygen is not installed") && !said.contains("   5 "), "{said}");
}
