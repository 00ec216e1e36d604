//! Admission, complaints about and closing of connections.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::connection::{ConnectionId, PeerAddress};
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::refusal_log::RefusalLog;
use crate::model::time::{Monotonic, Now};

use super::connections::{Connection, Kind};
use super::{Dispatch, Effect, Owner};

/// Maximum time for sending the last bytes of a connection that is being closed.
const LINGER: Duration = Duration::from_secs(5);
/// Maximum number of addresses remembered in [`UnreadyPeers`].
const MAX_UNREADY: usize = 1_000;
/// Maximum number of log lines about misbehaving connections per [`COMPLAINT_PERIOD`].
const MAX_COMPLAINTS: u32 = 20;
/// Period to which [`MAX_COMPLAINTS`] applies.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(10);
/// Minimum interval between two log lines about the same node being connected twice.
const TWICE_EVERY: Duration = Duration::from_secs(3_600);

/// Limits the log lines about misbehaving connections.
pub(super) struct Complaints {
    since: Monotonic,
    shown: u32,
    hidden: u32,
    /// Lines about failed TLS handshakes.
    handshakes: RefusalLog,
    /// Nodes that were connected twice, and when this was logged. Bounded by the registered nodes.
    twice: BTreeMap<NodeId, Monotonic>,
}

impl Default for Complaints {
    fn default() -> Self {
        Self {
            since: Monotonic::default(),
            shown: 0,
            hidden: 0,
            handshakes: RefusalLog::new("tls"),
            twice: BTreeMap::new(),
        }
    }
}

impl Complaints {
    /// Whether the log may report now that a node is connected twice: once per [`TWICE_EVERY`].
    pub(super) fn may_tell_of(&mut self, node: NodeId, now: Now) -> bool {
        let told = self.twice.get(&node).is_some_and(|at| now.monotonic.since(*at) < TWICE_EVERY);
        if !told {
            self.twice.insert(node, now.monotonic);
        }
        !told
    }
}

/// Addresses whose peers disconnected before completing their ZMTP handshake, each with whether they had begun one.
#[derive(Default)]
pub(super) struct UnreadyPeers(BTreeSet<(PeerAddress, bool)>);

impl UnreadyPeers {
    /// Remembers an address; returns whether it is new. When too many are remembered, all are forgotten.
    pub(super) fn insert(&mut self, peer: PeerAddress, has_begun: bool) -> bool {
        if self.0.len() >= MAX_UNREADY {
            self.0.clear();
        }
        self.0.insert((peer, has_begun))
    }
}

impl Dispatch {
    /// Logs a fault of a stranger, within the limit of [`MAX_COMPLAINTS`].
    pub(super) fn complain(&mut self, text: String, now: Now) {
        if now.monotonic.since(self.complaints.since) >= COMPLAINT_PERIOD {
            let hidden = std::mem::take(&mut self.complaints.hidden);
            (self.complaints.since, self.complaints.shown) = (now.monotonic, 0);
            if hidden > 0 {
                self.log(LogLine::info("core", format!("{hidden} more lines about refused connections not shown")));
            }
        }
        if self.complaints.shown < MAX_COMPLAINTS {
            self.complaints.shown += 1;
            self.log(LogLine::info("core", text));
        } else {
            self.complaints.hidden += 1;
        }
    }

    /// Handles a failed TLS handshake, after which the driver calls `closed`. Failures of incoming connections are
    /// logged.
    pub fn handshake_failed(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        let Some(Connection { kind, peer, .. }) = self.connections.get(connection) else { return };
        let modules = &self.config.modules;
        let port = match kind {
            Kind::Api(_) => modules.httpserver.as_ref().map(|http| http.port),
            Kind::WebSocket(_) | Kind::Undecided(_) => {
                modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref()).map(|websocket| websocket.port)
            }
            _ => return,
        };
        let port = port.map_or_else(String::new, |port| format!("port {port}: "));
        let line = self.complaints.handshakes.line(*peer, &format!("{port}{reason}"), now.monotonic);
        line.into_iter().for_each(|line| self.log(line));
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) -> Option<Connection> {
        self.timers.cancel(&Owner::Connection(connection));
        self.touched.remove(&Owner::Connection(connection));
        self.flow.forget(connection);
        self.connections.remove(connection)
    }

    /// Closes a connection at once, without sending what is queued.
    pub(super) fn close(&mut self, connection: ConnectionId, now: Now) {
        if let Some(gone) = self.forget(connection) {
            self.forget_unsent(connection, now);
            self.effects.push_back(Effect::Close(connection));
            self.peer_gone(connection, &gone.kind, now);
        }
    }

    /// Closes a connection once its send queue is empty, or after [`LINGER`].
    pub(super) fn close_after_flush(&mut self, connection: ConnectionId, now: Now) {
        self.send_gathered(now);
        if let Some(entry) = self.connections.get_mut(connection)
            && !entry.closing
        {
            entry.closing = true;
            self.timers.set(Owner::Connection(connection), now.monotonic + LINGER);
            self.connections.mark_dirty(connection);
            self.effects.push_back(Effect::CloseAfterFlush(connection));
        }
    }

    /// Counts a new stranger, and closes another one if there are too many.
    pub(super) fn admit_stranger(&mut self, connection: ConnectionId, peer: PeerAddress, now: Now) {
        if self.connections.strangers().are_many() {
            let max = self.connections.strangers().max();
            self.complain(format!("more than {max} unauthenticated connections: one is closed"), now);
            self.close_a_stranger(now);
        }
        self.connections.strangers().insert(connection, peer);
    }

    /// Whether a connection comes from an address that has recently had a session with us.
    #[must_use]
    pub fn is_known(&self, connection: ConnectionId) -> bool {
        self.connections.get(connection).is_some_and(|entry| self.listener.is_known(entry.peer))
    }

    /// Notes that a connection is authenticated.
    pub(super) fn no_stranger(&mut self, connection: ConnectionId, now: Now) {
        self.connections.strangers().remove(connection);
        if let Some(entry) = self.connections.get(connection) {
            self.listener.note_known(entry.peer, now);
        }
    }

    /// Closes an unauthenticated connection because a resource is scarce; returns `false` if there is none.
    pub fn close_a_stranger(&mut self, now: Now) -> bool {
        let victim = self.connections.strangers().victim(|peer| self.listener.is_known(peer));
        if let Some(victim) = victim {
            self.close(victim, now);
        }
        victim.is_some()
    }
}
