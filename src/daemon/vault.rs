//! Secrets that a configuration waits for: asked for at a start, then by a thread of its own until the vault answers.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::vault::VaultReference;

/// Asks the vault that a file describes, and remembers what it says.
///
/// # Errors
/// Why it says nothing; never a secret.
#[cfg(feature = "centreon")]
pub fn look_up(file: &Path, references: &BTreeSet<VaultReference>) -> Result<(), String> {
    crate::edge::vault::look_up(file, references).map(crate::config::vault::remember)
}

/// This build cannot ask a vault.
///
/// # Errors
/// Always.
#[cfg(not(feature = "centreon"))]
pub fn look_up(_: &Path, _: &BTreeSet<VaultReference>) -> Result<(), String> {
    Err("this build asks no vault: it needs the feature 'centreon'".to_owned())
}
