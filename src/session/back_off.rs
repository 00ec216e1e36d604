//! Growing, jittered and bounded delays between attempts.

use std::time::Duration;

use crate::model::random::Random;

/// How serious a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The other side is away or restarting: from 10 ms to 5 s, growing by half each time, so that a peer that was away
    /// for some time is reached within half of that time.
    Transient,
    /// The same for a peer that should not be tried so soon: an SSH host may ban clients that connect too often, and a
    /// relay must first find the nodes behind it. From 100 ms to 5 s, doubling.
    TransientUnhurried,
    /// An administrator has to change something, here or there: from 1 s to 30 s, doubling.
    NeedsOperator,
    /// The same, and somebody may be in between: a warning instead of an error.
    TalkedDown,
}

/// Number of failures after which the next delay of [`Severity::Transient`] is about 110 ms.
const BRIEF_FAILURES: u32 = 6;

/// Number of failures since the last success.
#[derive(Default)]
pub struct BackOff {
    /// Those that pass by themselves.
    transient: u32,
    /// Those that need an administrator. They are counted apart: a peer that was away for long and then refuses,
    /// because everybody comes back at once, is tried again after a second.
    lasting: u32,
}

impl BackOff {
    /// The delay after one more failure: between half and all of the time reached so far, so that many links to one
    /// place do not return together.
    pub fn next_delay(&mut self, severity: Severity, random: &mut dyn Random) -> Duration {
        let (first_ms, most_ms, grown_by) = match severity {
            Severity::Transient => (10_u64, 5_000, (3, 2)),
            Severity::TransientUnhurried => (100, 5_000, (2, 1)),
            Severity::NeedsOperator | Severity::TalkedDown => (1_000, 30_000, (2, 1)),
        };
        let failures = match severity {
            Severity::Transient | Severity::TransientUnhurried => &mut self.transient,
            Severity::NeedsOperator | Severity::TalkedDown => &mut self.lasting,
        };
        let grow = |ms: u64, _| (ms * grown_by.0 / grown_by.1).min(most_ms);
        let whole_ms = (0..(*failures).min(32)).fold(first_ms, grow);
        *failures = failures.saturating_add(1);
        Duration::from_millis(whole_ms / 2 + random.below(whole_ms / 2 + 1))
    }

    /// Notes that the link works.
    pub const fn reset(&mut self) {
        (self.transient, self.lasting) = (0, 0);
    }

    /// Notes that the link worked but broke at once. If that repeats, there are at most about ten attempts in a second.
    pub fn reset_after_brief_success(&mut self) {
        (self.transient, self.lasting) = (self.transient.min(BRIEF_FAILURES), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gorgone::seeded_random::SeededRandom;

    fn assert_delays(back_off: &mut BackOff, severity: Severity, expected_ms: &[u64], random: &mut dyn Random) {
        for &whole in expected_ms {
            let delay = u64::try_from(back_off.next_delay(severity, random).as_millis()).unwrap();
            assert!((whole / 2..=whole).contains(&delay), "{severity:?} {whole} {delay}");
        }
    }

    #[test]
    fn the_delay_grows_up_to_its_bound_and_starts_again_after_success() {
        let mut random = SeededRandom::new(&[3; 32]);
        for (severity, first, most) in [
            (Severity::Transient, &[10, 15, 22, 33, 49, 73, 109, 163][..], 5_000),
            (Severity::TransientUnhurried, &[100, 200, 400, 800, 1_600, 3_200, 5_000], 5_000),
            (Severity::NeedsOperator, &[1_000, 2_000, 4_000, 8_000, 16_000, 30_000], 30_000),
        ] {
            let mut back_off = BackOff::default();
            assert_delays(&mut back_off, severity, first, &mut random);
            for _ in 0..100 {
                assert!(back_off.next_delay(severity, &mut random) <= Duration::from_millis(most));
            }
            assert_delays(&mut back_off, severity, &[most; 100], &mut random);
            back_off.reset();
            assert_delays(&mut back_off, severity, first, &mut random);
        }
    }

    #[test]
    fn a_success_that_ends_at_once_makes_the_attempts_no_denser_than_they_are() {
        let mut random = SeededRandom::new(&[3; 32]);
        let mut back_off = BackOff::default();
        for whole in [10, 15, 22, 33, 49, 73, 109, 109, 109] {
            assert_delays(&mut back_off, Severity::Transient, &[whole], &mut random);
            back_off.reset_after_brief_success();
        }
    }

    #[test]
    fn a_peer_that_was_away_for_long_and_refuses_once_is_tried_again_after_a_second() {
        let mut random = SeededRandom::new(&[4; 32]);
        let mut back_off = BackOff::default();
        for _ in 0..50 {
            back_off.next_delay(Severity::Transient, &mut random);
        }
        assert_delays(&mut back_off, Severity::NeedsOperator, &[1_000, 2_000], &mut random);
        assert_delays(&mut back_off, Severity::Transient, &[5_000], &mut random);
    }
}
