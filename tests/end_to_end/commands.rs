//! Commands from the REST API through a central to a poller and back (docs/protocol.md sections 11 and 13).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, assert_within, seconds, until};

fn messages(rows: &[Value]) -> Vec<(i64, String)> {
    rows.iter().map(|row| (code(row), data(row)["message"].as_str().unwrap_or_default().to_owned())).collect()
}

#[test]
fn a_command_goes_through_the_central_to_the_poller_and_its_rows_come_back() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let api = central.api();
    let token = api.command(2, "echo out; echo err >&2; exit 3");
    let rows = api.finished_rows(2, &token, seconds(5));
    let expected = [
        (0, "commands processing has started"),
        (0, "command has started"),
        (100, "command has finished successfully"),
        (2, "commands processing has finished successfully"),
    ];
    assert_eq!(messages(&rows), expected.map(|(code, text)| (code, text.to_owned())));
    let result = data(&rows[2]);
    assert_eq!(result["result"], json!({ "exit_code": 3, "stdout": "out\nerr" }));
    let answer = api.get(&format!("/api/log/{token}"));
    assert_eq!(answer.status, 200);
    assert_eq!((&answer.json()["message"], &answer.json()["token"]), (&json!("Logs found"), &json!(token)));
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 4, "the central keeps the poller's rows");
}

#[test]
fn a_command_without_a_node_runs_on_the_central_itself() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api());
    assert_eq!(central.api().output_of(0, "echo $PPID", seconds(5)), central.pid().to_string());
    assert_eq!(central.api().output_of(1, "echo by its own id", seconds(5)), "by its own id");
}

#[test]
fn log_wait_answers_as_soon_as_the_token_has_finished_and_blocks_nobody() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let api = central.api();
    api.wait_for_pong(2, seconds(5));
    let body = |line: &str| json!([{ "command": line }]);
    let start = Instant::now();
    let answer = api.post("/api/core/action/command?log_wait=120000000", &body("echo waited")).json();
    assert_within(start.elapsed(), seconds(5));
    let rows = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(rows.iter().map(code).max(), Some(100), "{answer}");
    assert_eq!(rows.iter().map(code).next_back(), Some(2), "{answer}");

    let waiting = api.clone();
    let slow = std::thread::spawn(move || {
        let start = Instant::now();
        let answer = waiting.post("/api/core/action/command?log_wait=4000000", &body("sleep 60")).json();
        (start.elapsed(), answer)
    });
    for _ in 0..20 {
        assert_eq!(api.get("/api/internal/thumbprint").status, 200);
    }
    assert!(!slow.is_finished(), "the waiting call held up the others");
    let (waited, answer) = slow.join().unwrap();
    assert!(waited >= Duration::from_millis(3_900), "{waited:?}");
    assert!(answer["token"].is_string(), "{answer}");
}

#[test]
fn a_token_without_rows_says_so_with_status_200() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api());
    let answer = central.api().get("/api/log/nothing-here");
    assert_eq!(answer.status, 200);
    let expected =
        json!({ "error": "no_log", "message": "No log found for token", "data": [], "token": "nothing-here" });
    assert_eq!(answer.json(), expected);
}

/// Returns whether a process still runs. A dead one that nobody has reaped does not count.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.trim().is_empty())
}

#[test]
fn a_timeout_kills_the_whole_process_group() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let pid_file = platform.path("grandchild.pid");
    let line = format!("(sleep 300 & echo $! > {}; wait) & wait", pid_file.display());
    let body = json!([{ "command": line, "timeout": 1 }]);
    let answer = central.api().post("/api/nodes/2/core/action/command", &body).json();
    let rows = central.api().finished_rows(2, answer["token"].as_str().unwrap(), seconds(10));
    let issue = rows.iter().map(data).find(|data| data["message"] == "command execution issue").unwrap();
    assert_eq!(issue["result"]["exit_code"], json!(-1));
    assert_eq!(issue["result"]["stdout"], json!("Command too long to execute (timeout)..."));
    assert_eq!(messages(&rows).pop().unwrap(), (1, "commands processing has finished with errors".to_owned()));
    let pid = fs::read_to_string(pid_file).unwrap().trim().to_owned();
    until("the grandchild is dead", seconds(5), || (!runs(&pid)).then_some(()));
}

#[test]
fn an_error_stops_the_list_only_where_that_is_asked() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api());
    for (go_on, second_ran) in [(json!(0), false), (json!(false), false), (json!(1), true), (json!(null), true)] {
        let body = json!([
            { "command": "sleep 30", "timeout": 1, "continue_on_error": go_on },
            { "command": "echo second" },
        ]);
        let answer = central.api().post("/api/core/action/command", &body).json();
        let rows = central.api().finished_rows(0, answer["token"].as_str().unwrap(), seconds(10));
        let ran = rows.iter().any(|row| data(row)["result"]["stdout"] == "second");
        assert_eq!(ran, second_ran, "continue_on_error {go_on}: {rows:?}");
        assert_eq!(rows.last().map(code), Some(1), "continue_on_error {go_on}: {rows:?}");
    }
}

#[test]
fn two_hundred_commands_at_once_all_come_back() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let api = central.api();
    let tokens: Vec<String> = (0..200).map(|number| api.command(2, &format!("echo number {number}"))).collect();
    for (number, token) in tokens.iter().enumerate() {
        let rows = api.finished_rows(2, token, seconds(30));
        let result = rows.iter().find(|row| code(row) == 100).map(data).unwrap_or_else(|| panic!("{rows:?}"));
        assert_eq!(result["result"]["stdout"], json!(format!("number {number}")));
        assert_eq!(rows.len(), 4, "each row once: {rows:?}");
    }
}

#[test]
fn no_more_commands_run_at_once_than_allowed() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api().with_action("max_concurrent_commands: 3"));
    let api = central.api();
    // Each command takes its own place, then writes down how many places are taken.
    let (places, counts) = (platform.path("places"), platform.path("counts"));
    fs::create_dir(&places).unwrap();
    let line = format!(
        "touch {places}/$$; ls {places} | wc -l >> {counts}; sleep 0.2; rm {places}/$$",
        places = places.display(),
        counts = counts.display()
    );
    let tokens: Vec<String> = (0..12).map(|_| api.command(0, &line)).collect();
    for token in &tokens {
        assert_eq!(api.finished_rows(0, token, seconds(20)).last().map(code), Some(2));
    }
    let counts = fs::read_to_string(counts).unwrap();
    let counts: Vec<u32> = counts.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(counts.len(), 12);
    assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
    assert!(counts.contains(&2) || counts.contains(&3), "they do run side by side: {counts:?}");
}

#[test]
fn output_is_kept_up_to_a_bound_and_endless_output_does_not_grow_the_daemon() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api().with_action("max_output_size: 10000");
    let central = Daemon::start(plan);
    let api = central.api();
    let output = api.output_of(0, "head -c 5000000 /dev/zero | tr '\\0' x", seconds(10));
    let expected = "x".repeat(10_000) + "\n[stdout cut after 10000 bytes]";
    assert!(output == expected, "{} bytes", output.len());
    let both = "yes o | head -c 50000; yes e | head -c 50000 >&2; echo 'late trouble' >&2";
    let answer = api.post("/api/core/action/command", &json!([{ "command": both }])).json();
    let rows = api.finished_rows(0, answer["token"].as_str().unwrap(), seconds(10));
    let result = &data(rows.iter().find(|row| code(row) == 100).unwrap())["result"];
    let output = result["stdout"].as_str().unwrap();
    let count = |letter| output.chars().filter(|found| *found == letter).count();
    assert!(count('o') >= 5_000 && count('e') >= 5_000, "each stream has its own limit: {} bytes", output.len());
    assert!(output.ends_with("[stdout cut after 10000 bytes]\n[stderr cut after 10000 bytes]"));
    let marks = ["output_cut", "stdout_cut", "stderr_cut"].map(|mark| result[mark].clone());
    assert_eq!(marks, [true, true, true].map(serde_json::Value::from));
    let answer = api.post("/api/core/action/command", &json!([{ "command": "yes", "timeout": 1 }])).json();
    let rows = api.finished_rows(0, answer["token"].as_str().unwrap(), seconds(10));
    assert_eq!(rows.last().map(code), Some(1));
    assert!(central.resident_kib() < 100_000, "{} KiB", central.resident_kib());
}

#[test]
fn output_that_is_not_utf8_and_every_odd_command_come_back_as_json() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let api = central.api();
    assert_eq!(api.output_of(2, "printf 'caf\\351'", seconds(5)), "café");
    assert_eq!(api.output_of(2, "printf %s '€ \"quoted\" \\\\ ]['", seconds(5)), "€ \"quoted\" \\\\ ][");
    assert_eq!(api.output_of(2, "true", seconds(5)), "");
    assert_eq!(api.output_of(2, "exec </dev/stdin; cat; echo no input", seconds(5)), "no input");
    assert_eq!(api.output_of(2, "sleep 100 >/dev/null 2>&1 & echo left behind", seconds(5)), "left behind");
    for (body, words) in [
        (json!({ "command": "x" }), "expected array"),
        (json!([{}]), "need command argument at array index '0'"),
        (json!([{ "command": "" }]), "need command argument at array index '0'"),
    ] {
        let answer = api.post("/api/nodes/2/core/action/command", &body).json();
        let rows = api.finished_rows(2, answer["token"].as_str().unwrap(), seconds(5));
        let last = rows.last().unwrap();
        assert_eq!(code(last), 1, "{body}: {rows:?}");
        assert!(data(last)["message"].as_str().unwrap().contains(words), "{body}: {rows:?}");
    }
}
