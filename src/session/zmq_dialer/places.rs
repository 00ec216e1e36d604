//! The addresses of a peer that has several (a central of a cluster), of which one is tried after the other.

use std::time::Duration;

use super::{DialState, ZmqDialer};
use crate::model::connection::Endpoint;
use crate::model::random::Random;
use crate::session::back_off::Severity;
use crate::session::turns::Turns;

/// An address of a peer that has several, and what is known of the peer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialPlace {
    /// The address.
    pub endpoint: Endpoint,
    /// See [`super::DialerSettings::stored_fingerprint`].
    pub stored_fingerprint: Option<String>,
    /// See [`super::DialerSettings::is_pinned`].
    pub is_pinned: bool,
}

impl ZmqDialer {
    /// Sets the other addresses of the peer, which are tried in order when this one fails.
    pub fn also(&mut self, others: Vec<DialPlace>) {
        self.turns = Turns::new(others);
    }

    /// Chooses the address of the next attempt, and when it follows.
    pub(super) fn next_delay(&mut self, severity: Severity, random: &mut dyn Random) -> Duration {
        let settings = &mut self.settings;
        let mut place = DialPlace {
            endpoint: settings.endpoint.clone(),
            stored_fingerprint: settings.stored_fingerprint.take(),
            is_pinned: settings.is_pinned,
        };
        let was_up = matches!(self.state, DialState::Up(_));
        let delay = self.turns.next(&mut place, was_up, &mut self.back_off, severity, random);
        let DialPlace { endpoint, stored_fingerprint, is_pinned } = place;
        (settings.endpoint, settings.stored_fingerprint, settings.is_pinned) =
            (endpoint, stored_fingerprint, is_pinned);
        delay
    }
}
