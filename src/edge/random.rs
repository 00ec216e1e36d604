//! Cryptographically strong randomness from the operating system.

use ring::rand::{SecureRandom, SystemRandom as Source};
use zeroize::Zeroize as _;

use crate::model::random::Random;

/// The operating system's randomness. Cheap to make; holds no state.
pub struct SystemRandom(Source);

impl SystemRandom {
    /// A source.
    #[must_use]
    pub fn new() -> Self {
        Self(Source::new())
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    /// Ends the process if the operating system gives no randomness, because keys must never be predictable.
    fn fill(&mut self, bytes: &mut [u8]) {
        if self.0.fill(bytes).is_err() {
            eprintln!("stheno: the operating system gives no random bytes (getrandom failed); stopping");
            std::process::abort();
        }
    }
}

/// Randomness in blocks: one system call for many tokens. Used bytes are wiped.
pub struct BlockRandom {
    source: SystemRandom,
    block: [u8; BLOCK_BYTES],
    /// Number of used bytes of the block.
    used: usize,
}

/// Enough for sixteen tokens.
const BLOCK_BYTES: usize = 1_024;

impl BlockRandom {
    /// A source that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { source: SystemRandom::new(), block: [0; BLOCK_BYTES], used: BLOCK_BYTES }
    }
}

impl Default for BlockRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for BlockRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        if bytes.len() > BLOCK_BYTES {
            return self.source.fill(bytes);
        }
        if bytes.len() > BLOCK_BYTES - self.used {
            self.source.fill(&mut self.block);
            self.used = 0;
        }
        for (byte, drawn) in bytes.iter_mut().zip(self.block.iter_mut().skip(self.used)) {
            *byte = *drawn;
            drawn.zeroize();
        }
        self.used += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fills_differ() {
        let (mut first, mut second) = ([0_u8; 32], [0_u8; 32]);
        let mut random = SystemRandom::new();
        random.fill(&mut first);
        random.fill(&mut second);
        assert_ne!(first, second);
        assert!(random.below(10) < 10);
    }

    #[test]
    fn no_byte_of_a_block_is_given_out_twice() {
        let mut random = BlockRandom::new();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let mut bytes = [0_u8; 60];
            random.fill(&mut bytes);
            assert!(bytes.windows(16).all(|part| seen.insert(part.to_vec())), "a part came twice");
            assert!(random.block.iter().take(random.used).all(|byte| *byte == 0), "what was given out is kept");
        }
        let mut long = vec![0_u8; 5_000];
        random.fill(&mut long);
        assert!(long.chunks_exact(16).all(|part| part.iter().any(|byte| *byte != 0)));
    }
}
