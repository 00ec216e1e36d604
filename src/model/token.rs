//! The id of one request in every daemon.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::random::{Random, to_hex};

/// A valid token: 1 to 255 characters of `[A-Za-z0-9:_.-]` (docs/protocol.md section 1). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(Arc<str>);

/// The error of an invalid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidToken;

impl fmt::Display for InvalidToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("invalid token: use 1 to 255 of the characters A-Z a-z 0-9 : _ . -")
    }
}

impl Token {
    /// Maximum length of a token in characters.
    pub const MAX_LEN: usize = 255;

    /// Checks a caller's token.
    ///
    /// # Errors
    /// [`InvalidToken`] if it is empty, too long or holds any other character.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let valid = !text.is_empty()
            && text.len() <= Self::MAX_LEN
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.' | b'-'));
        if valid { Ok(Self(text.into())) } else { Err(InvalidToken) }
    }

    /// A new token: 64 random bytes as 128 hexadecimal digits.
    #[must_use]
    pub fn generate(random: &mut dyn Random) -> Self {
        let mut bytes = [0_u8; 64];
        random.fill(&mut bytes);
        Self(to_hex(&bytes).into())
    }

    /// A number that tells tokens apart: the first bytes of their SHA-256.
    #[must_use]
    pub fn digest(&self) -> i64 {
        digest_of(&self.0)
    }

    /// The token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns [`Token::digest`] of a text that may be a token.
#[must_use]
pub fn digest_of(token: &str) -> i64 {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

impl Borrow<str> for Token {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_only_characters_that_are_safe_in_file_names() {
        assert!(Token::parse("tok-1:a_b.c").is_ok());
        for bad in ["", "../x", "a b", "a\nb", "é", &"x".repeat(256)] {
            assert_eq!(Token::parse(bad), Err(InvalidToken), "{bad:?}");
        }
    }
}
