//! Connections of the external ZeroMQ socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::{ClientId, ConnectionId, PeerAddress};
use crate::model::link::pin_of_client;
use crate::model::log::LogLine;
use crate::model::message::{Outgoing, Reply};
use crate::model::time::Now;
use crate::node::input::Input;
use crate::session::zmq_listener::{Delivery, ListenerOutput, ListenerSettings};
use crate::wire::gorgone::envelope::Text;
use crate::wire::zmtp::ZmtpError;
use crate::wire::zmtp::connection::{Event, Settings, SocketType, ZmtpConnection};

use super::connections::{Connection, Kind};
use super::{CryptoJob, Dispatch, Effect, Gathered, MAX_QUERIES_PER_CONNECTION, MAX_UNSENT_BYTES, OwnKey, Owner};
use crate::model::history::StoreChange;

/// Time limit for a peer's ZMTP handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Maximum size in bytes of a message before authentication; a hello with a 4096-bit key takes less than 3 kB.
const MAX_STRANGER_MESSAGE_BYTES: usize = 16 << 10;
/// Prefix of the routing ids of daemons that dial us as one of their nodes (docs/protocol.md section 3).
const DAEMON_ROUTING_ID: &[u8] = b"gorgone-proxy-";

pub(super) struct External {
    pub(super) zmtp: ZmtpConnection,
}

/// The number of nodes that are known to dial in: when this daemon comes back, so do all of them at once.
pub(super) fn expected_clients(config: &Config) -> usize {
    let registered = config.modules.register.iter().flat_map(|register| &register.nodes);
    registered.chain(&config.added.nodes).filter(|node| !node.kind.dialled_by_us()).count()
}

pub(super) fn listener_settings(
    config: &Config,
    own_key: &OwnKey,
    pinned: BTreeMap<String, String>,
) -> ListenerSettings {
    // Those from a database of nodes are not known yet, but those of them that were met sealed are.
    let expected = expected_clients(config).max(pinned.len());
    ListenerSettings {
        public_key_pem: own_key.public_pem.clone(),
        link: config.core.link,
        tls: own_key.server_tls().filter(|_| config.core.external.is_some()),
        pinned,
        successors: Arc::clone(&config.added.successors),
        authorized: config.core.authorized_clients.clone(),
        fresh_sessions: !config.core.bound_keys.is_empty(),
        key_size: config.core.key_size,
        rotation: config.core.rotation,
        hostname: config.core.hostname.clone(),
        session_idle: Duration::from_secs(24 * 3_600),
        max_sessions: 10_000.max(expected.saturating_mul(2)),
        max_pending_hellos: 256.max(expected),
        hellos_per_peer_per_second: 20,
        // All within about five seconds, and five times as many at once.
        hellos_of_strangers_per_second: u32::try_from(expected / 10).unwrap_or(u32::MAX).max(100),
    }
}

/// Length in bytes of a sealed message on the wire: base64 of padded AES blocks.
const fn sealed_bytes(plain: usize) -> usize {
    plain.saturating_add(16).saturating_mul(4) / 3 + 4
}

impl Dispatch {
    pub(super) fn accept_external(&mut self, connection: ConnectionId, peer: PeerAddress, now: Now) {
        self.admit_stranger(connection, peer, now);
        let zmtp = ZmtpConnection::new(Settings {
            socket_type: SocketType::Router,
            identity: Vec::new(),
            max_message_bytes: MAX_STRANGER_MESSAGE_BYTES,
        });
        let kind = Kind::External(External { zmtp });
        self.connections.insert(connection, kind, peer);
        self.timers.set(Owner::Connection(connection), now.monotonic + HANDSHAKE);
        self.connections.mark_dirty(connection);
    }

    pub(super) fn pump_external(&mut self, connection: ConnectionId, now: Now) {
        loop {
            let Some(entry) = self.connections.get_mut(connection) else { return };
            let has_questions = entry.open_queries() >= MAX_QUERIES_PER_CONNECTION;
            let Kind::External(external) = &mut entry.kind else { return };
            if entry.closing || has_questions || external.zmtp.is_congested() {
                return;
            }
            let peer = entry.peer;
            match external.zmtp.poll_event() {
                Ok(None) => break,
                Ok(Some(Event::Ready { routing_id, .. })) => {
                    self.timers.cancel(&Owner::Connection(connection));
                    let client = self.listener.client_of(&routing_id);
                    if let Some(client) = client.filter(|client| self.listener.connection_of(*client).is_some()) {
                        // This connection takes over the client from an older one.
                        self.core.handle_input(Input::ClientNotReached { client, token: None }, now);
                    }
                    self.listener.handle_ready(connection, routing_id.clone(), peer, now);
                    self.narrow_link(connection, &routing_id);
                }
                Ok(Some(Event::Message(payload))) => {
                    self.listener.handle_message(connection, &payload, now, self.random.as_mut());
                }
                Ok(Some(Event::Multipart { frames, .. })) => {
                    self.complain(format!("{peer}: a message of {frames} frames ignored, one is expected"), now);
                }
                Err(error) => return self.refuse_external(connection, &error, now),
            }
            self.drain(now);
        }
        self.connections.mark_dirty(connection);
    }

    /// Logs, once per address, that a peer of the external socket disconnected before completing its ZMTP handshake.
    /// Peers that are too old for our version do that (ZMTP 2, JeroMQ 0.3); one that sent nothing may be a health
    /// check.
    pub(super) fn note_unready(&mut self, gone: &Connection, now: Now) {
        let Kind::External(External { zmtp }) = &gone.kind else { return };
        if zmtp.is_ready() || gone.closing || !self.unready.insert(gone.peer, zmtp.has_begun()) {
            return;
        }
        let text = format!(
            "{}: closed the connection while {} was awaited; it may be too old (ZMTP 3.0 is needed) or a health check",
            gone.peer,
            zmtp.awaited()
        );
        if zmtp.has_begun() {
            self.complain(text, now);
        } else {
            self.log(LogLine::debug("core", text));
        }
    }

    /// Reports an error to whoever can act on it, then closes the connection.
    fn refuse_external(&mut self, connection: ConnectionId, error: &ZmtpError, now: Now) {
        let Some(entry) = self.connections.get(connection) else { return };
        let peer = entry.peer;
        self.complain(format!("{peer}: {error}; connection closed"), now);
        if let Some(client) = self.listener.client_on(connection) {
            let message = serde_json::json!({"error": "message_refused", "message": error.to_string()}).to_string();
            let reply = Reply { kind: Action::Ack, token: None, code: Code::FINISHED_KO, data: message };
            self.send_to_client(client, &Outgoing::Reply(reply), now);
            self.drain(now);
        }
        self.close_after_flush(connection, now);
    }

    pub(super) fn on_listener(&mut self, output: ListenerOutput, now: Now) {
        match output {
            ListenerOutput::Send { connection, payload } => self.send_external(connection, payload, now),
            ListenerOutput::Gathered { client, connection } => self.gathered(Gathered::Client(client), connection),
            ListenerOutput::Close { connection, reason } => {
                self.log(LogLine::info("core", reason));
                self.close(connection, now);
            }
            ListenerOutput::Identified { client, thumbprint } => {
                self.tally.handshakes += 1;
                if let Some(link) = self.listener.link_of(client) {
                    self.core.handle_input(Input::ClientLink(client, link), now);
                }
                if let Some(key) = self.config.core.bound_keys.get(&thumbprint).cloned() {
                    self.core.handle_input(Input::ClientBound { client, key }, now);
                }
            }
            ListenerOutput::Authenticated(connection) => {
                self.authenticated(connection);
                self.tell_new_link(now);
            }
            ListenerOutput::Message { client, message } if message.action == Action::NewKey => {
                self.key_news_of_client(client, &message.data, now);
            }
            ListenerOutput::Message { client, message } => {
                if self.listener.routing_id(client).is_some_and(|id| id.starts_with(DAEMON_ROUTING_ID)) {
                    self.core.handle_input(Input::ClientIsDaemon(client), now);
                }
                if let Some(connection) = self.listener.connection_of(client) {
                    self.tell_address(client, &message, connection, now);
                }
                self.core.handle_input(Input::ClientMessage { client, message }, now);
            }
            ListenerOutput::Malformed { client, token, reason } => {
                self.core.handle_input(Input::ClientMalformed { client, token, reason }, now);
            }
            ListenerOutput::Admitted(admitted) => self.effects.push_back(Effect::Admit(admitted)),
            ListenerOutput::ClientGone(client) => self.core.handle_input(Input::ClientGone(client), now),
            ListenerOutput::OpenHello { hello, job, is_known } => {
                self.effects.push_back(Effect::Crypto(CryptoJob::Hello { hello, job, is_known }));
            }
            ListenerOutput::Pin { name, thumbprint } => self.pin(pin_of_client(&name), thumbprint, now),
            ListenerOutput::StoreSession(session) => {
                self.storing.push(StoreChange::PutSession(session), now.monotonic);
            }
            ListenerOutput::DropSession(routing_id) => {
                self.storing.push(StoreChange::DeleteSession(routing_id), now.monotonic);
            }
            ListenerOutput::Log(line) => self.log(line),
        }
    }

    fn authenticated(&mut self, connection: ConnectionId) {
        self.connections.strangers().remove(connection);
        let limit = sealed_bytes(self.config.core.max_message_size);
        if let Some(Connection { kind: Kind::External(external), .. }) = self.connections.get_mut(connection) {
            external.zmtp.set_max_message_bytes(limit);
        }
    }

    /// Notes that messages wait to be sealed together before a connection is written to.
    pub(super) fn gathered(&mut self, peer: Gathered, connection: ConnectionId) {
        self.gathered.insert(peer);
        self.connections.mark_dirty(connection);
    }

    /// Seals the messages that were gathered, those of a peer together.
    pub(super) fn send_gathered(&mut self, now: Now) {
        while let Some(peer) = self.gathered.pop_first() {
            match peer {
                Gathered::Client(client) => self.listener.send_gathered(client),
                Gathered::Dialled(key) => {
                    if let Some(link) = self.dialled.link(key) {
                        link.dialer.send_gathered(now, self.random.as_mut());
                        self.touch(Owner::Dialled(key));
                    }
                }
            }
            self.drain(now);
        }
    }

    fn send_external(&mut self, connection: ConnectionId, payload: Vec<u8>, now: Now) {
        let Some(entry) = self.connections.get_mut(connection) else { return };
        let Kind::External(external) = &mut entry.kind else { return };
        if external.zmtp.send_queue().len() > MAX_UNSENT_BYTES {
            let line = format!("{}: does not read its answers, {MAX_UNSENT_BYTES} bytes wait: closed", entry.peer);
            self.complain(line, now);
            self.close(connection, now);
            return;
        }
        external.zmtp.send_owned_message(payload);
        self.connections.mark_dirty(connection);
    }

    /// Sends a message to a client; returns whether it was queued.
    pub(super) fn send_to_zmq_client(&mut self, client: ClientId, text: &Text<'_>) -> bool {
        self.listener.send(client, &text.parts()) == Delivery::Sent
    }
}
