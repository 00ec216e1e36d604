//! Who may call the API, and what all connections of one listener share.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::connection::PeerAddress;
use crate::model::log::LogLine;
use crate::model::time::Monotonic;
use crate::session::refusal_log::RefusalLog;
use crate::wire::http::basic_auth::BasicCredentials;

/// Options of the API's listener. Holds a password: no `Debug`.
#[derive(Clone)]
pub struct ApiClientSettings {
    /// User and password of Basic authentication; `None` lets everyone in.
    pub auth: Option<(String, String)>,
    /// Ranges (address, leading bits that count) that may call; `None` for all. A peer on a Unix socket always may.
    pub allowed: Option<Vec<(IpAddr, u8)>>,
    /// Largest body of a request in bytes (8 MiB).
    pub max_body_bytes: usize,
    /// A request's head has to be complete this long after its first byte, the first one after the connection was made
    /// (10 s).
    pub head_timeout: Duration,
    /// A body has to be complete this long after its head, plus a second for each KiB that came (30 s).
    pub body_timeout: Duration,
    /// A connection without a request is closed after this time (60 s).
    pub idle_timeout: Duration,
    /// A connection whose peer takes nothing of the waiting answers for this long is closed (30 s).
    pub write_timeout: Duration,
    /// Requests of one connection that may be unanswered before reading pauses (64).
    pub max_pipelined: usize,
}

impl Default for ApiClientSettings {
    fn default() -> Self {
        Self {
            auth: None,
            allowed: None,
            max_body_bytes: 8 * 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            max_pipelined: 64,
        }
    }
}

/// The settings made ready, and the budget of log lines, for all connections of a listener. Shared by `Rc`: connections
/// live on one thread.
pub struct ApiAccess {
    settings: ApiClientSettings,
    credentials: Option<BasicCredentials>,
    refusals: RefusalLog,
}

impl ApiAccess {
    /// Takes the settings and keeps only a hash of the password.
    #[must_use]
    pub fn new(mut settings: ApiClientSettings) -> Self {
        let credentials = settings.auth.take().map(|(user, password)| BasicCredentials::new(&user, &password));
        Self { settings, credentials, refusals: RefusalLog::new("httpserver") }
    }

    /// The settings, without the credentials.
    #[must_use]
    pub const fn settings(&self) -> &ApiClientSettings {
        &self.settings
    }

    /// Whether a peer's address is in one of the allowed ranges.
    #[must_use]
    pub fn is_allowed(&self, peer: PeerAddress) -> bool {
        match (&self.settings.allowed, peer) {
            (None, _) | (_, PeerAddress::Local) => true,
            (Some(ranges), PeerAddress::Ip(address)) => {
                ranges.iter().any(|(range, prefix)| in_range(*range, *prefix, address.to_canonical()))
            }
        }
    }

    /// Whether the value of an `Authorization` header lets a request in.
    #[must_use]
    pub fn is_authorized(&self, authorization: Option<&[u8]>) -> bool {
        let Some(credentials) = &self.credentials else { return true };
        authorization.is_some_and(|value| credentials.match_header(value))
    }

    /// A line about a refusal, unless too many were written lately; those are counted in the next line that is.
    #[must_use]
    pub fn refusal_line(&self, peer: PeerAddress, reason: &str, now: Monotonic) -> Option<LogLine> {
        self.refusals.line(peer, reason, now)
    }
}

fn in_range(range: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let shift = |bits: u32| bits.saturating_sub(u32::from(prefix));
    match (range, address) {
        (IpAddr::V4(range), IpAddr::V4(address)) => {
            (range.to_bits() ^ address.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(range), IpAddr::V6(address)) => {
            (range.to_bits() ^ address.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> PeerAddress {
        PeerAddress::Ip(text.parse().unwrap())
    }

    #[test]
    fn only_peers_of_an_allowed_range_are_let_in() {
        let allowed = Some(vec![
            ("127.0.0.1".parse().unwrap(), 32),
            ("10.30.2.0".parse().unwrap(), 16),
            ("2001:db8::".parse().unwrap(), 32),
        ]);
        let access = ApiAccess::new(ApiClientSettings { allowed, ..ApiClientSettings::default() });
        for good in ["127.0.0.1", "10.30.255.1", "::ffff:127.0.0.1", "2001:db8:1::2"] {
            assert!(access.is_allowed(ip(good)), "{good}");
        }
        for bad in ["127.0.0.2", "10.31.0.1", "::1", "2001:db9::"] {
            assert!(!access.is_allowed(ip(bad)), "{bad}");
        }
        assert!(access.is_allowed(PeerAddress::Local));
        let everyone = ApiAccess::new(ApiClientSettings {
            allowed: Some(vec![("0.0.0.0".parse().unwrap(), 0)]),
            ..ApiClientSettings::default()
        });
        assert!(everyone.is_allowed(ip("192.0.2.1")) && !everyone.is_allowed(ip("::1")));
    }
}
