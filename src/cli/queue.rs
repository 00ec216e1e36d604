//! `queue`: the requests that wait for nodes.

use std::process::ExitCode;

use serde_json::Value;

use super::fail;
use super::remote::Remote;
use super::table::{local_time, table};
use super::view_arguments::LookOptions;
use super::watch;

/// Maximum number of requests that are shown.
const SHOWN_MAX: usize = 10_000;

/// Lists what waits.
pub(super) fn run(options: &LookOptions) -> ExitCode {
    let remote = match Remote::of_config(&options.config) {
        Ok(remote) => remote,
        Err(text) => return fail(&text),
    };
    watch::show(options.watch, || {
        let (queued, count) = queued(&remote, options.node)?;
        if options.json {
            return Ok(format!("{}\n", Value::Array(queued)));
        }
        let rows: Vec<Vec<String>> = queued.iter().map(row).collect();
        let more = if count > rows.len() { format!("and {} more\n", count - rows.len()) } else { String::new() };
        Ok(match rows.as_slice() {
            [] => "nothing waits\n".to_owned(),
            rows => format!("{}{more}", table(&["STATE", "NODE", "ACTION", "SINCE", "UNTIL", "TOKEN"], rows)),
        })
    })
}

/// Returns the first requests, and the number of all.
fn queued(remote: &Remote, node: Option<u64>) -> Result<(Vec<Value>, usize), String> {
    let path = node.map_or("/api/queue".to_owned(), |node| format!("/api/nodes/{node}/queue"));
    let (mut found, mut from) = (Vec::new(), 0);
    loop {
        let mut answer = remote.ask("GET", &format!("{path}?from={from}"))?.ok()?;
        let count = answer.get("messages").and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
        let page = answer.get_mut("queue").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        let last = page.last().and_then(|request| request.get("place")).and_then(Value::as_i64);
        found.extend(page);
        let more = answer.get("more") == Some(&Value::Bool(true));
        match last.filter(|last| more && *last > from && found.len() < SHOWN_MAX) {
            Some(last) => from = last,
            None => return Ok((found, count.unwrap_or_default())),
        }
    }
}

fn row(request: &Value) -> Vec<String> {
    let text = |member: &str| match request.get(member) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    };
    let time = |member: &str| request.get(member).and_then(Value::as_i64).map_or("-".to_owned(), local_time);
    vec![text("state"), text("node"), text("action"), time("created"), time("expires"), text("token")]
}
