//! Waiting times between attempts: doubling, jittered, bounded.

use std::time::Duration;

use crate::model::random::Random;

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The other side is away or restarts: from 100 ms to 5 s.
    Transient,
    /// Somebody has to change something, here or there: from 1 s to 30 s.
    NeedsOperator,
}

/// Failures since the last success.
#[derive(Default)]
pub struct BackOff {
    failures: u32,
}

impl BackOff {
    /// How long to wait after one more failure: between half and the whole of the doubled time, so that many links to one
    /// place do not return in step.
    pub fn next_delay(&mut self, severity: Severity, random: &mut dyn Random) -> Duration {
        let (first_ms, most_ms) = match severity {
            Severity::Transient => (100_u64, 5_000),
            Severity::NeedsOperator => (1_000, 30_000),
        };
        let whole_ms = (first_ms << self.failures.min(16)).min(most_ms);
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(whole_ms / 2 + random.below(whole_ms / 2 + 1))
    }

    /// The link works.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gorgone::seeded_random::SeededRandom;

    #[test]
    fn the_delay_doubles_up_to_its_bound_and_starts_again_after_success() {
        let mut random = SeededRandom::new(&[3; 32]);
        for (severity, first, most) in [(Severity::Transient, 100, 5_000), (Severity::NeedsOperator, 1_000, 30_000)] {
            let mut back_off = BackOff::default();
            for attempt in 0..100 {
                let whole = (first << attempt.min(10)).min(most);
                let delay = u64::try_from(back_off.next_delay(severity, &mut random).as_millis()).unwrap();
                assert!((whole / 2..=whole).contains(&delay), "{severity:?} {attempt} {delay}");
            }
            back_off.reset();
            assert!(back_off.next_delay(severity, &mut random) <= Duration::from_millis(first));
        }
    }
}
