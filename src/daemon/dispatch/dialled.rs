//! The peers that we connect to, in one table for all transports.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::connection::{ClientId, ConnectionId, ParentKind};
use crate::model::node_id::NodeId;
use crate::model::time::{Monotonic, Now};

use super::links::Link;
use super::parent::WebSocketParent;
use super::ssh::SshLink;
use super::{Dispatch, Owner};

/// A peer that we connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerKey {
    /// A node, by ZeroMQ or SSH.
    Node(NodeId),
    /// Our central.
    Parent(ParentKind),
}

impl PeerKey {
    /// Returns the id for lines of the log; `None` for our central.
    pub(super) const fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(node),
            Self::Parent(_) => None,
        }
    }

    /// Returns the client that our central is to the deciding part.
    pub(super) const fn client(self) -> Option<ClientId> {
        match self {
            Self::Node(_) => None,
            Self::Parent(kind) => Some(ClientId::Parent(kind)),
        }
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(formatter, "node '{node}'"),
            Self::Parent(_) => formatter.write_str("our central"),
        }
    }
}

/// The session that keeps us connected to a peer.
pub(super) enum Dialled {
    Zmq(Link),
    #[cfg_attr(not(feature = "ssh"), expect(dead_code, reason = "of a build with SSH"))]
    Ssh(SshLink),
    WebSocket(WebSocketParent),
}

/// The peers that we connect to.
#[derive(Default)]
pub(super) struct DialledPeers(BTreeMap<PeerKey, Dialled>);

impl DialledPeers {
    pub(super) fn insert(&mut self, key: PeerKey, peer: Dialled) {
        self.0.insert(key, peer);
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Dialled> {
        self.0.remove(&key)
    }

    pub(super) fn link(&mut self, key: PeerKey) -> Option<&mut Link> {
        match self.0.get_mut(&key) {
            Some(Dialled::Zmq(link)) => Some(link),
            _ => None,
        }
    }

    /// The peers that are reached by ZeroMQ.
    pub(super) fn zmq_peers(&self) -> Vec<PeerKey> {
        let zmq = self.0.iter().filter(|(_, peer)| matches!(peer, Dialled::Zmq(_)));
        zmq.map(|(key, _)| *key).collect()
    }

    pub(super) fn ssh(&mut self, node: NodeId) -> Option<&mut SshLink> {
        match self.0.get_mut(&PeerKey::Node(node)) {
            Some(Dialled::Ssh(link)) => Some(link),
            _ => None,
        }
    }

    /// The session with our central, if it is reached by WebSocket.
    pub(super) fn websocket(&mut self) -> Option<&mut WebSocketParent> {
        match self.0.get_mut(&PeerKey::Parent(ParentKind::WebSocket)) {
            Some(Dialled::WebSocket(parent)) => Some(parent),
            _ => None,
        }
    }

    /// Whether the WebSocket to our central may be read; the session bounds what it holds.
    pub(super) fn wants_read_websocket(&self) -> bool {
        match self.0.get(&PeerKey::Parent(ParentKind::WebSocket)) {
            Some(Dialled::WebSocket(parent)) => parent.wants_read(),
            _ => true,
        }
    }

    /// The current connection to a peer; `None` for an SSH link, whose connection is not in our table.
    pub(super) fn connection(&self, key: PeerKey) -> Option<ConnectionId> {
        match self.0.get(&key)? {
            Dialled::Zmq(link) => link.connection(),
            Dialled::WebSocket(parent) => parent.connection(),
            Dialled::Ssh(_) => None,
        }
    }

    fn poll_timeout(&self, key: PeerKey) -> Option<Monotonic> {
        match self.0.get(&key)? {
            Dialled::Zmq(link) => link.poll_timeout(),
            Dialled::Ssh(link) => link.poll_timeout(),
            Dialled::WebSocket(parent) => parent.poll_timeout(),
        }
    }
}

impl Dispatch {
    /// Closes the connection to a peer permanently.
    pub(super) fn close_dialled(&mut self, key: PeerKey, now: Now) {
        self.timers.cancel(&Owner::Dialled(key));
        match self.dialled.remove(key) {
            Some(Dialled::Zmq(link)) => self.close_link(key, link, now),
            Some(Dialled::Ssh(link)) => self.close_ssh(key, link, now),
            Some(Dialled::WebSocket(parent)) => self.close_websocket_parent(parent, now),
            None => {}
        }
    }

    /// Closes the connection to a peer and reconnects at once.
    pub(super) fn reset_dialled(&mut self, key: PeerKey, now: Now) {
        let random = self.random.as_mut();
        match self.dialled.0.get_mut(&key) {
            Some(Dialled::Zmq(link)) => link.reset(now, random),
            Some(Dialled::Ssh(link)) => link.reset(now, random),
            Some(Dialled::WebSocket(parent)) => parent.reset(now),
            None => return,
        }
        self.touch(Owner::Dialled(key));
    }

    pub(super) fn dialled_timeout(&mut self, key: PeerKey, now: Now) {
        let random = self.random.as_mut();
        match self.dialled.0.get_mut(&key) {
            Some(Dialled::Zmq(link)) => link.handle_timeout(now, random),
            Some(Dialled::Ssh(link)) => link.handle_timeout(now, random),
            Some(Dialled::WebSocket(parent)) => parent.handle_timeout(now, random),
            None => return,
        }
        self.touch(Owner::Dialled(key));
    }

    /// Carries out the outputs of a peer's session.
    pub(super) fn drain_dialled(&mut self, key: PeerKey, now: Now) {
        match (self.dialled.0.get(&key), key) {
            (Some(Dialled::Zmq(_)), _) => self.drain_link(key, now),
            (Some(Dialled::WebSocket(_)), _) => self.drain_websocket_parent(now),
            (Some(Dialled::Ssh(_)), PeerKey::Node(node)) => self.drain_ssh(node, now),
            (Some(Dialled::Ssh(_)), PeerKey::Parent(_)) | (None, _) => {}
        }
        self.timers.replace(Owner::Dialled(key), self.dialled.poll_timeout(key));
    }
}
