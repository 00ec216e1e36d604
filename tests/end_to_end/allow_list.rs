//! The allow-list of commands (docs/protocol.md section 11).

use serde_json::{Value, json};

use crate::platform::api::{Api, code, data};
use crate::platform::{Daemon, Platform, seconds};

/// Returns the last row of a request, and all rows.
fn ask(api: &Api, content: &Value) -> (i64, Value, Vec<Value>) {
    let answer = api.post("/api/core/action/command", content).json();
    let token = answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let rows = api.finished_rows(0, &token, seconds(20));
    let last = rows.last().unwrap();
    (code(last), data(last), rows)
}

fn daemon(platform: &Platform, lines: &[&str]) -> Daemon {
    let plan = lines.iter().fold(platform.plan("central", 1).with_api(), |plan, line| plan.with_action(line));
    Daemon::start(plan)
}

#[test]
fn only_commands_of_the_list_run() {
    let platform = Platform::new();
    let list = r"allowed_cmds: ['^echo [a-z ]+$', '^sudo\s+(/bin/)?systemctl\s+reload\s+cbd\s*$', '^(a+)+$']";
    let central = daemon(&platform, &["whitelist_cmds: true", list]);
    let api = central.api();
    let (code, last, rows) = ask(&api, &json!([{ "command": "echo all is well" }, { "command": "echo twice" }]));
    assert_eq!((code, &last["message"]), (2, &json!("commands processing has finished successfully")));
    assert_eq!(data(&rows[2])["result"]["stdout"], "all is well");
    for (command, shown) in [
        ("echo all; id", "echo ..."),
        ("echo all\nid", "echo ..."),
        ("id", "id"),
        (" echo all", "echo ..."),
        ("systemctl reload cbd", "systemctl ..."),
    ] {
        let (code, last, rows) = ask(&api, &json!([{ "command": "echo fine" }, { "command": command }]));
        let text = format!("command not allowed (whitelist) at array index '1' : {shown}");
        assert_eq!((code, last, rows.len()), (1, json!({ "message": text }), 1), "{command}");
    }
    let endless = format!("{}!", "a".repeat(80));
    assert_eq!(ask(&api, &json!([{ "command": endless }])).0, 1);
    central.wait_for_log("'^(a+)+$' was cut off after too many steps and counts as no match", seconds(5));
}

#[test]
fn audit_runs_everything_and_logs_what_would_be_refused() {
    let platform = Platform::new();
    let lines = ["whitelist_cmds: true", "whitelist_mode: audit", "allowed_cmds: ['^true$']"];
    let central = daemon(&platform, &lines);
    let (code, _, rows) = ask(&central.api(), &json!([{ "command": "true" }, { "command": "echo secret" }]));
    assert_eq!((code, &data(&rows[4])["result"]["stdout"]), (2, &json!("secret")));
    let token = rows[0]["token"].as_str().unwrap();
    let line = format!("command would not be allowed (whitelist): echo ... (token {token}, array index '1')");
    central.wait_for_log(&line, seconds(5));
    assert!(!central.log().contains("secret"));
}
