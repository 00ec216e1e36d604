//! Base64 (RFC 4648 section 4) of the many bytes that a copy encodes twice: two characters for each look-up, which takes about
//! half the time of the crate `base64`.
//!
//! Absent on purpose: decoding, and other alphabets; the crate does both.

const ALPHABET: [char; 64] = [
    'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W',
    'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't',
    'u', 'v', 'w', 'x', 'y', 'z', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '/',
];

/// The two characters of each twelve bits.
static PAIRS: [[u8; 2]; 4096] = pairs();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index out of bounds")]
const fn pairs() -> [[u8; 2]; 4096] {
    let mut pairs = [[0; 2]; 4096];
    let mut bits = 0;
    while bits < pairs.len() {
        pairs[bits] = [ALPHABET[bits >> 6] as u8, ALPHABET[bits & 63] as u8];
        bits += 1;
    }
    pairs
}

/// Characters of the text of so many bytes, padding included.
#[must_use]
pub const fn encoded_len(len_bytes: usize) -> usize {
    len_bytes.div_ceil(3).saturating_mul(4)
}

/// Writes the text of `bytes`, with its padding, to the beginning of `text`. Returns its length; 0, and nothing is written, where it
/// has no room.
pub fn encode_to(bytes: &[u8], text: &mut [u8]) -> usize {
    if text.len() < encoded_len(bytes.len()) {
        return 0;
    }
    let (sixes, rest) = bytes.as_chunks::<6>();
    let (eights, _) = text.as_chunks_mut::<8>();
    let mut written = 0;
    for (&[a, b, c, d, e, f], eight) in sixes.iter().zip(eights) {
        let bits = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let ([g, h], [i, j], [k, l], [m, n]) = (pair(bits >> 36), pair(bits >> 24), pair(bits >> 12), pair(bits));
        *eight = [g, h, i, j, k, l, m, n];
        written += 8;
    }
    let (fours, _) = text.get_mut(written..).unwrap_or_default().as_chunks_mut::<4>();
    for (group, four) in rest.chunks(3).zip(fours) {
        let byte = |place: usize| u64::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let ([g, h], [i, j]) = (pair(bits >> 12), pair(bits));
        *four = [g, h, if group.len() > 1 { i } else { b'=' }, if group.len() > 2 { j } else { b'=' }];
        written += 4;
    }
    written
}

/// Appends the text of `bytes`, with its padding.
pub fn push(bytes: &[u8], text: &mut String) {
    // Whole groups of three bytes, so that the text goes on without a seam.
    let mut part = [0; 4096];
    for bytes in bytes.chunks(part.len() / 4 * 3) {
        let len = encode_to(bytes, &mut part);
        // Only characters of the alphabet are in it.
        text.push_str(part.get(..len).and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default());
    }
}

fn pair(bits: u64) -> [u8; 2] {
    // Twelve bits are no more than there are pairs.
    PAIRS.get((bits & 0xfff) as usize).copied().unwrap_or_default()
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
            let mut room = vec![0; expected.len() + 9];
            assert_eq!(encode_to(&bytes[..len], &mut room), expected.len());
            assert_eq!(&room[..expected.len()], expected.as_bytes());
        }
    }

    #[test]
    fn every_pair_of_characters_is_right() {
        for bits in 0..4096_u32 {
            let bytes = [(bits >> 4) as u8, (bits << 4) as u8];
            let mut text = String::new();
            push(&bytes, &mut text);
            assert_eq!(text, STANDARD.encode(bytes));
        }
    }

    #[test]
    fn what_has_no_room_is_not_written_at_all() {
        let mut room = [b'.'; 15];
        assert_eq!(encode_to(b"twelve bytes", &mut room), 0);
        assert_eq!(room, [b'.'; 15]);
        assert_eq!(encode_to(b"abc", &mut []), 0);
        assert_eq!(encode_to(b"", &mut []), 0);
    }
}
