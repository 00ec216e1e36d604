//! Sealed messages: base64 of AES-CBC with PKCS#7, under the fixed key and vector of a session (docs/protocol.md
//! section 3).
//!
//! Known limits of this scheme, which an implementation cannot change opposite an original peer: every message of a
//! session uses the same vector, and there is neither an authentication tag nor a replay counter.

use aes_cbc::BLOCK_LEN;
use zeroize::Zeroize as _;

use crate::model::base64_text;
use crate::model::random::Random;

/// Length of a vector in bytes.
pub const IV_LEN: usize = BLOCK_LEN;
/// Number of bytes encrypted at once: whole blocks, and whole groups of three so that base64 needs no padding in
/// between.
const STRIDE: usize = 48 * 32;

/// The key and vector of a session, as exchanged and stored. No `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial {
    key: Vec<u8>,
    iv: [u8; IV_LEN],
}

impl Drop for KeyMaterial {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

impl KeyMaterial {
    /// Checks lengths: a key of 16, 24 or 32 bytes and a vector of 16.
    #[must_use]
    pub fn new(key: Vec<u8>, iv: &[u8]) -> Option<Self> {
        let iv = iv.try_into().ok()?;
        matches!(key.len(), 16 | 24 | 32).then_some(Self { key, iv })
    }

    /// A new random key of `key_size` bytes: 16, 24 or 32. Any other size counts as 32.
    #[must_use]
    pub fn generate(key_size: usize, random: &mut dyn Random) -> Self {
        let mut key = vec![0; if matches!(key_size, 16 | 24) { key_size } else { 32 }];
        let mut iv = [0; IV_LEN];
        random.fill(&mut key);
        random.fill(&mut iv);
        Self { key, iv }
    }

    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The vector.
    #[must_use]
    pub const fn iv(&self) -> &[u8; IV_LEN] {
        &self.iv
    }
}

/// The key of a session with its key schedule, for sealing and opening. No `Debug`.
pub struct SessionKey {
    cipher: Box<aes_cbc::Key>,
    material: KeyMaterial,
}

impl SessionKey {
    /// Expands the key schedule.
    #[must_use]
    pub fn new(material: KeyMaterial) -> Self {
        Self { cipher: Box::new(aes_cbc::Key::new(&material.key)), material }
    }

    /// The bytes of the key.
    #[must_use]
    pub const fn material(&self) -> &KeyMaterial {
        &self.material
    }

    /// Seals plain text: base64 without newlines.
    #[must_use]
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        self.seal_parts(&[plain])
    }

    /// Seals a plain text of several parts without joining them: encrypts in strides on the stack and writes base64
    /// straight into the result, which is the only allocation.
    #[must_use]
    pub fn seal_parts(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut vector = self.material.iv;
        let plain_len: usize = parts.iter().map(|part| part.len()).sum();
        let padded_len = (plain_len / BLOCK_LEN + 1) * BLOCK_LEN;
        let mut sealed = Vec::with_capacity(base64_text::encoded_len(padded_len));
        let mut seal = |blocks: &mut [u8]| {
            self.cipher.encrypt(&mut vector, blocks);
            base64_text::push(blocks, &mut sealed);
        };
        let mut stride = [0; STRIDE];
        let mut filled = 0;
        for part in parts {
            let mut rest = *part;
            while let Some(room) = stride.get_mut(filled..).filter(|_| !rest.is_empty()) {
                let (now, later) = rest.split_at(rest.len().min(room.len()));
                if let Some(room) = room.get_mut(..now.len()) {
                    room.copy_from_slice(now);
                }
                filled += now.len();
                rest = later;
                if filled == STRIDE {
                    seal(&mut stride);
                    filled = 0;
                }
            }
        }
        // At most 16, so the conversion is exact. A stride is whole blocks and not full here, so the padding fits.
        let pad = BLOCK_LEN - filled % BLOCK_LEN;
        let padded = filled + pad;
        if let Some(padding) = stride.get_mut(filled..padded) {
            padding.fill(u8::try_from(pad).unwrap_or(0));
        }
        if let Some(last) = stride.get_mut(..padded) {
            seal(last);
        }
        sealed
    }

    /// Opens a sealed message. White space in the base64 is allowed. `None` if it is not base64, not whole blocks, or
    /// has wrong padding: it was sealed with another key or not at all. A wrong key goes unnoticed once in 256 times,
    /// so the caller also checks the beginning of the text.
    #[must_use]
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = decode_base64(sealed)?;
        if !buffer.len().is_multiple_of(BLOCK_LEN) {
            return None;
        }
        self.cipher.decrypt(&self.material.iv, &mut buffer);
        let plain_len = aes_cbc::unpadded_len(&buffer)?;
        buffer.truncate(plain_len);
        Some(buffer)
    }
}

/// Decodes base64 that may be broken into lines.
#[must_use]
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    base64_text::decode(text).or_else(|| {
        // Daemons write no newlines, so only third-party clients cause this copy.
        text.iter().any(u8::is_ascii_whitespace).then(|| {
            let joined: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            base64_text::decode(&joined)
        })?
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::model::random::from_hex;

    fn key(size: usize) -> SessionKey {
        SessionKey::new(KeyMaterial::new((0..size).map(|n| u8::try_from(n).unwrap()).collect(), &[7; 16]).unwrap())
    }

    #[test]
    fn a_known_vector_is_sealed_as_openssl_does() {
        // NIST SP 800-38A F.2.5 (CBC-AES256), first block; the padding block is what `openssl enc` adds.
        let material = KeyMaterial::new(
            from_hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4").unwrap(),
            &from_hex("000102030405060708090a0b0c0d0e0f").unwrap(),
        )
        .unwrap();
        let key = SessionKey::new(material);
        let sealed = key.seal(&from_hex("6bc1bee22e409f96e93d7e117393172a").unwrap());
        let first = STANDARD.decode(&sealed).unwrap();
        assert_eq!(first[..16], from_hex("f58c4c04d6e5f1ba779eabfb5f7bfbd6").unwrap());
        assert_eq!(first.len(), 32);
    }

    #[test]
    fn what_is_sealed_opens_again_at_every_length_and_key_size() {
        for size in [16, 24, 32] {
            let key = key(size);
            for len in (0..100).chain([STRIDE - 17, STRIDE - 16, STRIDE - 1, STRIDE, STRIDE + 1, 2 * STRIDE, 100_000]) {
                let plain: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
                let sealed = key.seal(&plain);
                assert!(sealed.iter().all(|byte| !byte.is_ascii_whitespace() && *byte != 0));
                assert_eq!(key.open(&sealed).as_deref(), Some(plain.as_slice()), "{size} {len}");
                let (head, tail) = plain.split_at(len / 3);
                assert_eq!(key.seal_parts(&[head, b"", tail]), sealed);
            }
        }
    }

    #[test]
    fn newlines_in_the_base64_are_allowed() {
        let key = key(32);
        let sealed = key.seal(&[b'x'; 200]);
        let broken: Vec<u8> = sealed.chunks(76).flat_map(|line| [line, b"\n"].concat()).collect();
        assert_eq!(key.open(&broken).unwrap(), vec![b'x'; 200]);
    }

    #[test]
    fn what_is_no_sealed_message_does_not_open() {
        let key = key(32);
        for bad in [&b""[..], b"[PING] [] [] {}", b"AAAA", b"====", b"AAAAAAAAAAAAAAAAAAAAAA==", b"\xff\xfe"] {
            assert_eq!(key.open(bad), None);
        }
        let mut sealed = key.seal(b"hello");
        sealed.truncate(sealed.len() - 4);
        assert_eq!(key.open(&sealed), None);
    }

    #[test]
    fn only_the_known_key_lengths_are_taken() {
        for (key, iv, good) in
            [(16, 16, true), (24, 16, true), (32, 16, true), (31, 16, false), (0, 16, false), (32, 8, false)]
        {
            assert_eq!(KeyMaterial::new(vec![0; key], &vec![0; iv]).is_some(), good, "{key} {iv}");
        }
    }
}
