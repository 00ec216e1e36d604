//! Reads the option `may` of users, keys and tokens: one word or a list of words (docs/security.md).

use super::findings::Findings;
use super::section::{Section, refuse, scalar};
use super::tree::Value;
use crate::model::rights::{Rights, WORDS};

/// Reads `may`; `None` if absent. A wrong word is reported and allows nothing.
pub(super) fn may(section: &Section<'_>, findings: &mut Findings) -> Option<Rights> {
    let node = section.value("may")?;
    let key = section.path("may");
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut rights = Rights::default();
    for item in items {
        let Some(word) = scalar(item, &key, findings).map(str::trim) else { continue };
        if !rights.add(word) {
            refuse(&item.place, &key, word, WORDS, findings);
        }
    }
    Some(rights)
}
