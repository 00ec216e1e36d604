//! Copies that are interrupted and continue: after a restart of any end, and under another token (docs/protocol.md
//! section 12).

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::copies::{EVERY_KIND, Nodes, bytes, copied, copy, folder, is_empty, start};
use crate::hostile_copies::{md5, perl_base64};
use crate::platform::SmallDisk;
use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, seconds, until};

const SIZE: usize = 4_000_000;
/// With this pace a copy of [`SIZE`] takes about a second.
const SLOWLY: [&str; 2] = ["copy_rate_limit: 4000000", "buffer_size: 50000"];

/// Returns what the receiver said that it had, in the order of its rows.
fn received(rows: &[Value]) -> Vec<i64> {
    rows.iter().filter(|row| code(row) == 101).map(|row| data(row)["received"].as_i64().unwrap()).collect()
}

/// A copy in progress.
struct Under {
    node: u32,
    cache: PathBuf,
    destination: PathBuf,
    body: Value,
    token: String,
}

impl Under {
    fn way(platform: &Platform, central: &Daemon, node: u32, source: &Path) -> Self {
        let there = folder(platform, &format!("there-{node}"));
        let (destination, cache) = (there.join("large"), there.join("cache"));
        let body = json!({ "source": source, "destination": destination, "cache_dir": cache });
        let token = start(central, node, &body);
        Self { node, cache, destination, body, token }
    }

    /// Waits until a good part has arrived.
    fn part(&self) -> i64 {
        let part = self.cache.join(format!("copy_{}", self.token));
        let len = until("some of it is there", seconds(20), || {
            fs::metadata(&part).ok().map(|metadata| metadata.len()).filter(|len| *len >= 500_000)
        });
        i64::try_from(len).unwrap()
    }

    fn is_whole(&self) {
        assert!(fs::read(&self.destination).unwrap() == bytes(SIZE), "node {}", self.node);
        assert!(is_empty(&self.cache), "node {} leaves something in its cache", self.node);
    }
}

#[test]
fn a_copy_that_is_asked_for_again_after_the_central_was_killed_goes_on_where_it_was() {
    let platform = Platform::new();
    let mut nodes = Nodes::start(&platform, &SLOWLY);
    let source = platform.write("large", bytes(SIZE));
    let copies = EVERY_KIND.map(|node| Under::way(&platform, &nodes.central, node, &source));
    let before = copies.each_ref().map(Under::part);
    nodes.central.kill();
    nodes.central.start_again();
    for id in [2, 3, 6, 7] {
        nodes.central.api().wait_for_pong(id, seconds(10));
    }
    until("the node behind the relay is known", seconds(10), || {
        nodes.central.api().node_status(3)["nodes"].get("8").is_some().then_some(())
    });
    for (under, before) in copies.iter().zip(before) {
        let rows = copy(&nodes.central, under.node, &under.body);
        assert_eq!(rows.last().map(code), Some(2), "node {}: {rows:?}", under.node);
        let first = received(&rows)[0];
        assert!(first > before, "node {} went on from {before}: {first}", under.node);
        under.is_whole();
        let ends = nodes.central.api().rows(under.node, &under.token);
        let count = ends.iter().filter(|row| matches!(code(row), 1 | 2)).count();
        // What was sent to a relay before a restart is looked for there for a minute before it is ended.
        assert!(count == 1 || (under.node == 8 && count == 0), "node {}: {ends:?}", under.node);
    }
}

#[test]
fn a_copy_that_a_stop_of_the_central_ended_goes_on_when_both_were_restarted() {
    let platform = Platform::new();
    let mut nodes = Nodes::start(&platform, &SLOWLY);
    let source = platform.write("large", bytes(SIZE));
    let under = Under::way(&platform, &nodes.central, 2, &source);
    let before = under.part();
    assert!(nodes.central.stop().0.success());
    let receiver = nodes.others.get_mut(&2).unwrap();
    receiver.kill();
    receiver.start_again();
    nodes.central.start_again();
    nodes.central.api().wait_for_pong(2, seconds(10));
    let rows = copy(&nodes.central, 2, &under.body);
    assert_eq!(rows.last().map(code), Some(2), "{rows:?}");
    assert!(received(&rows)[0] > before, "{before}: {rows:?}");
    under.is_whole();
    // Parts of a file that has changed are not used.
    let under = Under::way(&platform, &nodes.central, 2, &platform.write("large", vec![7_u8; SIZE]));
    let _before = under.part();
    nodes.central.kill();
    nodes.central.start_again();
    nodes.central.api().wait_for_pong(2, seconds(10));
    fs::write(&source, bytes(SIZE)).unwrap();
    copied(&nodes.central, 2, &under.body);
    under.is_whole();
}

#[test]
fn a_copy_through_relays_goes_on_when_one_of_them_or_the_receiver_is_killed() {
    let platform = Platform::new();
    // Node 9 is behind 8, which is behind 3.
    let far = Daemon::start(platform.plan("node-9", 9).with_authorized("poller"));
    let mut nodes = Nodes::start(&platform, &SLOWLY);
    let (far_port, relay) = (far.plan.port, nodes.others.remove(&8).unwrap());
    drop(relay);
    let mut plan = platform.plan("node-8", 8).with_authorized("poller").with_proxy("ping: 1").with_node(9, far_port);
    plan.port = nodes.others[&3].plan.nodes[0].2;
    nodes.others.insert(8, Daemon::start(plan));
    nodes.others.insert(9, far);
    let api = nodes.central.api();
    until("the node behind two relays is known", seconds(60), || {
        let routes = api.get("/api/internal/routes/9").json();
        routes.to_string().contains("\"through\":3").then_some(())
    });
    assert_eq!(api.output_of(9, "echo there", seconds(20)), "there");
    for (number, killed) in [3, 8, 9].into_iter().enumerate() {
        let source = platform.write(&format!("large-{number}"), bytes(SIZE));
        let under = Under::way(&platform, &nodes.central, 9, &source);
        let before = under.part();
        let daemon = nodes.others.get_mut(&killed).unwrap();
        daemon.kill();
        assert!(!under.destination.exists(), "it appears whole or not at all");
        daemon.start_again();
        let rows = api.finished_rows(9, &under.token, seconds(60));
        assert_eq!(rows.last().map(code), Some(2), "{killed} killed: {rows:?}");
        let all = received(&rows);
        assert!(all.is_sorted() && !all.is_empty(), "{killed} killed, went on from {before}: {all:?}");
        under.is_whole();
        fs::remove_file(&under.destination).unwrap();
    }
}

#[test]
fn a_file_that_is_there_already_is_not_sent_through_a_relay_either() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &[]);
    let source = platform.write("source", bytes(300_000));
    let there = folder(&platform, "there");
    let destination = there.join("file");
    let body = json!({ "source": source, "destination": destination, "cache_dir": there.join("cache") });
    copied(&nodes.central, 8, &body);
    let before = fs::metadata(&destination).unwrap().ino();
    let rows = copy(&nodes.central, 8, &body);
    assert_eq!(rows.iter().map(code).collect::<Vec<_>>(), [2], "{rows:?}");
    assert_eq!(fs::metadata(&destination).unwrap().ino(), before);
}

#[test]
fn chunks_that_are_larger_than_a_websocket_message_reach_a_pullwss_node() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &["buffer_size: 1000000"]);
    let size = 3_000_001;
    let source = platform.write("source", bytes(size));
    for node in EVERY_KIND {
        let there = folder(&platform, &format!("there-{node}"));
        let destination = there.join("file");
        copied(
            &nodes.central,
            node,
            &json!({ "source": source, "destination": destination, "cache_dir": there.join("cache") }),
        );
        assert!(fs::read(&destination).unwrap() == bytes(size), "node {node}");
    }
    // A Perl central above sends such chunks through this one.
    let mut above = nodes.central.client();
    for (node, token) in [(6, "through-6"), (7, "through-7"), (2, "through-2")] {
        let there = folder(&platform, token);
        let (destination, cache) = (there.join("file"), there.join("cache"));
        let mut send = |content: Value| {
            let data = json!({ "logging": null, "content": content, "parameters": { "no_fork": 1 } });
            above.send("PROCESSCOPY", token, &node.to_string(), &data).unwrap();
        };
        for part in bytes(size).chunks(700_000) {
            let chunk = json!({ "data": perl_base64(part), "size": part.len() });
            send(json!({
                "status": "inprogress", "type": "regular", "chunk": chunk, "md5": null, "destination": destination, "cache_dir": cache,
            }));
        }
        send(json!({
            "status": "end", "type": "regular", "chunk": null, "md5": md5(&bytes(size)), "destination": destination, "cache_dir": cache,
        }));
        let rows = nodes.central.api().finished_rows(node, token, seconds(20));
        assert_eq!(rows.last().map(code), Some(2), "node {node}: {rows:?}");
        assert!(fs::read(&destination).unwrap() == bytes(size), "node {node}");
    }
    // What cannot be split is refused, and named.
    let content = json!({ "status": "end", "type": "regular", "md5": "x".repeat(300_000), "destination": "/x" });
    above.send("PROCESSCOPY", "too-long", "7", &json!({ "content": content })).unwrap();
    let rows = nodes.central.api().finished_rows(0, "too-long", seconds(20));
    let message = data(rows.last().unwrap())["message"].as_str().unwrap().to_owned();
    assert!(message.contains("is too large for the WebSocket of node '7'"), "{message}");
}

#[test]
fn places_that_cannot_be_written_to_are_named_at_both_ends() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let source = platform.write("source", "text");
    let directory = folder(&platform, "directory");
    let file = platform.write("a file", "text");
    let Some(disk) = SmallDisk::new(platform.path("small-disk")) else { return };
    disk.remount_read_only();
    let there = folder(&platform, "there");
    let copy_of = |source: &Path, destination: PathBuf, cache: &Path| {
        let body = json!({ "source": source, "destination": destination, "cache_dir": cache });
        let token = start(&central, 2, &body);
        let rows = central.api().finished_rows(2, &token, seconds(20));
        let last = rows.last().unwrap();
        assert_eq!(code(last), 1, "{rows:?}");
        let data = data(last);
        let detail = data["detail"].as_str().map(|detail| format!(" | {detail}")).unwrap_or_default();
        (data["message"].as_str().unwrap().to_owned() + &detail).replace(&token, "TOKEN")
    };
    let read_only = disk.0.display();
    let to_cache = |cache: &Path| copy_of(&source, there.join("file"), cache);
    assert_eq!(to_cache(&disk.0), format!("file '{read_only}/copy_TOKEN' open failed: Read-only file system"));
    assert_eq!(to_cache(&file), format!("file '{}/copy_TOKEN' open failed: Not a directory", file.display()));
    let cache = there.join("cache");
    let destination = disk.0.join("file");
    let expected = format!("Can't copy file to {}, Read-only file system", destination.display());
    assert_eq!(copy_of(&source, destination, &cache), expected);
    let expected = format!("untar failed: {read_only}/new: Read-only file system | {read_only}/new");
    assert_eq!(copy_of(&directory, disk.0.join("new"), &cache), expected);
    let expected = format!("untar failed: {}: Not a directory | {}", file.display(), file.display());
    assert_eq!(copy_of(&directory, file.clone(), &cache), expected);
    // The sender packs a directory in its own `cache_dir`.
    let packed = copy_of(&directory, there.join("new"), &disk.0);
    assert!(packed.contains(&format!("{read_only}")) && packed.contains("Read-only file system"), "{packed}");
    assert!(is_empty(&cache) && !there.join("file").exists());
}

#[test]
fn a_file_that_changes_while_it_is_sent_ends_the_copy_and_leaves_nothing() {
    let platform = Platform::new();
    let nodes = Nodes::start(&platform, &SLOWLY);
    for node in EVERY_KIND {
        let source = platform.write("changing", bytes(SIZE));
        let under = Under::way(&platform, &nodes.central, node, &source);
        let _part = under.part();
        fs::write(&source, bytes(SIZE / 2)).unwrap();
        let rows = nodes.central.api().finished_rows(node, &under.token, seconds(20));
        let ends: Vec<Value> = rows.iter().filter(|row| matches!(code(row), 1 | 2)).map(data).collect();
        let detail = format!("{} changed while it was read", source.display());
        assert_eq!(ends, [json!({ "message": "remote copy failed", "detail": detail })], "node {node}");
        until("nothing is left", seconds(20), || is_empty(&under.cache).then_some(()));
        assert!(!under.destination.exists());
    }
}

#[test]
fn more_copies_than_run_at_once_all_arrive() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let there = folder(&platform, "there");
    let tokens: Vec<String> = (0..40)
        .map(|number| {
            let source = platform.write(&format!("source-{number}"), bytes(1_000 + number));
            let destination = there.join(number.to_string());
            start(
                &central,
                2,
                &json!({ "source": source, "destination": destination, "cache_dir": there.join("cache") }),
            )
        })
        .collect();
    for (number, token) in tokens.iter().enumerate() {
        let rows = central.api().finished_rows(2, token, seconds(20));
        assert_eq!(rows.last().map(code), Some(2), "{rows:?}");
        assert!(fs::read(there.join(number.to_string())).unwrap() == bytes(1_000 + number), "{number}");
    }
    assert!(is_empty(&there.join("cache")));
}

#[test]
fn what_a_node_that_was_killed_while_it_unpacked_left_goes_when_nobody_asks_for_a_day() {
    let platform = Platform::new();
    let (mut central, mut poller) = platform.pair();
    central.api().wait_for_pong(2, seconds(10));
    let tree = folder(&platform, "tree");
    fs::create_dir(tree.join("sub")).unwrap();
    for number in 0..1_500 {
        fs::write(tree.join(format!("sub/{number}")), "text").unwrap();
    }
    let (there, cache) = (platform.path("there"), folder(&platform, "parts").join("cache"));
    let token = start(&central, 2, &json!({ "source": tree, "destination": there, "cache_dir": cache }));
    let is_half = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".copy_");
    let halves = || fs::read_dir(there.join("sub")).map_or(0, |names| names.flatten().filter(is_half).count());
    while halves() == 0 {
        poller.assert_running();
    }
    poller.kill();
    central.kill();
    assert!(halves() > 0, "it was killed while it unpacked");

    // A day later, with a central that knows nothing of the copy.
    let gathered = cache.join(format!("copy_{token}"));
    let touched = std::process::Command::new("touch").args(["-d", "2 days ago"]).arg(&gathered).status().unwrap();
    assert!(touched.success());
    fs::remove_file(&central.plan.database).unwrap();
    poller.start_again();
    central.start_again();
    central.api().wait_for_pong(2, seconds(10));
    let rows = copy(
        &central,
        2,
        &json!({ "source": tree.join("sub/1"), "destination": platform.path("one"), "cache_dir": cache }),
    );
    assert_eq!(rows.last().map(code), Some(2), "{rows:?}");
    assert_eq!(halves(), 0);
    assert!(is_empty(&cache));
}

/// A central and a node between which copies take their time.
fn slow_pair(platform: &Platform) -> (Daemon, Daemon) {
    let node = Daemon::start(platform.plan("poller", 2));
    let plan = platform.central_with(&[&node]).with_proxy("ping: 1").with_proxy("copy_rate_limit: 40000000");
    let central = Daemon::start(plan);
    central.api().wait_for_pong(2, seconds(10));
    (central, node)
}

#[test]
fn a_receiver_that_is_killed_again_and_again_goes_on_each_time() {
    const LARGE: usize = 60_000_000;
    let platform = Platform::new();
    let (central, mut node) = slow_pair(&platform);
    let source = platform.write("large", bytes(LARGE));
    let under = Under::way(&platform, &central, 2, &source);
    let part = under.cache.join(format!("copy_{}", under.token));
    for step in 1..6 {
        until("the next part is there", seconds(60), || {
            fs::metadata(&part).ok().filter(|part| part.len() > step * 10_000_000)
        });
        node.kill();
        node.start_again();
    }
    let rows = central.api().finished_rows(2, &under.token, seconds(120));
    assert_eq!(rows.last().map(code), Some(2), "{rows:?}");
    assert!(received(&rows).is_sorted(), "it never began anew: {rows:?}");
    assert!(fs::read(&under.destination).unwrap() == bytes(LARGE));
    assert!(is_empty(&under.cache));
}

#[test]
fn a_copy_goes_on_at_the_first_piece_that_is_not_what_was_sent() {
    const LARGE: usize = 30_000_000;
    const PIECE: i64 = 4 << 20;
    let platform = Platform::new();
    let (central, mut node) = slow_pair(&platform);
    let source = platform.write("large", bytes(LARGE));
    let under = Under::way(&platform, &central, 2, &source);
    let part = under.cache.join(format!("copy_{}", under.token));
    until("three pieces are there", seconds(60), || {
        fs::metadata(&part).ok().filter(|part| part.len() > 3 * PIECE as u64 + 500_000)
    });
    node.kill();
    // A disk that lost what was written last, without the length.
    let damaged = fs::OpenOptions::new().write(true).open(&part).unwrap();
    damaged.write_all_at(&[0; 1_000], 2 * PIECE as u64 + 70_000).unwrap();
    node.start_again();
    let rows = central.api().finished_rows(2, &under.token, seconds(120));
    assert_eq!(rows.last().map(code), Some(2), "{rows:?}");
    assert!(fs::read(&under.destination).unwrap() == bytes(LARGE));
    central.wait_for_log(&format!("{} of the ", 2 * PIECE), seconds(1));
    let all = received(&rows);
    assert!(all.iter().any(|received| *received > 2 * PIECE && *received < 3 * PIECE), "{all:?}");
}

#[test]
fn a_source_that_is_written_to_while_it_is_sent_is_said_and_nothing_appears() {
    let platform = Platform::new();
    let (central, _node) = slow_pair(&platform);
    for (name, change) in [("overwritten", 0_u64), ("appended", 20_000_000)] {
        let source = platform.write(name, bytes(20_000_000));
        let under = Under::way(&platform, &central, 2, &source);
        let _some = under.part();
        let open = fs::OpenOptions::new().write(true).open(&source).unwrap();
        open.write_all_at(b"something else", change).unwrap();
        let rows = central.api().finished_rows(2, &under.token, seconds(60));
        let last = data(rows.iter().find(|row| code(row) != 101).unwrap());
        assert!(last.to_string().contains("changed while it was read"), "{name}: {last}");
        assert!(!under.destination.exists(), "{name}");
        until("the cache is empty", seconds(10), || is_empty(&under.cache).then_some(()));
        fs::remove_dir_all(under.cache.parent().unwrap()).unwrap();
    }
}
