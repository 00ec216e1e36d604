//! The constatus map (docs/protocol.md section 4) as JSON text: ours, built on demand and kept until something changes,
//! and the maps that nodes announce in their PONG, cut to limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::model::node_id::NodeId;

use super::liveness::Ping;
use super::node::{Announced, Distance};
use super::registry::Registry;
use crate::node::context::Context;
use crate::node::json;
use crate::node::names::Names;

/// Maximum size of a node's map in bytes; a larger one is left out.
const MAP_BYTES_MAX: usize = 1 << 20;
/// Maximum depth of nodes behind nodes; deeper ones are cut.
const LEVELS_MAX: u8 = 32;

/// Our own status texts, built again only after a change.
#[derive(Debug, Default)]
pub(super) struct StatusTexts {
    /// Version of the registry and own id from which the PONG was built.
    pong_of: (u64, Option<NodeId>),
    /// The PONG without what it says about the daemon's work.
    pong: String,
    /// Second in which a PONG last said something about the daemon's work.
    about_second: Option<u64>,
    constatus_of: u64,
    constatus: String,
    /// Whether an API call has left a row with this text.
    has_row: bool,
}

impl StatusTexts {
    /// Returns the `data` of a PONG of a daemon with `running` requests. One PONG a second says something about the
    /// daemon's work, because that takes longer than the rest of a PING.
    pub(super) fn pong(&mut self, context: &Context, registry: &Registry, running: usize) -> String {
        let pong_of = (registry.version() + 1, context.own_id);
        if self.pong_of != pong_of {
            let mut text =
                format!("{{\"action\":\"ping\",\"message\":\"ping ok\",\"id\":{},\"hostname\":", context.id_json());
            json::push_string(&mut text, &context.options.hostname);
            text.push_str(",\"data\":");
            text.push_str(&write_map(registry, &context.names));
            text.push('}');
            (self.pong_of, self.pong) = (pong_of, text);
        }
        let mut text = self.pong.clone();
        let second = Some(context.now.monotonic.as_millis() / 1_000);
        if self.about_second != second {
            self.about_second = second;
            text.pop();
            let memory = (context.options.memory)().map(|bytes| format!(",\"memory\":{bytes}")).unwrap_or_default();
            let version = env!("CARGO_PKG_VERSION");
            // Writing to a string cannot fail.
            let _ = write!(text, ",\"about\":{{\"version\":\"{version}\",\"running\":{running}{memory}}}}}");
        }
        text
    }

    /// Returns the `data` of a CONSTATUS, and whether an answer to the API leaves a row: only the first of equal ones
    /// does.
    pub(super) fn constatus(&mut self, registry: &Registry, names: &Names, is_api: bool) -> (&str, bool) {
        let version = registry.version() + 1;
        if self.constatus_of != version {
            let map = write_map(registry, names);
            self.constatus = format!("{{\"action\":\"constatus\",\"message\":\"ok\",\"data\":{map}}}");
            (self.constatus_of, self.has_row) = (version, false);
        }
        let is_new = is_api && !std::mem::replace(&mut self.has_row, true);
        (&self.constatus, is_new)
    }
}

/// Writes the map of all nodes of the registry.
pub(in crate::node) fn write_map(registry: &Registry, names: &Names) -> String {
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
        if let Some(link) = registry.link_kind(node) {
            out.pop();
            let _ = write!(out, ",\"link\":\"{}\"}}", link.word());
        }
        if let Some(uid) = names.uid_of(id) {
            out.pop();
            let _ = write!(out, ",\"uid\":{}}}", uid.json_text());
        }
    }
    out.push('}');
    out
}

/// The content of a node's map.
pub(in crate::node) struct NodeMap {
    /// The text to keep.
    pub text: String,
    /// The ids in it with their distance.
    pub ids: Announced,
    /// The uids that it uses as names of ids.
    pub names: BTreeMap<NodeId, NodeId>,
}

/// Reads a node's own map. Each id is expanded at its nearest place only, and the ids in `around` (ours and that
/// node's) nowhere: otherwise relays that know each other would repeat each other's nodes without end, and a way
/// through ourselves is no way. `None` if it is not a map or too large.
pub(in crate::node) fn read_map(
    text: &str,
    around: impl IntoIterator<Item = NodeId>,
    names: &Names,
) -> Option<NodeMap> {
    if text.len() > MAP_BYTES_MAX {
        return None;
    }
    let mut map: Value = serde_json::from_str(text).ok()?;
    map.is_object().then_some(())?;
    let around: BTreeSet<NodeId> = around.into_iter().collect();
    let mut opened = around.clone();
    let mut ids = Announced::new();
    let mut called = BTreeMap::new();
    // By distance, then in the order of discovery.
    let mut found = 0_usize;
    let mut maps = BTreeMap::from([((Distance::default(), found), (None, &mut map))]);
    while let Some(((distance, _), (owner, nodes))) = maps.pop_first() {
        if distance.steps >= LEVELS_MAX || owner.is_some_and(|id| !opened.insert(id)) {
            *nodes = Value::Object(serde_json::Map::new());
            continue;
        }
        let Some(nodes) = nodes.as_object_mut() else { continue };
        by_ids(nodes, names, &mut called);
        for (key, entry) in nodes {
            let id = key.parse::<NodeId>().ok();
            let behind = distance.behind(entry.get("type").is_some_and(|kind| kind == "wss"));
            if let Some(id) = id.filter(|id| !around.contains(id)) {
                let nearest = ids.entry(id).or_insert(behind);
                *nearest = behind.min(*nearest);
            }
            if let Some(nodes) = entry.get_mut("nodes") {
                found += 1;
                maps.insert((behind, found), (id, nodes));
            }
        }
    }
    drop(maps);
    Some(NodeMap { text: map.to_string(), ids, names: called })
}

/// Replaces uids in the map by ids.
fn by_ids(map: &mut Map<String, Value>, names: &Names, called: &mut BTreeMap<NodeId, NodeId>) {
    let translated = map.keys().filter_map(|key| {
        let name: NodeId = key.parse().ok()?;
        let id = names.id_of(name);
        (id != name).then(|| (key.clone(), id, name))
    });
    for (key, id, name) in translated.collect::<Vec<_>>() {
        let Some(mut entry) = map.remove(&key) else { continue };
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("uid".to_owned(), name.to_json());
        }
        called.insert(id, name);
        map.entry(id.to_string()).or_insert(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn read(text: &str) -> Option<(String, Vec<(u64, u8)>)> {
        let map = read_map(text, [id(1)], &Names::default())?;
        Some((map.text, map.ids.into_iter().map(|(id, distance)| (id.get(), distance.steps)).collect()))
    }

    #[test]
    fn ids_are_found_at_every_depth() {
        let text = r#"{"2":{"nodes":{"3":{"nodes":{"4":{"type":"pull"}}},"x":{}}},"5":null}"#;
        assert_eq!(read(text), Some((text.to_owned(), vec![(2, 1), (3, 2), (4, 3), (5, 1)])));
    }

    #[test]
    fn relays_that_know_each_other_and_us_are_not_repeated() {
        let text = r#"{"2":{"nodes":{"3":{"nodes":{"2":{"nodes":{"9":{}}},"8":{}}}}},"1":{"nodes":{"7":{}}},"3":{"nodes":{"6":{}}}}"#;
        let kept = r#"{"2":{"nodes":{"3":{"nodes":{}}}},"1":{"nodes":{}},"3":{"nodes":{"6":{}}}}"#;
        let (text, ids) = read(text).unwrap();
        assert_eq!(text.parse::<Value>().unwrap(), kept.parse::<Value>().unwrap());
        assert_eq!(ids, [(2, 1), (3, 1), (6, 2)]);
    }

    #[test]
    fn an_id_is_opened_where_the_fewest_web_sockets_are_on_the_way() {
        let text = r#"{"2":{"type":"wss","nodes":{"5":{"nodes":{"6":{}}}}},"3":{"nodes":{"4":{"nodes":{"5":{"nodes":{"6":{}}}}}}}}"#;
        let kept =
            r#"{"2":{"type":"wss","nodes":{"5":{"nodes":{}}}},"3":{"nodes":{"4":{"nodes":{"5":{"nodes":{"6":{}}}}}}}}"#;
        let (text, ids) = read(text).unwrap();
        assert_eq!(text.parse::<Value>().unwrap(), kept.parse::<Value>().unwrap());
        assert_eq!(ids, [(2, 1), (3, 1), (4, 2), (5, 3), (6, 4)]);
    }

    #[test]
    fn a_map_that_goes_too_deep_is_cut_and_one_that_is_none_is_left_out() {
        let nested = |levels: u64| {
            let open: String = (0..levels).map(|level| format!("{{\"{}\":{{\"nodes\":", level + 2)).collect();
            format!("{open}{{}}{}", "}}".repeat(usize::try_from(levels).unwrap()))
        };
        assert_eq!(read(&nested(40)).unwrap().0, nested(32));
        assert_eq!(read(&nested(1_000)), None);
        for bad in ["[]", "null", "3", "{", &format!("{{\"2\":\"{}\"}}", "x".repeat(MAP_BYTES_MAX))] {
            assert_eq!(read(bad), None);
        }
    }
}
