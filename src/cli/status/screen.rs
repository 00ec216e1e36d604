//! The status as a screen for people.

use serde_json::Value;

use crate::cli::table::table;

/// Number of failures that are shown.
const FAILURES: usize = 5;
/// Maximum number of characters of a message or an address.
const WORDS_MAX: usize = 60;

fn number(value: &Value, name: &str) -> Option<i64> {
    value.get(name).and_then(Value::as_i64)
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

fn id(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(value) => value.to_string().replace('"', ""),
    }
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(WORDS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A duration in its two largest units.
fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn bytes(count: i64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", count / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", count / 1_000_000),
        _ => format!("{} GB", count / 1_000_000_000),
    }
}

fn ago(value: &Value, name: &str, now: i64) -> String {
    number(value, name).map_or_else(|| "never".to_owned(), |at| span(now - at))
}

fn node_row(node: &Value, now: i64) -> Vec<String> {
    let behind = node.get("through").filter(|through| !through.is_null());
    let shown = match behind {
        None => id(node.get("id")),
        Some(through) => format!("{} behind {}", id(node.get("id")), id(Some(through))),
    };
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    vec![
        shown,
        word(node, "name").to_owned(),
        word(node, "kind").to_owned(),
        word(node, "state").to_owned(),
        known(number(node, "since").map(|at| span(now - at))),
        word(node, "link").to_owned(),
        ago(node, "last_ping", now),
        known(number(node, "ping_ms").map(|ms| format!("{ms} ms"))),
        known(number(node, "synced_at").map(|at| span(now - at))),
        known(number(node, "sync_lag").map(|rows| rows.to_string())),
        known(number(node, "queue").map(|count| count.to_string())),
        known(number(node, "running").map(|count| count.to_string())),
        word(node, "version").to_owned(),
        known(number(node, "memory").map(bytes)),
        cut(word(node, "address")),
    ]
}

const HEAD: [&str; 15] = [
    "NODE", "NAME", "KIND", "STATE", "SINCE", "LINK", "PONG", "TIME", "SYNC", "LAG", "QUEUE", "RUNNING", "VERSION",
    "MEMORY", "ADDRESS",
];

/// Returns a line on the centrals of a cluster.
fn cluster_line(cluster: &Value) -> String {
    let members = cluster.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of = |member: &Value| {
        let (name, state, address) = (word(member, "member"), word(member, "state"), word(member, "address"));
        format!("{name} {state} at {address}")
    };
    let members: Vec<String> = members.iter().map(of).collect();
    let (name, own, state) = (word(cluster, "name"), word(cluster, "member"), word(cluster, "state"));
    format!("cluster {name}: this is {own} ({state}); {}\n", members.join(", "))
}

/// Returns the screen.
pub(super) fn text(status: &Value) -> String {
    let (now, empty) = (number(status, "now").unwrap_or(0), Value::Null);
    let daemon = status.get("daemon").unwrap_or(&empty);
    let of = |name: &str| number(daemon, name).unwrap_or(0);
    let place = if daemon.get("storage") == Some(&Value::from("memory")) { " in memory" } else { "" };
    let stores = if daemon.get("stores") == Some(&Value::Bool(false)) { "TAKES NO ROWS" } else { "takes rows" };
    let mut out = format!(
        "{} (id {}), stheno {}, up {}; history{place} {stores}, {}; memory {}, {} descriptors\n",
        word(daemon, "name"),
        id(daemon.get("id")),
        word(daemon, "version"),
        ago(daemon, "started_at", now),
        bytes(of("database_bytes")),
        bytes(of("memory")),
        of("descriptors"),
    );
    if let Some(cluster) = daemon.get("cluster").filter(|cluster| cluster.is_object()) {
        out.push_str(&cluster_line(cluster));
    }
    let nodes = daemon.get("nodes").unwrap_or(&empty);
    let state = |name: &str| number(nodes, name).unwrap_or(0);
    out.push_str(&format!(
        "nodes: {} up, {} down, {} never connected; requests: {} running here, {} waiting here, {} open\n",
        state("up"),
        state("down"),
        state("never"),
        of("running"),
        of("waiting"),
        of("open_tokens"),
    ));
    let list = |name: &str| status.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = list("nodes").iter().map(|node| node_row(node, now)).collect();
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(&HEAD, &rows));
    }
    let failed = |failure: &Value| {
        let node = id(failure.get("node")).replace('-', "here");
        vec![ago(failure, "at", now), node, cut(word(failure, "token")), cut(word(failure, "message"))]
    };
    let rows: Vec<Vec<String>> = list("failures").iter().take(FAILURES).map(failed).collect();
    if !rows.is_empty() {
        out.push_str("\nlast failures\n");
        out.push_str(&table(&["AGO", "NODE", "TOKEN", "MESSAGE"], &rows));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_and_sizes_are_short() {
        for (seconds, text) in [(5, "5 s"), (65, "1 min 5 s"), (7_260, "2 h 1 min"), (180_000, "2 d 2 h"), (-5, "0 s")]
        {
            assert_eq!(span(seconds), text);
        }
        assert_eq!([bytes(900), bytes(14_000), bytes(14_000_000)], ["900 B", "14 kB", "14 MB"]);
    }

    #[test]
    fn the_screen_shows_daemon_nodes_and_failures_and_survives_an_answer_that_is_empty() {
        let status = json!({
            "now": 1_000,
            "daemon": { "name": "central", "id": 1, "stores": true, "started_at": 900, "nodes": { "up": 1 } },
            "nodes": [{ "id": 2, "kind": "pull", "state": "up", "last_ping": 990, "ping_ms": 3 },
                { "id": "18446744073709551615", "through": 2, "state": "never" }],
            "failures": [{ "at": 940, "token": "abc", "node": null, "message": "no such\nnode" }],
        });
        let text = text(&status);
        for words in
            ["central (id 1)", "up 1 min 40 s", "1 up", "10 s", "18446744073709551615 behind 2", "no such node"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(super::text(&Value::Null).contains("nodes: 0 up"));
    }
}
