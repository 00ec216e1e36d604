//! The state that all WebSocket connections of the listener share.

use std::cell::Cell;
use std::time::Duration;

use super::MODULE;
use super::tokens::{Admission, NamedToken, NodeTokens};
use crate::model::connection::PeerAddress;
use crate::model::joining::{Admitted, AdmittedBy, Invitation};
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::refusal_log::RefusalLog;
use crate::model::time::{Monotonic, Now};
use crate::session::forwarded::{self, Ranges};
use crate::session::web_tokens::Claim;
use crate::wire::gorgone::joining;
use crate::wire::http::bearer_auth;
use crate::wire::http::head::RequestSource;
use crate::wire::websocket::connection::MAX_MESSAGE_BYTES;

/// Limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct WebSocketServerSettings {
    /// Time limit for the upgrade request after the connection was opened (10 s).
    pub upgrade_timeout: Duration,
    /// Time limit for the first message after the upgrade (10 s).
    pub registration_timeout: Duration,
    /// Time without a complete message, ping or pong after which the connection is closed (300 s).
    pub silence_timeout: Duration,
    /// Time after which the connection is closed if the node takes nothing of the waiting bytes (30 s).
    pub write_timeout: Duration,
    /// Maximum size in bytes of a message to a node, and from a client that has not registered (262144).
    pub max_message_bytes: usize,
    /// Maximum size in bytes of a message from a registered node (16 MiB); an original node sends its whole backlog in
    /// one.
    pub max_backlog_bytes: usize,
    /// Maximum number of bytes of incomplete large messages of all nodes together (64 MiB).
    pub max_backlogs_bytes: usize,
    /// Number of bytes waiting for a node beyond which messages are refused (16 MiB).
    pub max_waiting_bytes: usize,
}

impl Default for WebSocketServerSettings {
    fn default() -> Self {
        Self {
            upgrade_timeout: Duration::from_secs(10),
            registration_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(30),
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_backlog_bytes: 16 << 20,
            max_backlogs_bytes: 64 << 20,
            max_waiting_bytes: 16 << 20,
        }
    }
}

/// The hashes of the tokens, the limits, and the budget of log lines. Shared by `Rc`, because all connections live on
/// one thread.
pub struct WebSocketAccess {
    settings: WebSocketServerSettings,
    tokens: NodeTokens,
    refusals: RefusalLog,
    /// Number of bytes of incomplete large messages of all nodes.
    backlogs_bytes: Cell<usize>,
    /// Addresses of proxies whose `X-Forwarded-For` header is trusted.
    trusted_proxies: Ranges,
    invitations: Vec<Invitation>,
}

impl WebSocketAccess {
    /// Prepares the tokens. `common` is the token that all nodes share; only its hash is kept.
    #[must_use]
    pub fn new(common: Option<&str>, named: Vec<NamedToken>, settings: WebSocketServerSettings) -> Self {
        Self {
            settings,
            tokens: NodeTokens::new(common, named),
            refusals: RefusalLog::new(MODULE),
            backlogs_bytes: Cell::new(0),
            trusted_proxies: Ranges::default(),
            invitations: Vec::new(),
        }
    }

    /// Sets the invitations of nodes that may join with a token of their own.
    #[must_use]
    pub fn with_invitations(self, invitations: Vec<Invitation>) -> Self {
        Self { invitations, ..self }
    }

    /// The node that joins with the token of an `Authorization` header, if it is invited. It has to come again with its
    /// new token.
    pub(super) fn invited(&self, authorization: Option<&[u8]>, now: Now) -> Option<Admitted> {
        let (node, hash, proof) = joining::read_token(bearer_auth::read(authorization?)?)?;
        let seconds = now.wall.as_seconds();
        let mut invited = self.invitations.iter().filter(|one| one.node == node && seconds <= one.until);
        let is_proved = invited.any(|one| joining::proves_token(&one.secret, node, &hash, proof));
        is_proved.then_some(Admitted { node, by: AdmittedBy::Token(hash) })
    }

    /// Sets the proxies that are trusted to name their clients.
    #[must_use]
    pub fn with_trusted_proxies(self, trusted_proxies: Ranges) -> Self {
        Self { trusted_proxies, ..self }
    }

    /// Sets whether the web API is queried for unknown tokens.
    #[must_use]
    pub fn with_web_api(self, is_asked: bool) -> Self {
        Self { tokens: self.tokens.with_web_api(is_asked), ..self }
    }

    /// Whether the web API is queried for a token of this name.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        self.tokens.asks_for(name)
    }

    /// Notes that the web API has confirmed a token of `peer`.
    pub(super) fn remember(&self, claim: &Claim, peer: PeerAddress) {
        self.tokens.remember((peer.network(), *claim.whole.as_bytes()));
    }

    /// Notes that the web API has rejected a token of `peer`.
    pub(super) fn note_wrong(&self, claim: &Claim, peer: PeerAddress, now: Monotonic) {
        self.tokens.note_wrong(claim, peer, now);
    }

    /// The client that sent a request which arrived from `peer`.
    pub(super) fn client_of(&self, peer: PeerAddress, source: &RequestSource) -> PeerAddress {
        forwarded::client_of(peer, source, &self.trusted_proxies)
    }

    /// Changes the counted bytes of a connection from `before` to `now`; returns `false` if that exceeds the limit of
    /// all nodes.
    pub(super) fn account(&self, before: usize, now: usize) -> bool {
        let all = self.backlogs_bytes.get().saturating_sub(before).saturating_add(now);
        let fits = now <= before || all <= self.settings.max_backlogs_bytes;
        if fits {
            self.backlogs_bytes.set(all);
        }
        fits
    }

    /// The limits.
    #[must_use]
    pub const fn settings(&self) -> &WebSocketServerSettings {
        &self.settings
    }

    /// Checks the token in the value of an `Authorization` header.
    pub(super) fn admit(&self, authorization: Option<&[u8]>, peer: PeerAddress, now: Monotonic) -> Admission {
        self.tokens.admit(authorization, peer, now)
    }

    /// Whether a token that was admitted by `before` is also admitted by this access.
    pub(super) fn still_admits(&self, before: &Self, token: Option<&NamedToken>) -> bool {
        self.tokens.still_hold(&before.tokens, token)
    }

    /// Why a token (`None`: the common one) may not register a node; `None` if it may.
    pub(super) fn refusal_of(&self, token: Option<&NamedToken>, id: NodeId) -> Option<String> {
        self.tokens.refusal_of(token, id)
    }

    /// A log line about a refusal; `None` if too many were written recently. The next line counts those left out.
    #[must_use]
    pub fn refusal_line(&self, peer: PeerAddress, reason: &str, now: Monotonic) -> Option<LogLine> {
        self.refusals.line(peer, reason, now)
    }
}
