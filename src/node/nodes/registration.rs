//! Reads an entry of REGISTERNODES (docs/protocol.md section 5).

use serde_json::Value;

use crate::config::node_entry::{NodeEntry, PATHS, SECRETS, WORDS, ZMQ_PORT};
use crate::model::registration::Registration;
use crate::node::json;

/// Maximum number of subnodes of one node.
pub(in crate::node) const SUBNODES_MAX: usize = 20_000;

/// Reads one entry of REGISTERNODES. The sender must not name files of this machine: it could make us write to them, or
/// try any key.
///
/// # Errors
/// Returns what is wrong with it. One invalid subnode makes the entry invalid, because a guessed route would be a wrong
/// one.
pub(in crate::node) fn read_registration(node: &Value) -> Result<Registration, String> {
    let mut entry = entry_of(node, &WORDS);
    let name = match entry.text("id") {
        Some(id) if id.len() <= 64 => format!("node '{id}'"),
        _ => "it".to_owned(),
    };
    if let Some(path) = PATHS.iter().find(|path| node.get(**path).and_then(json::text).is_some()) {
        return Err(format!(
            "{name} has {path}: only its own register file or database may name files of this machine"
        ));
    }
    for field in SECRETS.into_iter().chain(["identity"]) {
        entry.put(field, node.get(field).and_then(json::text).unwrap_or_default());
    }
    if entry.text("port").is_none() {
        entry.put("port", ZMQ_PORT);
    }
    match node.get("nodes") {
        None | Some(Value::Null) => {}
        // One more than the maximum, so that too many are detected.
        Some(Value::Array(nodes)) => {
            let below = nodes.iter().take(SUBNODES_MAX + 1);
            entry.below = below.map(|node| entry_of(node, &["id", "uid", "pathscore"])).collect();
        }
        Some(other) => {
            let other: String = other.to_string().chars().take(64).collect();
            return Err(format!("{name} has nodes that are not a list: {other}"));
        }
    }
    entry.read().map_err(|faults| faults.first().map_or_else(String::new, |fault| format!("{name} has {fault}")))
}

fn entry_of(node: &Value, fields: &[&'static str]) -> NodeEntry {
    let mut entry = NodeEntry::default();
    for field in fields {
        let text = match node.get(field) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => other.to_string(),
        };
        entry.put(field, text);
    }
    entry
}
