//! How the links to nodes are protected, whoever has dialled.

use std::collections::BTreeMap;

use crate::model::connection::ClientId;
use crate::model::link::LinkKind;
use crate::model::node_id::NodeId;

use super::node::{Link, Node};

/// The kinds of the links that are up or were up last.
#[derive(Debug, Default)]
pub(in crate::node) struct LinkKinds {
    nodes: BTreeMap<NodeId, LinkKind>,
    clients: BTreeMap<ClientId, LinkKind>,
}

impl LinkKinds {
    /// Notes the link to a node that we dial.
    pub(in crate::node) fn note_node(&mut self, node: NodeId, link: LinkKind) {
        self.nodes.insert(node, link);
    }

    /// Notes the session of a client.
    pub(in crate::node) fn note_client(&mut self, client: ClientId, link: LinkKind) {
        self.clients.insert(client, link);
    }

    pub(super) fn forget_node(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    pub(super) fn forget_client(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// The kind of the link to a node; `None` if it is not up, or another one (SSH, WebSocket).
    pub(super) fn of(&self, node: &Node) -> Option<LinkKind> {
        let found = match node.client {
            Some(client) => self.clients.get(&client),
            None => self.nodes.get(&node.registration.id),
        };
        found.copied().filter(|_| node.link == Link::Up)
    }
}
