//! The constatus map (protocol.md section 4) as JSON text: ours, built when it is asked for and kept until something
//! changes, and the maps that nodes announce in their PONG, cut to bounds.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::model::node_id::NodeId;

use super::liveness::Ping;
use super::registry::Registry;

/// Characters of a node's map at most; a larger one is left out.
const MAP_BYTES_MAX: usize = 1 << 20;
/// Levels of nodes behind nodes at most; deeper ones are cut (two relays that know each other would grow for ever).
const LEVELS_MAX: usize = 32;

/// The map of every node of the registry.
pub(super) fn write_map(registry: &Registry) -> String {
    let mut out = String::from("{");
    for (id, node) in registry.iter() {
        if out.len() > 1 {
            out.push(',');
        }
        let liveness = &node.liveness;
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "\"{id}\":{{\"type\":\"{}\",\"nodes\":{},\"last_ping_sent\":{},\"last_ping_recv\":{},\"next_ping\":{},\
             \"in_progress_ping\":{},\"ping_ok\":{},\"ping_failed\":{},\"ping_timeout\":{}}}",
            node.registration.kind.as_str(),
            liveness.nodes,
            liveness.last_ping_sent,
            liveness.last_ping_received,
            liveness.next_ping,
            u8::from(liveness.ping != Ping::Idle),
            liveness.ping_ok,
            liveness.ping_failed,
            liveness.ping_timeout,
        );
    }
    out.push('}');
    out
}

/// A node's own map: the text to keep, and the ids in it at every depth. `None` when it is no map or too large.
pub(super) fn read_map(text: &str) -> Option<(String, BTreeSet<NodeId>)> {
    if text.len() > MAP_BYTES_MAX {
        return None;
    }
    let mut map: Value = serde_json::from_str(text).ok()?;
    let mut ids = BTreeSet::new();
    map.is_object().then(|| walk(&mut map, LEVELS_MAX, &mut ids))?;
    Some((map.to_string(), ids))
}

fn walk(map: &mut Value, levels: usize, ids: &mut BTreeSet<NodeId>) {
    let Some(entries) = map.as_object_mut() else { return };
    for (key, entry) in entries {
        ids.extend(key.parse::<NodeId>().ok());
        let Some(nodes) = entry.get_mut("nodes") else { continue };
        if levels > 1 {
            walk(nodes, levels - 1, ids);
        } else {
            *nodes = Value::Object(serde_json::Map::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u64]) -> BTreeSet<NodeId> {
        numbers.iter().map(|number| NodeId::new(*number).unwrap()).collect()
    }

    #[test]
    fn ids_are_found_at_every_depth() {
        let text = r#"{"2":{"nodes":{"3":{"nodes":{"4":{"type":"pull"}}},"x":{}}},"5":null}"#;
        let (kept, found) = read_map(text).unwrap();
        assert_eq!(found, ids(&[2, 3, 4, 5]));
        assert_eq!(kept, r#"{"2":{"nodes":{"3":{"nodes":{"4":{"type":"pull"}}},"x":{}}},"5":null}"#);
    }

    #[test]
    fn a_map_that_goes_too_deep_is_cut_and_one_that_is_none_is_left_out() {
        let nested = |levels: usize| format!("{}{{}}{}", "{\"2\":{\"nodes\":".repeat(levels), "}}".repeat(levels));
        let (kept, _) = read_map(&nested(40)).unwrap();
        assert_eq!(kept, nested(32));
        assert_eq!(read_map(&nested(400)), None);
        for bad in ["[]", "null", "3", "{", &format!("{{\"2\":\"{}\"}}", "x".repeat(MAP_BYTES_MAX))] {
            assert_eq!(read_map(bad), None);
        }
    }
}
