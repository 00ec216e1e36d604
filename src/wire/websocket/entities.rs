//! HTML character references, in which Gorgone nodes write their text messages (docs/protocol.md section 9).
//!
//! They are read as the HTML standard reads text outside attributes (section 13.2.5.72 and following): every named
//! reference, the old ones also without their semicolon, and every numeric one. Other text stays as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::entities_table::NAMED;
use crate::model::text::from_bytes;

/// Maximum length in bytes of a name that is valid without its semicolon.
const MAX_BARE_NAME_BYTES: usize = 6;
/// Maximum length of a name in bytes.
const MAX_NAME_BYTES: usize = 31;

/// Maximum number of times that a Perl node encodes the bytes of its text.
const MAX_LAYERS: usize = 3;

/// What the HTML standard reads the code points U+0080 to U+009F as (Windows-1252); 0 if unchanged.
const WINDOWS_1252: [u16; 32] = [
    0x20ac, 0, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0, 0x17d, 0, 0,
    0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0, 0x17e, 0x178,
];

/// The meaning of the numbers 128 to 159.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// Characters of Windows-1252, as in HTML.
    Html,
    /// Bytes, as a node writes them.
    Bytes,
}

/// Which characters [`encode`] writes as references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// `&`, `<`, `>`, `"`, `'` and everything that is not ASCII, as the original does.
    Usual,
    /// Only `&` and what is not ASCII. This is shorter, and every reader decodes it to the same text.
    Least,
}

/// Replaces the references in a text. Borrows a text without any. The result is never longer.
#[must_use]
pub fn decode(text: &str) -> Cow<'_, str> {
    decode_as(text, Numbers::Html)
}

fn decode_as(text: &str, numbers: Numbers) -> Cow<'_, str> {
    let Some(first) = text.find('&') else { return Cow::Borrowed(text) };
    let mut decoded = String::with_capacity(text.len());
    let (plain, mut rest) = text.split_at(first);
    decoded.push_str(plain);
    loop {
        // `rest` begins with an ampersand.
        let after = match read_reference(rest, numbers, &mut decoded) {
            Some(after) => after,
            None => {
                decoded.push('&');
                rest.get(1..).unwrap_or_default()
            }
        };
        let next = after.find('&').unwrap_or(after.len());
        let (plain, following) = after.split_at(next);
        decoded.push_str(plain);
        if following.is_empty() {
            return Cow::Owned(decoded);
        }
        rest = following;
    }
}

/// Decodes the text of a node's message: [`decode`], then joins the bytes of UTF-8 that the node wrote one by one.
///
/// A node writes each byte of its UTF-8 as a reference of its own (`&Atilde;&copy;` for `é`, `&acirc;&#130;&not;` for
/// `€`), a Perl node those of history rows even twice over. A byte that is no part of UTF-8 is a letter of Latin-1.
#[must_use]
pub fn decode_message(text: &str) -> Cow<'_, str> {
    let is_ours = has_decimal_bytes(text);
    let mut decoded = decode_as(text, Numbers::Bytes);
    if text.is_ascii() && !decoded.is_ascii() {
        for _ in 0..if is_ours { 1 } else { MAX_LAYERS } {
            let Some(joined) = join_bytes(&decoded) else { break };
            decoded = Cow::Owned(joined);
        }
    }
    if !is_ours && decoded.contains(|letter| windows_1252(letter).is_some()) {
        decoded = decoded.chars().map(|letter| windows_1252(letter).unwrap_or(letter)).collect();
    }
    decoded
}

/// Whether the numbers 160 to 255 stand in the text as decimal references: [`encode`] writes bytes so, and once; a Perl
/// node has a name for each of them.
fn has_decimal_bytes(text: &str) -> bool {
    text.match_indices("&#").any(|(at, _)| {
        let digits = text.get(at.saturating_add(2)..).and_then(|rest| rest.get(..4)).unwrap_or_default();
        digits.strip_suffix(';').and_then(|digits| digits.parse::<u8>().ok()).is_some_and(|number| number >= 160)
    })
}

/// The character of Windows-1252 that a control character from U+0080 to U+009F was meant to be.
fn windows_1252(letter: char) -> Option<char> {
    let mapped = WINDOWS_1252.get(usize::try_from(u32::from(letter).checked_sub(0x80)?).ok()?)?;
    if *mapped == 0 { None } else { char::from_u32(u32::from(*mapped)) }
}

/// The text with the letter for each sequence of characters that are the bytes of its UTF-8; `None` if there is none.
fn join_bytes(text: &str) -> Option<String> {
    let mut joined = String::with_capacity(text.len());
    let mut bytes = Vec::with_capacity(text.len());
    for letter in text.chars() {
        match u8::try_from(letter) {
            Ok(byte) => bytes.push(byte),
            Err(_) => {
                joined.push_str(&from_bytes(&bytes));
                bytes.clear();
                joined.push(letter);
            }
        }
    }
    joined.push_str(&from_bytes(&bytes));
    // A letter is shorter than its bytes written as characters.
    (joined.len() < text.len()).then_some(joined)
}

/// Writes references for the characters of `extent`. Borrows a text that needs none. What is not ASCII is written as
/// the bytes of its UTF-8, like a Perl node does: a Perl central exits on a character above U+00FF.
#[must_use]
pub fn encode(text: &str, extent: Extent) -> Cow<'_, str> {
    if text.bytes().all(|byte| reference(byte, extent) == Some("")) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(encoded_bytes(text, extent));
    for byte in text.bytes() {
        match reference(byte, extent) {
            Some("") => encoded.push(char::from(byte)),
            Some(named) => encoded.push_str(named),
            None => {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "&#{byte};");
            }
        }
    }
    Cow::Owned(encoded)
}

/// The length in bytes of the result of [`encode`].
#[must_use]
pub fn encoded_bytes(text: &str, extent: Extent) -> usize {
    // `&#`, three digits and `;`
    text.bytes().map(|byte| reference(byte, extent).map_or(6, |named| named.len().max(1))).sum()
}

/// The reference of a byte: empty if it needs none, `None` if it is written as a number.
const fn reference(byte: u8, extent: Extent) -> Option<&'static str> {
    match (byte, extent) {
        (b'&', _) => Some("&amp;"),
        (b'<', Extent::Usual) => Some("&lt;"),
        (b'>', Extent::Usual) => Some("&gt;"),
        (b'"', Extent::Usual) => Some("&quot;"),
        (b'\'', Extent::Usual) => Some("&#39;"),
        (0..=127, _) => Some(""),
        _ => None,
    }
}

/// Reads the reference at the start of `text`, appends its meaning and returns the rest; `None` if it is not a
/// reference.
fn read_reference<'a>(text: &'a str, numbers: Numbers, decoded: &mut String) -> Option<&'a str> {
    match text.as_bytes() {
        [_, b'#', b'x' | b'X', ..] => read_number(text.get(3..)?, 16, numbers, decoded),
        [_, b'#', ..] => read_number(text.get(2..)?, 10, numbers, decoded),
        _ => read_name(text.get(1..)?, decoded),
    }
}

fn read_number<'a>(text: &'a str, radix: u32, numbers: Numbers, decoded: &mut String) -> Option<&'a str> {
    let digit = |byte: u8| char::from(byte).to_digit(radix);
    let digits = text.bytes().take_while(|byte| digit(*byte).is_some()).count();
    if digits == 0 {
        return None;
    }
    let number = text
        .bytes()
        .take(digits)
        .filter_map(digit)
        .fold(0_u32, |number, digit| number.saturating_mul(radix).saturating_add(digit));
    let letter = if number == 0 { None } else { char::from_u32(number) };
    let letter = letter.unwrap_or(char::REPLACEMENT_CHARACTER);
    let mapped = if numbers == Numbers::Html { windows_1252(letter) } else { None };
    decoded.push(mapped.unwrap_or(letter));
    let after = text.get(digits..)?;
    Some(after.strip_prefix(';').unwrap_or(after))
}

fn read_name<'a>(text: &'a str, decoded: &mut String) -> Option<&'a str> {
    let letters = text.bytes().take(MAX_NAME_BYTES).take_while(u8::is_ascii_alphanumeric).count();
    let name = text.get(..letters)?;
    if let Some(letter) = usual(name).filter(|_| text.as_bytes().get(letters) == Some(&b';')) {
        decoded.push(letter);
        return text.get(letters.saturating_add(1)..);
    }
    if text.as_bytes().get(letters) == Some(&b';')
        && let Some(entry) = find(name)
    {
        entry.write(decoded);
        return text.get(letters.saturating_add(1)..);
    }
    // The longest beginning that is valid without a semicolon.
    for len in (2..=letters.min(MAX_BARE_NAME_BYTES)).rev() {
        if let Some(entry) = find(name.get(..len)?)
            && entry.is_bare
        {
            entry.write(decoded);
            return text.get(len..);
        }
    }
    None
}

/// The meaning of the names of which JSON is full, which are not looked up.
fn usual(name: &str) -> Option<char> {
    Some(match name {
        "quot" => '"',
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        _ => return None,
    })
}

/// The meaning of a name.
struct Entry {
    value: &'static str,
    is_bare: bool,
}

impl Entry {
    fn write(&self, decoded: &mut String) {
        let code_points = self.value.split('+').filter_map(|digits| u32::from_str_radix(digits, 16).ok());
        decoded.extend(code_points.filter_map(char::from_u32));
    }
}

/// Bisects the table by bytes, going from the middle back to the start of an entry.
fn find(name: &str) -> Option<Entry> {
    let (mut low, mut high) = (0, NAMED.len());
    while low < high {
        let middle = low.midpoint(high);
        let start = NAMED.get(low..middle)?.rfind(' ').map_or(low, |space| low.saturating_add(space).saturating_add(1));
        let end = start.saturating_add(NAMED.get(start..)?.find(' ')?);
        let entry = NAMED.get(start..end)?;
        let (entry_name, value) = entry.split_at(entry.find(['=', '~'])?);
        match entry_name.cmp(name) {
            std::cmp::Ordering::Less => low = end.saturating_add(1),
            std::cmp::Ordering::Greater => high = start,
            std::cmp::Ordering::Equal => {
                return Some(Entry { value: value.get(1..)?, is_bare: value.starts_with('~') });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_an_ampersand_is_borrowed() {
        assert!(matches!(decode("[PONG] [] [] {\"é\":1;}"), Cow::Borrowed(_)));
        assert!(matches!(encode("[PING] [] [] {}", Extent::Usual), Cow::Borrowed(_)));
    }

    #[test]
    fn every_name_of_the_table_is_found_and_is_in_order() {
        let entries: Vec<&str> = NAMED.split_terminator(' ').collect();
        assert_eq!(entries.len(), 2125);
        let mut before = "";
        let mut bare = 0;
        for entry in entries {
            let (name, value) = entry.split_at(entry.find(['=', '~']).unwrap());
            assert!(before < name, "{name}");
            assert!(name.len() <= MAX_NAME_BYTES, "{name}");
            before = name;
            let expected: String = value[1..]
                .split('+')
                .map(|digits| char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap())
                .collect();
            assert_eq!(decode(&format!("<&{name};>")), format!("<{expected}>"), "{name}");
            if value.starts_with('~') {
                bare += 1;
                assert!(name.len() <= MAX_BARE_NAME_BYTES, "{name}");
                assert_eq!(decode(&format!("&{name} ")), format!("{expected} "), "{name}");
            }
        }
        assert_eq!(bare, 106);
    }

    #[test]
    fn references_are_read_as_html_reads_them() {
        for (text, expected) in [
            ("[PONG] [] [] {&quot;a&quot;:&#39;&lt;&gt;&amp;&#39;}", "[PONG] [] [] {\"a\":'<>&'}"),
            ("&amp;quot;", "&quot;"),
            ("&eacute;&#233;&#xE9;&#XE9&#233", "ééééé"),
            ("&NotEqualTilde;", "\u{2242}\u{338}"),
            ("&#128;&#x80;&#129;&#150;&#159;", "€€\u{81}–Ÿ"),
            ("&#0;&#xD800;&#x110000;&#99999999999999999999;", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("&copyright &notit; &notin;", "©right ¬it; ∉"),
            ("&ampamp;", "&amp;"),
            (
                "&CounterClockwiseContourIntegral;&CounterClockwiseContourIntegralX;",
                "∳&CounterClockwiseContourIntegralX;",
            ),
            ("a & b && &; &# &#; &#x; &#xg; &nosuch; &é; &", "a & b && &; &# &#; &#x; &#xg; &nosuch; &é; &"),
        ] {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn the_bytes_that_a_perl_node_wrote_one_by_one_are_joined() {
        for (text, expected) in [
            ("&quot;&Atilde;&copy;&acirc;&#x82;&not; &amp;&#39;", "\"é€ &'"),
            ("caf&Atilde;&copy;", "café"),
            ("&acirc;&#130;&not;", "€"),
            ("&aelig;&#151;&yen;&aelig;&#156;&not;", "日本"),
            ("&eth;&#159;&#152;&#128;", "😀"),
            ("&Atilde;&#131;&Acirc;&copy;", "é"),
            ("&Atilde;&cent;&Acirc;&#130;&Acirc;&not; &acirc;&#130;&not;", "€ €"),
            ("&Atilde;&#x83;&Acirc;&copy;", "é"),
            // One Latin-1 letter beside UTF-8.
            ("&eacute; &Atilde;&copy; &acirc;&#130;&not;", "é é €"),
            ("&acirc;&#130; &Atilde;", "â\u{201a} Ã"),
            ("caf&eacute; &yuml;", "café ÿ"),
            ("&euro;&nbsp;", "€\u{a0}"),
            ("&Atilde;&euro;", "Ã€"),
            ("&#150; &#128;", "– €"),
            ("Ã© &amp;", "Ã© &"),
        ] {
            assert_eq!(decode_message(text), expected, "{text}");
        }
        for text in ["Ã©", "é€\u{c3}\u{83}", "\u{80}€ Ã¢\u{82}¬", "plain"] {
            assert_eq!(decode_message(&encode(text, Extent::Usual)), text);
        }
    }

    #[test]
    fn what_was_encoded_is_decoded_to_the_same_text() {
        let text = "[SETLOGS] [t] [] {\"a\":\"<é'&€\u{1f600}\u{80}\u{ff}&amp;\\\"\"}\n";
        for extent in [Extent::Usual, Extent::Least] {
            let encoded = encode(text, extent);
            assert!(encoded.is_ascii());
            assert_eq!(encoded.len(), encoded_bytes(text, extent));
            assert_eq!(decode_message(&encoded), text);
        }
        assert_eq!(encode("\"<é'>&", Extent::Usual), "&quot;&lt;&#195;&#169;&#39;&gt;&amp;");
        assert_eq!(encode("\"<é'>&", Extent::Least), "\"<&#195;&#169;'>&amp;");
        assert_eq!(encoded_bytes("\"<'>&a", Extent::Usual), 6 + 4 + 5 + 4 + 5 + 1);
    }
}
