//! Cryptographically strong randomness from the operating system.

use ring::rand::{SecureRandom, SystemRandom as Source};

use crate::model::random::Random;

/// The real source of randomness. Cheap to make; holds no state.
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
    /// Ends the process when the operating system has no randomness to give: keys must never be predictable.
    fn fill(&mut self, bytes: &mut [u8]) {
        if self.0.fill(bytes).is_err() {
            eprintln!("stheno: the operating system gives no random bytes (getrandom failed); stopping");
            std::process::abort();
        }
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
}
