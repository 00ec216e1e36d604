//! Keys that change while clients are connected: our own, and those of clients (docs/protocol.md section 22).

use std::sync::Arc;

use crate::model::connection::ClientId;
use crate::model::key_rotation::Successors;
use crate::wire::tls_link::ServerTls;

use super::ZmqListener;

impl ZmqListener {
    /// The thumbprint of a client's key.
    #[must_use]
    pub fn key_of(&self, client: ClientId) -> Option<&str> {
        self.sessions.get(&client)?.thumbprint.as_deref()
    }

    /// The connected clients whose key is known.
    pub fn connected(&self) -> impl Iterator<Item = (ClientId, &str)> {
        let connected = self.sessions.iter().filter(|(_, session)| session.connection.is_some());
        connected.filter_map(|(client, session)| Some((*client, session.thumbprint.as_deref()?)))
    }

    /// Replaces our own key for the handshakes to come.
    pub fn set_own_key(&mut self, public_key_pem: String, tls: Option<ServerTls>) {
        self.settings.public_key_pem = public_key_pem;
        self.settings.tls = tls;
    }

    /// Replaces the list of keys that were replaced.
    pub fn set_successors(&mut self, successors: Arc<Successors>) {
        self.settings.successors = successors;
    }
}
