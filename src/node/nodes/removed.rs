//! The nodes that were removed lately, for readers that know an earlier state. Bounded.

use std::collections::VecDeque;

use crate::model::node_id::NodeId;

/// Maximum number of remembered nodes.
const REMEMBERED_MAX: usize = 1_000;

/// Removed nodes with the version of the registry, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Removed {
    nodes: VecDeque<(u64, NodeId)>,
    /// Version of the newest one that is forgotten.
    forgotten: u64,
}

impl Removed {
    pub(super) fn note(&mut self, version: u64, id: NodeId) {
        self.nodes.push_back((version, id));
        if self.nodes.len() > REMEMBERED_MAX
            && let Some((version, _)) = self.nodes.pop_front()
        {
            self.forgotten = version;
        }
    }

    /// Returns the nodes that were removed after a version; `None` if some of them are forgotten.
    pub(super) fn since(&self, version: u64) -> Option<Vec<NodeId>> {
        let later = self.nodes.iter().filter(|(removed, _)| *removed > version);
        (version >= self.forgotten).then(|| later.map(|(_, id)| *id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_after_a_version_is_known_as_far_as_it_is_remembered() {
        let id = |number: u64| NodeId::new(number).unwrap();
        let mut removed = Removed::default();
        removed.note(3, id(1));
        removed.note(5, id(2));
        assert_eq!(removed.since(0), Some(vec![id(1), id(2)]));
        assert_eq!(removed.since(3), Some(vec![id(2)]));
        for number in 0..1_000 {
            removed.note(6, id(number + 3));
        }
        assert_eq!(removed.since(4), None);
        assert_eq!(removed.since(5).map(|ids| ids.len()), Some(1_000));
    }
}
