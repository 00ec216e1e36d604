//! Where the sections stand in what the files say. Interprets no value.

use std::path::Path;

use super::findings::Findings;
use super::tree::{Node, Value};

/// The sections that matter here; `tpapi` belongs to modules that this version does not have.
pub(super) struct RawConfig<'a> {
    /// The top file.
    pub(super) file: &'a Path,
    /// `name` of the top file.
    pub(super) name: Option<&'a Node>,
    /// `gorgonecore`, a map.
    pub(super) core: Option<&'a Node>,
    /// The entries of `modules`.
    pub(super) modules: &'a [Node],
    /// `centreon`, beside `gorgone`.
    pub(super) centreon: Option<&'a Node>,
}

impl<'a> RawConfig<'a> {
    /// Finds `gorgone` below `configuration` or at the top. `None` after a problem that leaves nothing to look at.
    pub(super) fn find(tree: &'a Node, findings: &mut Findings) -> Option<Self> {
        let file = &*tree.file;
        if !matches!(tree.value, Value::Map(_) | Value::Null) {
            let text = format!("holds {} where a map with 'configuration:' or 'gorgone:' is needed", tree.value.kind());
            findings.problem(file, "", text);
            return None;
        }
        let below = tree.get("configuration").and_then(|node| node.get("gorgone"));
        let top = tree.get("gorgone");
        if let (Some(_), Some(top)) = (below, top) {
            findings.warning(&top.file, "gorgone", "ignored, because 'configuration.gorgone' is there as well");
        }
        let Some(gorgone) = below.or(top) else {
            let text =
                "no 'gorgone:' section in this file (at the top or below 'configuration:') or in those it includes";
            findings.problem(file, "", text);
            return None;
        };
        if !matches!(gorgone.value, Value::Map(_) | Value::Null) {
            findings.problem(&gorgone.file, "gorgone", format!("is {}; allowed: a map", gorgone.value.kind()));
            return None;
        }
        let core = gorgone.get("gorgonecore").filter(|node| match node.value {
            Value::Map(_) => true,
            Value::Null => false,
            _ => {
                findings.problem(&node.file, "gorgonecore", format!("is {}; allowed: a map", node.value.kind()));
                false
            }
        });
        let modules = gorgone.get("modules").map_or(&[][..], |node| match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                let text =
                    format!("is {}; allowed: a list of modules, each beginning with '- name:'", node.value.kind());
                findings.problem(&node.file, "modules", text);
                &[]
            }
        });
        let centreon = tree.get("configuration").and_then(|node| node.get("centreon")).or_else(|| tree.get("centreon"));
        Some(Self { file, name: tree.get("name"), core, modules, centreon })
    }
}
