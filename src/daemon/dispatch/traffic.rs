//! Received and sent bytes, for each kind of connection.

use crate::model::connection::{ClientId, ConnectionId, ParentKind};
use crate::model::time::Now;
use crate::node::input::Input;
use crate::wire::send_queue::SendQueue;

use super::connections::{Connection, Kind};
use super::external::HANDSHAKE;
use super::parent::WebSocketParent;
use super::{Dispatch, Effect, MAX_QUERIES_PER_CONNECTION, PeerKey};

impl Dispatch {
    /// Notes that an [`Effect::Connect`] succeeded.
    pub fn connected(&mut self, connection: ConnectionId, now: Now) {
        self.parent_connected(connection, now);
        self.ssh_host_connected(connection);
        self.drain(now);
        self.connections.mark_dirty(connection);
    }

    /// Handles received bytes.
    pub fn received(&mut self, connection: ConnectionId, bytes: &[u8], now: Now) {
        let Some(entry) = self.connections.get_mut(connection).filter(|entry| !entry.closing) else { return };
        match &mut entry.kind {
            Kind::External(external) => external.zmtp.receive(bytes),
            Kind::Link { zmtp, .. } => zmtp.receive(bytes),
            Kind::Api(client) => client.receive(bytes, now),
            Kind::WebSocket(node) => node.receive(bytes, now),
            Kind::Undecided(_) => self.decide(connection, bytes, now),
            Kind::WebSocketParent => self.parent_received(connection, bytes, now),
            Kind::Ssh { .. } => {}
        }
        self.pump(connection, now);
    }

    /// Notes that the peer has sent its last byte; [`Dispatch::ended`] follows once everything is read. An API caller
    /// that has closed its connection, or half of it, gets the results known now: its calls no longer wait.
    pub fn hung_up(&mut self, connection: ConnectionId, now: Now) {
        if let Some(entry @ Connection { kind: Kind::Api(_), .. }) = self.connections.get_mut(connection) {
            entry.hung_up = true;
            self.hurry_calls(connection, now);
            self.drain(now);
        }
    }

    /// The buffer for the next bytes of a connection in the middle of a large message, so that they are copied only
    /// once; `None` if they are to be passed to [`Self::received`].
    pub fn room(&mut self, connection: ConnectionId) -> Option<&mut [u8]> {
        let entry = self.connections.get_mut(connection).filter(|entry| !entry.closing)?;
        match &mut entry.kind {
            Kind::External(external) => external.zmtp.room(),
            Kind::Link { zmtp, .. } => zmtp.room(),
            Kind::WebSocket(node) => node.room(),
            Kind::WebSocketParent => self.dialled.websocket()?.room(connection),
            Kind::Api(_) | Kind::Undecided(_) | Kind::Ssh { .. } => None,
        }
    }

    /// Notes that `count_bytes` bytes were read into [`Self::room`].
    pub fn received_into_room(&mut self, connection: ConnectionId, count_bytes: usize, now: Now) {
        match self.connections.get_mut(connection).map(|entry| &mut entry.kind) {
            Some(Kind::External(external)) => external.zmtp.received_into_room(count_bytes),
            Some(Kind::Link { zmtp, .. }) => zmtp.received_into_room(count_bytes),
            Some(Kind::WebSocket(node)) => node.received_into_room(count_bytes, now),
            Some(Kind::WebSocketParent) => self.parent_received_into_room(connection, count_bytes, now),
            _ => {}
        }
        self.pump(connection, now);
    }

    /// Notes that the peer will send nothing more. An API client still gets its answers; any other connection is
    /// closed.
    pub fn ended(&mut self, connection: ConnectionId, now: Now) {
        match self.connections.get_mut(connection).map(|entry| &mut entry.kind) {
            Some(Kind::Api(client)) => {
                client.handle_end(now);
                self.pump(connection, now);
            }
            _ => {
                self.effects.push_back(Effect::Close(connection));
                self.closed(connection, "closed by the peer".to_owned(), now);
            }
        }
    }

    /// Handles a connection that broke, was closed by the peer or could not be opened.
    pub fn closed(&mut self, connection: ConnectionId, reason: String, now: Now) {
        if let Some(gone) = self.forget(connection) {
            self.forget_unsent(connection, now);
            self.forget_coming(connection);
            self.note_unready(&gone, now);
            if let Some(peer) = self.peer_on(connection, &gone.kind) {
                self.storing.forget_messages_to(peer);
            }
            match gone.kind {
                Kind::Link { key, .. } => self.link_closed(key, connection, reason, now),
                Kind::WebSocketParent => self.parent_closed(connection, &reason, now),
                Kind::Ssh { node, .. } => self.ssh_closed(node, connection, &reason, now),
                kind => self.peer_gone(connection, &kind, now),
            }
        }
        self.drain(now);
    }

    /// The peer that messages of the core reach on a connection, other than by one of our links to nodes.
    fn peer_on(&self, connection: ConnectionId, kind: &Kind) -> Option<ClientId> {
        match kind {
            Kind::External(_) => self.listener.client_on(connection),
            Kind::Link { key: PeerKey::Parent(kind), .. } => Some(ClientId::Parent(*kind)),
            Kind::WebSocketParent => Some(ClientId::Parent(ParentKind::WebSocket)),
            Kind::WebSocket(_) => Some(ClientId::WebSocket(connection)),
            _ => None,
        }
    }

    /// Handles the end of an incoming connection: ends its session, and tells the core.
    pub(super) fn peer_gone(&mut self, connection: ConnectionId, kind: &Kind, now: Now) {
        match kind {
            Kind::External(_) => {
                // The session lives on, but messages in transit to a pull node may be lost, so the core checks on them.
                if let Some(client) = self.listener.client_on(connection) {
                    self.core.handle_input(Input::ClientNotReached { client, token: None }, now);
                }
                self.listener.handle_closed(connection);
            }
            Kind::Api(_) => self.cancel_calls(connection, now),
            Kind::WebSocket(_) => self.websocket_closed(connection, now),
            Kind::Link { .. } | Kind::WebSocketParent | Kind::Undecided(_) | Kind::Ssh { .. } => {}
        }
    }

    /// Notes that the driver has sent part of a connection's send queue.
    pub fn flushed(&mut self, connection: ConnectionId, now: Now) {
        match self.connections.get_mut(connection).map(|entry| &mut entry.kind) {
            Some(Kind::Api(client)) => client.handle_sent(now),
            Some(Kind::WebSocket(node)) => node.handle_sent(now),
            _ => {}
        }
        self.tell_room(connection, now);
        self.note_unsent(connection, now);
        self.pump(connection, now);
    }

    pub fn send_queue(&mut self, connection: ConnectionId) -> Option<&mut SendQueue> {
        match &mut self.connections.get_mut(connection)?.kind {
            Kind::External(external) => Some(external.zmtp.send_queue()),
            Kind::Link { zmtp, .. } => Some(zmtp.send_queue()),
            Kind::Api(client) => Some(client.send_queue()),
            Kind::WebSocket(node) => Some(node.send_queue()),
            Kind::Undecided(undecided) => Some(undecided.send_queue()),
            Kind::Ssh { send_queue, .. } => Some(send_queue),
            Kind::WebSocketParent => self.dialled.websocket().map(WebSocketParent::send_queue),
        }
    }

    /// Whether the driver should read from a connection now; `false` while too many of its answers or questions are
    /// pending.
    #[must_use]
    pub fn wants_read(&self, connection: ConnectionId) -> bool {
        let Some(entry) = self.connections.get(connection) else { return false };
        match &entry.kind {
            _ if entry.closing || self.budget.holds(connection) => false,
            // The session reads all that the host says.
            Kind::Ssh { .. } => false,
            Kind::External(external) => {
                entry.open_queries() < MAX_QUERIES_PER_CONNECTION
                    && !external.zmtp.is_congested()
                    && !self.is_client_paused(connection)
            }
            Kind::Link { key: PeerKey::Parent(ParentKind::Pull), .. } => {
                !self.is_paused(ClientId::Parent(ParentKind::Pull))
            }
            Kind::Link { .. } | Kind::Undecided(_) => true,
            Kind::Api(client) => client.wants_read(),
            Kind::WebSocket(node) => node.wants_read(),
            Kind::WebSocketParent => {
                !self.is_paused(ClientId::Parent(ParentKind::WebSocket)) && self.dialled.wants_read_websocket()
            }
        }
    }

    /// Whether a peer is not authenticated and its address has never had a session. Such connections are served last.
    #[must_use]
    pub fn is_stranger(&self, connection: ConnectionId) -> bool {
        self.connections.is_stranger(connection) && !self.is_known(connection)
    }

    /// Handles the received messages of a connection, as far as its bounds allow.
    pub(super) fn pump(&mut self, connection: ConnectionId, now: Now) {
        self.connections.set_reading(Some(connection));
        match self.connections.get(connection).map(|entry| (&entry.kind, entry.closing)) {
            Some((_, true)) | None => {}
            Some((Kind::External(_), _)) => self.pump_external(connection, now),
            Some((Kind::Link { .. }, _)) => self.pump_link(connection, now),
            Some((Kind::Api(_), _)) => self.pump_api(connection, now),
            Some((Kind::WebSocket(_), _)) => self.pump_websocket(connection, now),
            Some((Kind::WebSocketParent, _)) => self.drain_websocket_parent(now),
            Some((Kind::Undecided(_) | Kind::Ssh { .. }, _)) => {}
        }
        self.connections.set_reading(None);
        self.note_coming(connection, now);
        self.drain(now);
    }

    /// Carries out the outputs of the session of an accepted connection.
    pub(super) fn drain_connection(&mut self, connection: ConnectionId, now: Now) {
        match self.connections.get(connection).map(|entry| &entry.kind) {
            Some(Kind::Api(_)) => self.pump_api(connection, now),
            Some(Kind::WebSocket(_)) => self.pump_websocket(connection, now),
            _ => {}
        }
    }

    pub(super) fn connection_timeout(&mut self, connection: ConnectionId, now: Now) {
        match self.connections.get_mut(connection) {
            Some(Connection { closing: true, .. }) => self.close(connection, now),
            Some(Connection { kind: Kind::Api(client), .. }) => {
                client.handle_timeout(now);
                self.pump_api(connection, now);
            }
            Some(Connection { kind: Kind::WebSocket(node), .. }) => {
                node.handle_timeout(now);
                self.pump_websocket(connection, now);
            }
            Some(Connection { kind: Kind::Undecided(_), .. }) => self.close(connection, now),
            Some(Connection { kind: Kind::External(external), peer, .. }) if !external.zmtp.is_ready() => {
                let (awaited, seconds) = (external.zmtp.awaited(), HANDSHAKE.as_secs());
                let line = format!("{peer}: {awaited} did not come within {seconds} s, closed");
                self.complain(line, now);
                self.close(connection, now);
            }
            _ => {}
        }
    }
}
