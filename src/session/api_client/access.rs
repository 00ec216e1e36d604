//! Who may call the API, and what all connections of one listener share.

mod logins;

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::api::Caller;
use crate::model::connection::PeerAddress;
use crate::model::log::LogLine;
use crate::model::refusal_log::RefusalLog;
use crate::model::rights::Rights;
use crate::model::time::Monotonic;
use crate::session::forwarded::{self, Ranges};
use crate::session::same_site::OwnNames;
use crate::wire::http::head::RequestSource;

use logins::Logins;
pub use logins::{LoginCheck, Verdict};

/// A user of `auth.users`. Holds a hash of a password: no `Debug`.
#[derive(Clone)]
pub struct ApiUser {
    /// The name, without a colon.
    pub name: Arc<str>,
    /// Of its password, in PHC form.
    pub password_hash: Arc<str>,
    /// What it may ask for.
    pub rights: Arc<Rights>,
}

/// Options of the API's listener. Holds a password: no `Debug`.
#[derive(Clone)]
pub struct ApiClientSettings {
    /// User and password of Basic authentication, who may ask for everything.
    pub auth: Option<(String, String)>,
    /// More users. Where neither these nor `auth` are given everyone is let in.
    pub users: Vec<ApiUser>,
    /// Ranges (address, leading bits that count) that may call; `None` for all. A peer on a Unix socket always may.
    pub allowed: Option<Vec<(IpAddr, u8)>>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Ranges,
    /// The names under which a browser may call us.
    pub own_names: OwnNames,
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
            users: Vec::new(),
            allowed: None,
            trusted_proxies: Ranges::default(),
            own_names: OwnNames::default(),
            max_body_bytes: 8 * 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            max_pipelined: 64,
        }
    }
}

/// The settings made ready, the logins of late, and the budget of log lines, for all connections of a listener. Shared
/// by `Rc`: connections live on one thread.
pub struct ApiAccess {
    settings: ApiClientSettings,
    allowed: Option<Ranges>,
    logins: RefCell<Logins>,
    refusals: RefusalLog,
}

impl ApiAccess {
    /// Takes the settings and keeps only hashes of passwords.
    #[must_use]
    pub fn new(mut settings: ApiClientSettings) -> Self {
        let logins = RefCell::new(Logins::new(settings.auth.take(), std::mem::take(&mut settings.users)));
        let allowed = settings.allowed.take().map(Ranges::new);
        Self { settings, allowed, logins, refusals: RefusalLog::new("httpserver") }
    }

    /// The settings, without the credentials.
    #[must_use]
    pub const fn settings(&self) -> &ApiClientSettings {
        &self.settings
    }

    /// Whether a peer may be heard: its address is allowed, or it is a proxy that will say for whom it asks.
    #[must_use]
    pub fn is_heard(&self, peer: PeerAddress) -> bool {
        let is_proxy = |address| self.settings.trusted_proxies.contain(address);
        self.is_allowed(peer) || matches!(peer, PeerAddress::Ip(address) if is_proxy(address))
    }

    /// Whether an address is in one of the allowed ranges.
    #[must_use]
    pub fn is_allowed(&self, peer: PeerAddress) -> bool {
        match (&self.allowed, peer) {
            (None, _) | (_, PeerAddress::Local) => true,
            (Some(ranges), PeerAddress::Ip(address)) => ranges.contain(address),
        }
    }

    /// Who sent a request that came from `peer`.
    #[must_use]
    pub fn client_of(&self, peer: PeerAddress, source: &RequestSource) -> PeerAddress {
        forwarded::client_of(peer, source, &self.settings.trusted_proxies)
    }

    /// Whether callers need a user and a password.
    #[must_use]
    pub fn wants_password(&self) -> bool {
        self.logins.borrow().wants_password()
    }

    /// What to do about the value of an `Authorization` header.
    #[must_use]
    pub fn judge(&self, authorization: Option<&[u8]>, from: PeerAddress, now: Monotonic) -> Verdict {
        self.logins.borrow_mut().judge(authorization, from, now)
    }

    /// A check of a password is over, also one whose connection is gone.
    pub fn check_ended(&self) {
        self.logins.borrow_mut().check_ended();
    }

    /// The outcome of a [`Verdict::Check`]: the caller, unless the password was wrong.
    #[must_use]
    pub fn checked(&self, check: &LoginCheck, is_right: bool, now: Monotonic) -> Option<Caller> {
        self.logins.borrow_mut().checked(check, is_right, now)
    }

    /// A line about a refusal, unless too many were written lately; those are counted in the next line that is.
    #[must_use]
    pub fn refusal_line(&self, peer: PeerAddress, reason: &str, now: Monotonic) -> Option<LogLine> {
        self.refusals.line(peer, reason, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_peers_of_an_allowed_range_are_let_in() {
        let allowed = Some(vec![("127.0.0.1".parse().unwrap(), 32)]);
        let trusted_proxies = Ranges::new(vec![("192.0.2.7".parse().unwrap(), 32)]);
        let access = ApiAccess::new(ApiClientSettings { allowed, trusted_proxies, ..ApiClientSettings::default() });
        let ip = |text: &str| PeerAddress::Ip(text.parse().unwrap());
        assert!(access.is_allowed(ip("127.0.0.1")) && access.is_allowed(PeerAddress::Local));
        assert!(!access.is_allowed(ip("192.0.2.7")) && access.is_heard(ip("192.0.2.7")));
        assert!(!access.is_heard(ip("192.0.2.8")));
    }
}
