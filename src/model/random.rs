//! Random bytes as an argument, so that the simulation can replace their source.

/// A source of random bytes. The real one is in `edge`, the simulation's is seeded.
pub trait Random {
    /// Fills `bytes` with random bytes. The real source is cryptographically strong.
    fn fill(&mut self, bytes: &mut [u8]);

    /// A number in `0..bound`; 0 when `bound` is 0. For jitter, not for keys.
    fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0_u8; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0)
    }
}

/// `bytes` as lower-case hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let mut digits = vec![0; bytes.len().saturating_mul(2)];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    // Digits are UTF-8.
    String::from_utf8(digits).unwrap_or_default()
}

/// The bytes of hexadecimal digits in either case; `None` if `text` is not an even number of digits.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
