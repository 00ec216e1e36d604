//! The calls of the REST API that are not answered yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::api::CallId;
use crate::model::connection::{ConnectionId, PeerAddress};

/// By their name, and by the connection that waits for them.
#[derive(Default)]
pub(super) struct Calls {
    next: u64,
    /// The connection and the call's number on it.
    open: BTreeMap<CallId, (ConnectionId, u64)>,
    by_connection: BTreeSet<(ConnectionId, CallId)>,
    /// Calls that may wait, and the address that each came from.
    waits: BTreeMap<CallId, PeerAddress>,
    waits_of: BTreeMap<PeerAddress, usize>,
}

/// Calls of one address that may wait for something, at most: half of what all may have.
pub(super) const WAITS_OF_ADDRESS_MAX: usize = 500;

impl Calls {
    /// Whether an address has as many calls that wait as it may have.
    pub(super) fn has_its_share(&self, peer: PeerAddress) -> bool {
        self.waits_of.get(&peer.network()).is_some_and(|waits| *waits >= WAITS_OF_ADDRESS_MAX)
    }

    /// A call that may wait takes a place of its address.
    pub(super) fn may_wait(&mut self, call: CallId, peer: PeerAddress) {
        self.waits.insert(call, peer.network());
        *self.waits_of.entry(peer.network()).or_default() += 1;
    }

    pub(super) fn begin(&mut self, connection: ConnectionId, number: u64) -> CallId {
        self.next += 1;
        let call = CallId(self.next);
        self.open.insert(call, (connection, number));
        self.by_connection.insert((connection, call));
        call
    }

    /// The connection that waits for a call, and its number there.
    pub(super) fn end(&mut self, call: CallId) -> Option<(ConnectionId, u64)> {
        let (connection, number) = self.open.remove(&call)?;
        self.by_connection.remove(&(connection, call));
        if let Some(peer) = self.waits.remove(&call)
            && let Some(waits) = self.waits_of.get_mut(&peer)
        {
            *waits -= 1;
            if *waits == 0 {
                self.waits_of.remove(&peer);
            }
        }
        Some((connection, number))
    }

    /// The calls that a connection waits for.
    pub(super) fn of(&self, connection: ConnectionId) -> Vec<CallId> {
        let all = (connection, CallId(0))..=(connection, CallId(u64::MAX));
        self.by_connection.range(all).map(|(_, call)| *call).collect()
    }

    /// Forgets the calls of a connection that is gone; these are to be cancelled.
    pub(super) fn take_of(&mut self, connection: ConnectionId) -> Vec<CallId> {
        let calls = self.of(connection);
        for call in &calls {
            self.end(*call);
        }
        calls
    }
}
