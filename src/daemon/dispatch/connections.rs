//! The table of connections: the kind of each, which are not authenticated, which have bytes to send, which have open
//! questions.

use std::collections::BTreeSet;

use crate::model::connection::{ConnectionId, PeerAddress};
use crate::model::host_work::QueryId;
use crate::model::node_id::NodeId;
use crate::model::number_map::NumberMap;
use crate::session::api_client::ApiClient;
use crate::session::websocket_server::WebSocketServer;
use crate::wire::send_queue::SendQueue;
use crate::wire::zmtp::connection::ZmtpConnection;

use super::PeerKey;
use super::external::External;
use super::strangers::Strangers;
use super::websocket::Undecided;

pub(super) enum Kind {
    External(External),
    Link {
        key: PeerKey,
        zmtp: ZmtpConnection,
    },
    Api(Box<ApiClient>),
    WebSocket(Box<WebSocketServer>),
    /// A connection of the shared listener whose first request has not been read.
    Undecided(Undecided),
    /// A connection to an SSH host, until its session takes it over.
    Ssh {
        node: NodeId,
        send_queue: SendQueue,
    },
    /// The connection to our central (module `pullwss`); the session is a [`super::parent::WebSocketParent`].
    WebSocketParent,
}

pub(super) struct Connection {
    pub(super) kind: Kind,
    pub(super) peer: PeerAddress,
    pub(super) closing: bool,
    /// Whether the peer has sent its last byte, which may still be unread.
    pub(super) hung_up: bool,
    open_queries: u32,
}

impl Connection {
    /// Number of its open questions to the history.
    pub(super) const fn open_queries(&self) -> u32 {
        self.open_queries
    }
}

/// The table of connections.
#[derive(Default)]
pub(super) struct Connections {
    table: NumberMap<ConnectionId, Connection>,
    next: u64,
    strangers: Strangers,
    dirty: BTreeSet<ConnectionId>,
    /// The connection whose messages are being handled; questions that result from them are charged to it.
    reading: Option<ConnectionId>,
    questions: NumberMap<QueryId, ConnectionId>,
}

impl Connections {
    /// Returns an id for a new connection.
    pub(super) const fn next_id(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId(self.next)
    }

    pub(super) fn insert(&mut self, connection: ConnectionId, kind: Kind, peer: PeerAddress) {
        self.table.insert(connection, Connection { kind, peer, closing: false, hung_up: false, open_queries: 0 });
    }

    /// The ids of all connections.
    pub(super) fn all(&self) -> BTreeSet<ConnectionId> {
        self.table.keys().copied().collect()
    }

    pub(super) fn get(&self, connection: ConnectionId) -> Option<&Connection> {
        self.table.get(&connection)
    }

    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Connection> {
        self.table.get_mut(&connection)
    }

    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Connection> {
        self.strangers.remove(connection);
        self.dirty.remove(&connection);
        self.table.remove(&connection)
    }

    /// Whether a connection is not authenticated.
    pub(super) fn is_stranger(&self, connection: ConnectionId) -> bool {
        self.strangers.contains(connection)
    }

    pub(super) const fn strangers(&mut self) -> &mut Strangers {
        &mut self.strangers
    }

    /// Notes that the send queue of a connection may hold bytes, or that it may be read again.
    pub(super) fn mark_dirty(&mut self, connection: ConnectionId) {
        self.dirty.insert(connection);
    }

    pub(super) fn take_dirty(&mut self) -> BTreeSet<ConnectionId> {
        std::mem::take(&mut self.dirty)
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) const fn set_reading(&mut self, connection: Option<ConnectionId>) {
        self.reading = connection;
    }

    /// Charges a question to the history to the connection whose messages are being handled, and returns that
    /// connection.
    pub(super) fn asked(&mut self, query: QueryId) -> Option<ConnectionId> {
        let connection = self.reading?;
        self.table.get_mut(&connection)?.open_queries += 1;
        self.questions.insert(query, connection);
        Some(connection)
    }

    /// Notes the answer to a question; returns the connection that asked it and may ask again.
    pub(super) fn answered(&mut self, query: QueryId) -> Option<ConnectionId> {
        let connection = self.questions.remove(&query)?;
        if let Some(entry) = self.table.get_mut(&connection) {
            entry.open_queries = entry.open_queries.saturating_sub(1);
            // The driver then checks whether it may be read again, even if the answer went elsewhere.
            self.dirty.insert(connection);
        }
        Some(connection)
    }
}
