//! All sealed sessions of the external ROUTER socket (docs/protocol.md sections 2 and 3, server side).
//!
//! Works on whole message payloads. Out of scope: ZMTP, the meaning of messages, sockets, clocks, RSA (handed out as
//! jobs) and the database.
//!
//! `rotating_keys` keeps a client from going deaf. Besides, a client whose message no key of its routing id opens
//! gets `handshake issue` in clear, so that it starts over.

mod client_session;
mod hellos;
mod key_changes;
#[cfg(test)]
mod never_deaf_tests;
mod output;
pub mod peer_limits;
mod rotating_keys;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::model::connection::{ClientId, ConnectionId, PeerAddress};
use crate::model::key_rotation::Successors;
use crate::model::link::LinkMode;
use crate::model::log::LogLine;
use crate::model::random::Random;
use crate::model::session::StoredSession;
use crate::model::time::{Monotonic, Now};
use crate::wire::gorgone::envelope;
use crate::wire::gorgone::key_exchange::{self, HANDSHAKE_ISSUE, Hello};
use crate::wire::gorgone::sealing::KeyMaterial;
use crate::wire::tls_link::{self, Offer, ServerTls, Step};

use client_session::{ClientSession, Lifetimes};
use hellos::Hellos;
pub use output::{Delivery, HelloId, HelloResult, HelloWork, ListenerOutput};
use peer_limits::PeerLimits;
use rotating_keys::Opened;

/// The prefix of every served routing id.
pub const ROUTING_ID_PREFIX: &[u8] = b"gorgone-";
/// Minimum interval between two answers to unreadable messages on one connection.
const REFUSE_EVERY: Duration = Duration::from_secs(1);
const MODULE: &str = "core";

#[derive(Clone)]
pub struct ListenerSettings {
    /// Our public key, SPKI.
    pub public_key_pem: String,
    /// Thumbprints of the authorised keys.
    pub authorized: Vec<String>,
    /// Whether clients may or must be sealed by TLS.
    pub link: LinkMode,
    /// Our role in a TLS link; `None` if our key is of no use for it.
    pub tls: Option<ServerTls>,
    /// The clients that were met sealed: names (routing ids without the random suffix) and thumbprints of their keys.
    pub pinned: BTreeMap<String, String>,
    /// The keys of peers that were replaced.
    pub successors: Arc<Successors>,
    /// Whether stored sessions are dropped that do not say which key the client has.
    pub fresh_sessions: bool,
    /// Length of a session key in bytes: 16, 24 or 32.
    pub key_size: usize,
    /// Age at which a key is replaced; zero means never.
    pub rotation: Duration,
    /// Our host name, which clients get with their key.
    pub hostname: String,
    /// Time without use after which a session is dropped (24 h).
    pub session_idle: Duration,
    /// Maximum number of sessions (10,000). Beyond it the longest unused one without a connection is dropped.
    pub max_sessions: usize,
    /// Maximum number of handshakes that wait for their RSA job (256), and as many from addresses that had a session
    /// before.
    pub max_pending_hellos: usize,
    /// Maximum number of handshakes per second from one address (20). Five times as many are allowed at once.
    pub hellos_per_peer_per_second: u32,
    /// Maximum number of handshakes per second from all addresses without a previous session (100). Five times as many
    /// are allowed at once.
    pub hellos_of_strangers_per_second: u32,
}

/// One connection with a served routing id.
struct ClientConnection {
    routing_id: Arc<[u8]>,
    peer: PeerAddress,
    client: Option<ClientId>,
    refused_at: Option<Monotonic>,
    /// Whether it may or must be sealed.
    link: LinkMode,
    /// A TLS handshake that waits for the client.
    step: Option<Box<Step>>,
}

/// The state machine. Drain [`ZmqListener::poll_output`] after every `handle_*` and `send`.
pub struct ZmqListener {
    settings: ListenerSettings,
    lifetimes: Lifetimes,
    hostname: Arc<str>,
    /// Connections with a served routing id. The event loop limits their number.
    connections: BTreeMap<ConnectionId, ClientConnection>,
    live: BTreeMap<Arc<[u8]>, ConnectionId>,
    sessions: BTreeMap<ClientId, ClientSession>,
    clients: BTreeMap<Arc<[u8]>, ClientId>,
    deadlines: BTreeSet<(Monotonic, ClientId)>,
    hellos: Hellos,
    limits: PeerLimits,
    next_client: u64,
    /// Number of refused handshakes.
    refused: u64,
    /// Whether messages over a sealed link wait to be sealed together.
    gathers: bool,
    outputs: VecDeque<ListenerOutput>,
}

impl ZmqListener {
    /// Restores the sessions of the database. Drops those that are too old, damaged or too many.
    #[must_use]
    pub fn new(settings: ListenerSettings, mut restored: Vec<StoredSession>, now: Now) -> Self {
        let rotation = (!settings.rotation.is_zero()).then_some(settings.rotation);
        let lifetimes = Lifetimes { rotation, idle: settings.session_idle };
        let mut listener = Self {
            lifetimes,
            hostname: settings.hostname.as_str().into(),
            connections: BTreeMap::new(),
            live: BTreeMap::new(),
            sessions: BTreeMap::new(),
            clients: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            hellos: Hellos::new(&settings),
            limits: PeerLimits::new(settings.hellos_per_peer_per_second, settings.hellos_of_strangers_per_second),
            next_client: 0,
            refused: 0,
            gathers: false,
            outputs: VecDeque::new(),
            settings,
        };
        restored.sort_unstable_by_key(|stored| std::cmp::Reverse(stored.used));
        for stored in restored {
            let is_let_in = match &stored.thumbprint {
                Some(thumbprint) => listener.settings.authorized.contains(thumbprint),
                None => !listener.settings.fresh_sessions,
            };
            let room = is_let_in
                && listener.sessions.len() < listener.settings.max_sessions
                && !listener.clients.contains_key(stored.routing_id.as_slice());
            match ClientSession::restore(&stored, lifetimes, now).filter(|_| room) {
                Some(session) => {
                    let client = listener.insert_session(session);
                    let identified =
                        stored.thumbprint.map(|thumbprint| ListenerOutput::Identified { client, thumbprint });
                    listener.outputs.extend(identified);
                }
                None => listener.outputs.push_back(ListenerOutput::DropSession(stored.routing_id)),
            }
        }
        listener
    }

    /// A connection finished its ZMTP handshake. An older one with the same routing id is closed.
    pub fn handle_ready(&mut self, connection: ConnectionId, routing_id: Vec<u8>, peer: PeerAddress, now: Now) {
        if !routing_id.starts_with(ROUTING_ID_PREFIX) {
            let shown = show(&routing_id);
            self.log_of(peer, now, |more| {
                LogLine::info(
                    MODULE,
                    format!(
                        "client '{shown}' from {peer} is ignored: its routing id does not begin with gorgone-{more}"
                    ),
                )
            });
            return;
        }
        let routing_id: Arc<[u8]> = routing_id.into();
        if let Some(older) = self.live.insert(Arc::clone(&routing_id), connection).filter(|older| *older != connection)
        {
            self.handle_closed(older);
            let reason = format!("another connection took over the routing id {}", show(&routing_id));
            self.outputs.push_back(ListenerOutput::Close { connection: older, reason });
        }
        // A TLS session ended with its connection: who brings its routing id has to make a new one.
        let is_classic = |client: &ClientId| self.sessions.get(client).is_some_and(ClientSession::is_classic);
        let client = self.clients.get(&routing_id).copied().filter(is_classic);
        if let Some(session) = client.and_then(|client| self.sessions.get_mut(&client)) {
            session.connection = Some(connection);
            self.outputs.push_back(ListenerOutput::Authenticated(connection));
        }
        let link = self.settings.link;
        let entry = ClientConnection { routing_id, peer, client, refused_at: None, link, step: None };
        self.connections.insert(connection, entry);
        self.arm(client);
    }

    /// A connection has closed. Its session stays.
    pub fn handle_closed(&mut self, connection: ConnectionId) {
        let Some(entry) = self.connections.remove(&connection) else { return };
        if self.live.get(&entry.routing_id) == Some(&connection) {
            self.live.remove(&entry.routing_id);
        }
        if let Some(session) = entry.client.and_then(|client| self.sessions.get_mut(&client))
            && session.connection == Some(connection)
        {
            session.disconnect();
            self.arm(entry.client);
        }
    }

    /// A whole message arrived.
    pub fn handle_message(&mut self, connection: ConnectionId, payload: &[u8], now: Now, random: &mut dyn Random) {
        let Some(entry) = self.connections.get(&connection) else { return };
        if key_exchange::is_get_public_key(payload) {
            let mut payload = key_exchange::encode_public_key(&self.settings.public_key_pem);
            let link = if self.settings.tls.is_some() { entry.link } else { LinkMode::Classic };
            payload.extend_from_slice(Offer(link).encode().as_bytes());
            self.outputs.push_back(ListenerOutput::Send { connection, payload });
            return;
        }
        if tls_link::is_records(payload) {
            return self.handle_records(connection, payload, now);
        }
        if let Some(demand) = tls_link::parse_demand(payload) {
            return self.note_demand(connection, demand, now);
        }
        let peer = entry.peer;
        let opened = entry.client.and_then(|client| Some((client, self.sessions.get(&client)?.open(payload))));
        let (client, plain, under_old_key) = match opened {
            Some((client, Opened::Message(plain))) => (client, Some(plain), false),
            Some((client, Opened::UnderOldKey(plain))) => (client, Some(plain), true),
            Some((client, Opened::Text)) => (client, None, false),
            Some((_, Opened::Foreign)) | None => return self.handle_foreign(connection, payload, now, random),
        };
        self.limits.note_known(peer, now.monotonic);
        self.mark_used(client, plain.is_some() && !under_old_key, now);
        if under_old_key {
            self.remind_of_key(client, now);
        }
        match plain {
            Some(plain) => self.take_envelope(client, plain),
            None => {
                let reason = "the message does not begin with [ACTION]".to_owned();
                self.outputs.push_back(ListenerOutput::Malformed { client, token: None, reason });
            }
        }
    }

    fn take_envelope(&mut self, client: ClientId, plain: Vec<u8>) {
        self.outputs.push_back(match envelope::parse(plain) {
            Ok(message) => ListenerOutput::Message { client, message },
            Err(error) => ListenerOutput::Malformed { client, reason: error.to_string(), token: error.token },
        });
    }

    /// Stores the use of sessions of connected clients that would otherwise be purged as unused since `used_before`
    /// (seconds).
    pub fn keep_connected(&mut self, used_before: i64) {
        let connected = self.sessions.values().filter(|session| session.connection.is_some());
        let kept = connected.filter_map(|session| session.kept(used_before)).map(ListenerOutput::StoreSession);
        self.outputs.extend(kept);
    }

    /// Drops idle sessions and rotates old keys.
    pub fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) {
        while let Some((at, client)) = self.deadlines.first().copied() {
            if at > now.monotonic {
                break;
            }
            self.deadlines.remove(&(at, client));
            let Some(session) = self.sessions.get_mut(&client) else { continue };
            session.deadline = None;
            if session.idle_at <= now.monotonic {
                self.drop_session(client);
            } else if session.is_rotation_due(now) {
                let material = KeyMaterial::generate(self.settings.key_size, random);
                let payload = session.rotate(material, &self.hostname, self.lifetimes, now);
                // Stored first, so that the client never holds a key that is lost by a restart.
                self.outputs.extend(session.to_stored().map(ListenerOutput::StoreSession));
                if let (Some(connection), Some(payload)) = (session.connection, payload) {
                    self.outputs.push_back(ListenerOutput::Send { connection, payload });
                }
                self.arm(Some(client));
            } else {
                self.arm(Some(client));
            }
        }
    }

    /// When to call [`ZmqListener::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next side effect.
    pub fn poll_output(&mut self) -> Option<ListenerOutput> {
        self.outputs.pop_front()
    }

    /// Seals plain text of several parts and sends it to a client.
    pub fn send(&mut self, client: ClientId, parts: &[&[u8]]) -> Delivery {
        let Some(session) = self.sessions.get_mut(&client) else { return Delivery::NotConnected };
        let Some(connection) = session.connection else { return Delivery::NotConnected };
        let sealed = session.seal(parts, self.gathers);
        self.send_sealed(client, connection, sealed)
    }

    /// From now on, messages to a client wait for [`ZmqListener::send_gathered`], which seals them together.
    pub const fn gather(&mut self) {
        self.gathers = true;
    }

    /// Seals and sends what was gathered for a client.
    pub fn send_gathered(&mut self, client: ClientId) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        let Some(connection) = session.connection else { return };
        match session.seal_gathered() {
            Ok(None) => {}
            sealed => _ = self.send_sealed(client, connection, sealed),
        }
    }

    fn send_sealed(
        &mut self,
        client: ClientId,
        connection: ConnectionId,
        sealed: Result<Option<Vec<u8>>, String>,
    ) -> Delivery {
        self.outputs.push_back(match sealed {
            Ok(Some(payload)) => ListenerOutput::Send { connection, payload },
            Ok(None) => ListenerOutput::Gathered { client, connection },
            Err(reason) => {
                let shown = self.sessions.get(&client).map(|session| show(&session.routing_id)).unwrap_or_default();
                let reason = format!("client {shown}: {reason}");
                self.outputs.push_back(ListenerOutput::Close { connection, reason });
                return Delivery::NotConnected;
            }
        });
        Delivery::Sent
    }

    /// Notes that an address has authenticated elsewhere.
    pub fn note_known(&mut self, peer: PeerAddress, now: Now) {
        self.limits.note_known(peer, now.monotonic);
    }

    /// Whether an address has had a session recently.
    #[must_use]
    pub fn is_known(&self, peer: PeerAddress) -> bool {
        self.limits.is_known(peer)
    }

    #[must_use]
    pub fn routing_id(&self, client: ClientId) -> Option<&[u8]> {
        self.sessions.get(&client).map(|session| &*session.routing_id)
    }

    /// The client with a routing id, connected or not.
    #[must_use]
    pub fn client_of(&self, routing_id: &[u8]) -> Option<ClientId> {
        self.clients.get(routing_id).copied()
    }

    /// The client that a connection belongs to, once it is known.
    #[must_use]
    pub fn client_on(&self, connection: ConnectionId) -> Option<ClientId> {
        self.connections.get(&connection).and_then(|entry| entry.client)
    }

    /// The connection of a client, while it has one.
    #[must_use]
    pub fn connection_of(&self, client: ClientId) -> Option<ConnectionId> {
        self.sessions.get(&client)?.connection
    }

    /// Handles a payload that no key of its routing id opens: a handshake, or a message of a session that we do not
    /// have.
    fn handle_foreign(&mut self, connection: ConnectionId, payload: &[u8], now: Now, random: &mut dyn Random) {
        if let Some(hello) = Hello::parse(payload) {
            return self.begin_hello(connection, hello, now, random);
        }
        let Some(entry) = self.connections.get_mut(&connection) else { return };
        if entry.refused_at.is_some_and(|at| now.monotonic.since(at) < REFUSE_EVERY) {
            return;
        }
        entry.refused_at = Some(now.monotonic);
        let (peer, shown) = (entry.peer, show(&entry.routing_id));
        self.refuse(connection);
        self.log_of(peer, now, |more| {
            LogLine::info(
                MODULE,
                format!(
                    "client {shown} from {peer} has no session here for what it sent; it was told to start over{more}"
                ),
            )
        });
    }

    /// Number of refused handshakes since the start.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn refuse(&mut self, connection: ConnectionId) {
        self.refused += 1;
        self.outputs.push_back(ListenerOutput::Send { connection, payload: HANDSHAKE_ISSUE.to_vec() });
    }

    fn mark_used(&mut self, client: ClientId, under_current_key: bool, now: Now) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        if session.mark_used(self.lifetimes, now) {
            self.outputs.extend(session.to_stored().map(ListenerOutput::StoreSession));
        }
        if under_current_key && session.confirm() {
            self.arm(Some(client));
        }
    }

    fn remind_of_key(&mut self, client: ClientId, now: Now) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        let Some(connection) = session.connection else { return };
        if let Some(payload) = session.remind_of_key(&self.hostname, now) {
            self.outputs.push_back(ListenerOutput::Send { connection, payload });
            let text =
                format!("client {} still used its old key and was sent the new one again", show(&session.routing_id));
            self.outputs.push_back(ListenerOutput::Log(LogLine::debug(MODULE, text)));
        }
    }

    fn insert_session(&mut self, session: ClientSession) -> ClientId {
        self.next_client += 1;
        let client = ClientId::Zmq(self.next_client);
        self.clients.insert(Arc::clone(&session.routing_id), client);
        self.sessions.insert(client, session);
        self.arm(Some(client));
        client
    }

    fn drop_session(&mut self, client: ClientId) {
        let Some(session) = self.sessions.remove(&client) else { return };
        if let Some(at) = session.deadline {
            self.deadlines.remove(&(at, client));
        }
        if self.clients.get(&session.routing_id) == Some(&client) {
            self.clients.remove(&session.routing_id);
        }
        if let Some(entry) = session.connection.and_then(|connection| self.connections.get_mut(&connection)) {
            entry.client = None;
        }
        if session.is_classic() {
            self.outputs.push_back(ListenerOutput::DropSession(session.routing_id.to_vec()));
        }
        self.outputs.push_back(ListenerOutput::ClientGone(client));
    }

    /// Updates a session's timer.
    fn arm(&mut self, client: Option<ClientId>) {
        let Some(client) = client else { return };
        let Some(session) = self.sessions.get_mut(&client) else { return };
        let next = session.next_deadline();
        if let Some(at) = session.deadline.replace(next).filter(|at| *at != next) {
            self.deadlines.remove(&(at, client));
        }
        self.deadlines.insert((next, client));
    }

    /// Logs a line about a peer, at most one a minute for each peer.
    fn log_of(&mut self, peer: PeerAddress, now: Now, line: impl FnOnce(&str) -> LogLine) {
        if let Some(spared) = self.limits.may_log(peer, now.monotonic) {
            let more = if spared == 0 {
                String::new()
            } else {
                format!(" ({spared} more lines about this peer were left out)")
            };
            self.outputs.push_back(ListenerOutput::Log(line(&more)));
        }
    }
}

/// A routing id for the log: printable, at most 80 characters.
fn show(routing_id: &[u8]) -> String {
    let head = routing_id.get(..80).unwrap_or(routing_id);
    head.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect()
}
