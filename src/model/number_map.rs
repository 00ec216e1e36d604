//! A hash map for keys that this program numbers itself, in ascending order: connections, sources of events.
//!
//! Their hash is one multiplication. Nobody else chooses the keys, so nobody can make them collide. Out of scope: keys
//! from outside, which need the standard library's hasher.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from our own numbers.
pub type NumberMap<Key, Value> = HashMap<Key, Value, BuildHasherDefault<NumberHasher>>;

/// Spreads ascending numbers over all bits by Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberHasher(u64);

/// 2^64 divided by the golden ratio, odd.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(FACTOR);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_differ_in_the_highest_and_the_lowest_bits() {
        let hashes = (0..128_u64).map(|number| {
            let mut hasher = NumberHasher::default();
            hasher.write_u64(number);
            hasher.finish()
        });
        let hashes: Vec<u64> = hashes.collect();
        let distinct = |of: fn(u64) -> u64| {
            let all: std::collections::BTreeSet<u64> = hashes.iter().map(|hash| of(*hash)).collect();
            all.len()
        };
        assert!(distinct(|hash| hash >> 57) > 100, "the highest seven");
        assert_eq!(distinct(|hash| hash & 127), 128, "the lowest seven");
    }
}
