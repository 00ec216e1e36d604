//! Bearer tokens (RFC 6750 section 2.1), compared without telling by the time how much of one is right.

use ring::digest;

use super::basic_auth::are_equal;

/// A token, kept as a hash. No `Debug`.
pub struct BearerToken {
    digest: digest::Digest,
}

impl BearerToken {
    /// The token to wait for.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { digest: digest::digest(&digest::SHA256, token.as_bytes()) }
    }

    /// Whether the value of an `Authorization` header holds it.
    #[must_use]
    pub fn match_header(&self, value: &[u8]) -> bool {
        let Some((scheme, token)) = value.trim_ascii().split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ")
            && are_equal(digest::digest(&digest::SHA256, token.trim_ascii()), self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::BearerToken;

    #[test]
    fn only_the_right_token_in_the_right_place_matches() {
        let token = BearerToken::new("s3cret:x");
        for good in ["Bearer s3cret:x", " bearer   s3cret:x "] {
            assert!(token.match_header(good.as_bytes()), "{good}");
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
            assert!(!token.match_header(bad.as_bytes()), "{bad}");
        }
    }
}
