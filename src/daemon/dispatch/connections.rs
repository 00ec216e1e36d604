//! The table of connections: what each is, which are strangers, whose bytes wait, whose questions are open.

use std::collections::{BTreeSet, HashMap};

use crate::model::connection::{ConnectionId, PeerAddress};
use crate::model::host_work::QueryId;
use crate::session::api_client::ApiClient;
use crate::session::websocket_server::WebSocketServer;
use crate::wire::zmtp::connection::Connection as ZmtpConnection;

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
    /// A connection of the shared listener whose first request is not read yet.
    Undecided(Undecided),
    /// The one to our central (module `pullwss`); the session is a [`super::parent::WebSocketParent`].
    WebSocketParent,
}

pub(super) struct Connection {
    pub(super) kind: Kind,
    pub(super) peer: PeerAddress,
    pub(super) closing: bool,
    /// The peer has sent its last byte, which may not be read yet.
    pub(super) hung_up: bool,
    open_queries: u32,
}

impl Connection {
    /// Questions to the history that it has open.
    pub(super) const fn open_queries(&self) -> u32 {
        self.open_queries
    }
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Connections {
    table: HashMap<ConnectionId, Connection>,
    next: u64,
    strangers: Strangers,
    dirty: BTreeSet<ConnectionId>,
    /// Whose messages are taken in now: the questions that come of them are its own.
    reading: Option<ConnectionId>,
    questions: HashMap<QueryId, ConnectionId>,
}

impl Connections {
    /// A name for a new connection.
    pub(super) const fn next_id(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId(self.next)
    }

    pub(super) fn insert(&mut self, connection: ConnectionId, kind: Kind, peer: PeerAddress) {
        self.table.insert(connection, Connection { kind, peer, closing: false, hung_up: false, open_queries: 0 });
    }

    /// Every connection.
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

    /// Whether it is not authenticated yet.
    pub(super) fn is_stranger(&self, connection: ConnectionId) -> bool {
        self.strangers.contains(connection)
    }

    pub(super) const fn strangers(&mut self) -> &mut Strangers {
        &mut self.strangers
    }

    /// Its send queue may hold bytes, or it may be read again.
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

    /// A question to the history was asked: it belongs to the connection whose messages are taken in now.
    pub(super) fn asked(&mut self, query: QueryId) -> Option<ConnectionId> {
        let connection = self.reading?;
        self.table.get_mut(&connection)?.open_queries += 1;
        self.questions.insert(query, connection);
        Some(connection)
    }

    /// A question is answered; who asked it, which may go on.
    pub(super) fn answered(&mut self, query: QueryId) -> Option<ConnectionId> {
        let connection = self.questions.remove(&query)?;
        if let Some(entry) = self.table.get_mut(&connection) {
            entry.open_queries = entry.open_queries.saturating_sub(1);
            // So that the driver looks whether it may be read again, even if the answer went elsewhere.
            self.dirty.insert(connection);
        }
        Some(connection)
    }
}
