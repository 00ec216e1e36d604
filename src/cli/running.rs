//! `running`: the commands that run on a node. `cancel`: ends one before its time.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::fail;
use super::remote::Remote;
use super::table::{local_time, table};
use super::view_arguments::{CancelOptions, RunningOptions};
use super::watch;

/// Lists what runs on a node.
pub(super) fn run(options: &RunningOptions) -> ExitCode {
    let remote = match Remote::of_config(&options.config) {
        Ok(remote) => remote,
        Err(text) => return fail(&text),
    };
    watch::show(options.watch, || {
        let path = format!("/api/nodes/{}/running", options.node);
        let answer = remote.ask("GET", &path)?;
        if matches!(answer.status, 501 | 502 | 504) {
            return Err(answer.message().to_owned());
        }
        let answer = answer.ok()?;
        let running = answer.get("running").cloned().unwrap_or_else(|| json!([]));
        if options.json {
            return Ok(format!("{running}\n"));
        }
        let rows: Vec<Vec<String>> = running.as_array().into_iter().flatten().map(row).collect();
        let more = if answer.get("more") == Some(&Value::Bool(true)) { "and more\n" } else { "" };
        Ok(match rows.as_slice() {
            [] => format!("no command runs on node {}\n", options.node),
            rows => format!("{}{more}", table(&["STATE", "SINCE", "COMMAND", "TOKEN"], rows)),
        })
    })
}

fn row(command: &Value) -> Vec<String> {
    let text = |member: &str| command.get(member).and_then(Value::as_str).unwrap_or("-").to_owned();
    let since = command.get("since").and_then(Value::as_i64).map_or("-".to_owned(), local_time);
    vec![text("state"), since, text("command"), text("token")]
}

/// Cancels a token.
pub(super) fn cancel(options: &CancelOptions) -> ExitCode {
    let outcome = Remote::of_config(&options.config).and_then(|remote| remote.cancel(&options.token, options.node));
    match outcome {
        Ok(text) if options.json => {
            println(&json!({ "ok": true, "token": options.token, "message": text }).to_string());
            ExitCode::SUCCESS
        }
        Ok(text) => {
            println(&text);
            ExitCode::SUCCESS
        }
        Err(text) if options.json => {
            println(&json!({ "ok": false, "token": options.token, "message": text }).to_string());
            ExitCode::FAILURE
        }
        Err(text) => fail(&text),
    }
}

fn println(text: &str) {
    super::say(&format!("{text}\n"));
}
