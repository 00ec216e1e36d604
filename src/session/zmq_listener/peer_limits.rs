//! Limits how often an address may ask for a handshake and appear in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::connection::PeerAddress;
use crate::model::time::Monotonic;

/// Maximum number of remembered addresses. All others share one record.
const MAX_PEERS: usize = 4_096;
/// Time without use after which a record is forgotten if room is needed.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// Minimum interval between log lines about one peer.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Number of seconds whose handshakes an address may save up: pollers behind one router all return at once.
const BURST_SECONDS: u64 = 5;

/// Maximum number of remembered addresses with a session.
const MAX_KNOWN: usize = 10_000;
/// How exactly it is known when an address was heard last.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Token buckets for each address (IPv6: each /64 network), one for all strangers, and the set of known addresses.
pub struct PeerLimits {
    per_second: u64,
    strangers_per_second: u64,
    strangers: Record,
    known: BTreeMap<PeerAddress, Monotonic>,
    /// Which address was noted last, and when.
    noted: Option<(PeerAddress, Monotonic)>,
    peers: BTreeMap<PeerAddress, Record>,
    others: Record,
    swept_at: Monotonic,
}

#[derive(Clone, Copy)]
struct Record {
    /// Remaining handshakes in thousandths.
    credit: u64,
    touched_at: Monotonic,
    logged_at: Option<Monotonic>,
    unlogged: u64,
}

impl PeerLimits {
    /// Allows `per_second` handshakes of one address and `strangers_per_second` of all addresses without a previous
    /// session; 0 counts as 1.
    pub fn new(per_second: u32, strangers_per_second: u32) -> Self {
        let (per_second, strangers_per_second) = (u64::from(per_second.max(1)), u64::from(strangers_per_second.max(1)));
        Self {
            per_second,
            strangers_per_second,
            strangers: Record::full(strangers_per_second, Monotonic::default()),
            known: BTreeMap::new(),
            noted: None,
            peers: BTreeMap::new(),
            others: Record::full(per_second, Monotonic::default()),
            swept_at: Monotonic::default(),
        }
    }

    /// Notes that an address has a session. If too many are remembered, the one silent longest is forgotten.
    pub fn note_known(&mut self, peer: PeerAddress, now: Monotonic) {
        // Of every message; most come from the same few.
        if self.noted.is_some_and(|(noted, at)| noted == peer && now.since(at) < NOTED_EVERY) {
            return;
        }
        self.noted = Some((peer, now));
        let is_new = self.known.insert(peer.network(), now).is_none();
        if is_new
            && self.known.len() > MAX_KNOWN
            && let Some(oldest) = self.known.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer)
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether an address has had a session.
    pub fn is_known(&self, peer: PeerAddress) -> bool {
        self.known.contains_key(&peer.network())
    }

    /// Whether `peer` may have one more handshake now.
    pub fn allow(&mut self, peer: PeerAddress, now: Monotonic) -> bool {
        let (per_second, is_known) = (self.per_second, self.is_known(peer));
        self.record(peer, now).take(per_second, now)
            && (is_known || self.strangers.take(self.strangers_per_second, now))
    }

    /// Whether a line about `peer` may be logged now; if so, how many lines were left out before.
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
        let peer = peer.network();
        if !self.peers.contains_key(&peer) && self.peers.len() >= MAX_PEERS {
            // At most once a second, so that many addresses do not cause a scan each.
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

    /// Takes one handshake from the bucket.
    fn take(&mut self, per_second: u64, now: Monotonic) -> bool {
        let earned = u64::try_from(now.since(self.touched_at).as_millis()).unwrap_or(u64::MAX);
        let credit = self.credit.saturating_add(earned.saturating_mul(per_second));
        self.credit = credit.min(per_second * BURST_SECONDS * 1_000);
        self.touched_at = now;
        let allowed = self.credit >= 1_000;
        if allowed {
            self.credit -= 1_000;
        }
        allowed
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
        let mut limits = PeerLimits::new(2, 100_000);
        assert_eq!((0..100).filter(|_| limits.allow(address(1), at(0))).count(), 10);
        assert!(limits.allow(address(2), at(0)), "another address is not concerned");
        assert_eq!((0..100).filter(|_| limits.allow(address(1), at(1_500))).count(), 3);
    }

    #[test]
    fn the_log_speaks_once_a_minute_and_counts_the_rest() {
        let mut limits = PeerLimits::new(2, 100_000);
        assert_eq!(limits.may_log(address(1), at(0)), Some(0));
        assert_eq!(limits.may_log(address(1), at(59_999)), None);
        assert_eq!(limits.may_log(address(1), at(60_000)), Some(1));
        assert_eq!(limits.may_log(address(2), at(60_000)), Some(0));
    }

    #[test]
    fn a_crowd_of_addresses_shares_one_record_and_is_forgotten_later() {
        let mut limits = PeerLimits::new(1, 100_000);
        for number in 0..10_000 {
            limits.allow(address(number), at(0));
        }
        assert_eq!(limits.peers.len(), MAX_PEERS);
        assert!(!limits.allow(address(20_000), at(0)), "the shared record is used up");
        assert!(limits.allow(address(30_000), at(120_000)));
        assert_eq!(limits.peers.len(), 1);
    }

    #[test]
    fn all_strangers_share_one_budget_and_an_address_with_a_session_is_none() {
        let mut limits = PeerLimits::new(20, 2);
        limits.note_known(address(7), at(0));
        let strangers = (100..1_000).filter(|number| limits.allow(address(*number), at(0))).count();
        assert_eq!(strangers, 10);
        assert!(limits.allow(address(7), at(0)));
        assert!(limits.allow(address(5_000), at(500)), "it fills again");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_peer() {
        let mut limits = PeerLimits::new(1, 100_000);
        let host = |number: u128| PeerAddress::Ip(IpAddr::V6((0x2001_0db8_u128 << 96 | number).into()));
        assert_eq!((0..100).filter(|number| limits.allow(host(*number), at(0))).count(), 5);
        assert!(limits.allow(host(1 << 64), at(0)), "another network");
        limits.note_known(host(3), at(0));
        assert!(limits.is_known(host(4)) && !limits.is_known(host(1 << 64)));
    }
}
