//! The nodes behind a node, from its constatus map.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::node_id::NodeId;
use crate::model::status::NodeState;

/// Maximum depth; a map that was stored is not deeper.
const LEVELS_MAX: usize = 32;
/// Time in seconds after which a ping that is under way counts as lost.
const PATIENCE: i64 = 30;

/// A node behind another.
pub(super) struct Behind {
    pub id: NodeId,
    /// The node in whose map it stands.
    pub parent: NodeId,
    pub kind: String,
    pub state: NodeState,
    pub last_ping: i64,
    pub ping_ok: u64,
    pub ping_failed: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(rename = "type")]
    kind: Value,
    nodes: Value,
    last_ping_sent: Value,
    last_ping_recv: Value,
    next_ping: Value,
    in_progress_ping: Value,
    ping_ok: Value,
    ping_failed: Value,
}

/// Numbers come as text, too.
fn number(value: &Value) -> i64 {
    let text = || value.as_str().and_then(|text| text.parse().ok());
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64)).or_else(text).unwrap_or(0)
}

impl Entry {
    /// A Perl daemon tells no state: what its last pings came to shows it.
    fn state(&self) -> NodeState {
        let (sent, received) = (number(&self.last_ping_sent), number(&self.last_ping_recv));
        let period = number(&self.next_ping).saturating_sub(sent).clamp(0, 86_400);
        let is_under_way = number(&self.in_progress_ping) != 0;
        let may_lag = if is_under_way { period.saturating_add(PATIENCE) } else { 1 };
        match received {
            0 => NodeState::Never,
            _ if sent.saturating_sub(received) > may_lag => NodeState::Down,
            _ => NodeState::Up,
        }
    }
}

/// Returns the nodes in the map of `through`. Without a way to that node none of them is reached.
pub(super) fn nodes(map: &str, through: NodeId, is_reached: bool) -> Vec<Behind> {
    let mut found = Vec::new();
    if map.len() > 2
        && let Ok(map) = serde_json::from_str(map)
    {
        walk(map, through, is_reached, LEVELS_MAX, &mut found);
    }
    found
}

fn walk(map: Map<String, Value>, parent: NodeId, is_reached: bool, levels: usize, found: &mut Vec<Behind>) {
    for (key, entry) in map {
        let Ok(id) = key.parse::<NodeId>() else { continue };
        let entry: Entry = serde_json::from_value(entry).unwrap_or_default();
        let state = match entry.state() {
            NodeState::Up if !is_reached => NodeState::Down,
            state => state,
        };
        let count = |value| u64::try_from(number(value)).unwrap_or(0);
        found.push(Behind {
            id,
            parent,
            kind: entry.kind.as_str().unwrap_or_default().chars().take(20).collect(),
            state,
            last_ping: number(&entry.last_ping_recv),
            ping_ok: count(&entry.ping_ok),
            ping_failed: count(&entry.ping_failed),
        });
        if let (Value::Object(nodes), true) = (entry.nodes, levels > 1) {
            walk(nodes, id, state == NodeState::Up, levels - 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(map: &str, is_reached: bool) -> Vec<(u64, u64, &'static str)> {
        let found = nodes(map, NodeId::new(2).unwrap(), is_reached);
        found.iter().map(|node| (node.id.get(), node.parent.get(), node.state.as_str())).collect()
    }

    #[test]
    fn pings_show_the_state_of_a_node_whatever_the_form_of_their_numbers() {
        let map = r#"{"3":{"type":"pull","last_ping_sent":100,"last_ping_recv":"100","next_ping":160,"in_progress_ping":0,
            "nodes":{"4":{"last_ping_sent":100.5,"last_ping_recv":40,"next_ping":160,"in_progress_ping":0}}},
            "5":{"last_ping_sent":160,"last_ping_recv":100,"next_ping":220,"in_progress_ping":"1"},
            "6":{"last_ping_sent":160,"last_ping_recv":0},"x":{},"7":null}"#;
        let expected = [(3, 2, "up"), (4, 3, "down"), (5, 2, "up"), (6, 2, "never"), (7, 2, "never")];
        assert_eq!(states(map, true), expected);
        assert!(states(map, false).iter().all(|(.., state)| *state != "up"));
        assert!(states("[]", true).is_empty() && states("", true).is_empty());
    }
}
