//! Parts of a configuration that wait for secrets of a vault. They are left out, so that the rest can run.

use std::collections::BTreeSet;

use super::findings::Findings;
use super::tree::{Node, Value};
use super::vault::{self, VaultReference};

/// Removes the parts that refer to unknown secrets: entries of `modules` and `tpapi`, the listener of the proxy,
/// databases. Reports each of them, and returns all their references.
pub(super) fn take_out(tree: &mut Node, findings: &mut Findings) -> BTreeSet<VaultReference> {
    let mut waiting = BTreeSet::new();
    for top in ["configuration", ""] {
        let Some(node) = (if top.is_empty() { Some(&mut *tree) } else { tree.get_mut(top) }) else { continue };
        if let Some(gorgone) = node.get_mut("gorgone") {
            for list in ["modules", "tpapi"] {
                if let Some(Value::List(items)) = gorgone.get_mut(list).map(|node| &mut node.value) {
                    for item in items.iter_mut() {
                        take_key(item, "httpserver", &format!("{list}[proxy].httpserver"), &mut waiting, findings);
                    }
                    items.retain(|item| !waits(item, &format!("{list}[{}]", name_of(item)), &mut waiting, findings));
                }
            }
        }
        if let Some(database) = node.get_mut("centreon").and_then(|node| node.get_mut("database")) {
            for key in ["db_configuration", "db_realtime"] {
                take_key(database, key, &format!("centreon.database.{key}"), &mut waiting, findings);
            }
        }
    }
    waiting
}

fn name_of(item: &Node) -> String {
    match item.get("name").map(|node| &node.value) {
        Some(Value::Text(name)) => name.to_string(),
        _ => "?".to_owned(),
    }
}

fn take_key(node: &mut Node, key: &str, shown: &str, waiting: &mut BTreeSet<VaultReference>, findings: &mut Findings) {
    if node.get(key).is_some_and(|below| waits(below, shown, waiting, findings))
        && let Value::Map(entries) = &mut node.value
    {
        entries.retain(|(name, _)| **name != *key);
    }
}

/// Whether a value refers to an unknown secret, which is then reported and added to `waiting`.
pub(super) fn waits(node: &Node, shown: &str, waiting: &mut BTreeSet<VaultReference>, findings: &mut Findings) -> bool {
    let references = vault::references(node);
    if let Some(VaultReference { path, key }) = references.first() {
        let text = format!("waits for the vault: it needs the key '{key}' at '{path}', and does not work until then");
        findings.loss(&node.place, shown, text);
    }
    let is_waiting = !references.is_empty();
    waiting.extend(references);
    is_waiting
}
