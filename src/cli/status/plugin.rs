//! `status --check`: one line and an exit status for Centreon, Nagios and Icinga (docs/monitoring/README.md).

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::remote::Remote;
use crate::cli::remote_arguments::StatusOptions;
use crate::cli::say;

const OK: u8 = 0;
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;
pub(super) const UNKNOWN: u8 = 3;

/// Maximum number of nodes named in the line.
const NAMED_MAX: usize = 10;

/// Runs the check.
pub(super) fn run(options: &StatusOptions) -> ExitCode {
    let (state, line) = match Remote::of_config(&options.config) {
        Err(error) => (UNKNOWN, error),
        Ok(remote) => match remote.status() {
            Err(error) => (CRITICAL, error),
            Ok(status) => judge(&status, options),
        },
    };
    let word = match state {
        OK => "OK",
        WARNING => "WARNING",
        CRITICAL => "CRITICAL",
        _ => "UNKNOWN",
    };
    // A bar would begin the performance data.
    let (said, data) = line.split_once(DATA).unwrap_or((&line, ""));
    let said = said.replace('|', "/").replace('\n', " ");
    let data = if data.is_empty() { String::new() } else { format!(" | {data}") };
    say(&format!("{word}: {said}{data}\n"));
    ExitCode::from(state)
}

/// Stands between the sentence and the performance data.
const DATA: char = '\u{1}';

/// Returns the nodes by state; each id once, a link of its own first.
fn by_state(status: &Value) -> BTreeMap<&str, Vec<&Value>> {
    let nodes = status.get("nodes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut found: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for node in nodes {
        found.entry(node.get("state").and_then(Value::as_str).unwrap_or("never")).or_default().push(node);
    }
    found
}

fn shown(node: &Value) -> String {
    let id = node.get("id").map(|id| id.to_string().replace('"', "")).unwrap_or_default();
    let kind = node.get("kind").and_then(Value::as_str).unwrap_or_default();
    match node.get("name").and_then(Value::as_str) {
        Some(name) => format!("node {id} ({name}, {kind})"),
        None => format!("node {id} ({kind})"),
    }
}

fn judge(status: &Value, options: &StatusOptions) -> (u8, String) {
    let Some(daemon) = status.get("daemon") else {
        return (UNKNOWN, "the answer of the REST API has no 'daemon'; is it another version?".to_owned());
    };
    let number = |pointer: &str| daemon.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let nodes = by_state(status);
    let count = |state: &str| nodes.get(state).map_or(0, Vec::len);
    let (mut state, mut said) = match options.node {
        Some(id) => one_node(status, id),
        None => all_nodes(&nodes, options),
    };
    if daemon.get("stores") == Some(&Value::Bool(false)) {
        (state, said) = (CRITICAL, format!("the history takes no rows; {said}"));
    }
    if number("/centrals/configured") > 0 && number("/centrals/connected") == 0 {
        (state, said) = (CRITICAL, format!("no central is connected; {said}"));
    }
    let all: usize = nodes.values().map(Vec::len).sum();
    let data = format!(
        "{DATA}up={} down={};{};{};0;{all} never={} running={} waiting={} open={} memory={}B",
        count("up"),
        count("down"),
        options.warning,
        options.critical,
        count("never"),
        number("/running"),
        number("/waiting"),
        number("/open_tokens"),
        number("/memory"),
    );
    (state, said + &data)
}

fn one_node(status: &Value, id: u64) -> (u8, String) {
    let nodes = status.get("nodes").and_then(Value::as_array).into_iter().flatten();
    let is_it = |node: &&Value| node.get("id").is_some_and(|of| of.to_string().trim_matches('"') == id.to_string());
    let Some(node) = nodes.into_iter().find(is_it) else {
        return (UNKNOWN, format!("the daemon knows no node {id}"));
    };
    match node.get("state").and_then(Value::as_str) {
        Some("up") => (OK, format!("{} is up", shown(node))),
        Some("down") => (CRITICAL, format!("{} is down", shown(node))),
        _ => (CRITICAL, format!("{} has never been connected", shown(node))),
    }
}

fn all_nodes(nodes: &BTreeMap<&str, Vec<&Value>>, options: &StatusOptions) -> (u8, String) {
    let down = nodes.get("down").map(Vec::as_slice).unwrap_or_default();
    let is_above = |limit: u64| u64::try_from(down.len()).unwrap_or(u64::MAX) > limit;
    let state = match down.len() {
        _ if is_above(options.critical) => CRITICAL,
        _ if is_above(options.warning) => WARNING,
        _ => OK,
    };
    let named: Vec<String> = down.iter().take(NAMED_MAX).map(|node| shown(node)).collect();
    let more = down.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let up = nodes.get("up").map_or(0, Vec::len);
    let said = match down.len() {
        0 => format!("{up} nodes are up"),
        1 => format!("{} is down", named.concat()),
        _ => format!("{}{more} are down", named.join(", ")),
    };
    (state, said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(warning: u64, critical: u64, node: Option<u64>) -> StatusOptions {
        StatusOptions { config: "c".into(), json: false, watch: false, check: true, warning, critical, node }
    }

    fn status(states: &[&str]) -> Value {
        let node = |(index, state): (usize, &&str)| json!({ "id": index + 2, "kind": "pull", "state": state });
        let nodes: Vec<Value> = states.iter().enumerate().map(node).collect();
        let centrals = json!({ "connected": 0, "configured": 0 });
        json!({ "daemon": { "stores": true, "memory": 9, "centrals": centrals }, "nodes": nodes })
    }

    #[test]
    fn nodes_that_are_down_are_counted_against_the_limits() {
        for (states, warning, critical, expected, words) in [
            (&["up", "never"][..], 0, 1, OK, "1 nodes are up"),
            (&["up", "down"], 0, 1, WARNING, "node 3 (pull) is down"),
            (&["down", "down"], 0, 1, CRITICAL, "node 2 (pull), node 3 (pull) are down"),
            (&["down", "down"], 2, 3, OK, "are down"),
            (&[], 0, 1, OK, "0 nodes are up"),
        ] {
            let (state, line) = judge(&status(states), &options(warning, critical, None));
            assert!(state == expected && line.contains(words), "{states:?}: {state} {line}");
        }
        let (_, line) = judge(&status(&["up", "down"]), &options(0, 1, None));
        let data = "up=1 down=1;0;1;0;2 never=0 running=0 waiting=0 open=0 memory=9B";
        assert_eq!(line.split_once(DATA).unwrap().1, data);
    }

    #[test]
    fn one_node_may_be_looked_at_and_a_history_that_takes_no_rows_is_always_critical() {
        let all = status(&["up", "down", "never"]);
        for (node, expected) in [(2, OK), (3, CRITICAL), (4, CRITICAL), (9, UNKNOWN)] {
            assert_eq!(judge(&all, &options(0, 1, Some(node))).0, expected, "{node}");
        }
        let mut full = status(&["up"]);
        full["daemon"]["stores"] = json!(false);
        assert_eq!(judge(&full, &options(0, 1, None)).0, CRITICAL);
        let mut alone = status(&["up"]);
        alone["daemon"]["centrals"]["configured"] = json!(1);
        assert_eq!(judge(&alone, &options(0, 1, None)).0, CRITICAL);
        assert_eq!(judge(&json!({}), &options(0, 1, None)).0, UNKNOWN);
    }
}
