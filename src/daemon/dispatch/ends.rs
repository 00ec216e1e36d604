//! How connections are let in, complained about and closed.

use std::time::Duration;

use crate::model::connection::{ConnectionId, PeerAddress};
use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};

use super::connections::{Connection, Kind};
use super::strangers::MAX_STRANGERS;
use super::{Dispatch, Effect, Owner};

/// How long a connection that is being closed may take to send its last words.
const LINGER: Duration = Duration::from_secs(5);
/// Log lines about misbehaving connections per [`COMPLAINT_PERIOD`].
const MAX_COMPLAINTS: u32 = 20;
/// See [`MAX_COMPLAINTS`].
const COMPLAINT_PERIOD: Duration = Duration::from_secs(10);

/// How much was said about misbehaving connections lately.
#[derive(Default)]
pub(super) struct Complaints {
    since: Monotonic,
    shown: u32,
    hidden: u32,
}

impl Dispatch {
    /// Logs what a stranger did wrong, but never so much that the log fills.
    pub(super) fn complain(&mut self, text: String, now: Now) {
        if now.monotonic.since(self.complaints.since) >= COMPLAINT_PERIOD {
            let hidden = std::mem::take(&mut self.complaints.hidden);
            self.complaints = Complaints { since: now.monotonic, shown: 0, hidden: 0 };
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

    /// The TLS handshake of a connection failed; `closed` follows. Tells the log of those that came from outside.
    pub fn handshake_failed(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        if let Some(Connection { kind: Kind::Api(_) | Kind::WebSocket(_) | Kind::Undecided(_), peer, .. }) =
            self.connections.get(connection)
        {
            let line = format!("{peer}: {reason}; closed");
            self.complain(line, now);
        }
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) -> Option<Connection> {
        self.timers.cancel(&Owner::Connection(connection));
        self.touched.remove(&Owner::Connection(connection));
        self.flow.forget(connection);
        self.connections.remove(connection)
    }

    /// Closes now, without last words.
    pub(super) fn close(&mut self, connection: ConnectionId, now: Now) {
        if let Some(gone) = self.forget(connection) {
            self.effects.push_back(Effect::Close(connection));
            self.peer_gone(connection, &gone.kind, now);
        }
    }

    /// Closes once the send queue is empty, or after [`LINGER`].
    pub(super) fn close_after_flush(&mut self, connection: ConnectionId, now: Now) {
        if let Some(entry) = self.connections.get_mut(connection)
            && !entry.closing
        {
            entry.closing = true;
            self.timers.set(Owner::Connection(connection), now.monotonic + LINGER);
            self.connections.mark_dirty(connection);
            self.effects.push_back(Effect::CloseAfterFlush(connection));
        }
    }

    /// Makes room for one more stranger.
    pub(super) fn admit_stranger(&mut self, connection: ConnectionId, peer: PeerAddress, now: Now) {
        let strangers = self.connections.strangers();
        if strangers.are_many()
            && let Some(victim) = strangers.victim(|peer| self.listener.is_known(peer))
        {
            self.complain(format!("more than {MAX_STRANGERS} unauthenticated connections: one is closed"), now);
            self.close(victim, now);
        }
        self.connections.strangers().insert(connection, peer);
    }
}
