//! One node: what is registered of it, how it is reached, and what it owes.

use std::collections::BTreeMap;

use crate::model::connection::{ClientId, Endpoint};
use crate::model::history::SyncMark;
use crate::model::message::{Message, Outgoing};
use crate::model::node_id::NodeId;
use crate::model::registration::{NodeKind, Registration};
use crate::model::time::Monotonic;

use super::liveness::Liveness;
use super::owed::OwedTokens;
use crate::node::context::Context;
use crate::node::output::Output;
use crate::node::sync::state::NodeSync;

/// How far an id is behind a node. What comes over a WebSocket counts as farther than any other way, because its nodes
/// share a token. Each daemon finds the same in the maps of the others; so a choice by distance makes no circle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::node) struct Distance {
    /// WebSockets on the way.
    pub web_sockets: u8,
    /// Steps: 1 for the node's own nodes.
    pub steps: u8,
}

impl Distance {
    /// That of a node which is one step behind, over a WebSocket or not.
    pub(super) const fn behind(self, web_socket: bool) -> Self {
        let web_sockets = self.web_sockets.saturating_add(if web_socket { 1 } else { 0 });
        Self { web_sockets, steps: self.steps.saturating_add(1) }
    }
}

/// Ids that a node announces, and how far behind it they are.
pub(in crate::node) type Announced = BTreeMap<NodeId, Distance>;

/// Whether messages can go to a node now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Link {
    /// We never connect to it, and it has not dialled in.
    None,
    /// Not connected at the moment.
    Down,
    /// Connected and sealed.
    Up,
}

/// What other rooms hear of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum LinkChange {
    /// It is up.
    Up(NodeId),
    /// It is down, and what was under way may be lost.
    Down(NodeId),
    /// Nothing more comes over it.
    Gone(NodeId),
    /// Whether the host answers is to be found out by SSH.
    SshPing(NodeId),
}

impl Link {
    pub(super) const fn of(kind: &NodeKind) -> Self {
        if kind.dialled_by_us() { Self::Down } else { Self::None }
    }
}

/// All that is known of one node.
#[derive(Debug)]
pub(in crate::node) struct Node {
    pub registration: Registration,
    pub link: Link,
    /// The connection or session over which a node that dials in is reached.
    pub client: Option<ClientId>,
    /// Which start of which daemon that is, where it says so.
    pub instance: Option<Box<str>>,
    /// The id that its daemon gives itself, where that is another one: the two are mixed up.
    pub calls_itself: Option<NodeId>,
    /// When its client last said anything.
    pub heard: Option<Monotonic>,
    pub liveness: Liveness,
    pub sync: NodeSync,
    pub owed: OwedTokens,
    /// Since when its link is down, while it is.
    pub down_since: Option<Monotonic>,
    /// The ids in its own constatus map, at every depth.
    pub(super) announced: Announced,
    /// What it calls itself, and those in its map, where that is not the id.
    names: BTreeMap<NodeId, NodeId>,
}

impl Node {
    /// One whose history is stored here up to `mark`.
    pub(super) fn new(registration: Registration, mark: SyncMark) -> Self {
        Self {
            link: Link::of(&registration.kind),
            client: None,
            instance: None,
            calls_itself: None,
            heard: None,
            liveness: Liveness::default(),
            sync: NodeSync::new(mark),
            owed: OwedTokens::default(),
            down_since: None,
            announced: Announced::new(),
            names: BTreeMap::new(),
            registration,
        }
    }

    /// Sends a message, the one place that knows how a node is reached. What cannot be sent is dropped;
    /// [`Self::reachable`] tells.
    pub(in crate::node) fn send(&self, context: &mut Context, mut message: Message) {
        let id = self.registration.id;
        if self.endpoint().is_some() {
            context.output(Output::SendToNode { node: id, outgoing: Outgoing::Request(message) });
        } else if let Some(client) = self.client {
            // A pull node always gets the target's id in the third field.
            if !self.registration.kind.is_web_socket() && message.target.as_deref().is_none_or(str::is_empty) {
                message.target = Some(self.name_of(id).to_string().into());
            }
            context.output(Output::SendToClient { client, outgoing: Outgoing::Request(message) });
        }
    }

    /// Whether there is someone to send to.
    ///
    /// # Errors
    /// The message of the history row that ends the token.
    pub(in crate::node) fn reachable(&self) -> Result<(), String> {
        let id = self.registration.id;
        if let Some(other) = self.calls_itself {
            return Err(format!("proxy - what answers as node '{id}' calls itself node '{other}'"));
        }
        let kind = &self.registration.kind;
        if kind.dialled_by_us() || self.client.is_some() {
            Ok(())
        } else if kind.is_web_socket() {
            Err(format!("cannot get connection from target node '{id}'"))
        } else if self.registration.identity.is_none() {
            Err(format!("proxy - node '{id}' had never been connected"))
        } else {
            Err(format!("Send message problem for '{id}': it is not connected"))
        }
    }

    /// What it calls a node.
    pub(in crate::node) fn name_of(&self, id: NodeId) -> NodeId {
        self.names.get(&id).copied().unwrap_or(id)
    }

    /// It calls itself so.
    pub(in crate::node) fn calls_itself(&mut self, name: NodeId) {
        self.names.remove(&self.registration.id);
        if name != self.registration.id {
            self.names.insert(self.registration.id, name);
        }
    }

    /// It calls the nodes in its map so, where that is not their id.
    pub(in crate::node) fn calls_others(&mut self, mut names: BTreeMap<NodeId, NodeId>) {
        let own = self.registration.id;
        names.extend(self.names.remove(&own).map(|name| (own, name)));
        self.names = names;
    }

    /// Where to connect, for a node that we connect to.
    pub(in crate::node) const fn endpoint(&self) -> Option<&Endpoint> {
        self.registration.kind.endpoint()
    }

    /// Whether other nodes are reached by it.
    pub(in crate::node) fn is_relay(&self) -> bool {
        !self.registration.subnodes.is_empty() || !self.announced.is_empty()
    }

    /// Whether it is one that we connect to.
    pub(in crate::node) const fn is_dialled(&self) -> bool {
        self.registration.kind.dialled_by_us()
    }

    /// Whether it is a host without a daemon, reached by SSH.
    pub(in crate::node) const fn is_ssh_host(&self) -> bool {
        !self.registration.kind.has_history()
    }

    /// Whether it is one that connects to us.
    pub(in crate::node) const fn dials_in(&self) -> bool {
        !self.registration.kind.dialled_by_us()
    }

    /// Whether it is one that connects to us and never did.
    pub(in crate::node) const fn never_connected(&self) -> bool {
        self.dials_in() && self.registration.identity.is_none()
    }
}
