//! How often an address may try a password or a token: a few times at once, then once in a while.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::connection::PeerAddress;
use crate::model::time::Monotonic;

/// Wrong attempts at once.
const BURST: u32 = 10;
/// After them one attempt in this time.
const EVERY: Duration = Duration::from_secs(2);
/// Addresses that are remembered; beyond it those that were quiet for long are forgotten, then all.
const MAX_ADDRESSES: usize = 10_000;

/// The wrong attempts of late.
#[derive(Default)]
pub struct LoginBrake {
    /// Until when the attempts of an address reach, each [`EVERY`] long.
    spent: BTreeMap<PeerAddress, Monotonic>,
}

impl LoginBrake {
    /// How long an address has to wait before it may try again; zero for not at all.
    #[must_use]
    pub fn wait(&self, peer: PeerAddress, now: Monotonic) -> Duration {
        let spent = self.spent.get(&peer.network()).map_or(Duration::ZERO, |until| until.since(now));
        spent.saturating_sub(EVERY * (BURST - 1))
    }

    /// An attempt was wrong.
    pub fn note_failure(&mut self, peer: PeerAddress, now: Monotonic) {
        if self.spent.len() >= MAX_ADDRESSES {
            self.spent.retain(|_, until| *until > now);
            if self.spent.len() >= MAX_ADDRESSES {
                self.spent.clear();
            }
        }
        let until = self.spent.entry(peer.network()).or_insert(now);
        *until = (*until).max(now) + EVERY;
    }

    /// An attempt that was noted beforehand was right after all.
    pub fn take_back(&mut self, peer: PeerAddress) {
        if let Some(until) = self.spent.get_mut(&peer.network()) {
            *until =
                Monotonic::from_millis(until.as_millis().saturating_sub(EVERY.as_millis().try_into().unwrap_or(0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> PeerAddress {
        PeerAddress::Ip(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_some_wrong_attempts_at_once_and_then_one_every_two_seconds() {
        let mut brake = LoginBrake::default();
        let (guesser, other) = (peer("192.0.2.1"), peer("192.0.2.2"));
        let mut tried = 0;
        for at_ms in (0..60_000).step_by(10) {
            let now = Monotonic::from_millis(at_ms);
            if brake.wait(guesser, now).is_zero() {
                brake.note_failure(guesser, now);
                tried += 1;
            }
        }
        assert!((38..=41).contains(&tried), "{tried}");
        assert!(brake.wait(other, Monotonic::from_millis(60_000)).is_zero());
        assert!(brake.wait(guesser, Monotonic::from_millis(120_000)).is_zero());
    }

    #[test]
    fn a_network_of_one_host_counts_as_one_and_memory_is_bounded() {
        let mut brake = LoginBrake::default();
        let now = Monotonic::from_millis(0);
        for host in 0..BURST {
            brake.note_failure(peer(&format!("2001:db8::{host:x}")), now);
        }
        assert!(!brake.wait(peer("2001:db8::ffff"), now).is_zero());
        for host in 0..30_000_u32 {
            brake.note_failure(PeerAddress::Ip(std::net::Ipv4Addr::from_bits(host).into()), now);
        }
        assert!(brake.spent.len() <= MAX_ADDRESSES);
    }
}
