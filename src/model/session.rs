//! Sealed sessions and fingerprints as they are stored.

/// Whether a text can be the RFC 7638 thumbprint of a key: 32 bytes in base64url without padding, so 43 characters.
#[must_use]
pub fn is_thumbprint(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// One row of `gorgone_identity`: a session of the external socket that survives our restart. Holds keys: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// The peer's ZeroMQ routing id.
    pub routing_id: Vec<u8>,
    /// When the session (its current key) was made, seconds since the epoch.
    pub created: i64,
    /// When the session was last used, seconds since the epoch.
    pub used: i64,
    /// AES key.
    pub key: Vec<u8>,
    /// AES initialisation vector.
    pub iv: Vec<u8>,
    /// The key before the last rotation.
    pub old_key: Option<Vec<u8>>,
    /// The vector before the last rotation.
    pub old_iv: Option<Vec<u8>>,
}
