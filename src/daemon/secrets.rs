//! Hashes of passwords and tokens for a configuration, as `stheno keys` prints them.

use crate::model::random::{Random, to_hex};
use crate::wire::http::bearer_auth::TokenHash;
use crate::wire::http::password_hash::{self, SALT_BYTES};

/// Returns the hash of a password for `password_hash` of an API user. Takes about 20 ms.
///
/// # Errors
/// The password is empty or too long.
pub fn hash_password(password: &[u8], random: &mut dyn Random) -> Result<String, String> {
    if password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt);
    password_hash::hash(password, &salt)
}

/// Number of random bytes of a new token.
const TOKEN_BYTES: usize = 32;

/// Returns the hash of a token for `hash` of `tokens` of the proxy's `httpserver`. It is a fast, unsalted hash, because
/// tokens are random and long.
///
/// # Errors
/// The token is empty, or contains characters that no header can carry.
pub fn hash_token(token: &[u8]) -> Result<String, String> {
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(
            "the token is empty or holds other characters than visible ASCII without spaces, so no HTTP header \
                    can carry it; 'stheno keys new-token' makes one"
                .to_owned(),
        );
    }
    Ok(to_hex(TokenHash::of(token).as_bytes()))
}

pub fn new_token(random: &mut dyn Random) -> String {
    let mut bytes = [0; TOKEN_BYTES];
    random.fill(&mut bytes);
    to_hex(&bytes)
}
