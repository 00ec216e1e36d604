//! Randomness from a seed, so that a job on a worker thread is a pure function of its arguments.

use std::convert::Infallible;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use rsa::rand_core::{TryCryptoRng, TryRng};

use crate::model::random::Random;

/// Length of a seed in bytes.
pub const SEED_LEN: usize = 32;

/// AES-256 in counter mode under a secret seed: as strong as the seed is random. No `Debug`.
pub struct SeededRandom {
    cipher: Aes256,
    counter: u128,
}

impl SeededRandom {
    /// Expands a seed. The same seed gives the same bytes, so use each seed once.
    #[must_use]
    pub fn new(seed: &[u8; SEED_LEN]) -> Self {
        Self { cipher: Aes256::new(seed.into()), counter: 0 }
    }
}

impl Random for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(16) {
            let mut block = aes::Block::from(self.counter.to_le_bytes());
            self.counter = self.counter.wrapping_add(1);
            self.cipher.encrypt_block(&mut block);
            for (to, from) in chunk.iter_mut().zip(block) {
                *to = from;
            }
        }
    }
}

/// Lends a [`Random`] to the `rsa` crate.
pub(super) struct RsaRandom<'a>(pub &'a mut dyn Random);

impl TryRng for RsaRandom<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0_u8; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0_u8; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for RsaRandom<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_and_another_seed_others() {
        let take = |seed: u8| {
            let mut bytes = [0_u8; 40];
            SeededRandom::new(&[seed; 32]).fill(&mut bytes);
            bytes
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        assert_ne!(take(1)[..16], take(1)[16..32]);
    }
}
