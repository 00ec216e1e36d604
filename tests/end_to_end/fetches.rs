//! Copies from nodes of every kind (docs/protocol.md section 12), through the REST API and the command line.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::copies::{EVERY_KIND, Nodes, bytes, folder, is_empty};
use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, SmallDisk, seconds, until};
use crate::subcommand::Running;

/// Starts a copy from a node and returns its token.
#[track_caller]
fn start(central: &Daemon, node: u32, body: &Value) -> String {
    let answer = central.api().post(&format!("/api/nodes/{node}/core/proxy/fetch"), body);
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[track_caller]
fn fetch(central: &Daemon, node: u32, body: &Value) -> Vec<Value> {
    central.api().finished_rows(node, &start(central, node, body), seconds(60))
}

/// Fetches, and returns the last row.
#[track_caller]
fn fetched(central: &Daemon, node: u32, body: &Value) -> Value {
    let rows = fetch(central, node, body);
    let last = rows.last().unwrap();
    assert_eq!(code(last), 2, "node {node}, {body}: {rows:?}");
    assert_eq!(data(last)["message"], "process copy finished successfully");
    data(last)
}

/// The message and the detail of the row that ends a copy with an error.
#[track_caller]
fn refused(central: &Daemon, node: u32, body: &Value) -> String {
    let rows = fetch(central, node, body);
    let ends: Vec<&Value> = rows.iter().filter(|row| matches!(code(row), 1 | 2)).collect();
    assert_eq!(ends.iter().map(|row| code(row)).collect::<Vec<_>>(), [1], "node {node}, {body}: {rows:?}");
    let data = data(ends[0]);
    format!("{} | {}", data["message"].as_str().unwrap(), data["detail"].as_str().unwrap_or_default())
}

/// The only folder that the nodes give away.
fn readable(platform: &Platform) -> PathBuf {
    let readable = platform.path("readable");
    fs::create_dir_all(&readable).unwrap();
    readable
}

#[test]
fn files_of_every_size_and_a_directory_come_from_nodes_of_every_kind() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &[]);
    let there = readable(&platform);
    let sizes = [0, 1, 119_999, 120_000, 120_001, 3_000_000];
    for size in sizes {
        fs::write(there.join(size.to_string()), bytes(size)).unwrap();
    }
    fs::create_dir_all(there.join("directory/empty")).unwrap();
    fs::write(there.join("directory/script"), "#!/bin/sh").unwrap();
    fs::set_permissions(there.join("directory/script"), fs::Permissions::from_mode(0o750)).unwrap();
    for node in EVERY_KIND {
        let here = folder(&platform, &format!("here-{node}"));
        let cache = here.join("cache");
        for size in sizes {
            let destination = format!("{}/", here.display());
            let body =
                json!({ "source": there.join(size.to_string()), "destination": destination, "cache_dir": cache });
            fetched(&nodes.central, node, &body);
            assert!(fs::read(here.join(size.to_string())).unwrap() == bytes(size), "node {node}, {size} bytes");
        }
        let body = json!({ "source": there.join("directory"), "destination": here.join("d"), "cache_dir": cache });
        fetched(&nodes.central, node, &body);
        let script = here.join("d/script");
        assert_eq!(fs::read_to_string(&script).unwrap(), "#!/bin/sh");
        assert_eq!(fs::metadata(script).unwrap().permissions().mode() & 0o777, 0o750);
        assert!(here.join("d/empty").is_dir());
        assert!(is_empty(&cache), "node {node}: something is left in the cache");
    }
}

#[test]
fn what_may_not_be_read_is_named_and_neither_hangs_nor_lies() {
    let platform = Platform::new();
    let there = readable(&platform);
    let secret = platform.write("secret", "secret");
    symlink(&secret, there.join("link")).unwrap();
    symlink(platform.path(""), there.join("way")).unwrap();
    assert!(Command::new("mkfifo").arg(there.join("fifo")).status().unwrap().success());
    fs::write(there.join("plain"), "x").unwrap();
    let allowing = format!("read_roots: ['{}', /proc]", there.display());
    let open = Daemon::start(platform.plan("open", 2).with_action(&allowing));
    let shut = Daemon::start(platform.plan("shut", 3));
    let central = Daemon::start(platform.central_with(&[&open, &shut]).with_proxy("ping: 1"));
    for id in [2, 3] {
        central.api().wait_for_pong(id, seconds(10));
    }
    let here = folder(&platform, "here");
    let body =
        |source: &Path| json!({ "source": source, "destination": here.join("x"), "cache_dir": here.join("cache") });
    let why = refused(&central, 3, &body(&there.join("plain")));
    assert!(why.contains("read_roots of its module action is empty"), "{why}");
    for (source, said) in [
        (secret.clone(), "is outside read_roots"),
        (there.join("../secret"), "without '..'"),
        (there.join("link"), "is a symlink"),
        (there.join("way/secret"), "is a symlink"),
        (there.join("fifo"), "neither a file nor a directory"),
        (there.join("none"), "No such file or directory"),
        (PathBuf::from("/proc/version"), "longer than the system says"),
        (PathBuf::from("relative"), "absolute"),
    ] {
        let why = refused(&central, 2, &body(&source));
        assert!(why.contains(said), "{}: {why}", source.display());
    }
    let why = refused(&central, 2, &json!({ "source": there.join("plain"), "cache_dir": here }));
    assert!(why.contains("the destination is missing"), "{why}");
    let why = refused(&central, 9, &body(&there.join("plain")));
    assert!(why.contains("unknown target 9"), "{why}");
    let why = refused(&central, 1, &body(&there.join("plain")));
    assert!(why.contains("nothing is fetched from this daemon itself"), "{why}");
    assert!(!here.join("x").exists() && is_empty(&here.join("cache")));
}

#[test]
fn the_files_of_the_node_itself_are_not_given_away_but_its_log_is() {
    let platform = Platform::new();
    let plan = platform.plan("poller", 2);
    let (config, folder_of) = (plan.config_file(), platform.path(""));
    let poller = Daemon::start(plan.with_action(&format!("read_roots: ['{}']", folder_of.display())));
    let central = Daemon::start(platform.central_with(&[&poller]).with_proxy("ping: 1"));
    central.api().wait_for_pong(2, seconds(10));
    let here = folder(&platform, "here");
    let body =
        |source: &Path| json!({ "source": source, "destination": here.join("x"), "cache_dir": here.join("cache") });
    let why = refused(&central, 2, &body(&config));
    assert!(why.contains("not given away"), "{why}");
    let last = fetched(&central, 2, &body(&poller.plan.log_file()));
    let log = fs::read_to_string(here.join("x")).unwrap();
    assert!(log.contains("is read by another daemon") || !log.is_empty(), "{last}");
}

#[test]
fn a_log_that_grows_meanwhile_is_what_it_was_and_the_row_says_so() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &["copy_rate_limit: 200000"]);
    let there = readable(&platform).join("log");
    fs::write(&there, bytes(500_000)).unwrap();
    let here = folder(&platform, "here");
    let body = json!({ "source": there, "destination": here.join("log"), "cache_dir": here.join("cache") });
    let token = start(&nodes.central, 2, &body);
    let part = here.join("cache").join(format!("copy_{token}"));
    until("some of it is here", seconds(20), || fs::metadata(&part).ok().filter(|part| part.len() > 0).map(drop));
    OpenOptions::new().append(true).open(&there).unwrap().write_all(b"one more line\n").unwrap();
    let rows = nodes.central.api().finished_rows(2, &token, seconds(60));
    let last = data(rows.last().unwrap());
    assert!(last["detail"].as_str().is_some_and(|detail| detail.contains("first 500000 bytes")), "{rows:?}");
    assert!(fs::read(here.join("log")).unwrap() == bytes(500_000));
    // One that is overwritten is no copy of anything.
    let token = start(&nodes.central, 2, &body);
    let part = here.join("cache").join(format!("copy_{token}"));
    until("some of it is here", seconds(20), || fs::metadata(&part).ok().filter(|part| part.len() > 0).map(drop));
    fs::write(&there, vec![7; 600_000]).unwrap();
    let rows = nodes.central.api().finished_rows(2, &token, seconds(60));
    assert_eq!(code(rows.last().unwrap()), 1, "{rows:?}");
    assert!(data(rows.last().unwrap())["detail"].as_str().unwrap().contains("changed while it was read"), "{rows:?}");
    assert!(fs::read(here.join("log")).unwrap() == bytes(500_000), "the copy before it is untouched");
}

/// What came first after the beginning.
fn first_received(rows: &[Value]) -> i64 {
    let row = rows.iter().find(|row| code(row) == 101).unwrap_or_else(|| panic!("{rows:?}"));
    data(row)["received"].as_i64().unwrap()
}

#[test]
fn a_copy_from_a_node_goes_on_after_a_restart_of_either_end_or_of_a_relay() {
    const SIZE: usize = 4_000_000;
    let platform = Platform::new();
    let mut nodes = Nodes::start(&platform, &["copy_rate_limit: 2000000"]);
    let there = readable(&platform).join("core");
    fs::write(&there, bytes(SIZE)).unwrap();
    let api = nodes.central.api();
    for (node, killed) in [(2, 2), (6, 6), (8, 3), (8, 8)] {
        let here = folder(&platform, &format!("here-{node}-{killed}"));
        let body = json!({ "source": there, "destination": here.join("core"), "cache_dir": here.join("cache") });
        let token = start(&nodes.central, node, &body);
        let part = here.join("cache").join(format!("copy_{token}"));
        until("some of it is here", seconds(20), || fs::metadata(&part).ok().filter(|part| part.len() > 500_000));
        let other = nodes.others.get_mut(&killed).unwrap();
        other.kill();
        other.start_again();
        let rows = api.finished_rows(node, &token, seconds(60));
        assert_eq!(rows.last().map(code), Some(2), "node {node}, killed {killed}: {rows:?}");
        assert!(fs::read(here.join("core")).unwrap() == bytes(SIZE));
        let received: Vec<i64> =
            rows.iter().filter(|row| code(row) == 101).map(|row| data(row)["received"].as_i64().unwrap()).collect();
        assert!(received.is_sorted(), "it never began anew: {received:?}");
    }
    // The one that asks is killed: asked again, it goes on.
    let here = folder(&platform, "again");
    let body = json!({ "source": there, "destination": here.join("core"), "cache_dir": here.join("cache") });
    let token = start(&nodes.central, 2, &body);
    let part = here.join("cache").join(format!("copy_{token}"));
    until("some of it is here", seconds(20), || fs::metadata(&part).ok().filter(|part| part.len() > 1_000_000));
    nodes.central.kill();
    let before = i64::try_from(fs::metadata(&part).unwrap().len()).unwrap();
    nodes.central.start_again();
    nodes.central.api().wait_for_pong(2, seconds(10));
    let rows = fetch(&nodes.central, 2, &body);
    assert!(first_received(&rows) > before, "{before}: {rows:?}");
    assert!(fs::read(here.join("core")).unwrap() == bytes(SIZE));
    let rows = nodes.central.api().rows(2, &token);
    assert_eq!(rows.iter().filter(|row| matches!(code(row), 1 | 2)).count(), 1, "{rows:?}");
}

#[test]
fn a_disk_that_fills_ends_the_copy_and_leaves_room_for_the_next() {
    let platform = Platform::new();
    let Ok(disk) = SmallDisk::mounted(platform.path("disk"), "8m") else { return println!("SKIPPED: no mount") };
    let nodes = Nodes::start(&platform, &[]);
    let there = readable(&platform);
    fs::write(there.join("large"), bytes(12_000_000)).unwrap();
    fs::write(there.join("small"), bytes(100_000)).unwrap();
    let body = |name: &str| {
        let here = &disk.0;
        json!({ "source": there.join(name), "destination": here.join(name), "cache_dir": here })
    };
    let why = refused(&nodes.central, 2, &body("large"));
    assert!(why.contains("No space left on device"), "{why}");
    fetched(&nodes.central, 2, &body("small"));
    assert!(fs::read(disk.0.join("small")).unwrap() == bytes(100_000));
}

#[test]
fn the_command_line_fetches_from_one_node_and_from_several() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &[]);
    let there = readable(&platform);
    fs::write(there.join("log"), "a line").unwrap();
    let here = folder(&platform, "here");
    let log = there.join("log").display().to_string();
    let into = here.display().to_string();
    let run = |arguments: &[&str]| Running::start(&nodes.central, "copy", arguments).end();
    let (out, err, status) = run(&[&format!("2:{log}"), &into]);
    assert_eq!((err.as_str(), status.code()), ("", Some(0)), "{out}");
    assert!(out.starts_with("process copy finished successfully: 6 B in "), "{out}");
    assert_eq!(fs::read_to_string(here.join("log")).unwrap(), "a line");
    let (out, _, status) = run(&["--json", &format!("2,8,6:{log}"), &into]);
    let mut ended: Vec<u64> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["exit_code"] == 0 && line["token"].is_string())
        .map(|line| line["node"].as_u64().unwrap())
        .collect();
    ended.sort_unstable();
    assert_eq!((ended, status.code()), (vec![2, 6, 8], Some(0)), "{out}");
    for node in [2, 6, 8] {
        assert_eq!(fs::read_to_string(here.join(format!("log.{node}"))).unwrap(), "a line");
    }
    let (out, err, status) = run(&["2:/etc/shadow", &into]);
    assert_eq!((out.as_str(), status.code()), ("", Some(1)));
    assert!(err.contains("/etc/shadow is outside read_roots"), "{err}");
    let (out, _, status) = run(&["--json", "2:/etc/shadow", &into]);
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["exit_code"], &last["ok"], status.code()), (&json!(1), &json!(false), Some(1)));
    let (_, err, status) = run(&[&format!("2,6:{log}"), &here.join("none").display().to_string()]);
    assert!(err.contains("is not a directory"), "{err}");
    assert_eq!(status.code(), Some(1));
    let (_, err, _) = run(&[&format!("1:{log}"), &into]);
    assert!(err.contains("node 1 is this machine itself"), "{err}");
}
