//! Copies opposite an independent receiver and sender on libzmq that speak PROCESSCOPY as a Perl daemon does.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, free_port, keys, seconds};
use crate::script::Script;

const BUFFER_SIZE: usize = 150_000;

fn receiver(mode: &str, port: u16) -> Script {
    let (endpoint, key) = (format!("tcp://127.0.0.1:{port}"), keys::private_file("poller"));
    let mut script = Script::start("copy_receiver", &[mode, &endpoint, key.to_str().unwrap()]);
    assert_eq!(script.line(), "ready");
    script
}

/// Returns all octets in an order in which every position differs.
fn bytes(len: usize) -> Vec<u8> {
    (0..len.div_ceil(4)).flat_map(|word| (word as u32).wrapping_mul(2_654_435_761).to_le_bytes()).take(len).collect()
}

/// Copies files of all sizes and a directory to `node`, and tries copies that must fail.
fn copy_to(central: &Daemon, node: u32, script: &mut Script, platform: &Platform) {
    let api = central.api();
    let there = platform.path(&format!("there-{node}"));
    let cache = there.join("cache");
    fs::create_dir_all(&cache).unwrap();
    let rows_of = |source: &Path, destination: &Path| {
        let body = json!({ "source": source, "destination": destination, "cache_dir": cache, "mode": "0640" });
        let answer = api.post(&format!("/api/nodes/{node}/core/proxy/remotecopy"), &body).json();
        let token = answer["token"].as_str().unwrap().to_owned();
        let rows = api.finished_rows(node, &token, seconds(40));
        // The row of a relay that has passed on the end is left out.
        let rows = rows.iter().filter(|row| code(row) != 0);
        let rows: Vec<_> = rows.map(|row| (code(row), data(row)["message"].as_str().unwrap().to_owned())).collect();
        (token, rows)
    };
    let success = (2, "process copy finished successfully".to_owned());
    for size in [0, 1, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, 3_000_000] {
        let source = platform.write(&format!("file {size}"), bytes(size));
        let destination = there.join(format!("file {size}"));
        let (token, rows) = rows_of(&source, &destination);
        // A Perl node creates a file only for a chunk, so an empty file is sent as an empty chunk.
        let chunks = size.div_ceil(BUFFER_SIZE).max(1);
        let mut expected = vec![(101, "process copy inprogress".to_owned()); chunks];
        expected.push(success.clone());
        assert_eq!(rows, expected, "node {node}, {size} bytes");
        assert_eq!(script.line(), format!("{token} {chunks}"), "node {node}, {size} bytes");
        assert!(fs::read(&destination).unwrap() == bytes(size), "node {node}, {size} bytes");
    }
    let directory = platform.path("directory");
    fs::create_dir_all(directory.join("sub/empty")).unwrap();
    fs::write(directory.join("sub/a file"), bytes(400_000)).unwrap();
    let (_, rows) = rows_of(&directory, &there.join("directory"));
    assert_eq!(rows.last(), Some(&success), "node {node}: {rows:?}");
    script.line();
    assert!(fs::read(there.join("directory/sub/a file")).unwrap() == bytes(400_000));
    assert!(there.join("directory/sub/empty").is_dir());
    let missing = there.join("missing/file");
    let (_, rows) = rows_of(&platform.write("source", "text"), &missing);
    let expected = format!("Can't copy file to {}, No such file or directory", missing.display());
    assert_eq!(rows.last(), Some(&(1, expected)));
}

#[test]
fn a_perl_push_node_gets_files_and_directories_word_for_word() {
    let platform = Platform::new();
    let port = free_port();
    let mut script = receiver("push", port);
    let central = Daemon::start(platform.plan("central", 1).with_api().with_node(2, port).with_proxy("ping: 1"));
    central.api().wait_for_pong(2, seconds(10));
    copy_to(&central, 2, &mut script, &platform);
}

#[test]
fn a_perl_pull_node_and_a_perl_node_behind_our_relay_get_them_too() {
    let platform = Platform::new();
    let port = free_port();
    let mut behind = receiver("push", port);
    let relay = Daemon::start(platform.plan("relay", 3).with_node(2, port).with_proxy("ping: 1"));
    let plan = platform.central_with(&[&relay]).with_authorized("poller").with_proxy("ping: 1");
    let central = Daemon::start(plan.with_dial_in_node(6, "pull"));
    let mut pull = receiver("pull", central.plan.port);
    central.api().wait_for_pong(6, seconds(20));
    copy_to(&central, 6, &mut pull, &platform);
    crate::platform::until("the node behind the relay is known", seconds(20), || {
        central.api().node_status(3)["nodes"].get("2").is_some().then_some(())
    });
    copy_to(&central, 2, &mut behind, &platform);
}

#[test]
fn a_perl_central_sends_files_and_directories_to_our_node_and_through_our_relay() {
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 2));
    let relay = Daemon::start(platform.plan("relay", 1).with_node(2, node.plan.port).with_proxy("ping: 1"));
    let key = keys::private_file("client");
    for (port, target, place) in [(node.plan.port, "", "here"), (relay.plan.port, "2", "behind")] {
        let folder = platform.path(place);
        fs::create_dir_all(&folder).unwrap();
        let endpoint = format!("tcp://127.0.0.1:{port}");
        Script::start("copy_sender", &[&endpoint, key.to_str().unwrap(), folder.to_str().unwrap(), target])
            .succeeds(seconds(60));
    }
}
