//! Basic credentials (RFC 7617), compared in constant time.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::digest;

/// Some clients omit the padding.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user and a password, kept as a hash. No `Debug`.
pub struct BasicCredentials {
    digest: digest::Digest,
}

impl BasicCredentials {
    /// The expected credentials. A user name cannot contain a colon (RFC 7617 section 2).
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self { digest: digest::digest(&digest::SHA256, format!("{user}:{password}").as_bytes()) }
    }

    /// Whether the value of an `Authorization` header holds these credentials.
    #[must_use]
    pub fn match_header(&self, value: &[u8]) -> bool {
        let Some((scheme, encoded)) = value.split_at_checked(6) else { return false };
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return false;
        }
        let Ok(decoded) = ENGINE.decode(encoded.trim_ascii()) else { return false };
        are_equal(digest::digest(&digest::SHA256, &decoded), self.digest)
    }
}

/// The user and the password in the value of an `Authorization` header.
#[must_use]
pub fn read(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    let mut user = ENGINE.decode(encoded.trim_ascii()).ok().filter(|_| scheme.eq_ignore_ascii_case(b"basic "))?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon.saturating_add(1));
    user.truncate(colon);
    Some((user, password))
}

/// Compares digests in constant time.
pub(super) fn are_equal(left: digest::Digest, right: digest::Digest) -> bool {
    left.as_ref().iter().zip(right.as_ref()).fold(0, |sum, (left, right)| sum | (left ^ right)) == 0
}

#[cfg(test)]
mod tests {
    use super::BasicCredentials;

    #[test]
    fn only_the_right_user_and_password_match() {
        let credentials = BasicCredentials::new("Aladdin", "open sesame");
        for good in ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "bAsIc  QWxhZGRpbjpvcGVuIHNlc2FtZQ"] {
            assert!(credentials.match_header(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "Basic",
            "Basic ",
            "Basic !",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZTI=",
            "Basic Og==",
        ] {
            assert!(!credentials.match_header(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn credentials_are_utf_8() {
        // The text is é:€
        assert!(BasicCredentials::new("é", "€").match_header(b"Basic w6k64oKs"));
    }
}
