//! Nodes with two names (docs/protocol.md section 18): the id and the uid of a poller mean the same node. The daemon
//! uses the id; names from outside are translated on arrival.

use std::collections::BTreeMap;

use crate::model::node_id::NodeId;
use crate::model::registration::{Registration, Subnode};

/// Maximum number of known names, of nodes and of those behind them.
const NAMES_MAX: usize = 100_000;

/// The ids of known uids.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: BTreeMap<NodeId, NodeId>,
    uids: BTreeMap<NodeId, NodeId>,
}

impl Names {
    /// Returns the id of the node with this name; the name itself if it is not a uid.
    pub(super) fn id_of(&self, name: NodeId) -> NodeId {
        self.ids.get(&name).copied().unwrap_or(name)
    }

    pub(super) fn uid_of(&self, id: NodeId) -> Option<NodeId> {
        self.uids.get(&id).copied()
    }

    /// Sets the uid of `id`. A node keeps only its last uid; a name that is the id of another node means that node.
    pub(super) fn add(&mut self, id: NodeId, uid: NodeId) {
        if id == uid || self.uids.contains_key(&uid) || self.ids.contains_key(&id) {
            return;
        }
        if let Some(before) = self.uids.get(&id).copied().filter(|before| *before != uid) {
            self.ids.remove(&before);
        }
        if self.uids.len() < NAMES_MAX || self.uids.contains_key(&id) {
            self.ids.insert(uid, id);
            self.uids.insert(id, uid);
        }
    }

    /// Adds the names in a registration.
    pub(super) fn add_all(&mut self, registration: &Registration) {
        let itself = registration.uid.map(|uid| (registration.id, uid));
        let below = registration.subnodes.iter().filter_map(|below| Some((below.id, below.uid?)));
        for (id, uid) in itself.into_iter().chain(below) {
            self.add(id, uid);
        }
    }

    /// Returns a registration with ids only.
    pub(super) fn by_ids(&self, registration: Registration) -> Registration {
        let subnodes = registration.subnodes.into_iter().map(|below| Subnode { id: self.id_of(below.id), ..below });
        Registration { id: self.id_of(registration.id), subnodes: subnodes.collect(), ..registration }
    }

    /// Returns a target with the uid replaced by its id; any other target unchanged.
    pub(super) fn target(&self, target: &str) -> Option<NodeId> {
        target.parse().ok().map(|name| self.id_of(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::id;

    #[test]
    fn a_uid_means_an_id_until_the_node_gets_another() {
        let mut names = Names::default();
        names.add(id(2), id(u64::MAX));
        names.add(id(3), id(2));
        assert_eq!((names.id_of(id(u64::MAX)), names.id_of(id(2)), names.id_of(id(9))), (id(2), id(2), id(9)));
        assert_eq!((names.uid_of(id(2)), names.uid_of(id(3))), (Some(id(u64::MAX)), None));
        names.add(id(2), id(77));
        assert_eq!((names.id_of(id(77)), names.id_of(id(u64::MAX))), (id(2), id(u64::MAX)));
    }
}
