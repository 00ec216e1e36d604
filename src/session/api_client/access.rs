//! Who may call the API, and the state that all connections of one listener share.

mod logins;

use std::cell::RefCell;
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
    /// Hash of the password in PHC form.
    pub password_hash: Arc<str>,
    /// The rights of the user.
    pub rights: Arc<Rights>,
}

/// Options of the API's listener. Holds a password: no `Debug`.
#[derive(Clone)]
pub struct ApiClientSettings {
    /// User and password of Basic authentication. This user may do everything.
    pub auth: Option<(String, String)>,
    /// More users. Without these and without `auth` everyone is let in.
    pub users: Vec<ApiUser>,
    /// Address ranges that may call; `None` for all. A peer on a Unix socket always may.
    pub allowed: Option<Ranges>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Ranges,
    /// The host names under which a browser may call us.
    pub own_names: OwnNames,
    /// Maximum size of the body of a request in bytes (8 MiB).
    pub max_body_bytes: usize,
    /// Time limit for a request's head after its first byte, for the first head after the connection was made (10 s).
    pub head_timeout: Duration,
    /// Time limit for a body after its head, plus a second for each KiB received (30 s).
    pub body_timeout: Duration,
    /// Time after which a connection without a request is closed (60 s).
    pub idle_timeout: Duration,
    /// Time after which a connection is closed if its peer takes nothing of the waiting answers (30 s).
    pub write_timeout: Duration,
    /// Maximum number of unanswered requests of one connection before reading pauses (256).
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
            max_pipelined: 256,
        }
    }
}

/// The prepared settings, the recent logins and the budget of log lines of all connections of a listener. Shared by
/// `Rc`, because all connections live on one thread.
pub struct ApiAccess {
    settings: ApiClientSettings,
    logins: RefCell<Logins>,
    refusals: RefusalLog,
    /// Refused requests: status and number.
    refused: RefCell<Vec<(u16, u64)>>,
}

impl ApiAccess {
    /// Prepares the settings. Of passwords only hashes are kept.
    #[must_use]
    pub fn new(mut settings: ApiClientSettings) -> Self {
        let logins = RefCell::new(Logins::new(settings.auth.take(), std::mem::take(&mut settings.users)));
        Self { settings, logins, refusals: RefusalLog::new("httpserver"), refused: RefCell::default() }
    }

    /// The settings, without the credentials.
    #[must_use]
    pub const fn settings(&self) -> &ApiClientSettings {
        &self.settings
    }

    /// Whether a peer may connect: its address is allowed, or it is a proxy that names its client.
    #[must_use]
    pub fn is_heard(&self, peer: PeerAddress) -> bool {
        let is_proxy = |address| self.settings.trusted_proxies.contain(address);
        self.is_allowed(peer) || matches!(peer, PeerAddress::Ip(address) if is_proxy(address))
    }

    /// Whether an address is in one of the allowed ranges.
    #[must_use]
    pub fn is_allowed(&self, peer: PeerAddress) -> bool {
        match (&self.settings.allowed, peer) {
            (None, _) | (_, PeerAddress::Local) => true,
            (Some(ranges), PeerAddress::Ip(address)) => ranges.contain(address),
        }
    }

    /// The client that sent a request which arrived from `peer`.
    #[must_use]
    pub fn client_of(&self, peer: PeerAddress, source: &RequestSource) -> PeerAddress {
        forwarded::client_of(peer, source, &self.settings.trusted_proxies)
    }

    /// Whether callers need a user and a password.
    #[must_use]
    pub fn wants_password(&self) -> bool {
        self.logins.borrow().wants_password()
    }

    /// Judges the value of an `Authorization` header.
    #[must_use]
    pub fn judge(&self, authorization: Option<&[u8]>, from: PeerAddress, now: Monotonic) -> Verdict {
        self.logins.borrow_mut().judge(authorization, from, now)
    }

    /// Notes the end of a check of a password, even if its connection is gone.
    pub fn check_ended(&self) {
        self.logins.borrow_mut().check_ended();
    }

    /// The result of a [`Verdict::Check`]: the caller, unless the password was wrong.
    #[must_use]
    pub fn checked(&self, check: &LoginCheck, is_right: bool, now: Monotonic) -> Option<Caller> {
        self.logins.borrow_mut().checked(check, is_right, now)
    }

    /// Counts a request that is refused.
    pub fn count_refused(&self, status: u16) {
        let mut refused = self.refused.borrow_mut();
        match refused.iter_mut().find(|(known, _)| *known == status) {
            Some((_, count)) => *count += 1,
            None => refused.push((status, 1)),
        }
    }

    /// Number of refused requests by status.
    #[must_use]
    pub fn refused_calls(&self) -> Vec<(u16, u64)> {
        self.refused.borrow().clone()
    }

    /// A log line about a refusal; `None` if too many were written recently. The next line counts those left out.
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
        let allowed = Some(Ranges::one("127.0.0.1", 32));
        let trusted_proxies = Ranges::one("192.0.2.7", 32);
        let access = ApiAccess::new(ApiClientSettings { allowed, trusted_proxies, ..ApiClientSettings::default() });
        let ip = |text: &str| PeerAddress::Ip(text.parse().unwrap());
        assert!(access.is_allowed(ip("127.0.0.1")) && access.is_allowed(PeerAddress::Local));
        assert!(!access.is_allowed(ip("192.0.2.7")) && access.is_heard(ip("192.0.2.7")));
        assert!(!access.is_heard(ip("192.0.2.8")));
    }
}
