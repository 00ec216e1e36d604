//! Avoids repetition: the same log line, and the same row, come at most once an hour. Bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::time::Monotonic;

/// Time after which the same text is logged again.
const AGAIN: Duration = Duration::from_secs(3_600);
/// Maximum number of remembered sentences.
const TOLD_MAX: usize = 1_000;

/// The sentences logged within the last hour.
#[derive(Debug, Default)]
pub(super) struct Told {
    at: BTreeMap<String, Monotonic>,
}

impl Told {
    /// Returns whether a sentence must be logged now. More than a thousand different ones within an hour are dropped.
    pub(super) fn is_new(&mut self, text: &str, now: Monotonic) -> bool {
        if self.at.get(text).is_some_and(|at| now.since(*at) < AGAIN) {
            return false;
        }
        if self.at.len() >= TOLD_MAX {
            self.at.retain(|_, at| now.since(*at) < AGAIN);
        }
        if self.at.len() >= TOLD_MAX {
            return false;
        }
        self.at.insert(text.to_owned(), now);
        true
    }

    /// Forgets sentences about problems that are over, so that they are logged at once if they return.
    pub(super) fn forget(&mut self, is_over: impl Fn(&str) -> bool) {
        self.at.retain(|text, _| !is_over(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_an_hour_and_what_is_remembered_is_bounded() {
        let now = Monotonic::from_millis(0);
        let mut told = Told::default();
        assert!(told.is_new("a", now) && !told.is_new("a", now + AGAIN / 2) && told.is_new("a", now + AGAIN));
        told.forget(|text| text == "a");
        assert!(told.is_new("a", now + AGAIN));
        let late = now + AGAIN * 3;
        assert_eq!((0..2_000).filter(|number| told.is_new(&number.to_string(), late)).count(), TOLD_MAX);
    }
}
