//! Commands that print much or nothing, engine commands of the older kind, and hosts that know only old algorithms.

use std::fs;

use serde_json::{Value, json};

use super::server::Sshd;
use super::{central, command, last_message, last_of};
use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, seconds};

/// Returns the peak memory of a process in bytes.
fn peak_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1_024
}

#[test]
fn a_gigabyte_of_output_costs_no_memory_and_holds_up_nobody() {
    let platform = Platform::new();
    // The session's key changes many times meanwhile.
    let sshd = Sshd::start(&platform, "host", &["RekeyLimit 50M"]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[]))]));
    let api = central.api();
    api.wait_for_pong(4, seconds(20));
    let body = json!([{ "command": "head -c 1000000000 /dev/zero | tr '\\0' x", "timeout": 300 }]);
    let large = api.post("/api/nodes/4/core/action/command", &body).json()["token"].as_str().unwrap().to_owned();
    assert_eq!(api.output_of_ssh(4, "echo beside"), "beside");
    let rows = api.finished_rows(0, &large, seconds(300));
    let result = rows.iter().find(|row| code(row) == 100).map(data).unwrap_or_else(|| panic!("{rows:?}"));
    assert_eq!(result["result"]["output_cut"], true);
    assert_eq!(result["result"]["stdout"].as_str().map(str::len), Some(1 << 20));
    assert_eq!(result["result"]["exit_code"], 0);
    assert!(peak_memory(central.pid()) < 100 << 20, "{} bytes", peak_memory(central.pid()));
}

#[test]
fn a_command_that_says_nothing_is_given_up_and_one_that_talks_is_not() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[]))]));
    let api = central.api();
    api.wait_for_pong(4, seconds(20));
    let talks = json!({ "command": "for n in 1 2 3 4; do sleep 0.8; echo $n; done", "timeout_nodata": 3 });
    let rows = command(&api, 4, &json!([talks, { "command": "sleep 60", "timeout_nodata": 1 }]));
    assert_eq!(rows[2].1["result"]["stdout"], "1\n2\n3\n4");
    assert_eq!(rows[4].1["result"]["stdout"], "Command without output for 1 s (timeout_nodata)...");
}

#[test]
fn action_engine_runs_its_command_with_the_rows_of_any_command() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[]))]));
    let api = central.api();
    api.wait_for_pong(4, seconds(20));
    let mut client = central.client();
    let request = json!({ "content": { "command": "echo \"it's $((1 + 1))\"; exit 2", "timeout": 20 } });
    client.request("ACTIONENGINE", "engine", "4", &request);
    let rows: Vec<(i64, Value)> =
        api.finished_rows(0, "engine", seconds(30)).iter().map(|row| (code(row), data(row))).collect();
    assert_eq!(rows.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [0, 0, 100, 2], "{rows:?}");
    assert_eq!(rows[2].1["result"], json!({ "exit_code": 2, "stdout": "it's 2", "stderr": "" }));
    client.request("ACTIONENGINE", "nothing", "4", &json!({ "content": {} }));
    assert_eq!(last_of(&central, "nothing"), "need command argument");
    // The API gives the same result.
    let body = json!({ "command": "echo api" });
    let token = api.post("/api/nodes/4/core/action/engine", &body).json()["token"].as_str().unwrap().to_owned();
    let rows = api.finished_rows(0, &token, seconds(30));
    assert!(rows.iter().any(|row| data(row)["result"]["stdout"] == "api"), "{rows:?}");
}

#[test]
fn old_algorithms_are_used_where_they_are_asked_for_and_named_where_the_build_lacks_them() {
    let platform = Platform::new();
    let old = Sshd::start(&platform, "old", &["Ciphers aes256-cbc"]);
    let older = Sshd::start(&platform, "older", &["KexAlgorithms diffie-hellman-group14-sha1"]);
    let legacy = "ssh_legacy_algorithms: true".to_owned();
    let nodes = [
        (4, old.node(std::slice::from_ref(&legacy))),
        (5, old.node(&[])),
        (6, older.node(&[legacy])),
        (7, older.node(&[])),
    ];
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    assert_eq!(api.output_of_ssh(4, "echo old"), "old");
    let said = last_message(&command(&api, 5, &json!([{ "command": "true" }])));
    assert!(said.contains("ssh_legacy_algorithms: true offers older ones"), "{said}");
    // The option has no effect in a build without these algorithms.
    let said = last_message(&command(&api, 7, &json!([{ "command": "true" }])));
    assert!(said.contains("ssh_legacy_algorithms: true") || said.contains("LIBSSH2_KEX_SHA1_ENABLE"), "{said}");
    // The usual build of the library has no SHA-1; the log says what such a build needs.
    let said = last_message(&command(&api, 6, &json!([{ "command": "true" }])));
    let log = central.log();
    assert!(said.contains("finished successfully") || log.contains("LIBSSH2_KEX_SHA1_ENABLE"), "{said}\n{log}");
}
