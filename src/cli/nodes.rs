//! `nodes`: the nodes that a daemon knows. `routes`: the ways to them.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::fail;
use super::remote::Remote;
use super::table::{local_time, table};
use super::view_arguments::LookOptions;
use super::watch;

/// Lists the nodes.
pub(super) fn run(options: &LookOptions) -> ExitCode {
    show(options, |remote| {
        let all = nodes(remote)?;
        let is_meant = |node: &Value| options.node.is_none_or(|id| node.get("id").and_then(Value::as_u64) == Some(id));
        let nodes: Vec<Value> = all.into_iter().filter(is_meant).collect();
        match options.node.filter(|_| nodes.is_empty()) {
            Some(id) => Err(format!("node {id} is not known; 'stheno nodes' lists those that are")),
            None if options.json => Ok(format!("{}\n", Value::Array(nodes))),
            None if nodes.is_empty() => Ok("this daemon knows no nodes\n".to_owned()),
            None => Ok(table(&HEAD, &nodes.iter().map(node_row).collect::<Vec<_>>())),
        }
    })
}

const HEAD: [&str; 9] = ["ID", "BEHIND", "KIND", "STATE", "LINK", "LAST PING", "VERSION", "ADDRESS", "NAME"];

fn show(options: &LookOptions, look: impl Fn(&Remote) -> Result<String, String>) -> ExitCode {
    match Remote::of_config(&options.config) {
        Ok(remote) => watch::show(options.watch, || look(&remote)),
        Err(text) => fail(&text),
    }
}

fn node_row(node: &Value) -> Vec<String> {
    let cell = |member: &str| shown(node.get(member));
    let last_ping = node.get("last_ping").and_then(Value::as_i64).map_or("never".to_owned(), local_time);
    let (kind, state, link) = (cell("kind"), cell("state"), cell("link"));
    vec![cell("id"), cell("through"), kind, state, link, last_ping, cell("version"), cell("address"), cell("name")]
}

/// Shows a text, a number or nothing.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// Lists the ways to nodes.
pub(super) fn routes(options: &LookOptions) -> ExitCode {
    show(options, |remote| {
        let routes = ways(remote, options.node)?;
        if options.json {
            return Ok(format!("{}\n", Value::Object(routes)));
        }
        let rows: Vec<Vec<String>> = routes.iter().flat_map(|(id, ways)| route_rows(id, ways)).collect();
        Ok(table(&["NODE", "THROUGH", "KIND", "ROUTE", "IN USE", "WHY"], &rows))
    })
}

/// One row for each way to a node, or one that says why there is none.
fn route_rows(id: &str, ways: &Value) -> Vec<Vec<String>> {
    let candidates = ways.get("candidates").and_then(Value::as_array).into_iter().flatten();
    let rows = candidates.map(|way| {
        let cell = |member: &str| shown(way.get(member));
        let is_used = way.get("in_use") == Some(&Value::Bool(true));
        let used = if is_used { "yes" } else { "no" };
        vec![id.to_owned(), cell("through"), cell("type"), cell("route"), used.to_owned(), cell("why")]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    match ways.get("error") {
        Some(error) if rows.is_empty() => {
            let none = || "-".to_owned();
            vec![vec![id.to_owned(), none(), none(), none(), "no".to_owned(), shown(Some(error))]]
        }
        _ => rows,
    }
}

/// Returns the nodes that the daemon knows, as `GET /api/status` tells them.
///
/// # Errors
/// The API refuses, does not answer, or is that of a daemon without a status.
fn nodes(remote: &Remote) -> Result<Vec<Value>, String> {
    let answer = remote.ask("GET", "/api/status")?;
    if answer.status == 404 {
        return Err("this daemon tells no status (GET /api/status): it is a build for pollers, or an older version; \
            'stheno routes' lists the ways to its nodes"
            .to_owned());
    }
    let mut answer = answer.ok()?;
    let nodes = answer.get_mut("nodes").map(Value::take);
    Ok(nodes.and_then(|nodes| nodes.as_array().cloned()).unwrap_or_default())
}

/// Returns the ways to a node, or to all.
///
/// # Errors
/// The API refuses or does not answer.
fn ways(remote: &Remote, node: Option<u64>) -> Result<Map<String, Value>, String> {
    let first = node.map_or_else(|| "?from=1".to_owned(), |id| format!("/{id}"));
    let (mut routes, mut path) = (Map::new(), format!("/api/internal/routes{first}"));
    loop {
        let mut answer = remote.call("GET", &path, "")?;
        let page = answer.get_mut("data").map_or_else(|| json!({}), Value::take);
        let count = routes.len();
        routes.extend(page.as_object().cloned().unwrap_or_default());
        match answer.get("next").filter(|next| !next.is_null() && routes.len() > count) {
            Some(next) => path = format!("/api/internal/routes?from={}", shown(Some(next))),
            None => return Ok(routes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_a_node_is_a_row_and_none_is_said_with_its_reason() {
        let ways = json!({ "in_use": 3, "candidates": [
            { "through": 3, "type": "pull", "route": "static", "in_use": true, "why": null },
            { "through": 2, "type": "push_zmq", "route": "dynamic", "in_use": false, "why": "node '3' comes first" },
        ]});
        let expected =
            [["8", "3", "pull", "static", "yes", "-"], ["8", "2", "push_zmq", "dynamic", "no", "node '3' comes first"]];
        assert_eq!(route_rows("8", &ways), expected);
        let none = json!({ "in_use": null, "error": "proxy - unknown target 9", "candidates": [] });
        assert_eq!(route_rows("9", &none), [["9", "-", "-", "-", "no", "proxy - unknown target 9"]]);
    }
}
