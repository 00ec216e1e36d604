//! The state of `stheno keys rotate`: a file of our own beside the database, which the running daemon reads at each
//! reload and in which it notes who knows the new key.
//!
//! Out of scope: writing the file (`edge`), and the key itself, which waits beside the private key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::key_rotation::Rotation;

/// Maximum size of the file in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationState {
    /// Thumbprint of the new key.
    pub key: String,
    /// When it is used at the latest, in seconds since 1970.
    pub switch_at: i64,
    /// Until when peers take both keys, in seconds since 1970.
    pub until: i64,
    /// Whether the new key is in use.
    #[serde(default)]
    pub done: bool,
    /// The peers, and what is known of each.
    #[serde(default)]
    pub peers: BTreeMap<String, String>,
}

impl RotationState {
    /// What is left to do.
    #[must_use]
    pub fn open(&self) -> Option<Rotation> {
        let Self { key, switch_at, until, .. } = self;
        (!self.done).then(|| Rotation { key: key.clone(), switch_at: *switch_at, until: *until })
    }
}

/// The file that belongs to a database.
#[must_use]
pub fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".rotation.json");
    name.into()
}

/// Reads the file; `None` if there is none.
///
/// # Errors
/// A sentence about a file that cannot be read.
pub fn read(path: &Path) -> Result<Option<RotationState>, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err("is too large".to_owned()),
        _ => {}
    }
    let text = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let state = serde_json::from_slice(&text);
    state.map(Some).map_err(|error| format!("is no file of 'stheno keys rotate' ({error}); remove it"))
}
