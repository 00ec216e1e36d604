//! `keys generate` and `keys thumbprint`.

use std::path::Path;
use std::process::ExitCode;

use super::{fail, say};
use crate::daemon::key_files::{self, PRIVATE_NAME, PUBLIC_NAME};
use crate::edge::random::SystemRandom;

/// Makes a pair in `directory` and prints what it made.
pub(super) fn generate(directory: &Path, bits: usize) -> ExitCode {
    match key_files::generate_in(directory, bits, &mut SystemRandom::new()) {
        Ok(thumbprint) => say(&format!(
            "private key  {}\npublic key   {}\nthumbprint   {thumbprint}\n",
            directory.join(PRIVATE_NAME).display(),
            directory.join(PUBLIC_NAME).display()
        )),
        Err(error) => fail(&error.to_string()),
    }
}

/// Prints the thumbprint of a key and nothing else, so that a script can use it.
pub(super) fn thumbprint(file: &Path) -> ExitCode {
    match key_files::thumbprint_of(file) {
        Ok(thumbprint) => say(&format!("{thumbprint}\n")),
        Err(error) => fail(&error.to_string()),
    }
}
