//! Hashes of passwords and tokens for a configuration, as `stheno keys hash-password` and `keys hash-token` print them.

use crate::model::random::Random;
use crate::wire::http::bearer_auth;
use crate::wire::http::password_hash::{self, SALT_BYTES};

/// The hash of a password for `password_hash` of an API user. Takes some 20 ms.
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

/// The hash of a token for `hash` of a pullwss token.
///
/// # Errors
/// The token is shorter than 16 characters, so that it could be guessed, or cannot travel in a header.
pub fn hash_token(token: &[u8]) -> Result<String, String> {
    if token.len() < 16 || !token.iter().all(u8::is_ascii_graphic) {
        let advice = "'openssl rand -hex 32' makes one";
        return Err(format!("a token has at least 16 visible ASCII characters without spaces; {advice}"));
    }
    Ok(bearer_auth::token_hash(token))
}
