//! Password hashes in PHC form (`$argon2id$v=19$…`) by Argon2. One takes about 20 ms and 19 MiB on purpose, so it runs
//! on worker threads.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

/// Length of a salt in bytes.
pub const SALT_BYTES: usize = 16;

/// The hash of a password, to be written into a configuration.
///
/// # Errors
/// The password is longer than Argon2 takes (4 GiB).
pub fn hash(password: &[u8], salt: &[u8; SALT_BYTES]) -> Result<String, String> {
    let hash = Argon2::default().hash_password_with_salt(password, salt).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

/// Whether a password has this hash; `false` for a malformed hash.
#[must_use]
pub fn matches(password: &[u8], hash: &str) -> bool {
    Argon2::default().verify_password(password, hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_has_its_hash() {
        let hashed = hash("pässword".as_bytes(), &[7; SALT_BYTES]).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert!(matches("pässword".as_bytes(), &hashed));
        for wrong in ["", "password", "pässword "] {
            assert!(!matches(wrong.as_bytes(), &hashed), "{wrong}");
        }
        assert!(!matches(b"x", "no hash"));
        assert_ne!(hash(b"x", &[1; SALT_BYTES]), hash(b"x", &[2; SALT_BYTES]));
        // A hash made by the command line of the reference implementation.
        let theirs = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(matches(b"password", theirs));
    }
}
