//! The keys of a classic session: which the client certainly holds, which it may hold, and when the next one is due.
//!
//! A client is never deaf, because it always holds one of the two keys kept here: a key is replaced only after the
//! client has used it (`confirmed`), and a client that keeps using the old key gets the new one again, sealed with the
//! old one.

use std::time::Duration;

use crate::model::connection::ConnectionId;
use crate::model::session::StoredSession;
use crate::model::time::{Monotonic, Now};
use crate::wire::gorgone::envelope::begins_with_word;
use crate::wire::gorgone::key_exchange::encode_key;
use crate::wire::gorgone::sealing::{KeyMaterial, SessionKey};

use super::client_session::age;

/// How long after a new key was sent messages with the old key are normal, because they were on the way.
const IN_FLIGHT: Duration = Duration::from_secs(2);

/// The keys. No `Debug`.
pub(super) struct RotatingKeys {
    key: SessionKey,
    old: Option<OldKey>,
    confirmed: bool,
    created_seconds: i64,
    rotate_at: Option<Monotonic>,
}

struct OldKey {
    key: SessionKey,
    /// When and on which connection the new key was last sent; `None` if not since our start.
    new_key_sent: Option<(Monotonic, Option<ConnectionId>)>,
}

/// The kinds of payloads.
pub(super) enum Opened {
    /// A message sealed with the current key.
    Message(Vec<u8>),
    /// A message sealed with the previous key.
    UnderOldKey(Vec<u8>),
    /// Readable text that is sealed with one of the keys but is not a message.
    Text,
    /// Not opened by any key of this client.
    Foreign,
}

impl RotatingKeys {
    /// The first key of a session; `rotation` is the age at which it is replaced, `None` means never.
    pub fn new(material: KeyMaterial, rotation: Option<Duration>, now: Now) -> Self {
        Self {
            key: SessionKey::new(material),
            old: None,
            confirmed: false,
            created_seconds: now.wall.as_seconds(),
            rotate_at: rotation.map(|after| now.monotonic + after),
        }
    }

    /// The keys from the database; `None` if they are invalid.
    pub fn restore(stored: &StoredSession, rotation: Option<Duration>, now: Now) -> Option<Self> {
        let material = KeyMaterial::new(stored.key.clone(), &stored.iv)?;
        let old = match (&stored.old_key, &stored.old_iv) {
            (Some(key), Some(iv)) => KeyMaterial::new(key.clone(), iv),
            _ => None,
        };
        Some(Self {
            key: SessionKey::new(material),
            // Whether the client has the newest key is not stored, so the client must show it.
            confirmed: old.is_none(),
            old: old.map(|material| OldKey { key: SessionKey::new(material), new_key_sent: None }),
            created_seconds: stored.created,
            rotate_at: rotation.map(|after| now.monotonic + after.saturating_sub(age(stored.created, now))),
        })
    }

    /// The row of the database for a session with these keys.
    pub fn to_stored(&self, routing_id: &[u8], used: i64, thumbprint: Option<String>) -> StoredSession {
        let material = self.key.material();
        let old = self.old.as_ref().map(|old| old.key.material());
        StoredSession {
            routing_id: routing_id.to_vec(),
            created: self.created_seconds,
            used,
            key: material.key().to_vec(),
            iv: material.iv().to_vec(),
            old_key: old.map(|material| material.key().to_vec()),
            old_iv: old.map(|material| material.iv().to_vec()),
            thumbprint,
        }
    }

    /// The current key, to be taken over by an older session of the same client.
    pub fn into_material(self) -> KeyMaterial {
        self.key.material().clone()
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

    /// Notes that the client used the current key. Returns whether this is the first time.
    pub const fn confirm(&mut self) -> bool {
        !std::mem::replace(&mut self.confirmed, true)
    }

    /// The new key again, sealed with the old one, for a client that still uses the old one; `None` while that is
    /// normal.
    pub fn remind(&mut self, connection: Option<ConnectionId>, hostname: &str, now: Now) -> Option<Vec<u8>> {
        let old = self.old.as_mut()?;
        // What was sent on a connection that has broken since is probably lost.
        if old.new_key_sent.is_some_and(|(at, on)| on == connection && now.monotonic.since(at) < IN_FLIGHT) {
            return None;
        }
        old.new_key_sent = Some((now.monotonic, connection));
        Some(old.key.seal(&encode_key(self.key.material(), hostname, usize::MAX)))
    }

    /// When the key is due to be replaced; `None` while the client has not shown that it holds it.
    pub fn due_at(&self) -> Option<Monotonic> {
        self.rotate_at.filter(|_| self.confirmed)
    }

    /// Replaces the key by a rotation. Returns the `[KEY]` for the client, sealed with the key that it holds.
    pub fn rotate(
        &mut self,
        material: KeyMaterial,
        connection: Option<ConnectionId>,
        hostname: &str,
        rotation: Option<Duration>,
        now: Now,
    ) -> Vec<u8> {
        let payload = self.key.seal(&encode_key(&material, hostname, usize::MAX));
        self.replace(material, connection, rotation, now);
        payload
    }

    /// Replaces the key after another handshake of the same client. The last key that it used stays valid, so that a
    /// handshake replayed by somebody else on its routing id does not make it deaf.
    pub fn replace(
        &mut self,
        material: KeyMaterial,
        connection: Option<ConnectionId>,
        rotation: Option<Duration>,
        now: Now,
    ) {
        let before = std::mem::replace(&mut self.key, SessionKey::new(material));
        if self.confirmed {
            self.old = Some(OldKey { key: before, new_key_sent: Some((now.monotonic, connection)) });
        }
        self.confirmed = false;
        self.created_seconds = now.wall.as_seconds();
        self.rotate_at = rotation.map(|after| now.monotonic + after);
    }
}

/// Whether plain text is valid UTF-8 without control characters, which a wrong key does not produce. One wrong key in
/// 256 passes the padding check, so this distinguishes a client that sends nonsense from one whose key we have lost.
fn is_readable(plain: &[u8]) -> bool {
    std::str::from_utf8(plain).is_ok_and(|text| !text.chars().any(|c| c.is_control() && !c.is_whitespace()))
}
