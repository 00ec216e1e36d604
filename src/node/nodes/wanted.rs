//! The nodes that a file or a database wants to be registered. Only differences are applied, so an unchanged node is
//! not touched.
//!
//! A node that was registered over the network belongs to no source: a source removes only ids that it wanted itself.

use std::collections::BTreeMap;

use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::registration::{Registration, RegistrationSource, Subnode};

use super::Nodes;
use crate::node::context::Context;

/// The last list of each source.
#[derive(Debug, Default)]
pub(in crate::node) struct Wanted {
    sources: BTreeMap<RegistrationSource, BTreeMap<NodeId, Registration>>,
}

/// The effect of a list of wanted nodes. Nodes in none of these fields are unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::node) struct RegistrationChanges {
    /// Registered now but not before.
    pub added: Vec<NodeId>,
    /// Registered with other data than before.
    pub changed: Vec<NodeId>,
    /// Not wanted any more, and removed, or registered as another source wants it.
    pub removed: Vec<NodeId>,
    /// Not registered, for the reason that is logged.
    pub refused: Vec<(NodeId, String)>,
}

impl Wanted {
    fn by(&self, source: RegistrationSource, id: NodeId) -> Option<&Registration> {
        self.sources.get(&source)?.get(&id)
    }

    fn by_others(&self, source: RegistrationSource, id: NodeId) -> bool {
        self.sources.iter().any(|(other, wanted)| *other != source && wanted.contains_key(&id))
    }

    /// Returns the registration of a node merged from all sources: the one that prevails, or else the database, sets
    /// how it is reached; the nodes behind it come from any source.
    fn merged(&self, id: NodeId) -> Option<Registration> {
        let mut found: Vec<&Registration> = self.sources.values().filter_map(|wanted| wanted.get(&id)).collect();
        // The database is the last of the sources.
        found.sort_by_key(|registration| registration.prevail);
        let mut merged = found.pop()?.clone();
        for other in found {
            let is_new = |below: &&Subnode| merged.subnodes.iter().all(|known| known.id != below.id);
            let more: Vec<Subnode> = other.subnodes.iter().filter(is_new).copied().collect();
            merged.subnodes.extend(more);
            merged.uid = merged.uid.or(other.uid);
        }
        Some(merged)
    }

    /// Returns whether any source lists a node, or says that it is behind another.
    pub(in crate::node) fn lists(&self, id: NodeId) -> bool {
        let behind = |node: &Registration| node.subnodes.iter().any(|below| below.id == id);
        let mut all = self.sources.values();
        all.any(|wanted| wanted.contains_key(&id) || wanted.values().any(behind))
    }

    /// Returns whether the database, once it has been read, lists the nodes, or a file lists one that dials in.
    pub(in crate::node) fn lists_one_that_dials_in(&self, awaits_database: bool) -> bool {
        if awaits_database {
            return self.sources.contains_key(&RegistrationSource::Database);
        }
        let dials_in = |node: &Registration| !node.kind.dialled_by_us();
        self.sources.values().flat_map(BTreeMap::values).any(dials_in)
    }
}

impl RegistrationChanges {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty() && self.refused.is_empty()
    }
}

impl Nodes {
    /// Handles [`super::input::Input::NodesWanted`].
    pub(in crate::node) fn nodes_wanted(
        &mut self,
        context: &mut Context,
        source: RegistrationSource,
        nodes: Vec<Registration>,
    ) {
        if context.is_stopping() {
            return;
        }
        let (module, what) = match source {
            RegistrationSource::File => ("register", "the register file"),
            RegistrationSource::Added => ("register", "the file of 'stheno node add'"),
            RegistrationSource::Database => ("nodes", "the database"),
        };
        let total = nodes.len();
        let changes = self.apply_registrations(context, source, nodes);
        self.take_back(context, &changes.added);
        let text = if changes.is_empty() {
            format!("{what} lists the same {total} nodes as before")
        } else {
            let RegistrationChanges { added, changed, removed, refused } = &changes;
            let (added, changed, removed, refused) = (added.len(), changed.len(), removed.len(), refused.len());
            format!(
                "{what} lists {total} nodes: {added} added, {changed} changed, {removed} removed, {refused} refused"
            )
        };
        context.log(LogLine::info(module, text));
    }

    /// Changes the registrations of `source` to `wanted`, its whole list; of two entries with the same id the first
    /// counts. Connections of unchanged nodes are not touched. A node that `source` wanted before and does not want now
    /// is unregistered, or registered as another source wants it. Refusals are logged.
    pub(in crate::node) fn apply_registrations(
        &mut self,
        context: &mut Context,
        source: RegistrationSource,
        wanted: Vec<Registration>,
    ) -> RegistrationChanges {
        let mut changes = RegistrationChanges::default();
        let mut list = BTreeMap::new();
        let mut order = Vec::with_capacity(wanted.len());
        for registration in wanted {
            let registration = context.names.by_ids(registration);
            let id = registration.id;
            if list.contains_key(&id) {
                continue;
            }
            order.push(id);
            list.insert(id, registration);
        }
        let before = self.wanted.sources.remove(&source).unwrap_or_default();
        let gone: Vec<NodeId> = before.keys().filter(|id| !list.contains_key(id)).copied().collect();
        self.wanted.sources.insert(source, list);
        for id in gone {
            self.not_wanted_any_more(context, source, id);
            changes.removed.push(id);
        }
        for id in order {
            self.apply_one(context, source, id, before.get(&id), &mut changes);
        }
        // Another source may have been refused an id that this one has given up.
        if !changes.removed.is_empty() || !changes.changed.is_empty() {
            self.register_refused_of_others(context, source);
        }
        changes
    }

    fn apply_one(
        &mut self,
        context: &mut Context,
        source: RegistrationSource,
        id: NodeId,
        before: Option<&Registration>,
        changes: &mut RegistrationChanges,
    ) {
        let Some(registration) = self.wanted.by(source, id).cloned() else { return };
        self.unlisted.remove(id);
        let is_known = self.get(id).is_some();
        if is_known && before == Some(&registration) {
            return;
        }
        let merged = self.wanted.merged(id).unwrap_or_else(|| registration.clone());
        if before.is_none() && self.get(id).is_some_and(|node| is_alike(&node.registration, &merged)) {
            return;
        }
        let prevailed = before.is_some_and(|before| before.prevail) && !registration.prevail;
        if prevailed {
            self.registry.prevail_no_more(id);
        }
        if merged.link.is_none()
            && before.is_some_and(|before| before.link.is_some())
            && let Some(node) = self.get_mut(id)
        {
            // A registration over the network leaves the listed `link` as it is, a list that has none takes it away.
            node.registration.link = None;
        }
        match self.register(context, merged) {
            Ok(()) if is_known => changes.changed.push(id),
            Ok(()) => changes.added.push(id),
            Err(reason) => changes.refused.push((id, reason)),
        }
    }

    /// Returns whether a source other than `source` wants a node.
    pub(in crate::node) fn is_wanted_elsewhere(&self, source: RegistrationSource, id: NodeId) -> bool {
        self.wanted.by_others(source, id)
    }

    /// Renames nodes of the file that are listed by a name which is now known to be a uid.
    pub(in crate::node) fn name_file_nodes_anew(&mut self, context: &mut Context) {
        let source = RegistrationSource::File;
        let names = &context.names;
        let Some(list) = self.wanted.sources.get(&source) else { return };
        if list.keys().all(|id| names.id_of(*id) == *id) {
            return;
        }
        let list = list.values().cloned().map(|registration| names.by_ids(registration)).collect();
        self.apply_registrations(context, source, list);
    }

    fn not_wanted_any_more(&mut self, context: &mut Context, source: RegistrationSource, id: NodeId) {
        match self.wanted.merged(id).filter(|_| self.is_wanted_elsewhere(source, id)) {
            Some(other) if self.get(id).is_some_and(|node| is_alike(&node.registration, &other)) => {}
            Some(other) => {
                self.registry.prevail_no_more(id);
                // A refusal is logged by `register`.
                let _ = self.register(context, other);
            }
            None => {
                self.registry.prevail_no_more(id);
                self.unregister(context, id);
            }
        }
    }

    fn register_refused_of_others(&mut self, context: &mut Context, source: RegistrationSource) {
        let others = self.wanted.sources.iter().filter(|(other, _)| **other != source);
        let is_possible = |registration: &&Registration| {
            let id = registration.id;
            let is_free = self.get(id).is_none() && !context.is_own_id(id);
            is_free && (registration.prevail || !self.registry.is_prevailing_subnode(id))
        };
        let absent: Vec<Registration> =
            others.flat_map(|(_, wanted)| wanted.values()).filter(is_possible).cloned().collect();
        for registration in absent {
            // A refusal is logged by `register`.
            let _ = self.register(context, registration);
        }
    }
}

/// Returns whether two registrations differ only in data that a node reports about itself.
fn is_alike(left: &Registration, right: &Registration) -> bool {
    let same = |left: &Registration| (left.id, left.uid, left.prevail, left.kind.clone(), left.subnodes.clone());
    same(left) == same(right)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::model::link::LinkMode;
    use crate::model::registration::NodeKind;
    use crate::node::input::Input;
    use crate::node::testing::{Bench, id, options, push_node};

    const FILE: RegistrationSource = RegistrationSource::File;
    const DATABASE: RegistrationSource = RegistrationSource::Database;

    fn ids(numbers: &[u64]) -> Vec<NodeId> {
        numbers.iter().map(|number| id(*number)).collect()
    }

    fn behind(parent: u64, subnodes: &[u64]) -> Registration {
        let subnode = |number: &u64| Subnode { id: id(*number), path_score: 1, uid: None };
        Registration { subnodes: subnodes.iter().map(subnode).collect(), ..push_node(parent) }
    }

    fn prevailing(registration: Registration) -> Registration {
        Registration { prevail: true, ..registration }
    }

    #[test]
    fn only_what_differs_is_touched() {
        let mut bench = Bench::new(options(vec![push_node(2), push_node(3), push_node(4)]));
        let mut moved = push_node(3);
        moved.kind = push_node(33).kind;
        let changes = bench.list(FILE, vec![push_node(2), moved, push_node(5)]);
        let expected =
            RegistrationChanges { added: ids(&[5]), changed: ids(&[3]), removed: ids(&[4]), refused: Vec::new() };
        assert_eq!(changes, expected);
        let outputs = bench.drain();
        assert_eq!(outputs, ["close 4", "open 3 tcp://192.0.2.1:5033", "open 5 tcp://192.0.2.1:5005"]);
    }

    #[test]
    fn a_node_that_changes_only_the_nodes_behind_it_keeps_its_connection() {
        let mut bench = Bench::new(options(vec![behind(2, &[7])]));
        bench.give(Input::LinkUp(id(2)));
        let changes = bench.list(FILE, vec![behind(2, &[8])]);
        assert_eq!(changes.changed, ids(&[2]));
        assert_eq!(bench.drain(), Vec::<String>::new());
        assert!(bench.core.nodes.registry.knows(id(8)) && !bench.core.nodes.registry.knows(id(7)));
    }

    #[test]
    fn a_link_that_is_taken_out_of_the_list_of_a_node_that_dials_in_counts_no_more() {
        let pull = |link| Registration { kind: NodeKind::Pull, link, ..push_node(2) };
        let mut bench = Bench::new(options(vec![pull(Some(LinkMode::Sealed))]));
        let link = |bench: &Bench| bench.core.nodes.get(id(2)).unwrap().registration.link;
        bench.list(FILE, vec![pull(Some(LinkMode::Classic))]);
        assert_eq!(link(&bench), Some(LinkMode::Classic));
        bench.list(FILE, vec![pull(None)]);
        assert_eq!(link(&bench), None);
    }

    #[test]
    fn what_prevails_wins_over_the_other_source_and_leaves_the_node_to_it_in_the_end() {
        let mut bench = Bench::new(options(vec![prevailing(push_node(2))]));
        let elsewhere = Registration { kind: push_node(22).kind, ..push_node(2) };
        let nothing = RegistrationChanges::default();
        assert_eq!(bench.list(DATABASE, vec![elsewhere.clone()]), nothing);
        bench.list(DATABASE, Vec::new());
        assert!(bench.core.nodes.get(id(2)).is_some(), "the database does not take away what the file wants");
        bench.list(DATABASE, vec![elsewhere]);
        bench.drain();
        bench.list(FILE, Vec::new());
        assert_eq!(bench.drain(), ["open 2 tcp://192.0.2.1:5022"]);
    }

    #[test]
    fn a_node_that_was_refused_as_a_subnode_is_registered_when_its_parent_gives_it_up() {
        let mut bench = Bench::new(options(vec![prevailing(behind(2, &[7]))]));
        let changes = bench.list(DATABASE, vec![push_node(7)]);
        assert_eq!((changes.added, changes.refused.len()), (Vec::new(), 1));
        bench.list(FILE, vec![push_node(2)]);
        assert_eq!(bench.drain(), ["open 7 tcp://192.0.2.1:5007"]);
    }

    #[test]
    fn a_pull_node_that_prevailed_is_gone_when_it_is_not_wanted_any_more() {
        let pull = Registration { kind: NodeKind::Pull, ..prevailing(push_node(6)) };
        let mut bench = Bench::new(options(vec![pull]));
        assert_eq!(bench.list(FILE, Vec::new()).removed, ids(&[6]));
        assert!(!bench.core.nodes.registry.knows(id(6)));
    }

    #[test]
    fn what_was_unregistered_by_a_request_comes_back_with_the_next_list() {
        let mut bench = Bench::new(options(vec![push_node(2)]));
        bench.request("UNREGISTERNODES", "t", "", r#"{"nodes":[{"id":2}]}"#);
        assert_eq!(bench.list(FILE, vec![push_node(2)]).added, ids(&[2]));
    }

    #[test]
    fn of_two_entries_with_one_id_the_first_counts() {
        let mut bench = Bench::new(options(Vec::new()));
        let second = Registration { kind: push_node(9).kind, ..push_node(2) };
        let changes = bench.list(DATABASE, vec![push_node(2), second]);
        assert_eq!(changes.added, ids(&[2]));
        assert_eq!(bench.drain(), ["open 2 tcp://192.0.2.1:5002"]);
    }
}
