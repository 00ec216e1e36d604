//! The calls of the REST API that are not answered yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::api::CallId;
use crate::model::connection::ConnectionId;

/// By their name, and by the connection that waits for them.
#[derive(Default)]
pub(super) struct Calls {
    next: u64,
    /// The connection and the call's number on it.
    open: BTreeMap<CallId, (ConnectionId, u64)>,
    by_connection: BTreeSet<(ConnectionId, CallId)>,
}

impl Calls {
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
        Some((connection, number))
    }

    /// Forgets the calls of a connection that is gone; these are to be cancelled.
    pub(super) fn take_of(&mut self, connection: ConnectionId) -> Vec<CallId> {
        let all = (connection, CallId(0))..=(connection, CallId(u64::MAX));
        let calls: Vec<CallId> = self.by_connection.range(all).map(|(_, call)| *call).collect();
        for call in &calls {
            self.end(*call);
        }
        calls
    }
}
