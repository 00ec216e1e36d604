//! Base64 (RFC 4648 section 4) for copies, which encode and decode many bytes twice. It uses the processor's vector
//! instructions and is at least five times as fast as the crate `base64`, which is used for small texts.
//!
//! Out of scope: other alphabets, white space, and text without padding.

use base64_simd::{AppendBase64Encode, STANDARD};

/// Length of the base64 text of a number of bytes, including padding.
#[must_use]
pub const fn encoded_len(len_bytes: usize) -> usize {
    len_bytes.div_ceil(3).saturating_mul(4)
}

/// Appends the text of `bytes`, with its padding.
pub fn push(bytes: &[u8], text: &mut impl AppendBase64Encode) {
    STANDARD.encode_append(bytes, text);
}

/// Decodes a text with its padding; `None` for any other text.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode_to_vec(text).ok()
}

/// Appends what a text with its padding stands for. Returns `false`, and appends nothing, for any other text.
pub fn decode_onto(text: &[u8], bytes: &mut Vec<u8>) -> bool {
    STANDARD.decode_append(text, bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn it_is_what_others_make_of_the_same_bytes_at_every_length() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in (0..100).chain(3060..3090).chain([6143, 6144, 6145, 19_999, 20_000]) {
            let expected = STANDARD.encode(&bytes[..len]);
            let mut text = String::from("before");
            push(&bytes[..len], &mut text);
            assert_eq!(text.strip_prefix("before"), Some(expected.as_str()), "{len}");
            assert_eq!(encoded_len(len), expected.len());
            assert_eq!(decode(expected.as_bytes()).as_deref(), Some(&bytes[..len]));
        }
    }

    #[test]
    fn what_is_no_such_text_is_refused_as_by_others() {
        let long = STANDARD.encode([7; 90]);
        for (place, byte) in [(0, b'='), (3, b'-'), (60, b'\n'), (61, b' '), (100, 0), (119, b'_'), (119, 0xff)] {
            let mut text = long.clone().into_bytes();
            text[place] = byte;
            assert_eq!(decode(&text), None, "{place} {byte}");
            assert!(STANDARD.decode(&text).is_err());
        }
        for text in ["A", "AA", "AAA", "AB==", "AAB=", "A===", "=", "====", "AA=A", "AAAA=", "AA==AAAA"] {
            assert_eq!(decode(text.as_bytes()), STANDARD.decode(text).ok(), "{text}");
        }
    }
}
