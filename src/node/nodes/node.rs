//! One node: its registration, its link, and what it owes.

use std::time::Duration;

use std::collections::BTreeMap;

use crate::model::connection::{ClientId, Endpoint, PeerAddress};
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

/// The distance of an id behind a node. A WebSocket counts as farther than any other way, because its nodes share a
/// token. Each daemon finds the same distance in the maps of others, so a choice by distance makes no loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::node) struct Distance {
    /// Number of WebSockets on the way.
    pub web_sockets: u8,
    /// Number of steps: 1 for the node's own nodes.
    pub steps: u8,
}

impl Distance {
    /// Returns the distance of a node one step behind, over a WebSocket or not.
    pub(super) const fn behind(self, web_socket: bool) -> Self {
        let web_sockets = self.web_sockets.saturating_add(if web_socket { 1 } else { 0 });
        Self { web_sockets, steps: self.steps.saturating_add(1) }
    }
}

/// Ids that a node announces, with their distance behind it.
pub(in crate::node) type Announced = BTreeMap<NodeId, Distance>;

/// Whether messages can be sent to a node now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Link {
    /// We never connect to it, and it has not dialled in.
    None,
    /// It is not connected at the moment.
    Down,
    /// It is connected, and the encrypted session is established.
    Up,
}

/// Changes of a link, for other rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum LinkChange {
    /// The link is up.
    Up(NodeId),
    /// The link is down, and messages in transit may be lost.
    Down(NodeId),
    /// The link is closed for good.
    Gone(NodeId),
    /// The first sync over the link is complete.
    Current(NodeId),
    /// The node has a new database.
    NewHistory(NodeId),
    /// The state of the host must be found out by SSH.
    SshPing(NodeId),
}

impl Link {
    pub(super) const fn of(kind: &NodeKind) -> Self {
        if kind.dialled_by_us() { Self::Down } else { Self::None }
    }
}

/// Everything about one node.
#[derive(Debug)]
pub(in crate::node) struct Node {
    pub registration: Registration,
    pub link: Link,
    /// The connection or session of a node that dials in.
    pub client: Option<ClientId>,
    /// The word of the daemon's start, if it sends one.
    pub instance: Option<Box<str>>,
    /// How long its way may be idle, if it has said so: it is pinged as often.
    pub idle: Option<Duration>,
    /// The id that its daemon uses for itself, if it differs, which means that two nodes are mixed up.
    pub calls_itself: Option<NodeId>,
    /// Time of the last message of its client.
    pub heard: Option<Monotonic>,
    pub liveness: Liveness,
    pub sync: NodeSync,
    pub owed: OwedTokens,
    /// Time since which its link is up or down, in seconds since the epoch; 0 if it has never been either.
    pub link_since: i64,
    /// Address of the client of a node that dials in.
    pub address: Option<PeerAddress>,
    /// Version of the registry at the last change that a report shows.
    pub(super) changed: u64,
    /// Time since which its link is down; `None` if it is up.
    pub down_since: Option<Monotonic>,
    /// The ids in its own constatus map, at every depth.
    pub(super) announced: Announced,
    /// Its names for itself and for the nodes in its map, if they differ from the ids.
    names: BTreeMap<NodeId, NodeId>,
}

impl Node {
    /// Returns a node whose history is stored here up to `mark`.
    pub(super) fn new(registration: Registration, mark: SyncMark) -> Self {
        Self {
            link: Link::of(&registration.kind),
            client: None,
            instance: None,
            idle: None,
            calls_itself: None,
            heard: None,
            liveness: Liveness::default(),
            sync: NodeSync::new(mark),
            owed: OwedTokens::default(),
            link_since: 0,
            address: None,
            changed: 0,
            down_since: None,
            announced: Announced::new(),
            names: BTreeMap::new(),
            registration,
        }
    }

    /// Sends a message. Only this method knows how a node is reached. A message that cannot be sent is dropped;
    /// [`Self::reachable`] says whether it can.
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

    /// Returns whether a message to the node goes out, at once or when its link is up. One to a node that dials in and
    /// is not connected would be lost.
    pub(in crate::node) fn has_link(&self) -> bool {
        self.registration.kind.dialled_by_us() || self.client.is_some()
    }

    /// Checks whether messages can be sent to the node.
    ///
    /// # Errors
    /// Returns the message of the history row that ends the token.
    pub(in crate::node) fn reachable(&self) -> Result<(), String> {
        let id = self.registration.id;
        if let Some(other) = self.calls_itself {
            return Err(format!("proxy - what answers as node '{id}' calls itself node '{other}'"));
        }
        let kind = &self.registration.kind;
        if self.has_link() {
            Ok(())
        } else if kind.is_web_socket() {
            Err(format!("cannot get connection from target node '{id}'"))
        } else if self.registration.identity.is_none() {
            Err(format!("proxy - node '{id}' had never been connected"))
        } else {
            Err(format!("Send message problem for '{id}': it is not connected"))
        }
    }

    /// Returns the node's name for another node.
    pub(in crate::node) fn name_of(&self, id: NodeId) -> NodeId {
        self.names.get(&id).copied().unwrap_or(id)
    }

    /// Sets the node's own name for itself.
    pub(in crate::node) fn calls_itself(&mut self, name: NodeId) {
        self.names.remove(&self.registration.id);
        if name != self.registration.id {
            self.names.insert(self.registration.id, name);
        }
    }

    /// Sets the names, other than ids, of the nodes in its map.
    pub(in crate::node) fn calls_others(&mut self, mut names: BTreeMap<NodeId, NodeId>) {
        let own = self.registration.id;
        names.extend(self.names.remove(&own).map(|name| (own, name)));
        self.names = names;
    }

    /// Returns the address of a node that we dial.
    pub(in crate::node) const fn endpoint(&self) -> Option<&Endpoint> {
        self.registration.kind.endpoint()
    }

    /// Returns whether other nodes are reached through it.
    pub(in crate::node) fn is_relay(&self) -> bool {
        !self.registration.subnodes.is_empty() || !self.announced.is_empty()
    }

    /// Returns whether we dial it.
    pub(in crate::node) const fn is_dialled(&self) -> bool {
        self.registration.kind.dialled_by_us()
    }

    /// Returns whether it is a host without a daemon, reached by SSH.
    pub(in crate::node) const fn is_ssh_host(&self) -> bool {
        !self.registration.kind.has_history()
    }

    pub(in crate::node) const fn dials_in(&self) -> bool {
        !self.registration.kind.dialled_by_us()
    }

    /// Returns whether it dials in and has never done so.
    pub(in crate::node) const fn never_connected(&self) -> bool {
        self.dials_in() && self.registration.identity.is_none()
    }
}
