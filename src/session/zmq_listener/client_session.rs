//! The keys of one client: which it certainly holds, which it may hold, and when the next one is due.
//!
//! A client is never deaf, because it always holds one of the two keys kept here: a key is replaced only after the
//! client has used it (`confirmed`), and a client that keeps using the old key gets the new one again, sealed with the
//! old one.

use std::sync::Arc;
use std::time::Duration;

use crate::model::connection::ConnectionId;
use crate::model::session::StoredSession;
use crate::model::time::{Monotonic, Now};
use crate::wire::gorgone::envelope::begins_with_word;
use crate::wire::gorgone::key_exchange::encode_key;
use crate::wire::gorgone::sealing::{KeyMaterial, SessionKey};

/// How long after a new key was sent messages with the old key are normal, because they were on the way.
const IN_FLIGHT: Duration = Duration::from_secs(2);
/// Minimum interval between stores of the time of last use.
const STORE_USE_EVERY: Duration = Duration::from_secs(60);

/// One client's session. No `Debug`: it holds keys.
pub struct ClientSession {
    /// Its routing id.
    pub routing_id: Arc<[u8]>,
    /// Its current connection.
    pub connection: Option<ConnectionId>,
    /// Thumbprint of its RSA key; unknown for a session that the original stored.
    pub thumbprint: Option<String>,
    key: SessionKey,
    old: Option<OldKey>,
    confirmed: bool,
    created_seconds: i64,
    used_seconds: i64,
    stored_at: Monotonic,
    /// When it is dropped if not used before.
    pub idle_at: Monotonic,
    rotate_at: Option<Monotonic>,
    /// Its entry in the listener's timers.
    pub deadline: Option<Monotonic>,
}

struct OldKey {
    key: SessionKey,
    /// When and on which connection the new key was last sent; `None` if not since our start.
    new_key_sent: Option<(Monotonic, Option<ConnectionId>)>,
}

/// Lifetimes of a session.
#[derive(Clone, Copy)]
pub struct Lifetimes {
    /// Age at which a key is replaced; `None` means never.
    pub rotation: Option<Duration>,
    /// Time without use after which a session is dropped.
    pub idle: Duration,
}

/// The kinds of payloads.
pub enum Opened {
    /// A message sealed with the current key.
    Message(Vec<u8>),
    /// A message sealed with the previous key.
    UnderOldKey(Vec<u8>),
    /// Readable text that is sealed with one of the keys but is not a message.
    Text,
    /// Not opened by any key of this client.
    Foreign,
}

impl ClientSession {
    /// A newly agreed session.
    pub fn new(
        routing_id: Arc<[u8]>,
        thumbprint: String,
        material: KeyMaterial,
        lifetimes: Lifetimes,
        now: Now,
    ) -> Self {
        Self {
            routing_id,
            connection: None,
            thumbprint: Some(thumbprint),
            key: SessionKey::new(material),
            old: None,
            confirmed: false,
            created_seconds: now.wall.as_seconds(),
            used_seconds: now.wall.as_seconds(),
            stored_at: now.monotonic,
            idle_at: now.monotonic + lifetimes.idle,
            rotate_at: lifetimes.rotation.map(|after| now.monotonic + after),
            deadline: None,
        }
    }

    /// A session from the database; `None` if it is too old or its keys are invalid.
    pub fn restore(stored: &StoredSession, lifetimes: Lifetimes, now: Now) -> Option<Self> {
        // A clock that was set back gives negative ages, which count as zero.
        let age =
            |since: i64| Duration::from_secs(u64::try_from(now.wall.as_seconds().saturating_sub(since)).unwrap_or(0));
        let idle_left = lifetimes.idle.checked_sub(age(stored.used)).filter(|left| !left.is_zero())?;
        let material = KeyMaterial::new(stored.key.clone(), &stored.iv)?;
        let old = match (&stored.old_key, &stored.old_iv) {
            (Some(key), Some(iv)) => KeyMaterial::new(key.clone(), iv),
            _ => None,
        };
        Some(Self {
            routing_id: stored.routing_id.as_slice().into(),
            connection: None,
            thumbprint: stored.thumbprint.clone(),
            key: SessionKey::new(material),
            // Whether the client has the newest key is not stored, so the client must show it.
            confirmed: old.is_none(),
            old: old.map(|material| OldKey { key: SessionKey::new(material), new_key_sent: None }),
            created_seconds: stored.created,
            used_seconds: stored.used,
            stored_at: now.monotonic,
            idle_at: now.monotonic + idle_left,
            rotate_at: lifetimes.rotation.map(|after| now.monotonic + after.saturating_sub(age(stored.created))),
            deadline: None,
        })
    }

    /// The row of the database.
    pub fn to_stored(&self) -> StoredSession {
        let material = self.key.material();
        let old = self.old.as_ref().map(|old| old.key.material());
        StoredSession {
            routing_id: self.routing_id.to_vec(),
            created: self.created_seconds,
            used: self.used_seconds,
            key: material.key().to_vec(),
            iv: material.iv().to_vec(),
            old_key: old.map(|material| material.key().to_vec()),
            old_iv: old.map(|material| material.iv().to_vec()),
            thumbprint: self.thumbprint.clone(),
        }
    }

    /// Seals plain text under the current key.
    pub fn seal(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.key.seal_parts(parts)
    }

    /// Opens what the client sent.
    pub fn open(&self, payload: &[u8]) -> Opened {
        let plain = self.key.open(payload);
        if let Some(plain) = plain {
            if begins_with_word(&plain) {
                return Opened::Message(plain);
            }
            if is_readable(&plain) {
                return Opened::Text;
            }
        }
        match self.old.as_ref().and_then(|old| old.key.open(payload)) {
            Some(plain) if begins_with_word(&plain) => Opened::UnderOldKey(plain),
            Some(plain) if is_readable(&plain) => Opened::Text,
            _ => Opened::Foreign,
        }
    }

    /// The row to store so that the session does not count as unused since `used_before`; `None` if the stored row is
    /// new enough.
    pub fn kept(&self, used_before: i64) -> Option<StoredSession> {
        // The stored time may be older than the last use by this interval.
        let is_late = self.used_seconds < used_before.saturating_add(STORE_USE_EVERY.as_secs().cast_signed());
        is_late.then(|| StoredSession { used: self.used_seconds.max(used_before), ..self.to_stored() })
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
    pub fn confirm(&mut self) -> bool {
        !std::mem::replace(&mut self.confirmed, true)
    }

    /// The new key again, sealed with the old one, for a client that still uses the old one; `None` while that is
    /// normal.
    pub fn remind_of_key(&mut self, hostname: &str, now: Now) -> Option<Vec<u8>> {
        let old = self.old.as_mut()?;
        let connection = self.connection;
        // What was sent on a connection that has broken since is probably lost.
        if old.new_key_sent.is_some_and(|(at, on)| on == connection && now.monotonic.since(at) < IN_FLIGHT) {
            return None;
        }
        old.new_key_sent = Some((now.monotonic, connection));
        Some(old.key.seal(&encode_key(self.key.material(), hostname, usize::MAX)))
    }

    /// When this session needs attention: to be dropped, or to be rotated if it is connected and the client has shown
    /// that it holds the current key.
    pub fn next_deadline(&self) -> Monotonic {
        match self.rotate_at {
            Some(at) if self.may_rotate() => at.min(self.idle_at),
            _ => self.idle_at,
        }
    }

    /// Whether the key is old enough and may be replaced now.
    pub fn is_rotation_due(&self, now: Now) -> bool {
        self.may_rotate() && self.rotate_at.is_some_and(|at| at <= now.monotonic)
    }

    const fn may_rotate(&self) -> bool {
        self.confirmed && self.connection.is_some()
    }

    /// Replaces the key by a rotation. Returns the `[KEY]` for the client, sealed with the key that it holds.
    pub fn rotate(&mut self, material: KeyMaterial, hostname: &str, lifetimes: Lifetimes, now: Now) -> Vec<u8> {
        let payload = self.key.seal(&encode_key(&material, hostname, usize::MAX));
        self.replace_key(material, lifetimes, now);
        payload
    }

    /// Replaces the key after another handshake of the same client. The last key that it used stays valid, so that a
    /// handshake replayed by somebody else on its routing id does not make it deaf.
    pub fn replace_key(&mut self, material: KeyMaterial, lifetimes: Lifetimes, now: Now) {
        let before = std::mem::replace(&mut self.key, SessionKey::new(material));
        if self.confirmed {
            self.old = Some(OldKey { key: before, new_key_sent: Some((now.monotonic, self.connection)) });
        }
        self.confirmed = false;
        self.created_seconds = now.wall.as_seconds();
        self.used_seconds = now.wall.as_seconds();
        self.idle_at = now.monotonic + lifetimes.idle;
        self.stored_at = now.monotonic;
        self.rotate_at = lifetimes.rotation.map(|after| now.monotonic + after);
    }

    /// Time of last use in seconds since the epoch.
    pub const fn used_seconds(&self) -> i64 {
        self.used_seconds
    }
}

/// Whether plain text is valid UTF-8 without control characters, which a wrong key does not produce. One wrong key in
/// 256 passes the padding check, so this distinguishes a client that sends nonsense from one whose key we have lost.
fn is_readable(plain: &[u8]) -> bool {
    std::str::from_utf8(plain).is_ok_and(|text| !text.chars().any(|c| c.is_control() && !c.is_whitespace()))
}
