//! `keys generate`, `keys thumbprint`, `keys hash-password`, `keys forget` and `keys trust`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;
use std::process::ExitCode;

use super::remote::Remote;
use super::{fail, say};
use crate::daemon::key_files::{self, PRIVATE_NAME, PUBLIC_NAME};
use crate::daemon::secrets;
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

/// Bytes of a secret that are read.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Prints the hash of a password that comes from standard input.
pub(super) fn hash_password() -> ExitCode {
    let input = std::io::stdin();
    if input.is_terminal() {
        // Not to standard output, where the hash alone goes.
        eprint!("Password: ");
    }
    let mut line = Vec::new();
    if let Err(error) = input.lock().take(MAX_SECRET_BYTES).read_until(b'\n', &mut line) {
        return fail(&format!("standard input cannot be read: {error}"));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    match secrets::hash_password(&line, &mut SystemRandom::new()) {
        Ok(hash) => say(&format!("{hash}\n")),
        Err(error) => fail(&error),
    }
}

/// Has the daemon of a configuration trust a key of a node, or forget the one that it knows; prints what it says.
pub(super) fn set_node_key(config: &Path, node: u64, thumbprint: Option<&str>) -> ExitCode {
    match Remote::of_config(config).and_then(|remote| remote.set_node_key(node, thumbprint)) {
        Ok(text) => say(&format!("{text}\n")),
        Err(text) => fail(&text),
    }
}
