//! References to secrets in a vault (docs/protocol.md section 18): a value `secret::hashicorp_vault::PATH::KEY` in any
//! file. Secrets read from the vault are remembered for the life of the process, so that files can be reloaded.
//!
//! Out of scope: the vault itself (`edge::vault`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::tree::{Node, Value};
use crate::model::secret::Secret;

/// Prefix of every reference.
const PREFIX: &str = "secret::hashicorp_vault::";

/// A reference to a secret in the vault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VaultReference {
    /// The path of the secret, without `/v1/`.
    pub path: String,
    /// The key of the value at this path.
    pub key: String,
}

impl VaultReference {
    fn parse(text: &str) -> Option<Self> {
        let (path, key) = text.strip_prefix(PREFIX)?.split_once("::")?;
        let fits = !path.is_empty()
            && !key.is_empty()
            && path.bytes().all(|byte| byte.is_ascii_graphic() && !b":?#%\\".contains(&byte))
            && !path.split('/').any(|part| part == "..");
        fits.then(|| Self { path: path.trim_matches('/').to_owned(), key: key.to_owned() })
    }
}

static KNOWN: Mutex<BTreeMap<VaultReference, Secret>> = Mutex::new(BTreeMap::new());

/// Remembers secrets read from the vault.
pub fn remember(secrets: BTreeMap<VaultReference, Secret>) {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).extend(secrets);
}

/// Replaces references by known secrets; references to unknown ones stay.
pub(super) fn resolve(node: &mut Node) {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    put(node, &known);
}

fn put(node: &mut Node, known: &BTreeMap<VaultReference, Secret>) {
    match &mut node.value {
        Value::Text(text) => {
            let secret = VaultReference::parse(text).and_then(|reference| known.get(&reference));
            if let Some(secret) = secret {
                node.value = Value::Text(secret.reveal().into());
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| put(item, known)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, below)| put(below, known)),
        Value::Null => {}
    }
}

/// Returns all references below a value.
pub(super) fn references(node: &Node) -> BTreeSet<VaultReference> {
    let mut found = BTreeSet::new();
    collect(node, &mut found);
    found
}

fn collect(node: &Node, found: &mut BTreeSet<VaultReference>) {
    match &node.value {
        Value::Text(text) => found.extend(VaultReference::parse(text)),
        Value::List(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Map(entries) => entries.iter().for_each(|(_, below)| collect(below, found)),
        Value::Null => {}
    }
}
