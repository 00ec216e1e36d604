//! Handshakes of clients: begun, checked by a job, and turned into sessions (docs/protocol.md section 3, steps 4 to 6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::connection::{ClientId, ConnectionId, PeerAddress};
use crate::model::joining::{Admitted, AdmittedBy, Invitation};
use crate::model::log::LogLine;
use crate::model::random::Random;
use crate::model::time::Now;
use crate::wire::gorgone::joining;
use crate::wire::gorgone::key_exchange::{Hello, HelloJob, HelloOutcome, RefusalReason};
use crate::wire::gorgone::sealing::KeyMaterial;
use crate::wire::gorgone::seeded_random::SEED_LEN;

use super::client_session::{ClientSession, Protection};
use super::{HelloId, HelloResult, HelloWork, ListenerOutput, ListenerSettings, MODULE, ZmqListener, show};

/// Handshakes with a running job.
pub(super) struct Hellos {
    authorized: Arc<BTreeSet<String>>,
    invitations: Vec<Invitation>,
    next: u64,
    pending: BTreeMap<HelloId, PendingHello>,
}

struct PendingHello {
    routing_id: Arc<[u8]>,
    connection: ConnectionId,
    peer: PeerAddress,
    /// Its address has had a session.
    is_known: bool,
    /// A later handshake of the same routing id takes precedence.
    superseded: bool,
    /// The name of a node that wants to join, which proves its key.
    joins_as: Option<String>,
}

impl Hellos {
    pub fn new(settings: &ListenerSettings) -> Self {
        let authorized = Arc::new(settings.authorized.iter().cloned().collect());
        Self { authorized, invitations: Vec::new(), next: 0, pending: BTreeMap::new() }
    }

    /// The node that joins with this name and key, if it is invited. It has to come again once its key is authorised.
    fn admit(&self, name: &str, thumbprint: &str, now: Now) -> Option<Admitted> {
        let (node, seconds) = (joining::node_in_name(name)?, now.wall.as_seconds());
        let mut invited = self.invitations.iter().filter(|one| one.node == node && seconds <= one.until);
        let is_proved = invited.any(|one| joining::proves_key(&one.secret, node, name, thumbprint));
        is_proved.then(|| Admitted { node, by: AdmittedBy::Key(thumbprint.to_owned()) })
    }

    /// Whether a key may have a session.
    pub fn authorizes(&self, thumbprint: &str) -> bool {
        self.authorized.contains(thumbprint)
    }

    /// Whether one more would be too many. Strangers and known addresses have separate places, and once half of the
    /// strangers' places are taken an address gets only one.
    fn is_full(&self, peer: PeerAddress, is_known: bool, max: usize) -> bool {
        let like = self.pending.values().filter(|pending| pending.is_known == is_known);
        let (all, of_peer) = like.fold((0, 0), |(all, of_peer), pending| {
            (all + 1, of_peer + usize::from(pending.peer.network() == peer.network()))
        });
        all >= max || (!is_known && all >= max / 2 && of_peer > 0)
    }
}

impl ZmqListener {
    /// Replaces the authorised keys and closes sessions of keys that are no longer authorised. The key of a session
    /// from before the start is unknown: such a session ends with its next handshake, or now if `must_be_known`.
    pub fn authorize(&mut self, keys: &[String], must_be_known: bool) {
        let authorized: BTreeSet<String> = keys.iter().cloned().collect();
        let is_out = |session: &ClientSession| {
            session.thumbprint.as_ref().map_or(must_be_known, |thumbprint| !authorized.contains(thumbprint))
        };
        let out: Vec<ClientId> =
            self.sessions.iter().filter(|(_, session)| is_out(session)).map(|(client, _)| *client).collect();
        out.into_iter().for_each(|client| self.drop_session(client));
        self.hellos.authorized = Arc::new(authorized);
    }

    /// Replaces the invitations of nodes that may join with a key of their own.
    pub fn invite(&mut self, invitations: Vec<Invitation>) {
        self.hellos.invitations = invitations;
    }

    pub(super) fn begin_hello(&mut self, connection: ConnectionId, hello: Hello, now: Now, random: &mut dyn Random) {
        let joins_as = joining::node_in_name(&hello.name).map(|_| hello.name.clone());
        // Whoever joins gets no session by this handshake.
        if (joins_as.is_none() && self.refuses_classic(connection, now)) || !self.admits(connection, now) {
            return;
        }
        let mut seed = [0; SEED_LEN];
        random.fill(&mut seed);
        let job = HelloJob {
            hello,
            authorized: Arc::clone(&self.hellos.authorized),
            material: KeyMaterial::generate(self.settings.key_size, random),
            hostname: Arc::clone(&self.hostname),
            seed,
        };
        self.run_hello(connection, HelloWork::Classic(job));
        if let Some(mut pending) = self.hellos.pending.last_entry().filter(|_| joins_as.is_some()) {
            pending.get_mut().joins_as = joins_as;
        }
    }

    /// Whether a connection may begin a handshake now. If not, it has been refused, or its first attempt is under way.
    pub(super) fn admits(&mut self, connection: ConnectionId, now: Now) -> bool {
        let Some(entry) = self.connections.get(&connection) else { return false };
        let (routing_id, peer) = (Arc::clone(&entry.routing_id), entry.peer);
        let mut same_id = self.hellos.pending.values_mut().filter(|pending| pending.routing_id == routing_id);
        if same_id.any(|pending| pending.connection == connection && !pending.superseded) {
            // Its first attempt is being checked, and that answer will serve it.
            return false;
        }
        let is_known = self.limits.is_known(peer);
        let refusal = if self.hellos.is_full(peer, is_known, self.settings.max_pending_hellos) {
            Some("came while too many handshakes were waiting")
        } else if !self.limits.allow(peer, now.monotonic) {
            Some("asks for handshakes too often")
        } else {
            None
        };
        if let Some(why) = refusal {
            self.refuse(connection);
            let shown = show(&routing_id);
            self.log_of(peer, now, |more| {
                LogLine::warning(
                    MODULE,
                    format!("client {shown} from {peer} {why}; it was refused and may try again{more}"),
                )
            });
        }
        refusal.is_none()
    }

    /// Has a step of a handshake run. Older ones of the same routing id are of no use any more.
    pub(super) fn run_hello(&mut self, connection: ConnectionId, job: HelloWork) {
        let Some(entry) = self.connections.get(&connection) else { return };
        let (routing_id, peer) = (Arc::clone(&entry.routing_id), entry.peer);
        for pending in self.hellos.pending.values_mut().filter(|pending| pending.routing_id == routing_id) {
            pending.superseded = true;
        }
        let is_known = self.limits.is_known(peer);
        self.hellos.next += 1;
        let hello = HelloId(self.hellos.next);
        self.hellos
            .pending
            .insert(hello, PendingHello { routing_id, connection, peer, is_known, superseded: false, joins_as: None });
        self.outputs.push_back(ListenerOutput::OpenHello { hello, job, is_known });
    }

    /// Takes the result of a handshake's job. The answer goes to the connection that has the routing id now: a libzmq
    /// client that has reconnected meanwhile still waits for it, and nobody else can read it.
    pub fn handle_hello(&mut self, hello: HelloId, result: HelloResult, now: Now) {
        let Some(pending) = self.hellos.pending.remove(&hello) else { return };
        if pending.superseded {
            return;
        }
        let Some(connection) = self.live.get(&pending.routing_id).copied() else { return };
        match result {
            HelloResult::Classic(outcome) if pending.joins_as.is_some() => {
                self.join_done(connection, pending.joins_as.as_deref().unwrap_or_default(), &outcome, now);
            }
            HelloResult::Classic(outcome) => self.classic_hello_done(connection, outcome, now),
            // TLS lives and dies with its connection.
            HelloResult::Tls(result) if connection == pending.connection => {
                self.tls_step_done(connection, *result, now)
            }
            HelloResult::Tls(_) => {}
        }
    }

    /// Takes the key of a node that has proved that it is invited. The handshake itself is refused in any case.
    fn join_done(&mut self, connection: ConnectionId, name: &str, outcome: &HelloOutcome, now: Now) {
        let thumbprint = match outcome {
            HelloOutcome::Refused { thumbprint, .. } => thumbprint.as_deref(),
            HelloOutcome::Accepted { thumbprint, .. } => Some(thumbprint.as_str()),
        };
        match thumbprint.and_then(|thumbprint| self.hellos.admit(name, thumbprint, now)) {
            Some(admitted) => {
                self.refuse(connection);
                self.outputs.push_back(ListenerOutput::Admitted(admitted));
            }
            None => {
                let why = "it wants to join, but its word was used, has expired or is of another central";
                self.refuse_hello(connection, why, now);
            }
        }
    }

    fn classic_hello_done(&mut self, connection: ConnectionId, outcome: HelloOutcome, now: Now) {
        match outcome {
            HelloOutcome::Refused { thumbprint, reason } => {
                self.refuse_hello(connection, &explain(&reason, thumbprint.as_deref()), now);
            }
            HelloOutcome::Accepted { thumbprint, .. } if self.is_talked_down(connection, &thumbprint) => {
                self.refuse_talked_down(connection, &thumbprint, now);
            }
            HelloOutcome::Accepted { thumbprint, reply, material } => {
                let protection = Protection::classic(material, self.lifetimes, now);
                self.open_session(connection, &thumbprint, protection, reply, now);
            }
        }
    }

    /// Refuses a client and says so at error level.
    pub(super) fn refuse_hello(&mut self, connection: ConnectionId, why: &str, now: Now) {
        self.refuse(connection);
        let Some(entry) = self.connections.get(&connection) else { return };
        let (peer, shown) = (entry.peer, show(&entry.routing_id));
        self.log_of(peer, now, |more| {
            LogLine::error(MODULE, format!("handshake of client {shown} from {peer} refused: {why}{more}"))
        });
    }

    /// Gives the client of a connection a session and sends `reply`; refuses it if there is no room. Returns whether
    /// it has one.
    pub(super) fn open_session(
        &mut self,
        connection: ConnectionId,
        thumbprint: &str,
        protection: Protection,
        reply: Vec<u8>,
        now: Now,
    ) -> bool {
        let Some(entry) = self.connections.get(&connection) else { return false };
        let (routing_id, peer) = (Arc::clone(&entry.routing_id), entry.peer);
        let Some(client) = self.session_for(&routing_id, thumbprint, protection, now) else {
            let max = self.settings.max_sessions;
            self.refuse_hello(connection, &format!("all {max} sessions are in use"), now);
            return false;
        };
        self.outputs.push_back(ListenerOutput::Identified { client, thumbprint: thumbprint.to_owned() });
        self.attach(client, connection);
        self.limits.note_known(peer, now.monotonic);
        let mut kind = "sealed";
        // Stored first, so that the client never holds a key that is lost by a restart.
        if let Some(stored) = self.sessions.get(&client).and_then(ClientSession::to_stored) {
            kind = "classic";
            self.outputs.push_back(ListenerOutput::StoreSession(stored));
        }
        self.outputs.push_back(ListenerOutput::Send { connection, payload: reply });
        let shown = show(&routing_id);
        let text = format!("client {shown} from {peer} has a new session (key {thumbprint}, {kind} link)");
        self.outputs.push_back(ListenerOutput::Log(LogLine::info(MODULE, text)));
        true
    }

    /// Gives the key to the client's session, or makes a session; `None` if there is no room. A routing id that returns
    /// with another RSA key is another client.
    fn session_for(
        &mut self,
        routing_id: &Arc<[u8]>,
        thumbprint: &str,
        protection: Protection,
        now: Now,
    ) -> Option<ClientId> {
        if let Some(client) = self.clients.get(routing_id).copied() {
            if let Some(session) = self.sessions.get_mut(&client)
                && session.thumbprint.as_deref() == Some(thumbprint)
            {
                session.renew(protection, self.lifetimes, now);
                return Some(client);
            }
            self.drop_session(client);
        }
        if self.sessions.len() >= self.settings.max_sessions {
            let unused = self.sessions.iter().filter(|(_, session)| session.connection.is_none());
            let oldest = unused.min_by_key(|(_, session)| session.used_seconds()).map(|(client, _)| *client)?;
            self.drop_session(oldest);
        }
        let session =
            ClientSession::new(Arc::clone(routing_id), thumbprint.to_owned(), protection, self.lifetimes, now);
        Some(self.insert_session(session))
    }

    fn attach(&mut self, client: ClientId, connection: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.connection = Some(connection);
        }
        if let Some(entry) = self.connections.get_mut(&connection) {
            entry.client = Some(client);
        }
        self.outputs.push_back(ListenerOutput::Authenticated(connection));
        self.arm(Some(client));
    }
}

pub(super) fn explain(reason: &RefusalReason, thumbprint: Option<&str>) -> String {
    let thumbprint = thumbprint.unwrap_or("unknown");
    match reason {
        RefusalReason::Key(error) => format!("its public key {error}"),
        RefusalReason::Unauthorized => format!(
            "its key {thumbprint} is not authorized; if it should be, add '- key: {thumbprint}' to authorized_clients"
        ),
        RefusalReason::Proof => format!(
            "it (key {thumbprint}) did not encrypt its greeting for our key; it may know an older key of this daemon"
        ),
    }
}
