//! Secrets that a configuration needs from the vault: queried at the start, and then by a separate thread until the
//! vault answers.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::vault::VaultReference;

/// Queries the vault that `file` describes, and remembers the secrets.
///
/// # Errors
/// Says why the secrets cannot be read; never contains a secret.
#[cfg(feature = "centreon")]
pub fn look_up(file: &Path, references: &BTreeSet<VaultReference>) -> Result<(), String> {
    crate::edge::vault::look_up(file, references).map(crate::config::vault::remember)
}

/// Fails, because this build has no support for a vault.
///
/// # Errors
/// Always fails.
#[cfg(not(feature = "centreon"))]
pub fn look_up(_: &Path, _: &BTreeSet<VaultReference>) -> Result<(), String> {
    Err("this build asks no vault: it needs the feature 'centreon'".to_owned())
}
