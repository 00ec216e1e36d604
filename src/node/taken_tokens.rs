//! Tokens of messages that must be handled once (`"once":true` beside `content`). Their sender sends them again after a
//! crash or a broken connection, and the repetition starts nothing. Hashes of the tokens are stored together with the
//! first rows of the work. Bounded: the oldest are forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;

use crate::model::history::StoreChange;
use crate::model::token::Token;

use super::context::Context;
use super::queue::options::Place;

/// Maximum number of tokens in memory.
const TAKEN_MAX: usize = 20_000;

/// Maximum number of daemons whose places are remembered. A forgotten one costs a repetition.
const PLACES_MAX: usize = 1_000;

/// The tokens that were handled.
#[derive(Debug, Default)]
pub(super) struct TakenTokens {
    hashes: BTreeSet<i64>,
    order: VecDeque<i64>,
    /// For the queue of each other daemon, the last request that was taken from it.
    places: BTreeMap<i64, i64>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    once: Option<bool>,
}

/// Returns whether the sender of a message may send it again.
pub(super) fn is_for_once(data: &str) -> bool {
    data.contains("\"once\"") && serde_json::from_str::<Options>(data).is_ok_and(|options| options.once == Some(true))
}

impl TakenTokens {
    /// Returns the tokens stored by an earlier run, the oldest first.
    pub(super) fn restored(hashes: Vec<i64>) -> Self {
        let mut taken = Self::default();
        hashes.into_iter().for_each(|hash| _ = taken.insert(hash));
        taken
    }

    fn insert(&mut self, hash: i64) -> bool {
        if !self.hashes.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > TAKEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        true
    }

    /// Returns whether a request is the next one from the queue of another daemon. If so, it is the last one from now
    /// on.
    pub(super) fn is_next(&mut self, place: Place) -> bool {
        let last = self.places.get(&place.of).copied();
        if place.after > last.unwrap_or(0) {
            return false;
        }
        if last.is_none() && self.places.len() >= PLACES_MAX {
            self.places.clear();
        }
        self.places.insert(place.of, place.n);
        true
    }

    /// Returns whether a token was handled before.
    pub(super) fn has(&self, token: &Token) -> bool {
        self.hashes.contains(&token.digest())
    }

    /// Returns whether a message for us is a repetition. If not, it is remembered if it must be handled once.
    pub(super) fn is_repeated(&mut self, context: &mut Context, token: &Token, data: &str) -> bool {
        if !is_for_once(data) {
            return false;
        }
        let hash = token.digest();
        if !self.insert(hash) {
            return true;
        }
        context.store(StoreChange::TakeToken { hash, taken: context.now.wall.as_seconds() });
        // A crash before its first row ends it, because nobody may send it again then.
        context.open_token(token, None);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_that_asks_for_it_is_done_once() {
        for (data, expected) in [
            (r#"{"content":[],"once":true}"#, true),
            (r#"{"once" : true}"#, true),
            (r#"{"content":{"once":true}}"#, false),
            (r#"{"content":[],"once":false}"#, false),
            (r#"{"content":"\"once\":true"}"#, false),
            ("no json \"once\":true", false),
        ] {
            assert_eq!(is_for_once(data), expected, "{data}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let count = i64::try_from(TAKEN_MAX).unwrap();
        let taken = TakenTokens::restored((0..=count).collect());
        assert_eq!((taken.hashes.len(), taken.order.len()), (TAKEN_MAX, TAKEN_MAX));
        assert!(!taken.hashes.contains(&0) && taken.hashes.contains(&count));
    }
}
