//! Flow control of copies: when there is room to send more, and which connections not to read (docs/protocol.md section
//! 12).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::connection::{ClientId, ConnectionId};
use crate::model::node_id::NodeId;
use crate::model::time::Now;
use crate::node::input::Input;

use super::{Dispatch, PeerKey};

/// The nodes that wait for room, and the connections that are not read.
#[derive(Default)]
pub(super) struct Flow {
    room_wanted: BTreeMap<ConnectionId, NodeId>,
    paused: BTreeSet<ClientId>,
}

impl Flow {
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.room_wanted.remove(&connection);
    }
}

impl Dispatch {
    fn connection_of(&self, node: NodeId, client: Option<ClientId>) -> Option<ConnectionId> {
        match client {
            Some(client) => self.connection_of_client(client),
            None => self.dialled.connection(PeerKey::Node(node)),
        }
    }

    pub(super) fn connection_of_client(&self, client: ClientId) -> Option<ConnectionId> {
        match client {
            ClientId::Zmq(_) => self.listener.connection_of(client),
            ClientId::WebSocket(connection) => Some(connection),
            ClientId::Parent(kind) => self.dialled.connection(PeerKey::Parent(kind)),
        }
    }

    /// Tells the core once, as soon as little waits to be sent to a node. Without a connection the core is told that
    /// instead.
    pub(super) fn await_room(&mut self, node: NodeId, client: Option<ClientId>, now: Now) {
        let Some(connection) = self.connection_of(node, client) else { return };
        self.flow.room_wanted.insert(connection, node);
        self.tell_room(connection, now);
    }

    pub(super) fn tell_room(&mut self, connection: ConnectionId, now: Now) {
        if !self.flow.room_wanted.contains_key(&connection)
            || self.send_queue(connection).is_none_or(|queue| !queue.is_below_low())
        {
            return;
        }
        if let Some(node) = self.flow.room_wanted.remove(&connection) {
            self.core.handle_input(Input::Room(node), now);
        }
    }

    pub(super) fn pause(&mut self, sender: ClientId, paused: bool) {
        if paused {
            self.flow.paused.insert(sender);
            return;
        }
        self.flow.paused.remove(&sender);
        let connection = self.connection_of_client(sender);
        // The driver then checks whether it may be read again.
        if let Some(connection) = connection {
            self.connections.mark_dirty(connection);
        }
    }

    pub(super) fn is_client_paused(&self, connection: ConnectionId) -> bool {
        !self.flow.paused.is_empty() && self.listener.client_on(connection).is_some_and(|client| self.is_paused(client))
    }

    pub(super) fn is_paused(&self, sender: ClientId) -> bool {
        self.flow.paused.contains(&sender)
    }
}
