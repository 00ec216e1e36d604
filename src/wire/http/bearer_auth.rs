//! Bearer tokens (RFC 6750 section 2.1), compared in constant time.

use ring::digest::{SHA256, digest};

/// The SHA-256 of a token. No `Debug`.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(digest(&SHA256, token).as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// The hash from a configuration.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn is(self, other: Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |sum, (left, right)| sum | (left ^ right)) == 0
    }
}

/// The token in the value of an `Authorization` header.
#[must_use]
pub fn read(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.trim_ascii().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::{TokenHash, read};

    #[test]
    fn only_the_right_token_in_the_right_place_matches() {
        let token = TokenHash::of(b"s3cret:x");
        let matches = |value: &str| read(value.as_bytes()).is_some_and(|value| token.is(TokenHash::of(value)));
        for good in ["Bearer s3cret:x", " bearer   s3cret:x "] {
            assert!(matches(good), "{good}");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "s3cret:x",
            "Bearers3cret:x",
            "Basic s3cret:x",
            "Bearer s3cret:xx",
            "Bearer s3cret:",
        ] {
            assert!(!matches(bad), "{bad}");
        }
    }
}
