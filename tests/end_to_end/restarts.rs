//! Restarts of either end and rotation of keys: service is back within seconds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, assert_within, keys, seconds, until};

#[test]
fn each_end_can_be_restarted_twenty_times_and_a_command_goes_through_each_time() {
    let platform = Platform::new();
    let (mut central, mut poller) = platform.pair();
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        for daemon in [&mut central, &mut poller] {
            // Every second time it has no chance to say goodbye.
            if round % 2 == 0 {
                daemon.kill();
            } else {
                let (status, _) = daemon.stop();
                assert!(status.success(), "{status}");
            }
            daemon.start_again();
        }
        let start = Instant::now();
        let text = format!("round {round}");
        assert_eq!(central.api().output_of(2, &format!("echo {text}"), seconds(10)), text);
        slowest = slowest.max(start.elapsed());
        // The central keeps its connection; only the poller restarts.
        poller.kill();
        poller.start_again();
        let start = Instant::now();
        assert_eq!(central.api().output_of(2, &format!("echo again {text}"), seconds(10)), format!("again {text}"));
        slowest = slowest.max(start.elapsed());
    }
    assert_within(slowest, seconds(5));
}

#[test]
fn a_client_whose_server_was_restarted_goes_on_in_its_session() {
    let platform = Platform::new();
    let mut central = Daemon::start(platform.plan("central", 1).with_api());
    let client = central.client();
    central.kill();
    central.start_again();
    // Routing id and key are the old ones; the connection is new.
    let mut client = client.reconnect(central.plan.port).unwrap();
    assert_eq!(client.request("PING", "after", "", &json!({})).kind, "PONG");
}

#[test]
fn a_bound_key_goes_on_in_its_session_and_stays_bound_until_it_is_taken_out() {
    let platform = Platform::new();
    let reader = format!("  - {{key: {}, name: reader, may: read}}", keys::thumbprint("poller"));
    let mut central = Daemon::start(platform.plan("central", 1).with_core(&reader));
    let client = Client::connect(central.plan.port, "poller", "gorgone-reader").unwrap();
    central.kill();
    central.start_again();
    let mut client = client.reconnect(central.plan.port).unwrap();
    assert_eq!(client.request("PING", "after", "", &json!({})).kind, "PONG");
    let refused = client.request("COMMAND", "refused", "", &json!({ "content": [{ "command": "true" }] }));
    assert!(refused.json.to_string().contains("reader may not ask for COMMAND"), "{}", refused.json);

    central.kill();
    central.plan.core.clear();
    central.plan.write();
    central.start_again();
    let mut client = client.reconnect(central.plan.port).unwrap();
    client.send("PING", "gone", "", &json!({})).unwrap();
    let answer = client.receive_plain().unwrap();
    assert!(answer.starts_with(b"[ACK]"), "its key was taken out while the daemon was away: it must start over");
}

#[test]
fn a_poller_that_lost_its_database_is_served_again() {
    let platform = Platform::new();
    let (central, mut poller) = platform.pair();
    assert_eq!(central.api().output_of(2, "echo before", seconds(5)), "before");
    poller.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _absent_is_fine = std::fs::remove_file(format!("{}{suffix}", poller.plan.database.display()));
    }
    poller.start_again();
    until("a command goes through", seconds(20), || {
        let token = central.api().command(2, "echo after");
        let start = Instant::now();
        while start.elapsed() < seconds(3) {
            if central.api().rows(2, &token).iter().any(|row| row["data"].as_str().unwrap_or("").contains("after")) {
                return Some(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    });
}

#[test]
fn keys_that_rotate_every_second_under_load_lose_no_message_on_either_hop() {
    let platform = Platform::new();
    // Only the keys of a classic link are rotated.
    let classic = platform.plan("poller", 2).with_core("link: classic");
    let poller = Daemon::start(classic.with_core("external_com_rotation: 0.0167"));
    let central = Daemon::start(platform.central_with(&[&poller]).with_core("external_com_rotation: 0.0167"));
    central.api().wait_for_pong(2, seconds(5));
    let mut client = central.client();
    let (mut sent, start) = (0, Instant::now());
    while start.elapsed() < seconds(5) {
        for _ in 0..20 {
            let row = json!({ "code": 4, "etime": 1, "token": "rotated", "instant": 0, "data": { "n": sent } });
            client.send("PUTLOG", &format!("t-{sent}"), "2", &row).unwrap();
            sent += 1;
        }
        for _ in 0..20 {
            client.receive().unwrap();
        }
    }
    assert!(client.rotations >= 3, "the client's key changed {} times", client.rotations);
    assert!(sent >= 1_000, "only {sent} messages in 5 s");
    let stored = || -> BTreeSet<u64> {
        let database = poller.database();
        let mut query = database.prepare("SELECT data FROM gorgone_history WHERE token = 'rotated'").unwrap();
        let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|data| serde_json::from_str::<serde_json::Value>(&data.unwrap()).unwrap()["n"].as_u64().unwrap())
            .collect()
    };
    until(&format!("all {sent} rows are on the poller"), seconds(10), || (stored().len() == sent).then_some(()));
}
