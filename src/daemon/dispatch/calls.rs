//! The unanswered calls of the REST API.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::api::CallId;
use crate::model::connection::{ConnectionId, PeerAddress};

/// An unanswered call.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// The connection that waits for it.
    pub(super) connection: ConnectionId,
    /// Its number there.
    pub(super) number: u64,
    /// Its path without variable parts, for counting.
    pub(super) path: &'static str,
    /// The address of the caller, if the call may wait.
    waits: Option<PeerAddress>,
}

/// The unanswered calls, by id and by the connection that waits for them.
#[derive(Default)]
pub(super) struct Calls {
    next: u64,
    open: BTreeMap<CallId, Call>,
    by_connection: BTreeSet<(ConnectionId, CallId)>,
    /// Number of calls of each address that may wait.
    waits_of: BTreeMap<PeerAddress, usize>,
}

/// Maximum number of waiting calls of one address: half of the maximum of all addresses.
pub(super) const WAITS_OF_ADDRESS_MAX: usize = 500;

impl Calls {
    /// Whether an address has its maximum number of waiting calls.
    pub(super) fn has_its_share(&self, peer: PeerAddress) -> bool {
        self.waits_of.get(&peer.network()).is_some_and(|waits| *waits >= WAITS_OF_ADDRESS_MAX)
    }

    /// Adds a call. One that may wait counts for the address of its caller.
    pub(super) fn begin(
        &mut self,
        connection: ConnectionId,
        number: u64,
        path: &'static str,
        waits: Option<PeerAddress>,
    ) -> CallId {
        self.next += 1;
        let call = CallId(self.next);
        let waits = waits.map(PeerAddress::network);
        if let Some(peer) = waits {
            *self.waits_of.entry(peer).or_default() += 1;
        }
        self.open.insert(call, Call { connection, number, path, waits });
        self.by_connection.insert((connection, call));
        call
    }

    /// Removes a call and returns it.
    pub(super) fn end(&mut self, call: CallId) -> Option<Call> {
        let ended = self.open.remove(&call)?;
        self.by_connection.remove(&(ended.connection, call));
        if let Some(peer) = ended.waits
            && let Some(waits) = self.waits_of.get_mut(&peer)
        {
            *waits -= 1;
            if *waits == 0 {
                self.waits_of.remove(&peer);
            }
        }
        Some(ended)
    }

    /// The calls that a connection waits for.
    pub(super) fn of(&self, connection: ConnectionId) -> Vec<CallId> {
        let all = (connection, CallId(0))..=(connection, CallId(u64::MAX));
        self.by_connection.range(all).map(|(_, call)| *call).collect()
    }

    /// Forgets the calls of a closed connection and returns them, so that they can be cancelled.
    pub(super) fn take_of(&mut self, connection: ConnectionId) -> Vec<CallId> {
        let calls = self.of(connection);
        for call in &calls {
            self.end(*call);
        }
        calls
    }
}
