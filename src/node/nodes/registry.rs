//! The nodes that this daemon knows, and the routes through them (docs/protocol.md section 5). It has no clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::broken::{self, Fault};
use crate::model::history::SyncMark;
use crate::model::link::LinkKind;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;

use super::link_kinds::LinkKinds;
use super::liveness::Liveness;
use super::node::{Announced, Distance, Link, Node};
use super::registration::SUBNODES_MAX;
use super::removed::Removed;

/// Maximum number of nodes.
pub(in crate::node) const NODES_MAX: usize = 20_000;

/// Why a node is a route to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Way {
    /// It is the target.
    Direct,
    /// A registration says so, with this score.
    Static(i64),
    /// Its constatus map says so, with this distance.
    Dynamic(Distance),
}

/// Returns whether only the node's own claim supports this route. Nodes with a WebSocket share a token, so any of them
/// may claim anything; a route in the configuration is not such a claim.
const fn only_claims(node: &Node, way: Way) -> bool {
    let is_configured = node.registration.prevail && matches!(way, Way::Static(_));
    node.registration.kind.is_web_socket() && !is_configured
}

/// The effect of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) enum Registered {
    /// The node is new, or of another kind than before.
    New,
    /// It was known, and its endpoint has changed.
    Moved,
    /// It was known, and nothing about its link has changed.
    Kept,
    /// Nothing was done, for this reason.
    Refused(&'static str),
}

/// The effect of an unregistration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) enum Unregistered {
    /// The node was removed.
    Gone,
    /// A prevailing node that dials in: it stays known, but is disconnected.
    Disconnected,
    /// It was not known.
    Unknown,
}

/// All nodes and routes.
#[derive(Debug, Default)]
pub(in crate::node) struct Registry {
    nodes: BTreeMap<NodeId, Node>,
    /// The parents of each subnode, best score first.
    static_routes: BTreeMap<NodeId, BTreeSet<(i64, NodeId)>>,
    /// The nodes that announced each subnode, nearest first.
    dynamic_routes: BTreeMap<NodeId, BTreeSet<(Distance, NodeId)>>,
    /// Increases with every change that may show in the constatus map.
    version: u64,
    links: LinkKinds,
    removed: Removed,
}

impl Registry {
    /// Returns a number that changes if the constatus map may have changed.
    pub(in crate::node) const fn version(&self) -> u64 {
        self.version
    }

    /// Returns the kinds of links, to note one.
    pub(in crate::node) const fn links(&mut self) -> &mut LinkKinds {
        self.version += 1;
        &mut self.links
    }

    /// Returns how the link to a node is protected, if it is up and may be one or the other.
    pub(in crate::node) fn link_kind(&self, node: &Node) -> Option<LinkKind> {
        self.links.of(node)
    }

    pub(in crate::node) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// Returns a node to change it.
    pub(in crate::node) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.version += 1;
        let node = self.nodes.get_mut(&id)?;
        node.changed = self.version;
        Some(node)
    }

    /// Returns the nodes that were removed after a version; `None` if not all of them are remembered.
    #[cfg_attr(not(feature = "status"), expect(dead_code, reason = "for reports"))]
    pub(in crate::node) fn removed_since(&self, version: u64) -> Option<Vec<NodeId>> {
        self.removed.since(version)
    }

    /// Returns a node to change data that the constatus map does not show.
    pub(in crate::node) fn get_quietly(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    /// Returns every node by id.
    pub(in crate::node) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// Returns every id, in order.
    pub(in crate::node) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Returns whether `target` is a node or behind one.
    pub(in crate::node) fn knows(&self, target: NodeId) -> bool {
        self.nodes.contains_key(&target)
            || self.static_routes.contains_key(&target)
            || self.dynamic_routes.contains_key(&target)
    }

    /// Returns the nodes through which `target` may be reached, best first: itself, static routes by score, dynamic
    /// routes by distance, and claims in the registrations of WebSocket nodes. Claims of WebSocket nodes do not count
    /// for a target that is known in another way.
    pub(in crate::node) fn candidates(&self, target: NodeId) -> impl Iterator<Item = (NodeId, Way, &Node)> {
        let itself = self.nodes.get(&target).map(|node| (target, Way::Direct, node));
        let is_known = itself.is_some() || self.is_prevailing_subnode(target);
        let is_static = |way: Way| matches!(way, Way::Static(_));
        let statics = self.ways_behind(target);
        let statics = statics.filter(move |(_, way, node)| is_static(*way) && !only_claims(node, *way));
        let is_heard = move |node: &Node, way: Way| !is_known || !only_claims(node, way);
        let dynamics = self.ways_behind(target).filter(move |(_, way, node)| !is_static(*way) && is_heard(node, *way));
        let claims = self
            .ways_behind(target)
            .filter(move |(_, way, node)| is_static(*way) && only_claims(node, *way) && !is_known);
        itself.into_iter().chain(statics).chain(dynamics).chain(claims)
    }

    /// Returns the nodes that `target` is said to be behind.
    fn ways_behind(&self, target: NodeId) -> impl Iterator<Item = (NodeId, Way, &Node)> {
        let statics = self.static_routes.get(&target).into_iter().flatten();
        let dynamics = self.dynamic_routes.get(&target).into_iter().flatten();
        let statics = statics.map(|(score, parent)| (*parent, Way::Static(*score)));
        let all = statics.chain(dynamics.map(|(distance, parent)| (*parent, Way::Dynamic(*distance))));
        all.filter_map(|(id, way)| self.nodes.get(&id).map(|node| (id, way, node)))
    }

    /// Returns every id that is a node or behind one, in order, starting with `first`.
    pub(in crate::node) fn known_from(&self, first: NodeId) -> impl Iterator<Item = NodeId> {
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let from = next?;
            let nodes = self.nodes.range(from..).next().map(|(id, _)| *id);
            let statics = self.static_routes.range(from..).next().map(|(id, _)| *id);
            let dynamics = self.dynamic_routes.range(from..).next().map(|(id, _)| *id);
            let id = [nodes, statics, dynamics].into_iter().flatten().min();
            next = id.and_then(|id| NodeId::new(id.get().saturating_add(1)).ok());
            id
        })
    }

    /// Adds a node, or replaces its registration.
    pub(in crate::node) fn register(&mut self, registration: Registration, mark: SyncMark) -> Registered {
        let id = registration.id;
        if !registration.prevail && self.is_prevailing_subnode(id) {
            return Registered::Refused("it is already defined as a subnode that prevails");
        }
        if registration.subnodes.len() > SUBNODES_MAX {
            return Registered::Refused("it has more than 20000 subnodes");
        }
        self.version += 1;
        let Some(before) = self.nodes.get_mut(&id) else {
            if self.nodes.len() >= NODES_MAX {
                return Registered::Refused("20000 nodes are known already");
            }
            self.insert(registration, mark);
            return Registered::New;
        };
        if before.registration.prevail && !registration.prevail {
            if let Some(identity) = registration.identity {
                before.registration.identity = Some(identity);
                return Registered::Kept;
            }
            return Registered::Refused("it already has a registration that prevails");
        }
        self.remove_static_routes(id);
        self.replace(registration)
    }

    fn replace(&mut self, registration: Registration) -> Registered {
        let id = registration.id;
        self.add_static_routes(&registration);
        let Some(node) = self.nodes.get_mut(&id) else { return Registered::Kept };
        node.changed = self.version;
        let dialled_in = node.dials_in();
        let Registration { kind: kind_before, identity, link, .. } =
            std::mem::replace(&mut node.registration, registration);
        if dialled_in && node.dials_in() {
            // The sender of a registration without an identity does not know whether the node is connected.
            node.registration.identity = node.registration.identity.take().or(identity);
            // It is the list of nodes that says how its link has to be.
            node.registration.link = node.registration.link.or(link);
            return Registered::Kept;
        }
        let kind = &node.registration.kind;
        if *kind == kind_before && node.registration.link == link {
            return Registered::Kept;
        }
        if kind.as_str() == kind_before.as_str() {
            return Registered::Moved;
        }
        node.link = Link::of(&node.registration.kind);
        // Messages sent over the old link may be lost.
        node.owed.link_lost();
        node.liveness = Liveness::default();
        node.announced.clear();
        self.remove_dynamic_routes(id);
        Registered::New
    }

    fn insert(&mut self, registration: Registration, mark: SyncMark) {
        self.add_static_routes(&registration);
        let mut node = Node::new(registration, mark);
        node.changed = self.version;
        self.nodes.insert(node.registration.id, node);
    }

    /// Removes a node with its routes. The caller ends its tokens first.
    pub(in crate::node) fn unregister(&mut self, id: NodeId) -> Unregistered {
        self.version += 1;
        let Some(node) = self.nodes.get_mut(&id) else { return Unregistered::Unknown };
        if node.dials_in() && node.registration.prevail {
            node.registration.identity = None;
            node.link = Link::None;
            node.liveness = Liveness::default();
            node.changed = self.version;
            self.remove_dynamic_routes(id);
            return Unregistered::Disconnected;
        }
        self.remove_static_routes(id);
        self.remove_dynamic_routes(id);
        self.nodes.remove(&id);
        self.removed.note(self.version, id);
        Unregistered::Gone
    }

    pub(in crate::node) fn is_prevailing_subnode(&self, id: NodeId) -> bool {
        let parents = self.static_routes.get(&id).into_iter().flatten();
        parents.filter_map(|(_, parent)| self.nodes.get(parent)).any(|parent| parent.registration.prevail)
    }

    /// Allows the registration of a node to be replaced from now on.
    pub(in crate::node) fn prevail_no_more(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.registration.prevail = false;
        }
    }

    /// Returns the ids that a registration with `prevail` claims as its subnodes and that are registered themselves
    /// without `prevail`.
    pub(in crate::node) fn claimed_by(&self, registration: &Registration) -> Vec<NodeId> {
        if !registration.prevail {
            return Vec::new();
        }
        let yields = |id: &NodeId| self.nodes.get(id).is_some_and(|node| !node.registration.prevail);
        registration.subnodes.iter().map(|subnode| subnode.id).filter(yields).collect()
    }

    fn add_static_routes(&mut self, registration: &Registration) {
        for subnode in registration.subnodes.iter().filter(|subnode| subnode.id != registration.id) {
            self.static_routes.entry(subnode.id).or_default().insert((subnode.path_score, registration.id));
        }
    }

    fn remove_static_routes(&mut self, parent: NodeId) {
        let Some(node) = self.nodes.get(&parent) else { return };
        for subnode in &node.registration.subnodes {
            if let Some(parents) = self.static_routes.get_mut(&subnode.id) {
                parents.retain(|(_, id)| *id != parent);
                if parents.is_empty() {
                    self.static_routes.remove(&subnode.id);
                }
            }
        }
    }

    fn remove_dynamic_routes(&mut self, parent: NodeId) {
        if broken::is(Fault::RouteNotWithdrawn) {
            return;
        }
        let announced = self.nodes.get_mut(&parent).map(|node| std::mem::take(&mut node.announced));
        for (id, distance) in announced.unwrap_or_default() {
            if let Some(parents) = self.dynamic_routes.get_mut(&id) {
                parents.remove(&(distance, parent));
                if parents.is_empty() {
                    self.dynamic_routes.remove(&id);
                }
            }
        }
    }

    /// Replaces the ids that a node announced in its PONG; takes at most [`SUBNODES_MAX`].
    pub(in crate::node) fn announce(&mut self, parent: NodeId, mut announced: Announced) {
        announced.remove(&parent);
        while announced.len() > SUBNODES_MAX {
            announced.pop_last();
        }
        let Some(node) = self.nodes.get(&parent) else { return };
        if node.registration.kind.is_web_socket() {
            announced.values_mut().for_each(|distance| distance.web_sockets = distance.web_sockets.saturating_add(1));
        }
        if node.announced == announced {
            return;
        }
        self.remove_dynamic_routes(parent);
        for (id, distance) in &announced {
            self.dynamic_routes.entry(*id).or_default().insert((*distance, parent));
        }
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.announced = announced;
        }
    }
}
