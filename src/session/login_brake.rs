//! Limits how often an address may try a password or a token: a few times at once, then at intervals.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::connection::PeerAddress;
use crate::model::time::Monotonic;

/// Number of wrong attempts allowed at once.
const BURST: u32 = 10;
/// Afterwards one attempt is allowed in this time.
const EVERY: Duration = Duration::from_secs(2);
/// Maximum number of remembered addresses. Beyond it those that have been quiet long are forgotten, then all.
const MAX_ADDRESSES: usize = 10_000;

/// The recent wrong attempts.
#[derive(Default)]
pub struct LoginBrake {
    /// For each address the time up to which its attempts are used up. Each attempt takes [`EVERY`].
    spent: BTreeMap<PeerAddress, Monotonic>,
}

impl LoginBrake {
    /// How long an address must wait before it may try again; zero if it may now.
    #[must_use]
    pub fn wait(&self, peer: PeerAddress, now: Monotonic) -> Duration {
        let spent = self.spent.get(&peer.network()).map_or(Duration::ZERO, |until| until.since(now));
        spent.saturating_sub(EVERY * (BURST - 1))
    }

    /// Notes a wrong attempt.
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

    /// Takes back a noted attempt that turned out to be right.
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
