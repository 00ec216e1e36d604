//! The nodes that this daemon knows, and the routes through them (docs/protocol.md section 5). No time of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::connection::{ClientId, Endpoint};
use crate::model::history::SyncMark;
use crate::model::node_id::NodeId;
use crate::model::registration::{NodeKind, Registration};
use crate::model::time::Monotonic;

use super::history_sync::NodeSync;
use super::liveness::Liveness;
use super::outbox::Outbox;
use super::registration::SUBNODES_MAX;

/// Nodes at most.
pub(super) const NODES_MAX: usize = 20_000;

/// Ids that a node announces, and how many steps behind it they are: 1 for its own nodes.
pub(super) type Announced = BTreeMap<NodeId, u8>;

/// How a node comes to be a way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is the target.
    Direct,
    /// A registration says so, with this score.
    Static(i64),
    /// Its constatus map says so, this many steps behind it.
    Dynamic(u8),
}

/// Whether messages can go to a node now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// We never connect to it, and it has not dialled in.
    None,
    /// Not connected at the moment.
    Down,
    /// Connected and sealed.
    Up,
}

impl Link {
    const fn of(kind: &NodeKind) -> Self {
        if matches!(kind, NodeKind::PushZmq { .. } | NodeKind::PushSsh(_)) { Self::Down } else { Self::None }
    }
}

/// All that is known of one node.
#[derive(Debug)]
pub(super) struct Node {
    pub registration: Registration,
    pub link: Link,
    /// The connection or session over which a node that dials in is reached.
    pub client: Option<ClientId>,
    /// Which start of which daemon that is, where it says so.
    pub instance: Option<Box<str>>,
    /// When its client last said anything.
    pub heard: Option<Monotonic>,
    pub liveness: Liveness,
    pub sync: NodeSync,
    pub outbox: Outbox,
    /// Since when its link is down, while it is.
    pub down_since: Option<Monotonic>,
    /// The ids in its own constatus map, at every depth.
    announced: Announced,
}

impl Node {
    /// Where to connect, for a node that we connect to.
    pub(super) const fn endpoint(&self) -> Option<&Endpoint> {
        match &self.registration.kind {
            NodeKind::PushZmq { endpoint } => Some(endpoint),
            _ => None,
        }
    }

    /// Whether other nodes are reached by it.
    pub(super) fn is_relay(&self) -> bool {
        !self.registration.subnodes.is_empty() || !self.announced.is_empty()
    }

    /// Whether it is one that we connect to.
    pub(super) const fn is_dialled(&self) -> bool {
        matches!(self.registration.kind, NodeKind::PushZmq { .. } | NodeKind::PushSsh(_))
    }

    /// Whether it is one that connects to us.
    pub(super) const fn dials_in(&self) -> bool {
        matches!(self.registration.kind, NodeKind::Pull | NodeKind::WebSocket)
    }

    /// Whether nothing but the node's own word stands for this way: nodes with a WebSocket share a token, so that any
    /// of them may say anything. What the configuration says of it is another matter.
    const fn only_claims(&self, way: Way) -> bool {
        let is_configured = self.registration.prevail && matches!(way, Way::Static(_));
        matches!(self.registration.kind, NodeKind::WebSocket) && !is_configured
    }

    /// Whether it is one that connects to us and never did.
    pub(super) const fn never_connected(&self) -> bool {
        self.dials_in() && self.registration.identity.is_none()
    }
}

/// What a registration changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Registered {
    /// The node is new, or of another kind than before.
    New,
    /// It was known; its endpoint is another one.
    Moved,
    /// It was known; nothing that concerns its link changed.
    Kept,
    /// Nothing was done, for the reason given.
    Refused(&'static str),
}

/// What an unregistration changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unregistered {
    /// The node is gone.
    Gone,
    /// A prevailing node that connects to us: it stays known, but is disconnected.
    Disconnected,
    /// It was not known.
    Unknown,
}

/// Every node and every route.
#[derive(Debug, Default)]
pub(super) struct Registry {
    nodes: BTreeMap<NodeId, Node>,
    /// Subnode to its parents, best score first.
    static_routes: BTreeMap<NodeId, BTreeSet<(i64, NodeId)>>,
    /// Subnode to the nodes that announced it, nearest first.
    dynamic_routes: BTreeMap<NodeId, BTreeSet<(u8, NodeId)>>,
    /// Grows with everything that could show in the constatus map.
    version: u64,
}

impl Registry {
    /// A number that changes when the constatus map may have changed.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// A node, to read.
    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// A node, to change.
    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.version += 1;
        self.nodes.get_mut(&id)
    }

    /// A node, to change in what the constatus map does not show.
    pub(super) fn get_quietly(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    /// Every node by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// Every id, in order.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Whether `target` is a node or behind one.
    pub(super) fn knows(&self, target: NodeId) -> bool {
        self.nodes.contains_key(&target)
            || self.static_routes.contains_key(&target)
            || self.dynamic_routes.contains_key(&target)
    }

    /// The nodes through which `target` may be reached, best first: itself, static routes by score, dynamic routes by
    /// distance; what WebSocket nodes claim comes last, and not at all for a target that is known otherwise.
    pub(super) fn candidates(&self, target: NodeId) -> impl Iterator<Item = (NodeId, Way, &Node)> {
        let itself = self.nodes.contains_key(&target).then_some((target, Way::Direct));
        let is_known = itself.is_some() || self.is_prevailing_subnode(target);
        let claims = self.ways_behind(target).filter(move |(_, way, node)| !is_known && node.only_claims(*way));
        let ways = self.ways_behind(target).filter(|(_, way, node)| !node.only_claims(*way));
        let itself = itself.into_iter().filter_map(|(id, way)| self.nodes.get(&id).map(|node| (id, way, node)));
        itself.chain(ways).chain(claims)
    }

    /// The nodes that `target` is said to be behind.
    fn ways_behind(&self, target: NodeId) -> impl Iterator<Item = (NodeId, Way, &Node)> {
        let statics = self.static_routes.get(&target).into_iter().flatten();
        let dynamics = self.dynamic_routes.get(&target).into_iter().flatten();
        let statics = statics.map(|(score, parent)| (*parent, Way::Static(*score)));
        let all = statics.chain(dynamics.map(|(steps, parent)| (*parent, Way::Dynamic(*steps))));
        all.filter_map(|(id, way)| self.nodes.get(&id).map(|node| (id, way, node)))
    }

    /// Every id that is a node or behind one, in order, from `first` on.
    pub(super) fn known_from(&self, first: NodeId) -> impl Iterator<Item = NodeId> {
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

    /// Adds a node or replaces what is registered of it.
    pub(super) fn register(&mut self, registration: Registration, mark: SyncMark) -> Registered {
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
            return Registered::Refused("a registration that prevails is there already");
        }
        self.remove_static_routes(id);
        self.replace(registration)
    }

    fn replace(&mut self, registration: Registration) -> Registered {
        let id = registration.id;
        self.add_static_routes(&registration);
        let Some(node) = self.nodes.get_mut(&id) else { return Registered::Kept };
        let dialled_in = node.dials_in();
        let Registration { kind: kind_before, identity, .. } = std::mem::replace(&mut node.registration, registration);
        if dialled_in && node.dials_in() {
            // Whoever registers it without an identity does not know whether it is connected.
            node.registration.identity = node.registration.identity.take().or(identity);
            return Registered::Kept;
        }
        let kind = &node.registration.kind;
        if *kind == kind_before {
            return Registered::Kept;
        }
        if kind.as_str() == kind_before.as_str() {
            return Registered::Moved;
        }
        node.link = Link::of(&node.registration.kind);
        // What went out over the old way may be lost.
        node.outbox.link_lost();
        node.liveness = Liveness::default();
        node.announced.clear();
        self.remove_dynamic_routes(id);
        Registered::New
    }

    fn insert(&mut self, registration: Registration, mark: SyncMark) {
        self.add_static_routes(&registration);
        let node = Node {
            link: Link::of(&registration.kind),
            client: None,
            instance: None,
            heard: None,
            liveness: Liveness::default(),
            sync: NodeSync::new(mark),
            outbox: Outbox::default(),
            down_since: None,
            announced: Announced::new(),
            registration,
        };
        self.nodes.insert(node.registration.id, node);
    }

    /// Drops a node with its routes. The caller ends its tokens first.
    pub(super) fn unregister(&mut self, id: NodeId) -> Unregistered {
        self.version += 1;
        let Some(node) = self.nodes.get_mut(&id) else { return Unregistered::Unknown };
        if node.dials_in() && node.registration.prevail {
            node.registration.identity = None;
            node.link = Link::None;
            node.liveness = Liveness::default();
            self.remove_dynamic_routes(id);
            return Unregistered::Disconnected;
        }
        self.remove_static_routes(id);
        self.remove_dynamic_routes(id);
        self.nodes.remove(&id);
        Unregistered::Gone
    }

    /// Whether a node that prevails has `id` as its subnode.
    pub(super) fn is_prevailing_subnode(&self, id: NodeId) -> bool {
        let parents = self.static_routes.get(&id).into_iter().flatten();
        parents.filter_map(|(_, parent)| self.nodes.get(parent)).any(|parent| parent.registration.prevail)
    }

    /// What is registered of a node may be replaced from now on.
    pub(super) fn prevail_no_more(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.registration.prevail = false;
        }
    }

    /// Ids that a registration with `prevail` claims as its subnodes and that are registered themselves, but do not
    /// prevail.
    pub(super) fn claimed_by(&self, registration: &Registration) -> Vec<NodeId> {
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
        let announced = self.nodes.get_mut(&parent).map(|node| std::mem::take(&mut node.announced));
        for (id, steps) in announced.unwrap_or_default() {
            if let Some(parents) = self.dynamic_routes.get_mut(&id) {
                parents.remove(&(steps, parent));
                if parents.is_empty() {
                    self.dynamic_routes.remove(&id);
                }
            }
        }
    }

    /// Replaces what a node announced in its PONG: at most [`SUBNODES_MAX`] ids are taken.
    pub(super) fn announce(&mut self, parent: NodeId, mut announced: Announced) {
        announced.remove(&parent);
        while announced.len() > SUBNODES_MAX {
            announced.pop_last();
        }
        if self.nodes.get(&parent).is_none_or(|node| node.announced == announced) {
            return;
        }
        self.remove_dynamic_routes(parent);
        for (id, steps) in &announced {
            self.dynamic_routes.entry(*id).or_default().insert((*steps, parent));
        }
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.announced = announced;
        }
    }
}
