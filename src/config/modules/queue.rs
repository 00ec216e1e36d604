//! `queue` of the module `proxy`: requests that wait for their nodes (docs/queue.md).

use std::collections::BTreeMap;

use crate::model::action::Action;
use crate::model::queue::TTL_MAX;
use crate::model::text::quoted;

use crate::config::findings::Findings;
use crate::config::section::{self, Section, scalar};
use crate::config::tree::Value;

/// `queue` of the module `proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// `ttl` (0 s): how long a request that says nothing else waits for its node; 0 for not at all.
    pub ttl: i64,
    /// `max_messages` (100000): maximum number of requests that wait for one node.
    pub max_messages: usize,
    /// `max_bytes` (256 MiB): maximum size of the requests that wait for one node.
    pub max_bytes: u64,
    /// `by_action`: the `ttl` of actions, by their words.
    pub by_action: BTreeMap<String, i64>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { ttl: 0, max_messages: 100_000, max_bytes: 256 << 20, by_action: BTreeMap::new() }
    }
}

/// A number of bytes, or the most that this machine can count.
fn number(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Reads the section; wrong values are problems and give the defaults.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> QueueSettings {
    let default = QueueSettings::default();
    let (max_bytes, most) = (number(default.max_bytes), number(1 << 40));
    let max_bytes = section.number("max_bytes", max_bytes, 1_024..=most, "bytes", findings);
    QueueSettings {
        ttl: section.parsed("ttl", default.ttl, &allowed(), findings, ttl),
        max_messages: section.number("max_messages", default.max_messages, 1..=1_000_000, "", findings),
        max_bytes: u64::try_from(max_bytes).unwrap_or(u64::MAX),
        by_action: read_by_action(section, findings),
    }
}

fn ttl(text: &str) -> Option<i64> {
    section::whole(text).and_then(|ttl| i64::try_from(ttl).ok()).filter(|ttl| *ttl <= TTL_MAX)
}

fn allowed() -> String {
    format!("a whole number of seconds from 0 to {TTL_MAX}")
}

fn read_by_action(section: &Section<'_>, findings: &mut Findings) -> BTreeMap<String, i64> {
    let path = section.path("by_action");
    let mut found = BTreeMap::new();
    let Some(node) = section.value("by_action") else { return found };
    let Value::Map(entries) = &node.value else {
        let text = format!("is {}; allowed: a map of actions, for instance {{COMMAND: 60}}", node.value.kind());
        findings.problem(&node.place, &path, text);
        return found;
    };
    for (action, node) in entries {
        let path = format!("{path}.{action}");
        if matches!(Action::parse(action), Action::Other(_)) {
            findings.warning(&node.place, &path, "is not an action that this daemon knows");
        }
        let Some(text) = scalar(node, &path, findings) else { continue };
        match ttl(text.trim()) {
            Some(ttl) => _ = found.insert(action.to_string(), ttl),
            None => findings.problem(&node.place, &path, format!("is {}; allowed: {}", quoted(text), allowed())),
        }
    }
    found
}
