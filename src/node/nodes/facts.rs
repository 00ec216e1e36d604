//! What is known of the nodes, as values for reports.

use crate::model::node_id::NodeId;
use crate::model::status::{NodeFacts, NodeState};

use super::Nodes;
use super::node::{Link, Node};
use super::pathway::{self, Standing};
use crate::node::context::Context;

/// The nodes for a reader that knows an earlier version.
pub(in crate::node) struct Facts {
    /// The version of these facts.
    pub version: u64,
    /// Number of nodes that are up, down and never connected.
    pub states: [u64; 3],
    /// The nodes that have changed, by id.
    pub nodes: Vec<NodeFacts>,
    /// The nodes that are gone; `None` if `nodes` has all.
    pub removed: Option<Vec<NodeId>>,
}

impl Nodes {
    /// Returns the number of the last change of a node.
    pub(in crate::node) const fn version(&self) -> u64 {
        self.registry.version()
    }

    /// Returns what is known of the nodes that have changed after a version, or of all.
    pub(in crate::node) fn facts(&self, context: &Context, since: Option<u64>) -> Facts {
        let version = self.registry.version();
        let known = since.filter(|since| *since <= version);
        let removed = known.and_then(|since| self.registry.removed_since(since));
        let after = if removed.is_some() { known } else { None };
        let mut facts = Facts { version, states: [0; 3], nodes: Vec::new(), removed };
        for (id, node) in self.iter() {
            let state = state_of(context, node);
            if let Some(count) = facts.states.get_mut(state as usize) {
                *count += 1;
            }
            if after.is_none_or(|after| node.changed > after) {
                facts.nodes.push(self.facts_of(context, id, node, state));
            }
        }
        facts
    }

    fn facts_of(&self, context: &Context, id: NodeId, node: &Node, state: NodeState) -> NodeFacts {
        let kind = &node.registration.kind;
        let dialled = kind.endpoint().map(ToString::to_string);
        let by_ssh = || kind.ssh_target().map(|target| format!("ssh://{}:{}", target.host, target.port));
        let came_from = || node.address.map(|address| address.to_string());
        let liveness = &node.liveness;
        NodeFacts {
            id,
            uid: context.names.uid_of(id),
            kind: kind.as_str(),
            address: dialled.or_else(by_ssh).or_else(came_from),
            state,
            link: (node.link == Link::Up).then(|| self.link_of(node)),
            since: node.link_since,
            last_ping: liveness.last_ping_received,
            ping_ms: liveness.round_trip.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            ping_ok: liveness.ping_ok,
            ping_failed: liveness.ping_failed,
            synced_at: node.sync.synced_at,
            sync_lag: node.sync.lag,
            queue: 0,
            unconfirmed: node.owed.count(),
            about: liveness.about.clone(),
            behind: liveness.nodes.clone(),
        }
    }

    /// Returns how a link that is up is protected.
    fn link_of(&self, node: &Node) -> &'static str {
        match self.registry.link_kind(node) {
            Some(kind) => kind.word(),
            None if node.is_ssh_host() => "ssh",
            None => "classic",
        }
    }
}

fn state_of(context: &Context, node: &Node) -> NodeState {
    let standing = pathway::standing(node, context.now.monotonic, Nodes::patience(context));
    let is_silent = matches!(standing, Standing::Silent(_));
    if node.link == Link::Up && node.calls_itself.is_none() && !is_silent {
        return NodeState::Up;
    }
    let was_known = node.liveness.last_ping_received > 0 || node.sync.mark.ctime > 0.0 || node.sync.synced_at > 0;
    if was_known || node.link == Link::Up || node.client.is_some() { NodeState::Down } else { NodeState::Never }
}
