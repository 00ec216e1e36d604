//! One client's session: who it is, on which connection, and how its messages are protected.

use std::sync::Arc;
use std::time::Duration;

use crate::model::connection::ConnectionId;
use crate::model::session::StoredSession;
use crate::model::time::{Monotonic, Now};
use crate::wire::gorgone::sealing::KeyMaterial;
use crate::wire::tls_link::{FrameKind, TlsLink};

use super::rotating_keys::{Opened, RotatingKeys};

/// Minimum interval between stores of the time of last use.
const STORE_USE_EVERY: Duration = Duration::from_secs(60);

/// How the messages of a session are protected.
pub(super) enum Protection {
    /// In the way of the original, with keys that outlive a connection.
    Classic(Box<RotatingKeys>),
    /// By TLS, as long as the connection lasts; `None` afterwards.
    Tls(Option<Box<TlsLink>>),
}

/// One client's session. No `Debug`: it holds keys.
pub(super) struct ClientSession {
    pub routing_id: Arc<[u8]>,
    /// Its current connection.
    pub connection: Option<ConnectionId>,
    /// Thumbprint of its RSA key; unknown for a session that the original stored.
    pub thumbprint: Option<String>,
    protection: Protection,
    used_seconds: i64,
    stored_at: Monotonic,
    /// When it is dropped if not used before.
    pub idle_at: Monotonic,
    /// Its entry in the listener's timers.
    pub deadline: Option<Monotonic>,
}

/// Lifetimes of a session.
#[derive(Clone, Copy)]
pub(super) struct Lifetimes {
    /// Age at which a key is replaced; `None` means never.
    pub rotation: Option<Duration>,
    /// Time without use after which a session is dropped.
    pub idle: Duration,
}

/// The time since a moment in seconds since the epoch. A clock that was set back gives zero.
pub(super) fn age(since: i64, now: Now) -> Duration {
    Duration::from_secs(u64::try_from(now.wall.as_seconds().saturating_sub(since)).unwrap_or(0))
}

impl Protection {
    /// Keys that were newly agreed.
    pub fn classic(material: KeyMaterial, lifetimes: Lifetimes, now: Now) -> Self {
        Self::Classic(Box::new(RotatingKeys::new(material, lifetimes.rotation, now)))
    }

    /// A link that was newly made.
    pub fn tls(link: TlsLink) -> Self {
        Self::Tls(Some(Box::new(link)))
    }
}

impl ClientSession {
    /// A newly agreed session.
    pub fn new(
        routing_id: Arc<[u8]>,
        thumbprint: String,
        protection: Protection,
        lifetimes: Lifetimes,
        now: Now,
    ) -> Self {
        Self {
            routing_id,
            connection: None,
            thumbprint: Some(thumbprint),
            protection,
            used_seconds: now.wall.as_seconds(),
            stored_at: now.monotonic,
            idle_at: now.monotonic + lifetimes.idle,
            deadline: None,
        }
    }

    /// A session from the database; `None` if it is too old or its keys are invalid.
    pub fn restore(stored: &StoredSession, lifetimes: Lifetimes, now: Now) -> Option<Self> {
        let idle_left = lifetimes.idle.checked_sub(age(stored.used, now)).filter(|left| !left.is_zero())?;
        let keys = RotatingKeys::restore(stored, lifetimes.rotation, now)?;
        Some(Self {
            routing_id: stored.routing_id.as_slice().into(),
            connection: None,
            thumbprint: stored.thumbprint.clone(),
            protection: Protection::Classic(Box::new(keys)),
            used_seconds: stored.used,
            stored_at: now.monotonic,
            idle_at: now.monotonic + idle_left,
            deadline: None,
        })
    }

    /// The row of the database; `None` for a session that ends with its connection.
    pub fn to_stored(&self) -> Option<StoredSession> {
        let Protection::Classic(keys) = &self.protection else { return None };
        Some(keys.to_stored(&self.routing_id, self.used_seconds, self.thumbprint.clone()))
    }

    /// Whether its keys outlive a connection, so that a connection that brings its routing id is taken for its own.
    pub const fn is_classic(&self) -> bool {
        matches!(self.protection, Protection::Classic(_))
    }

    /// Seals plain text. `None` if it waits for [`ClientSession::seal_gathered`].
    ///
    /// # Errors
    /// A sentence, if nothing can be sealed any more.
    pub fn seal(&mut self, parts: &[&[u8]], may_wait: bool) -> Result<Option<Vec<u8>>, String> {
        match &mut self.protection {
            Protection::Classic(keys) => Ok(Some(keys.seal(parts))),
            Protection::Tls(Some(link)) if may_wait => link.gather(FrameKind::Envelope, parts),
            Protection::Tls(Some(link)) => link.seal(FrameKind::Envelope, parts).map(Some),
            Protection::Tls(None) => Err("its link has ended".to_owned()),
        }
    }

    /// Seals what waits.
    ///
    /// # Errors
    /// As above.
    pub fn seal_gathered(&mut self) -> Result<Option<Vec<u8>>, String> {
        match &mut self.protection {
            Protection::Tls(Some(link)) if link.has_gathered() => link.seal_gathered().map(Some),
            _ => Ok(None),
        }
    }

    /// Opens what the client sent in the way of the original.
    pub fn open(&self, payload: &[u8]) -> Opened {
        match &self.protection {
            Protection::Classic(keys) => keys.open(payload),
            Protection::Tls(_) => Opened::Foreign,
        }
    }

    /// The TLS link, while there is one.
    pub fn tls(&mut self) -> Option<&mut TlsLink> {
        if let Protection::Tls(Some(link)) = &mut self.protection { Some(link) } else { None }
    }

    /// Its connection is gone.
    pub fn disconnect(&mut self) {
        self.connection = None;
        if let Protection::Tls(link) = &mut self.protection {
            *link = None;
        }
    }

    /// The row to store so that the session does not count as unused since `used_before`; `None` if the stored row is
    /// new enough.
    pub fn kept(&self, used_before: i64) -> Option<StoredSession> {
        // The stored time may be older than the last use by this interval.
        let is_late = self.used_seconds < used_before.saturating_add(STORE_USE_EVERY.as_secs().cast_signed());
        let stored = self.to_stored().filter(|_| is_late)?;
        Some(StoredSession { used: self.used_seconds.max(used_before), ..stored })
    }

    /// Notes a use. Returns whether the row should be stored again.
    pub fn mark_used(&mut self, lifetimes: Lifetimes, now: Now) -> bool {
        self.used_seconds = now.wall.as_seconds();
        self.idle_at = now.monotonic + lifetimes.idle;
        let due = now.monotonic.since(self.stored_at) >= STORE_USE_EVERY;
        if due {
            self.stored_at = now.monotonic;
        }
        due
    }

    /// Notes that the client used the current key. Returns whether this is the first time.
    pub const fn confirm(&mut self) -> bool {
        if let Protection::Classic(keys) = &mut self.protection { keys.confirm() } else { false }
    }

    /// The new key again, sealed with the old one, for a client that still uses the old one; `None` while that is
    /// normal.
    pub fn remind_of_key(&mut self, hostname: &str, now: Now) -> Option<Vec<u8>> {
        let connection = self.connection;
        if let Protection::Classic(keys) = &mut self.protection { keys.remind(connection, hostname, now) } else { None }
    }

    /// When this session needs attention: to be dropped, or to be rotated if it is connected and the client has shown
    /// that it holds the current key.
    pub fn next_deadline(&self) -> Monotonic {
        self.rotation_due_at().map_or(self.idle_at, |at| at.min(self.idle_at))
    }

    /// Whether the key is old enough and may be replaced now.
    pub fn is_rotation_due(&self, now: Now) -> bool {
        self.rotation_due_at().is_some_and(|at| at <= now.monotonic)
    }

    fn rotation_due_at(&self) -> Option<Monotonic> {
        match &self.protection {
            Protection::Classic(keys) if self.connection.is_some() => keys.due_at(),
            _ => None,
        }
    }

    /// Replaces the key by a rotation. Returns the `[KEY]` for the client, sealed with the key that it holds.
    pub fn rotate(&mut self, material: KeyMaterial, hostname: &str, lifetimes: Lifetimes, now: Now) -> Option<Vec<u8>> {
        let Protection::Classic(keys) = &mut self.protection else { return None };
        let payload = keys.rotate(material, self.connection, hostname, lifetimes.rotation, now);
        self.begin_again(lifetimes, now);
        Some(payload)
    }

    /// Takes what another handshake of the same client has agreed. Of two classic ones the keys are kept together.
    pub fn renew(&mut self, protection: Protection, lifetimes: Lifetimes, now: Now) {
        self.protection = match (std::mem::replace(&mut self.protection, Protection::Tls(None)), protection) {
            (Protection::Classic(mut keys), Protection::Classic(new)) => {
                keys.replace(new.into_material(), self.connection, lifetimes.rotation, now);
                Protection::Classic(keys)
            }
            (_, new) => new,
        };
        self.begin_again(lifetimes, now);
    }

    fn begin_again(&mut self, lifetimes: Lifetimes, now: Now) {
        self.used_seconds = now.wall.as_seconds();
        self.idle_at = now.monotonic + lifetimes.idle;
        self.stored_at = now.monotonic;
    }

    /// Time of last use in seconds since the epoch.
    pub const fn used_seconds(&self) -> i64 {
        self.used_seconds
    }
}
