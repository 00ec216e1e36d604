//! Sealed sessions and fingerprints as they are stored.

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
