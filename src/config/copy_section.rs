//! The options of copies: `copy_roots` of the module `action`, `copy_rate_limit` of the proxy.

use std::path::{Component, PathBuf};
use std::sync::Arc;

use super::findings::Findings;
use super::section::{Section, scalar};
use crate::model::text::quoted;

/// Reads the directories under which copies may write. Without the option copies may write anywhere, which causes a
/// warning.
pub(super) fn read_roots(section: &Section<'_>, findings: &mut Findings) -> Arc<[PathBuf]> {
    let path = section.path("copy_roots");
    if section.value("copy_roots").is_none() {
        let text = "is not set, so copies of every authorised client may write anywhere this daemon may; list the \
                    directories that they may write under, for instance [/etc/centreon-engine, /etc/centreon-broker]";
        findings.warning(section.place(), &path, text);
        return Arc::new([]);
    }
    let mut roots = Vec::new();
    for item in section.items("copy_roots", findings).unwrap_or_default() {
        let Some(text) = scalar(item, &path, findings).map(str::trim) else { continue };
        let root = PathBuf::from(text);
        if root.is_absolute() && !root.components().any(|part| part == Component::ParentDir) {
            roots.push(root);
        } else {
            let text = format!("{} is not allowed; allowed: absolute paths without '..'", quoted(text));
            findings.problem(&item.place, &path, text);
        }
    }
    if roots.is_empty() {
        findings.problem(section.place(), &path, "lists no directory; leave it out to let copies write anywhere");
    }
    roots.into()
}

/// Reads the maximum number of bytes per second that copies send to each node.
pub(super) fn read_rate_limit(section: &Section<'_>, findings: &mut Findings) -> Option<u64> {
    let allowed = "a whole number of bytes per second from 1024 to 1000000000000";
    section.parsed("copy_rate_limit", None, allowed, findings, |text| {
        text.trim().parse().ok().filter(|rate| (1_024..=1_000_000_000_000).contains(rate)).map(Some)
    })
}
