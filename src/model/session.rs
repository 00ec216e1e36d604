//! Stored sealed sessions and fingerprints.

/// Whether a text has the form of an RFC 7638 thumbprint: 32 bytes in base64url without padding, which are 43
/// characters.
#[must_use]
pub fn is_thumbprint(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// A row of `gorgone_identity`: a session of the external socket that survives our restart. Holds keys: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// The peer's ZeroMQ routing id.
    pub routing_id: Vec<u8>,
    /// When the current key of the session was made, in seconds since the epoch.
    pub created: i64,
    /// When the session was last used, in seconds since the epoch.
    pub used: i64,
    /// AES key.
    pub key: Vec<u8>,
    /// AES initialisation vector.
    pub iv: Vec<u8>,
    /// The key before the last rotation.
    pub old_key: Option<Vec<u8>>,
    /// The vector before the last rotation.
    pub old_iv: Option<Vec<u8>>,
    /// RFC 7638 thumbprint of the peer's key; a session that the original made has none.
    pub thumbprint: Option<String>,
}
