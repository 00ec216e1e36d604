//! `keys generate`, `thumbprint`, `hash-password`, `hash-token`, `new-token`, `forget` and `trust`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;
use std::process::ExitCode;

use super::remote::Remote;
use super::{fail, say};
use crate::daemon::key_files::{self, PRIVATE_NAME, PUBLIC_NAME};
use crate::daemon::secrets;
use crate::edge::random::SystemRandom;

/// Generates a pair in `directory` and prints the files and the thumbprint.
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

/// Maximum number of bytes read of a secret.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Minimum length of a token of hex digits for which an unsalted hash is safe.
const SAFE_TOKEN: usize = 20;

/// Prints the hash of a password read from standard input.
pub(super) fn hash_password() -> ExitCode {
    print_hash_of("Password", |line| secrets::hash_password(line, &mut SystemRandom::new()))
}

/// Prints the hash of a token read from standard input.
pub(super) fn hash_token() -> ExitCode {
    print_hash_of("Token", |line| {
        let hash = secrets::hash_token(line)?;
        if line.len() < SAFE_TOKEN {
            eprintln!(
                "stheno: warning: a token of {} characters can be guessed from its hash; 'stheno keys new-token' \
                 makes a long random one",
                line.len()
            );
        }
        Ok(hash)
    })
}

/// Generates a token and prints it with its hash.
pub(super) fn new_token() -> ExitCode {
    let token = secrets::new_token(&mut SystemRandom::new());
    match secrets::hash_token(token.as_bytes()) {
        Ok(hash) => say(&format!("token  {token}\nhash   {hash}\n")),
        Err(error) => fail(&error),
    }
}

/// Prints the hash of a line of standard input.
fn print_hash_of(what: &str, hash: impl FnOnce(&[u8]) -> Result<String, String>) -> ExitCode {
    let input = std::io::stdin();
    if input.is_terminal() {
        // The prompt goes to standard error, because standard output gets only the hash.
        eprint!("{what}: ");
    }
    let mut line = Vec::new();
    if let Err(error) = input.lock().take(MAX_SECRET_BYTES).read_until(b'\n', &mut line) {
        return fail(&format!("standard input cannot be read: {error}"));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    match hash(&line) {
        Ok(hash) => say(&format!("{hash}\n")),
        Err(error) => fail(&error),
    }
}

/// Makes the daemon of a configuration trust a key of a node, or forget the known one; prints the daemon's answer.
pub(super) fn set_node_key(config: &Path, node: u64, thumbprint: Option<&str>) -> ExitCode {
    match Remote::of_config(config).and_then(|remote| remote.set_node_key(node, thumbprint)) {
        Ok(text) => say(&format!("{text}\n")),
        Err(text) => fail(&text),
    }
}
