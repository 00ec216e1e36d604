//! Directories that are copied by difference (docs/protocol.md section 12).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::copies::{EVERY_KIND, Nodes, bytes, copied, copy, folder, is_empty, refused, start};
use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, SmallDisk, seconds, until};
use crate::subcommand::Running;

/// Every path below a directory with kind, permissions, time and content.
fn listed(root: &Path) -> BTreeMap<String, String> {
    let (mut all, mut waiting) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let text = if metadata.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                let (mode, modified) = (metadata.permissions().mode(), metadata.modified().unwrap());
                let len = if metadata.is_file() { metadata.len() } else { 0 };
                format!("{mode:o} {modified:?} {len}")
            };
            all.insert(path.strip_prefix(root).unwrap().display().to_string(), text);
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
    }
    all
}

/// Like the export of a configuration: many files in some directories.
fn export(root: &Path, files: usize) {
    for number in 0..files {
        let directory = root.join(format!("{}", number % 20));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{number}.cfg")), bytes(2_000 + number)).unwrap();
    }
}

/// The bytes that the node took, by the rows of a copy.
fn received(rows: &[Value]) -> i64 {
    let steps = rows.iter().filter(|row| code(row) == 101);
    steps.map(|row| data(row)["received"].as_i64().unwrap()).max().unwrap_or(0)
}

#[test]
fn only_what_has_changed_goes_to_nodes_of_every_kind() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &[]);
    let source = platform.path("export");
    export(&source, 300);
    symlink("1/1.cfg", source.join("link")).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
    fs::set_permissions(source.join("3/3.cfg"), fs::Permissions::from_mode(0o640)).unwrap();
    let place = |node: u32| folder(&platform, &format!("there-{node}"));
    let body = |node: u32| {
        let there = place(node);
        json!({ "source": source, "destination": there.join("d"), "cache_dir": there.join("cache") })
    };
    let whole = EVERY_KIND.map(|node| received(&copy(&nodes.central, node, &body(node))));
    for node in EVERY_KIND {
        assert_eq!(listed(&place(node).join("d")), listed(&source), "node {node}");
        assert_eq!(received(&copy(&nodes.central, node, &body(node))), 0, "node {node}: nothing has changed");
    }
    for number in [4, 5, 6] {
        fs::write(source.join(format!("{number}/{number}.cfg")), "changed").unwrap();
    }
    fs::set_permissions(source.join("7/7.cfg"), fs::Permissions::from_mode(0o600)).unwrap();
    let touched = SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().write(true).open(source.join("8/8.cfg")).unwrap().set_modified(touched).unwrap();
    for (node, whole) in EVERY_KIND.into_iter().zip(whole) {
        fs::write(place(node).join("d/1/mine"), "stays").unwrap();
        let part = received(&copy(&nodes.central, node, &body(node)));
        assert!(part > 0 && part * 50 < whole, "node {node}: {part} of {whole}");
        let mut there = listed(&place(node).join("d"));
        assert!(there.remove("1/mine").is_some(), "a copy merges");
        let (mut theirs, mut ours) = (there, listed(&source));
        // What is merged into it changes the time of a directory.
        [&mut theirs, &mut ours].into_iter().for_each(|all| drop(all.remove("1")));
        assert_eq!(theirs, ours, "node {node}");
        let mut body = body(node);
        body["delete"] = json!(true);
        copied(&nodes.central, node, &body);
        assert_eq!(listed(&place(node).join("d")), listed(&source), "node {node}");
        assert!(is_empty(&place(node).join("cache")));
    }
}

#[test]
fn an_unchanged_directory_of_5000_files_costs_a_tenth_of_a_first_copy() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let source = platform.path("export");
    for number in 0..5_000 {
        let directory = source.join(format!("{}", number % 50));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{number}.cfg")), bytes(12_000)).unwrap();
    }
    let there = folder(&platform, "there");
    let body = json!({ "source": source, "destination": there.join("d"), "cache_dir": there.join("cache") });
    let timed = || {
        let began = Instant::now();
        copied(&central, 2, &body);
        began.elapsed()
    };
    let first = timed();
    let again = [timed(), timed(), timed()].into_iter().min().unwrap();
    println!("5,000 files: {first:?} first, {again:?} again");
    assert!(again < first / 4, "first {first:?}, again {again:?}");
}

#[test]
fn a_directory_goes_on_after_either_end_was_killed() {
    let platform = Platform::new();
    let mut nodes = Nodes::start(&platform, &["copy_rate_limit: 3000000", "buffer_size: 50000"]);
    let source = platform.path("export");
    fs::create_dir(&source).unwrap();
    // Random enough not to be packed away.
    for number in 0..40_u64 {
        let mut state = number + 1;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = std::iter::repeat_with(next).take(100_000).collect();
        fs::write(source.join(number.to_string()), noise).unwrap();
    }
    for (node, killed) in [(2, 2), (8, 3), (7, 7)] {
        let there = folder(&platform, &format!("there-{node}"));
        let body = json!({ "source": source, "destination": there.join("d"), "cache_dir": there.join("cache") });
        let token = start(&nodes.central, node, &body);
        let part = there.join("cache").join(format!("copy_{token}"));
        until("some of it is there", seconds(20), || {
            fs::metadata(&part).ok().filter(|part| part.len() > 300_000).map(drop)
        });
        let other = nodes.others.get_mut(&killed).unwrap();
        other.kill();
        other.start_again();
        let rows = nodes.central.api().finished_rows(node, &token, seconds(60));
        assert_eq!(rows.last().map(code), Some(2), "node {node}: {rows:?}");
        assert_eq!(listed(&there.join("d")), listed(&source), "node {node}");
        let steps: Vec<i64> =
            rows.iter().filter(|row| code(row) == 101).map(|row| data(row)["received"].as_i64().unwrap()).collect();
        assert!(steps.is_sorted(), "node {node} never began anew: {steps:?}");
    }
}

#[test]
fn what_cannot_be_copied_by_difference_is_named() {
    let platform = Platform::new();
    let allowed = folder(&platform, "allowed");
    let roots = format!("copy_roots: ['{}']", allowed.display());
    let poller = Daemon::start(platform.plan("poller", 2).with_action(&roots));
    let central = Daemon::start(platform.central_with(&[&poller]).with_proxy("ping: 1"));
    central.api().wait_for_pong(2, seconds(10));
    let source = platform.path("export");
    export(&source, 3);
    let body = |destination: &Path, delete: bool| json!({ "source": source, "destination": destination, "cache_dir": allowed.join("cache"), "delete": delete });
    let outside = folder(&platform, "outside");
    fs::write(outside.join("precious"), "x").unwrap();
    let why = refused(&central, 2, &body(&outside, true));
    assert!(why.contains("outside copy_roots"), "{why}");
    assert!(outside.join("precious").exists());
    symlink(&outside, allowed.join("0")).unwrap();
    let why = refused(&central, 2, &body(&allowed, true));
    assert!(why.contains("leads out of the destination"), "{why}");
    assert!(outside.join("precious").exists());
}

#[test]
fn a_disk_that_fills_ends_the_copy_of_a_directory() {
    let platform = Platform::new();
    let Ok(disk) = SmallDisk::mounted(platform.path("disk"), "1m") else { return println!("SKIPPED: no mount") };
    let (central, _poller) = platform.pair();
    let source = platform.path("export");
    export(&source, 600);
    let there = disk.0.join("d");
    let body = json!({ "source": source, "destination": there, "cache_dir": platform.path("") });
    let why = refused(&central, 2, &body);
    assert!(why.contains("No space left") || why.contains("stay so"), "{why}");
    let files = listed(&there).into_iter().filter(|(name, _)| name.ends_with(".cfg")).count();
    assert_eq!(files, 0, "nothing appears by halves");
}

#[test]
fn the_command_line_deletes_only_if_asked_to() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let source = platform.path("export");
    export(&source, 5);
    let there = folder(&platform, "there");
    fs::write(there.join("mine"), "x").unwrap();
    let target = format!("2:{}", there.display());
    let run = |arguments: &[&str]| {
        let source = source.display().to_string();
        let all: Vec<&str> = arguments.iter().copied().chain([source.as_str(), target.as_str()]).collect();
        let (out, err, status) = Running::start(&central, "copy", &all).end();
        assert_eq!((err.as_str(), status.code()), ("", Some(0)), "{out}");
    };
    run(&[]);
    assert!(there.join("mine").exists() && there.join("4/4.cfg").exists());
    run(&["--checksum", "--delete"]);
    assert!(!there.join("mine").exists() && !there.join("cache").exists());
    assert_eq!(listed(&there), listed(&source));
}
