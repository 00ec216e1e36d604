//! What Gorgone daemons say inside the frames of their transport (docs/protocol.md sections 1 and 3).
//!
//! Out of scope: framing (`wire::zmtp`), the order of a conversation (`session`), clocks, randomness of its own.

pub mod envelope;
pub mod joining;
pub mod key_exchange;
pub mod keys;
pub mod sealing;
pub mod seeded_random;

#[cfg(test)]
pub mod test_keys;
