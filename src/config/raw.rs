//! Finds the sections in the tree of values. It interprets no values.

use super::findings::Findings;
use super::options;
use super::section::Section;
use super::tree::{Node, Place, Value};
use crate::model::action::Module;

/// The sections that the readers use.
pub(super) struct RawConfig<'a> {
    pub(super) gorgone: &'a Place,
    /// `name` of the top file.
    pub(super) name: Option<&'a Node>,
    /// `gorgonecore`, a map.
    pub(super) core: Option<&'a Node>,
    /// The entries of `modules`.
    pub(super) modules: &'a [Node],
    /// The entries of `tpapi`.
    pub(super) tpapi: &'a [Node],
    /// `centreon`, next to `gorgone`.
    pub(super) centreon: Option<&'a Node>,
}

impl<'a> RawConfig<'a> {
    /// Finds `gorgone` below `configuration` or at the top level. `None` after a problem that leaves nothing to read.
    pub(super) fn find(tree: &'a Node, findings: &mut Findings) -> Option<Self> {
        let file = Place::file(&tree.place.file);
        if !matches!(tree.value, Value::Map(_) | Value::Null) {
            let text = format!("holds {} where a map with 'configuration:' or 'gorgone:' is needed", tree.value.kind());
            findings.problem(&file, "", text);
            return None;
        }
        let below = tree.get("configuration").and_then(|node| node.get("gorgone"));
        let top = tree.get("gorgone");
        if let (Some(_), Some(top)) = (below, top) {
            findings.warning(&top.place, "gorgone", "ignored, because 'configuration.gorgone' is there as well");
        }
        let Some(gorgone) = below.or(top) else {
            let text =
                "no 'gorgone:' section in this file (at the top or below 'configuration:') or in those it includes";
            findings.problem(&file, "", text);
            return None;
        };
        if !matches!(gorgone.value, Value::Map(_) | Value::Null) {
            findings.problem(&gorgone.place, "gorgone", format!("is {}; allowed: a map", gorgone.value.kind()));
            return None;
        }
        let core = gorgone.get("gorgonecore").filter(|node| match node.value {
            Value::Map(_) => true,
            Value::Null => false,
            _ => {
                findings.problem(&node.place, "gorgonecore", format!("is {}; allowed: a map", node.value.kind()));
                false
            }
        });
        warn_of_unknown(tree, gorgone, findings);
        let modules = items(gorgone, "modules", findings);
        let tpapi = items(gorgone, "tpapi", findings);
        let centreon = tree.get("configuration").and_then(|node| node.get("centreon")).or_else(|| tree.get("centreon"));
        Some(Self { gorgone: &gorgone.place, name: tree.get("name"), core, modules, tpapi, centreon })
    }
}

impl<'a> RawConfig<'a> {
    /// The place of the first entry of a module.
    pub(super) fn place_of(&self, module: Module) -> &'a Place {
        let is_it = |entry: &&Node| {
            entry.get("package").is_some_and(|package| match &package.value {
                Value::Text(text) => text.trim() == module.package(),
                _ => false,
            })
        };
        self.modules.iter().find(is_it).map_or(self.gorgone, |entry| &entry.place)
    }
}

/// The entries of a list in `gorgone`; empty if absent.
fn items<'a>(gorgone: &'a Node, key: &str, findings: &mut Findings) -> &'a [Node] {
    gorgone.get(key).map_or(&[][..], |node| match &node.value {
        Value::List(items) => items,
        Value::Null => &[],
        _ => {
            let text = format!("is {}; allowed: a list, each entry beginning with '- name:'", node.value.kind());
            findings.problem(&node.place, key, text);
            &[]
        }
    })
}

/// Warns of unknown keys above the known sections.
fn warn_of_unknown(tree: &Node, gorgone: &Node, findings: &mut Findings) {
    let configuration = tree.get("configuration");
    let centreon = configuration.and_then(|node| node.get("centreon")).or_else(|| tree.get("centreon"));
    let database = centreon.and_then(|node| node.get("database"));
    for (node, key, options) in [
        (Some(tree), "", &options::TOP),
        (configuration, "configuration", &options::CONFIGURATION),
        (Some(gorgone), "gorgone", &options::GORGONE),
        (centreon, "centreon", &options::CENTREON),
        (database, "centreon.database", &options::DATABASE),
    ] {
        Section::new(node, &tree.place, key, options, findings);
    }
}
