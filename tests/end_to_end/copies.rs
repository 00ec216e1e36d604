//! Copies through the REST API to every kind of node (docs/protocol.md section 12).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, STHENO, free_port, seconds, until};

const TOKEN: &str = "t0k3n-0f-the-test";
/// Node 8 is behind relay 3.
pub const EVERY_KIND: [u32; 4] = [2, 6, 7, 8];

/// A central with a push node (2), a pull node (6), a pullwss node (7), and a relay (3) with a node behind it (8).
pub struct Nodes {
    pub central: Daemon,
    pub others: BTreeMap<u32, Daemon>,
}

impl Nodes {
    pub fn start(platform: &Platform, proxy: &[&str]) -> Self {
        let port = free_port();
        let readable = format!("read_roots: ['{}']", platform.path("readable").display());
        let behind = Daemon::start(platform.plan("node-8", 8).with_authorized("poller").with_action(&readable));
        let relay = Daemon::start(platform.plan("node-3", 3).with_node(8, behind.plan.port));
        let push = Daemon::start(platform.plan("node-2", 2).with_action(&readable));
        let mut plan = platform.central_with(&[&push, &relay]).with_authorized("poller").with_proxy("ping: 1");
        for line in proxy {
            plan = plan.with_proxy(line);
        }
        let listener = ["httpserver:", "  enable: true", "  address: 127.0.0.1"];
        for line in listener {
            plan = plan.with_proxy(line);
        }
        let plan = plan.with_proxy(&format!("  port: {port}")).with_proxy(&format!("  token: {TOKEN}"));
        let plan = plan.with_dial_in_node(6, "pull").with_dial_in_node(7, "wss");
        let pull = platform.plan("node-6", 6).with_module("pull", &[format!("target_path: 127.0.0.1:{}", plan.port)]);
        let pull = pull.with_action(&readable);
        let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {TOKEN}")];
        let wss = platform.plan("node-7", 7).with_module("pullwss", &lines).with_action(&readable);
        let central = Daemon::start(plan);
        let others = [behind, relay, push, Daemon::start(pull), Daemon::start(wss)];
        let others = others.into_iter().map(|daemon| (daemon.plan.id, daemon)).collect();
        for id in [2, 3, 6, 7] {
            central.api().wait_for_pong(id, seconds(10));
        }
        until("the node behind the relay is known", seconds(10), || {
            central.api().node_status(3)["nodes"].get("8").is_some().then_some(())
        });
        Self { central, others }
    }
}

/// Starts a copy. Returns its token.
#[track_caller]
pub fn start(central: &Daemon, node: u32, body: &Value) -> String {
    let answer = central.api().post(&format!("/api/nodes/{node}/core/proxy/remotecopy"), body);
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// Copies, and returns the rows.
#[track_caller]
pub fn copy(central: &Daemon, node: u32, body: &Value) -> Vec<Value> {
    central.api().finished_rows(node, &start(central, node, body), seconds(60))
}

#[track_caller]
pub fn copied(central: &Daemon, node: u32, body: &Value) {
    let rows = copy(central, node, body);
    let last = rows.last().unwrap();
    let success = (code(last), data(last)["message"].as_str() == Some("process copy finished successfully"));
    assert_eq!(success, (2, true), "node {node}, {body}: {rows:?}");
}

/// Returns the message of the row that ends a copy with an error, and what it is about.
#[track_caller]
pub fn refused(central: &Daemon, node: u32, body: &Value) -> String {
    let rows = copy(central, node, body);
    let ends: Vec<&Value> = rows.iter().filter(|row| matches!(code(row), 1 | 2)).collect();
    assert_eq!(ends.iter().map(|row| code(row)).collect::<Vec<_>>(), [1], "node {node}, {body}: {rows:?}");
    let data = data(ends[0]);
    let detail = data["detail"].as_str().map(|detail| format!(" | {detail}")).unwrap_or_default();
    data["message"].as_str().unwrap().to_owned() + &detail
}

/// The folder of a node, with its cache.
pub fn folder(platform: &Platform, name: &str) -> PathBuf {
    let folder = platform.path(name);
    fs::create_dir_all(folder.join("cache")).unwrap();
    folder
}

pub fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

/// Returns bytes that differ at every place of a file.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len.div_ceil(4)).flat_map(|word| (word as u32).wrapping_mul(2_654_435_761).to_le_bytes()).take(len).collect()
}

#[test]
fn files_of_every_size_reach_nodes_of_every_kind() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &["buffer_size: 100000"]);
    let source = folder(&platform, "source");
    let sizes = [0, 1, 99_999, 100_000, 100_001, 2_000_000];
    for size in sizes {
        fs::write(source.join(size.to_string()), bytes(size)).unwrap();
    }
    for node in EVERY_KIND {
        let there = folder(&platform, &format!("there-{node}"));
        for size in sizes {
            let destination = there.join(format!("{size}.copy"));
            let body = json!({
                "source": source.join(size.to_string()), "destination": destination, "cache_dir": there.join("cache"),
            });
            copied(&nodes.central, node, &body);
            assert!(fs::read(&destination).unwrap() == bytes(size), "node {node}, {size} bytes");
        }
        assert!(is_empty(&there.join("cache")), "node {node} leaves something in its cache");
    }
}

#[test]
fn what_cannot_be_copied_ends_with_a_row_that_names_it() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let source = platform.write("source", "text");
    let cache = folder(&platform, "node").join("cache");
    let to = |name: &str| platform.path(name);
    let missing = to("missing");
    let at_the_sender = [
        (
            json!({ "destination": to("x"), "cache_dir": cache }),
            "remote copy failed | the source is missing".to_owned(),
        ),
        (json!({ "source": source, "cache_dir": cache }), "remote copy failed | the destination is missing".to_owned()),
        (
            json!({ "source": missing, "destination": to("x"), "cache_dir": cache }),
            format!("unknown source | {}: No such file or directory", missing.display()),
        ),
        (
            json!({ "source": cache, "destination": to("x"), "cache_dir": missing }),
            format!("cannot chdir: No such file or directory | {}", missing.display()),
        ),
    ];
    for (body, expected) in at_the_sender {
        assert_eq!(refused(&central, 2, &body), expected);
    }
    let body = json!({ "source": source, "destination": missing.join("file"), "cache_dir": cache });
    let expected = format!("Can't copy file to {}, No such file or directory", missing.join("file").display());
    assert_eq!(refused(&central, 2, &body), expected);
    let body = json!({ "source": source, "destination": cache, "cache_dir": cache });
    assert_eq!(refused(&central, 2, &body), format!("Can't copy file to {}, Is a directory", cache.display()));
    let token = start(&central, 2, &json!({ "source": source, "destination": to("x"), "cache_dir": missing }));
    let rows = central.api().finished_rows(2, &token, seconds(10));
    let expected = format!("file '{}/copy_{token}' open failed: No such file or directory", missing.display());
    assert_eq!(data(rows.last().unwrap())["message"], json!(expected));
    assert!(is_empty(&cache));
}

#[test]
fn a_large_file_reaches_nodes_of_every_kind_and_nobody_grows() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &[]);
    let size = 50_000_000;
    let copies = EVERY_KIND.map(|node| {
        let source = platform.write(&format!("large-{node}"), bytes(size));
        let there = folder(&platform, &format!("there-{node}"));
        let destination = there.join("large");
        let body = json!({ "source": source, "destination": destination, "cache_dir": there.join("cache") });
        (node, destination, start(&nodes.central, node, &body))
    });
    for (node, destination, token) in copies {
        let rows = nodes.central.api().finished_rows(node, &token, seconds(120));
        assert_eq!(rows.last().map(code), Some(2), "node {node}: {rows:?}");
        assert!(fs::read(&destination).unwrap() == bytes(size), "node {node}");
        let progress: Vec<i64> =
            rows.iter().filter(|row| code(row) == 101).map(|row| data(row)["received"].as_i64().unwrap()).collect();
        assert!(progress.is_sorted() && progress.last() == Some(&(size as i64)), "node {node}: {progress:?}");
    }
    for daemon in nodes.others.values().chain([&nodes.central]) {
        assert!(daemon.resident_kib() < 60_000, "{}: {} KiB", daemon.plan.name, daemon.resident_kib());
    }
}

/// Returns everything below a directory: name, permissions, and content or target.
fn tree(root: &Path) -> BTreeMap<Vec<u8>, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else if metadata.is_dir() {
                waiting.push(path.clone());
                b"directory".to_vec()
            } else {
                fs::read(&path).unwrap()
            };
            let mode = if metadata.is_symlink() { 0 } else { metadata.mode() };
            found.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), (mode, content));
        }
    }
    found
}

#[test]
fn directories_reach_nodes_of_every_kind_with_odd_names_modes_and_empty_places() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &[]);
    let source = platform.path("source");
    for number in 0..2_000 {
        let place = source.join(format!("d{}", number % 20));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join(format!("f{number}.cfg")), format!("number {number}")).unwrap();
    }
    let long = "x".repeat(200);
    let names: [&[u8]; 7] =
        [b"with space", b"quo\"te's", b"new\nline", b"caf\xe9 \xff", "€".as_bytes(), b"-rf", long.as_bytes()];
    for name in names {
        fs::write(source.join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir_all(source.join("empty/inside")).unwrap();
    fs::write(source.join("d1/script"), "#!/bin/sh").unwrap();
    fs::set_permissions(source.join("d1/script"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(source.join("d2"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(source.join("empty/inside"), fs::Permissions::from_mode(0o500)).unwrap();
    symlink("d1/script", source.join("link")).unwrap();
    let expected = tree(&source);
    let cache = folder(&platform, "central").join("cache");
    for node in EVERY_KIND {
        let there = platform.path(&format!("there-{node}"));
        fs::create_dir_all(there.join("d1")).unwrap();
        fs::write(there.join("d1/stays"), "here").unwrap();
        fs::write(there.join("d1/script"), "old").unwrap();
        let body = json!({ "source": source, "destination": there, "cache_dir": cache });
        copied(&nodes.central, node, &body);
        let mut found = tree(&there);
        assert_eq!(found.remove(b"d1/stays".as_slice()).unwrap().1, b"here", "node {node}: what was there stays");
        assert!(found == expected, "node {node}: {} and {} entries", found.len(), expected.len());
        copied(&nodes.central, node, &body);
        assert_eq!(tree(&there).len(), expected.len() + 1, "node {node}: a second time changes nothing");
        assert!(is_empty(&cache), "node {node}");
    }
    let new = platform.path("made/on/the/way");
    copied(&nodes.central, 2, &json!({ "source": source, "destination": new, "cache_dir": cache, "mode": "0640" }));
    let found = tree(&new);
    assert_eq!(found[b"d1/script".as_slice()].0 & 0o7777, 0o640);
    assert_eq!(found[b"d1".as_slice()].0 & 0o7777, 0o750, "a directory that may be read may be searched");
    fs::set_permissions(source.join("empty/inside"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn owner_group_and_mode_are_applied_and_what_cannot_be_is_logged() {
    let platform = Platform::new();
    let (central, poller) = platform.pair();
    let source = platform.write("source", "text");
    let cache = folder(&platform, "node").join("cache");
    let destination = platform.path("there");
    let body = |owner: &str, mode: &str| {
        json!({
            "source": source, "destination": destination, "cache_dir": cache, "owner": owner, "group": owner, "mode": mode,
        })
    };
    copied(&central, 2, &body("root", "0604"));
    let metadata = fs::metadata(&destination).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o604, 0, 0));
    chown(&destination, Some(65_534), Some(65_534)).unwrap();
    fs::write(&source, "other text").unwrap();
    copied(&central, 2, &json!({ "source": source, "destination": destination, "cache_dir": cache }));
    let metadata = fs::metadata(&destination).unwrap();
    let kept = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    assert_eq!(kept, (0o604, 65_534, 65_534), "what was there keeps its owner and permissions");
    copied(&central, 2, &body("nobody-of-this-name", "rw"));
    assert_eq!(fs::read_to_string(&destination).unwrap(), "other text");
    poller.wait_for_log("no user 'nobody-of-this-name'", seconds(5));
    poller.wait_for_log("'rw' is not one to four octal digits", seconds(5));
}

#[test]
fn a_copy_goes_on_where_it_was_when_the_receiver_is_killed_and_comes_back() {
    let platform = Platform::new();
    let mut nodes = Nodes::start(&platform, &["copy_rate_limit: 4000000", "buffer_size: 50000"]);
    let source = platform.write("large", bytes(4_000_000));
    let api = nodes.central.api();
    for node in [2, 6, 7] {
        let there = folder(&platform, &format!("there-{node}"));
        let destination = there.join("large");
        let body = json!({ "source": source, "destination": destination, "cache_dir": there.join("cache") });
        let token = start(&nodes.central, node, &body);
        let part = there.join(format!("cache/copy_{token}"));
        let before = until("some of it is there", seconds(20), || {
            fs::metadata(&part).ok().map(|metadata| metadata.len()).filter(|len| *len >= 500_000)
        });
        let daemon = nodes.others.get_mut(&node).unwrap();
        daemon.kill();
        assert!(!destination.exists(), "node {node}: it appears whole or not at all");
        daemon.start_again();
        let rows = api.finished_rows(node, &token, seconds(60));
        assert_eq!(rows.last().map(code), Some(2), "node {node}: {rows:?}");
        assert!(fs::read(&destination).unwrap() == bytes(4_000_000), "node {node}");
        let received: Vec<i64> =
            rows.iter().filter(|row| code(row) == 101).map(|row| data(row)["received"].as_i64().unwrap()).collect();
        assert!(received.is_sorted(), "node {node} went on from {before} and did not begin anew: {received:?}");
        assert!(is_empty(&there.join("cache")), "node {node}");
    }
}

#[test]
fn a_file_that_is_there_already_is_not_sent() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &[]);
    let source = platform.write("source", bytes(300_000));
    for node in [2, 6, 7] {
        let there = folder(&platform, &format!("there-{node}"));
        let destination = there.join("file");
        let body = json!({ "source": source, "destination": destination, "cache_dir": there.join("cache") });
        copied(&nodes.central, node, &body);
        let before = fs::metadata(&destination).unwrap().ino();
        let rows = copy(&nodes.central, node, &body);
        assert_eq!(rows.iter().map(code).collect::<Vec<_>>(), [2], "node {node}: {rows:?}");
        assert_eq!(fs::metadata(&destination).unwrap().ino(), before, "node {node}");
        let mut other = bytes(300_000);
        other[299_999] ^= 1;
        fs::write(&destination, &other).unwrap();
        copied(&nodes.central, node, &body);
        assert!(fs::read(&destination).unwrap() == bytes(300_000), "node {node}: the same size is not enough");
    }
}

#[test]
fn copies_write_under_their_roots_only() {
    let platform = Platform::new();
    let allowed = folder(&platform, "allowed");
    let outside = folder(&platform, "outside");
    symlink(&outside, allowed.join("way-out")).unwrap();
    let plan = platform.plan("poller", 2).with_action(&format!("copy_roots: ['{}']", allowed.display()));
    let poller = Daemon::start(plan);
    let central = Daemon::start(platform.central_with(&[&poller]));
    central.api().wait_for_pong(2, seconds(10));
    let source = platform.write("source", "text");
    let directory = folder(&platform, "directory");
    fs::write(directory.join("file"), "text").unwrap();
    let to = |source: &Path, destination: PathBuf| json!({ "source": source, "destination": destination, "cache_dir": outside.join("cache") });
    copied(&central, 2, &to(&source, allowed.join("file")));
    copied(&central, 2, &to(&directory, allowed.join("new/directory")));
    assert_eq!(fs::read_to_string(allowed.join("new/directory/file")).unwrap(), "text");
    for destination in [outside.join("file"), allowed.join("way-out/file"), allowed.join("../outside/file")] {
        let message = refused(&central, 2, &to(&source, destination.clone()));
        assert!(message.contains("outside copy_roots"), "{}: {message}", destination.display());
    }
    for destination in [outside.join("directory"), allowed.join("way-out/directory"), allowed.join("../outside/d")] {
        let message = refused(&central, 2, &to(&directory, destination.clone()));
        assert!(message.contains("outside copy_roots"), "{}: {message}", destination.display());
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing but the cache of before");
    assert!(is_empty(&outside.join("cache")));
    assert!(!poller.log().contains("copy_roots: is not set"));
}

/// Runs a subcommand with the configuration of a daemon.
fn stheno(daemon: &Daemon, command: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(STHENO)
        .args([command, "--config"])
        .arg(daemon.plan.config_file())
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_commands_copy_and_exec_do_what_they_say_and_end_as_the_node_did() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 2));
    let plan = platform.central_with(&[&poller]).with_api_option("auth: {enabled: true, user: me, password: secret}");
    let central = Daemon::start(plan);
    let source = platform.write("source", bytes(400_000));
    let there = folder(&platform, "there");
    let source = source.to_str().unwrap();
    let target = format!("2:{}/", there.display());
    let (status, out, err) = stheno(&central, "copy", &["--mode", "0600", source, &target]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("process copy finished successfully: 400 kB in "), "{out}");
    assert!(fs::read(there.join("source")).unwrap() == bytes(400_000));
    let (status, out, _) = stheno(&central, "copy", &["--json", "/nowhere", &target]);
    let line: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((status, &line["ok"]), (Some(1), &json!(false)), "{out}");
    assert_eq!(line["message"], json!("unknown source (/nowhere: No such file or directory)"));
    let (status, _, err) = stheno(&central, "copy", &["/nowhere", &target]);
    assert_eq!(status, Some(1));
    assert!(err.contains("unknown source"), "{err}");

    let exec = |arguments: &[&str]| stheno(&central, "exec", arguments);
    assert_eq!(exec(&["2", "--", "echo", "a  b;", "exit", "7"]), (Some(7), "a b\n".to_owned(), String::new()));
    let (status, out, _) = exec(&["--json", "2", "--", "printf '%s' '€'; exit 3"]);
    let line: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((status, &line["exit_code"], &line["stdout"]), (Some(3), &json!(3), &json!("€")));
    let (status, out, err) = exec(&["--timeout", "1", "2", "--", "sleep 60"]);
    assert_eq!((status, out.as_str()), (Some(255), ""));
    assert!(err.contains("Command too long to execute"), "{err}");
    let (status, _, err) = exec(&["99", "--", "true"]);
    assert_eq!(status, Some(255));
    assert!(err.contains("proxy - unknown target 99"), "{err}");
}

#[test]
fn a_command_after_a_copy_finds_the_file_in_its_place() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &[]);
    let api = nodes.central.api();
    let source = platform.write("source", bytes(1_500_000));
    for node in EVERY_KIND {
        let there = folder(&platform, &format!("there-{node}"));
        let destination = there.join("file");
        let body = json!({ "source": source, "destination": destination, "cache_dir": there.join("cache") });
        start(&nodes.central, node, &body);
        let line = format!("wc -c < {}", destination.display());
        assert_eq!(api.output_of(node, &line, seconds(60)).trim(), "1500000", "node {node}");
    }
}
