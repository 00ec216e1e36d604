//! Unauthenticated connections: their maximum number, and which one is closed beyond it.

use std::collections::BTreeMap;

use crate::model::connection::{ConnectionId, PeerAddress};

/// Maximum number of unauthenticated connections beside those of the nodes that are expected.
const MAX_STRANGERS: usize = 1_024;

/// The unauthenticated connections by address; IPv6 addresses are counted by /64 network.
#[derive(Default)]
pub(super) struct Strangers {
    connections: BTreeMap<ConnectionId, PeerAddress>,
    counts: BTreeMap<PeerAddress, usize>,
    /// Number of nodes that may all come at once.
    expected: usize,
}

impl Strangers {
    /// Makes room for `expected` nodes that may all come at once.
    pub(super) const fn expect(&mut self, expected: usize) {
        self.expected = expected;
    }

    /// Maximum number of connections.
    pub(super) const fn max(&self) -> usize {
        MAX_STRANGERS.saturating_add(self.expected)
    }

    pub(super) fn insert(&mut self, connection: ConnectionId, peer: PeerAddress) {
        if self.connections.insert(connection, peer.network()).is_none() {
            *self.counts.entry(peer.network()).or_default() += 1;
        }
    }

    /// Removes a connection that is authenticated or closed.
    pub(super) fn remove(&mut self, connection: ConnectionId) {
        let Some(network) = self.connections.remove(&connection) else { return };
        if let Some(count) = self.counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&network);
            }
        }
    }

    pub(super) fn contains(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    pub(super) fn are_many(&self) -> bool {
        self.connections.len() >= self.max()
    }

    /// The connection to close when there are too many: the oldest one of the address with the most. A connection of an
    /// address that has had a session (`is_known`) is chosen only if there are no others.
    pub(super) fn victim(&self, is_known: impl Fn(PeerAddress) -> bool) -> Option<ConnectionId> {
        let rank = |network: PeerAddress| (!is_known(network), self.counts.get(&network).copied().unwrap_or(0));
        let worst = self.counts.keys().map(|network| rank(*network)).max()?;
        self.connections.iter().find(|(_, network)| rank(**network) == worst).map(|(connection, _)| *connection)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> PeerAddress {
        PeerAddress::Ip(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn the_oldest_connection_of_the_address_with_the_most_gives_way() {
        let mut strangers = Strangers::default();
        for (number, peer) in ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "10.0.0.2"].into_iter().enumerate()
        {
            strangers.insert(ConnectionId(number as u64), address(peer));
        }
        assert_eq!(strangers.victim(|_| false), Some(ConnectionId(1)));
        strangers.remove(ConnectionId(1));
        assert_eq!(strangers.victim(|_| false), Some(ConnectionId(2)), "one /64 counts as one address");
        strangers.remove(ConnectionId(3));
        assert_eq!(strangers.victim(|peer| peer == address("10.0.0.1")), Some(ConnectionId(2)));
        strangers.remove(ConnectionId(2));
        strangers.remove(ConnectionId(4));
        assert_eq!(strangers.victim(|_| true), Some(ConnectionId(0)), "known ones give way when there is no other");
    }
}
