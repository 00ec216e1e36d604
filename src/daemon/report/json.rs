//! The answer of `GET /api/status` (docs/api.md).

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::Machine;
use super::behind;
use crate::model::node_id::NodeId;
use crate::model::status::{Failure, NodeFacts, NodeState, Overview};

#[derive(Serialize)]
struct Status<'a> {
    revision: String,
    whole: bool,
    now: i64,
    daemon: Value,
    nodes: Vec<NodeText<'a>>,
    removed: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<Vec<FailureText<'a>>>,
    totals: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    minutes: Option<&'a [[u32; 2]]>,
    may: Value,
}

#[derive(Default, Serialize)]
struct NodeText<'a> {
    id: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    uid: Value,
    through: Value,
    name: Option<&'a str>,
    kind: &'a str,
    address: Option<&'a str>,
    state: &'static str,
    link: Option<&'static str>,
    since: Option<i64>,
    last_ping: Option<i64>,
    ping_ms: Option<u64>,
    ping_ok: u64,
    ping_failed: u64,
    synced_at: Option<i64>,
    sync_lag: Option<u64>,
    queue: u64,
    unconfirmed: u64,
    running: Option<u64>,
    version: Option<&'a str>,
    memory: Option<u64>,
}

#[derive(Serialize)]
struct FailureText<'a> {
    at: i64,
    token: &'a str,
    node: Value,
    message: String,
}

/// 0 stands for never.
fn time(seconds: i64) -> Option<i64> {
    (seconds > 0).then_some(seconds)
}

impl<'a> NodeText<'a> {
    fn of(node: &'a NodeFacts) -> Self {
        Self {
            id: node.id.to_json(),
            uid: node.uid.map(NodeId::to_json).unwrap_or_default(),
            through: Value::Null,
            name: node.about.hostname.as_deref(),
            kind: node.kind,
            address: node.address.as_deref(),
            state: node.state.as_str(),
            link: node.link,
            since: time(node.since),
            last_ping: time(node.last_ping),
            ping_ms: node.ping_ms,
            ping_ok: node.ping_ok,
            ping_failed: node.ping_failed,
            synced_at: time(node.synced_at),
            sync_lag: node.sync_lag,
            queue: node.queue,
            unconfirmed: node.unconfirmed,
            running: node.about.running,
            version: node.about.version.as_deref(),
            memory: node.about.memory,
        }
    }

    fn behind(node: &'a behind::Behind) -> Self {
        Self {
            id: node.id.to_json(),
            through: node.parent.to_json(),
            kind: &node.kind,
            state: node.state.as_str(),
            last_ping: time(node.last_ping),
            ping_ok: node.ping_ok,
            ping_failed: node.ping_failed,
            ..Self::default()
        }
    }
}

/// The message in the data of a row with its detail, or the data.
pub(super) fn message(data: &str) -> String {
    let data_json = serde_json::from_str::<Value>(data).ok();
    let word = |key| data_json.as_ref().and_then(|data| data.get(key)).and_then(Value::as_str);
    match (word("message"), word("detail")) {
        (Some(said), Some(detail)) => format!("{said} ({detail})"),
        (said, _) => said.unwrap_or(data).to_owned(),
    }
}

impl<'a> FailureText<'a> {
    fn of(failure: &'a Failure) -> Self {
        Self {
            at: failure.at,
            token: &failure.token,
            node: failure.node.map(NodeId::to_json).unwrap_or_default(),
            message: message(&failure.data),
        }
    }
}

/// Returns the nodes behind others, by the node that they are behind. In a whole report a node that has a link of its
/// own stands there only.
pub(super) fn all_behind(overview: &Overview) -> Vec<behind::Behind> {
    let mut seen: BTreeSet<NodeId> = overview.nodes.iter().map(|node| node.id).chain(overview.id).collect();
    let relays = overview.nodes.iter();
    let found = relays.flat_map(|node| behind::nodes(&node.behind, node.id, node.state == NodeState::Up));
    let mut found: Vec<_> = found.filter(|node| !overview.is_whole || seen.insert(node.id)).collect();
    found.sort_by_key(|node| node.parent);
    found
}

/// Returns the text.
pub(super) fn status(overview: &Overview, machine: &Machine) -> String {
    let [up, down, never] = overview.states;
    let (connected, dialled) = overview.parents;
    let counted = &overview.counted;
    let behind = all_behind(overview);
    let status = Status {
        revision: overview.revision(),
        whole: overview.is_whole,
        now: overview.now,
        daemon: json!({
            "id": overview.id.map(NodeId::to_json),
            "name": overview.hostname,
            "version": env!("CARGO_PKG_VERSION"),
            "started_at": overview.started_at,
            "memory": machine.memory,
            "descriptors": machine.descriptors,
            "cluster": machine.cluster,
            "storage": if machine.is_in_memory { "memory" } else { "disk" },
            "database_bytes": machine.database_bytes,
            "stores": overview.stores,
            "stopping": overview.is_stopping,
            "running": overview.running,
            "waiting": overview.waiting,
            "open_tokens": overview.open_tokens,
            "queue": { "depth": overview.queue.depth, "oldest_seconds": overview.queue.oldest_seconds },
            "centrals": { "connected": connected, "configured": dialled },
            "nodes": { "up": up, "down": down, "never": never },
        }),
        nodes: overview.nodes.iter().map(NodeText::of).chain(behind.iter().map(NodeText::behind)).collect(),
        removed: overview.removed.iter().map(|id| id.to_json()).collect(),
        failures: overview.has_counts.then(|| overview.failures.iter().map(FailureText::of).collect()),
        totals: json!({
            "ended_ok": counted.ended_ok,
            "ended_failed": counted.ended_failed,
            "commands_ok": counted.commands_ok,
            "commands_failed": counted.commands_failed,
        }),
        minutes: overview.has_counts.then_some(&counted.minutes[..]),
        may: json!({ "central": overview.allowed.central, "admin": overview.allowed.admin }),
    };
    serde_json::to_string(&status).unwrap_or_default()
}
