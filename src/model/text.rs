//! Text of peers: bytes that should be UTF-8, and JSON escapes that a Perl daemon cannot read (docs/protocol.md section
//! 1).

use std::borrow::Cow;

/// Decodes `bytes` as UTF-8. Each byte that is not part of valid UTF-8 is read as Latin-1.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len().saturating_add(bytes.len() / 2));
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().map(char::from));
    }
    Cow::Owned(text)
}

/// Undoes an encoding to UTF-8 that was done twice (`cafÃ©` for `café`), as a Perl daemon does it to a row that has
/// letters in its command. Borrows a text that is not the UTF-8 of UTF-8 as a whole.
#[must_use]
pub fn without_double_encoding(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(letter).ok()).collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(once)) => Cow::Owned(once),
        _ => Cow::Borrowed(text),
    }
}

/// `text` in quotes, cut after 60 characters, control characters escaped: a value as a message shows it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("'{shown}'")
}

/// Replaces JSON escapes of characters outside ASCII (`\u20ac`, also surrogate pairs) by the characters. Borrows a text
/// without any. Half a surrogate pair becomes U+FFFD.
///
/// A Perl daemon reads such an escape as one wide character and exits. The UTF-8 of the character passes through it.
#[must_use]
pub fn without_escaped_letters(json: &str) -> Cow<'_, str> {
    let mut plain = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        let start = at.saturating_add(found);
        let Some((letter, len)) = json.get(start..).and_then(escaped_letter) else {
            // The character after the backslash belongs to it.
            at = start.saturating_add(2).min(json.len());
            while !json.is_char_boundary(at) {
                at = at.saturating_add(1);
            }
            continue;
        };
        plain.push_str(json.get(copied..start).unwrap_or_default());
        plain.push(letter);
        at = start.saturating_add(len);
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    plain.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(plain)
}

/// The character outside ASCII of the escape at the start of `text`, and the length of the escape in bytes.
fn escaped_letter(text: &str) -> Option<(char, usize)> {
    let first = code_unit(text)?;
    if first < 0x80 {
        return None;
    }
    let second = text.get(6..).and_then(code_unit);
    let pair = [first, second.unwrap_or_default()];
    let mut letters = char::decode_utf16(pair);
    match letters.next()? {
        Ok(letter) if letter.len_utf16() == 2 => Some((letter, 12)),
        Ok(letter) => Some((letter, 6)),
        Err(_) => Some((char::REPLACEMENT_CHARACTER, 6)),
    }
}

/// The number in `\uXXXX` at the start of `text`.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if are_digits { u16::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_invalid_byte_is_latin1_and_valid_sequences_beside_it_stay() {
        for (bytes, expected) in [
            (&b"caf\xe9"[..], "café"),
            (b"caf\xe9 \xc3\xa9\xe2\x82\xac", "café é€"),
            (b"\xe2\x82 \xf0\x9f\x98\x80\xff", "â\u{82} 😀ÿ"),
            (b"\xc3\xa9\xe9\xc3\xa9", "éééé".get(..6).unwrap()),
            (b"plain", "plain"),
        ] {
            assert_eq!(from_bytes(bytes), expected, "{bytes:?}");
        }
        assert!(matches!(from_bytes("é".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn escapes_of_letters_become_the_letters_and_all_other_escapes_stay() {
        for (json, expected) in [
            (r#""echo \u20ac""#, r#""echo €""#),
            (r#""\ud83d\ude00 \uD83D\uDE00x""#, r#""😀 😀x""#),
            (r#""caf\u00e9""#, r#""café""#),
            (r#""\ud83d \ude00 \ud83d\u0041 \ud83d\ud83d\ude00""#, "\"\u{fffd} \u{fffd} \u{fffd}\\u0041 \u{fffd}😀\""),
            (r#""\\u20ac \\\u20ac \" \n \u0000\u001f\u007f \u20a""#, r#""\\u20ac \\€ \" \n \u0000\u001f\u007f \u20a""#),
            ("\"\\é\\u20ac\\", "\"\\é€\\"),
            (r#""€""#, r#""€""#),
        ] {
            assert_eq!(without_escaped_letters(json), expected, "{json}");
        }
        assert!(matches!(without_escaped_letters(r#"{"a":"\n\\u20ac"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn the_value_stays_the_same() {
        let json = r#"{"a\u20ac":["\ud83d\ude00\"\\","\u00e9\\\\u20ac"],"b":1}"#;
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&without_escaped_letters(json)).unwrap(), value);
    }
}
