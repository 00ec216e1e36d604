//! Hashes of passwords for a configuration, as `stheno keys hash-password` prints them.

use crate::model::random::Random;
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
