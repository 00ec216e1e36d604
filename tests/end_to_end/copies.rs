//! Copies through the REST API to every kind of node (protocol.md section 12).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, free_port, seconds, until};

const TOKEN: &str = "t0k3n-0f-the-test";
/// Node 8 is behind node 3.
const EVERY_KIND: [u32; 4] = [2, 6, 7, 8];

/// A central with a push node (2), a pull node (6), a pullwss node (7), and a relay (3) with a node behind it (8).
struct Nodes {
    central: Daemon,
    others: Vec<Daemon>,
}

impl Nodes {
    fn start(platform: &Platform, proxy: &[&str]) -> Self {
        let port = free_port();
        let behind = Daemon::start(platform.plan("node-8", 8).with_authorized("poller"));
        let relay = Daemon::start(platform.plan("node-3", 3).with_node(8, behind.plan.port));
        let push = Daemon::start(platform.plan("node-2", 2));
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
        let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {TOKEN}")];
        let wss = platform.plan("node-7", 7).with_module("pullwss", &lines);
        let central = Daemon::start(plan);
        let others = vec![behind, relay, push, Daemon::start(pull), Daemon::start(wss)];
        for id in [2, 3, 6, 7] {
            central.api().wait_for_pong(id, seconds(10));
        }
        until("the node behind the relay is known", seconds(10), || {
            central.api().node_status(3)["nodes"].get("8").is_some().then_some(())
        });
        Self { central, others }
    }
}

/// Starts a copy and returns its token.
#[track_caller]
fn start(central: &Daemon, node: u32, body: &Value) -> String {
    let answer = central.api().post(&format!("/api/nodes/{node}/core/proxy/remotecopy"), body);
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// Copies and returns the rows.
#[track_caller]
fn copy(central: &Daemon, node: u32, body: &Value) -> Vec<Value> {
    central.api().finished_rows(node, &start(central, node, body), seconds(60))
}

#[track_caller]
fn copied(central: &Daemon, node: u32, body: &Value) {
    let rows = copy(central, node, body);
    let last = rows.last().unwrap();
    let success = (code(last), data(last)["message"].as_str() == Some("process copy finished successfully"));
    assert_eq!(success, (2, true), "node {node}, {body}: {rows:?}");
}

/// The message of the row that ends a copy with an error, and what it is about.
#[track_caller]
fn refused(central: &Daemon, node: u32, body: &Value) -> String {
    let rows = copy(central, node, body);
    let ends: Vec<&Value> = rows.iter().filter(|row| matches!(code(row), 1 | 2)).collect();
    assert_eq!(ends.iter().map(|row| code(row)).collect::<Vec<_>>(), [1], "node {node}, {body}: {rows:?}");
    let data = data(ends[0]);
    let detail = data["detail"].as_str().map(|detail| format!(" | {detail}")).unwrap_or_default();
    data["message"].as_str().unwrap().to_owned() + &detail
}

/// A folder of a node, and its cache in it.
fn folder(platform: &Platform, name: &str) -> PathBuf {
    let folder = platform.path(name);
    fs::create_dir_all(folder.join("cache")).unwrap();
    folder
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

/// Bytes that no two places of a file share.
fn bytes(len: usize) -> Vec<u8> {
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
    drop(nodes.others);
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
