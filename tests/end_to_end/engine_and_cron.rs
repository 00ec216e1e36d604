//! ENGINECOMMAND with real pipes, and the definitions of cron through the API (docs/protocol.md sections 11, 13 and
//! 15).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::platform::api::{Api, code, data};
use crate::platform::{Daemon, Platform, seconds};

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn finish(api: &Api, node: u32, token: &Value) -> Vec<(i64, String)> {
    let rows = api.finished_rows(node, token.as_str().unwrap(), seconds(20));
    rows.iter().map(|row| (code(row), data(row)["message"].as_str().unwrap_or_default().to_owned())).collect()
}

#[test]
fn lines_for_the_engine_reach_its_pipe_on_a_node() {
    let platform = Platform::new();
    let path = platform.path("centengine.cmd");
    make_pipe(&path);
    let plan = platform.plan("poller", 2).with_module("engine", &[format!("command_file: {}", path.display())]);
    let poller = Daemon::start(plan);
    // The API of the central offers what its own modules provide.
    let plan = platform.plan("central", 1).with_api().with_module("engine", &[]);
    let central = Daemon::start(plan.with_node(2, poller.plan.port));
    let api = central.api();
    api.wait_for_pong(2, seconds(10));
    let long = "x".repeat(64 << 10);
    let reader = thread::spawn({
        let path = path.clone();
        move || BufReader::new(File::open(path).unwrap()).lines().take(3).map(Result::unwrap).collect::<Vec<_>>()
    });
    let commands = json!(["[1] SCHEDULE_FORCED_SVC_CHECK;a;b;1", long, "[2] é"]);
    let answer = api.post("/api/nodes/2/centreon/engine/command", &json!({ "commands": commands })).json();
    let submitted = (2, "command has been submitted".to_owned());
    let expected = [
        (0, "commands processing has started".to_owned()),
        submitted.clone(),
        submitted.clone(),
        submitted,
        (2, "commands processing has finished".to_owned()),
    ];
    let rows = finish(&api, 2, &answer["token"]);
    assert_eq!(rows, expected);
    let answer = api.post("/api/nodes/2/centreon/engine/command", &json!([{ "commands": ["[3] LIST"] }])).json();
    let rows = finish(&api, 2, &answer["token"]);
    assert!(rows.iter().any(|(code, text)| *code == 1 && text.contains("expected an object")), "{rows:?}");
    assert_eq!(json!(reader.join().unwrap()), commands);
}

#[test]
fn a_pipe_that_nobody_reads_is_refused_and_holds_up_neither_commands_nor_other_pipes() {
    let platform = Platform::new();
    let (dead, other) = (platform.path("dead.cmd"), platform.path("other.cmd"));
    make_pipe(&dead);
    make_pipe(&other);
    let plan = platform.plan("central", 1).with_api().with_module("engine", &["timeout: 2".to_owned()]);
    let central = Daemon::start(plan);
    let api = central.api();
    let send = |path: &Path| {
        let body = json!({ "command_file": path, "commands": ["[1] A"] });
        api.post("/api/centreon/engine/command", &body).json()["token"].clone()
    };
    let waiting: Vec<Value> = (0..20).map(|_| send(&dead)).collect();
    assert_eq!(api.output_of(0, "echo quick", seconds(20)), "quick");
    let _reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&other).unwrap();
    assert_eq!(finish(&api, 0, &send(&other)).last().unwrap().1, "commands processing has finished");
    for token in waiting {
        let text = format!("submit engine command issue: nobody reads '{}' (timeout)", dead.display());
        assert_eq!(finish(&api, 0, &token).last().unwrap(), &(1, text));
    }
    let gone = finish(&api, 0, &send(&platform.path("gone.cmd")));
    let text = format!("command file '{}' must exist", platform.path("gone.cmd").display());
    assert_eq!(gone.last().unwrap(), &(1, text));
}

#[test]
fn cron_definitions_are_kept_through_the_api() {
    let platform = Platform::new();
    let lines =
        ["cron: [{id: nightly, timespec: '30 22 * * mon-fri', action: COMMAND, parameters: [{command: date}]}]"
            .to_owned()];
    let central = Daemon::start(platform.plan("central", 1).with_api().with_module("cron", &lines));
    let api = central.api();
    let path = "/api/core/cron/definitions";
    let row = |answer: Value| {
        let rows = api.finished_rows(0, answer["token"].as_str().unwrap(), seconds(10));
        (code(rows.last().unwrap()), data(rows.last().unwrap()))
    };
    let added = api.post(path, &json!([{ "id": "b", "timespec": "@hourly", "action": "PING", "target": 2 }])).json();
    assert_eq!(row(added), (2, json!({ "message": "add succeed" })));
    let (code, all) = row(api.get(path).json());
    let ids: Vec<&str> = all.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!((code, ids), (2, vec!["b", "nightly"]));
    assert_eq!(all[1]["parameters"], json!([{ "command": "date" }]));
    let changed = api.call("PATCH", &format!("{path}/b"), br#"{"timespec":"*/5 * * * *"}"#).json();
    assert_eq!(row(changed), (2, json!({ "message": "update succeed" })));
    assert_eq!(row(api.get(&format!("{path}/b")).json()).1[0]["timespec"], "*/5 * * * *");
    assert_eq!(row(api.get(&format!("{path}/nightly/status")).json()), (2, json!([])));
    let deleted = api.call("DELETE", &format!("{path}/b"), b"").json();
    assert_eq!(row(deleted), (2, json!({ "message": "delete succeed" })));
    assert_eq!(row(api.get(&format!("{path}/b")).json()), (1, json!({ "message": "no entry found for id" })));
}
