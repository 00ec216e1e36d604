//! How often one peer address may ask for a handshake, and how often the log speaks of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::connection::PeerAddress;
use crate::model::time::Monotonic;

/// Addresses that are remembered at once; all others share one record.
const MAX_PEERS: usize = 4_096;
/// A record that was not touched for so long is forgotten when room is needed.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// One log line per peer within this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// An address may save up the handshakes of so many seconds: pollers behind one router all return at once.
const BURST_SECONDS: u64 = 5;

/// Token buckets by peer address.
pub struct PeerLimits {
    per_second: u64,
    peers: BTreeMap<PeerAddress, Record>,
    others: Record,
    swept_at: Monotonic,
}

#[derive(Clone, Copy)]
struct Record {
    /// Thousandths of a handshake that may still be asked for.
    credit: u64,
    touched_at: Monotonic,
    logged_at: Option<Monotonic>,
    unlogged: u64,
}

impl PeerLimits {
    /// `per_second` handshakes of one address; 0 counts as 1.
    pub fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second.max(1));
        let others = Record::full(per_second, Monotonic::default());
        Self { per_second, peers: BTreeMap::new(), others, swept_at: Monotonic::default() }
    }

    /// Whether `peer` may have one more handshake now.
    pub fn allow(&mut self, peer: PeerAddress, now: Monotonic) -> bool {
        let per_second = self.per_second;
        let record = self.record(peer, now);
        let earned = u64::try_from(now.since(record.touched_at).as_millis()).unwrap_or(u64::MAX);
        let credit = record.credit.saturating_add(earned.saturating_mul(per_second));
        record.credit = credit.min(per_second * BURST_SECONDS * 1_000);
        record.touched_at = now;
        let allowed = record.credit >= 1_000;
        if allowed {
            record.credit -= 1_000;
        }
        allowed
    }

    /// Whether the log may speak of `peer` now; then, of how many lines it was spared before.
    pub fn may_log(&mut self, peer: PeerAddress, now: Monotonic) -> Option<u64> {
        let record = self.record(peer, now);
        if record.logged_at.is_some_and(|at| now.since(at) < LOG_EVERY) {
            record.unlogged = record.unlogged.saturating_add(1);
            return None;
        }
        record.logged_at = Some(now);
        Some(std::mem::take(&mut record.unlogged))
    }

    fn record(&mut self, peer: PeerAddress, now: Monotonic) -> &mut Record {
        if !self.peers.contains_key(&peer) && self.peers.len() >= MAX_PEERS {
            // At most once a second, so that a crowd of addresses does not buy a scan each.
            if now.since(self.swept_at) >= Duration::from_secs(1) {
                self.swept_at = now;
                self.peers.retain(|_, record| now.since(record.last_use()) < FORGET_AFTER);
            }
            if self.peers.len() >= MAX_PEERS {
                return &mut self.others;
            }
        }
        let per_second = self.per_second;
        self.peers.entry(peer).or_insert_with(|| Record::full(per_second, now))
    }
}

impl Record {
    const fn full(per_second: u64, now: Monotonic) -> Self {
        Self { credit: per_second * BURST_SECONDS * 1_000, touched_at: now, logged_at: None, unlogged: 0 }
    }

    fn last_use(&self) -> Monotonic {
        self.logged_at.map_or(self.touched_at, |at| at.max(self.touched_at))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn at(milliseconds: u64) -> Monotonic {
        Monotonic::from_millis(milliseconds)
    }

    fn address(number: u32) -> PeerAddress {
        PeerAddress::Ip(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn an_address_has_a_burst_and_then_its_rate() {
        let mut limits = PeerLimits::new(2);
        assert_eq!((0..100).filter(|_| limits.allow(address(1), at(0))).count(), 10);
        assert!(limits.allow(address(2), at(0)), "another address is not concerned");
        assert_eq!((0..100).filter(|_| limits.allow(address(1), at(1_500))).count(), 3);
    }

    #[test]
    fn the_log_speaks_once_a_minute_and_counts_the_rest() {
        let mut limits = PeerLimits::new(2);
        assert_eq!(limits.may_log(address(1), at(0)), Some(0));
        assert_eq!(limits.may_log(address(1), at(59_999)), None);
        assert_eq!(limits.may_log(address(1), at(60_000)), Some(1));
        assert_eq!(limits.may_log(address(2), at(60_000)), Some(0));
    }

    #[test]
    fn a_crowd_of_addresses_shares_one_record_and_is_forgotten_later() {
        let mut limits = PeerLimits::new(1);
        for number in 0..10_000 {
            limits.allow(address(number), at(0));
        }
        assert_eq!(limits.peers.len(), MAX_PEERS);
        assert!(!limits.allow(address(20_000), at(0)), "the shared record is used up");
        assert!(limits.allow(address(30_000), at(120_000)));
        assert_eq!(limits.peers.len(), 1);
    }
}
