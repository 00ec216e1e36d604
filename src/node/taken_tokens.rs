//! Tokens of messages that must be handled once (`"once":true` beside `content`). Their sender sends them again after a
//! crash or a broken connection, and the repetition starts nothing. Hashes of the tokens are stored together with the
//! first rows of the work. Bounded: the oldest are forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;
use serde_json::Value;

use crate::model::action::Action;
use crate::model::broken::{self, Fault};
use crate::model::code::Code;
use crate::model::history::{StoreChange, TakenToken};
use crate::model::queue::{RowTells, TTL_MAX};
use crate::model::token::Token;

use super::context::Context;
use super::json;
use super::peer::{Handled, Peer};
use super::queue::SaidOfPlace;
use super::queue::options::Place;
use super::subscribers::Subscribers;

/// Maximum number of tokens in memory.
const TAKEN_MAX: usize = 200_000;
/// Time for which a token is remembered if its sender does not say, in seconds.
const KEEP: i64 = 90_000;
/// Maximum of that time.
const KEEP_MAX: i64 = TTL_MAX + 86_400;

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
    #[serde(default)]
    queue: Option<Place>,
    #[serde(default)]
    logging: Value,
}

/// Returns whether the sender of a message may send it again.
pub(super) fn is_for_once(data: &str) -> bool {
    options(data).is_some()
}

/// Returns the options of a message that its sender may send again.
fn options(data: &str) -> Option<Options> {
    let options = data.contains("\"once\"").then(|| serde_json::from_str::<Options>(data).ok())??;
    Some(options).filter(|options| options.once == Some(true))
}

impl TakenTokens {
    /// Returns the tokens stored by an earlier run, the oldest first.
    pub(super) fn restored(hashes: Vec<i64>) -> Self {
        let mut taken = Self::default();
        hashes.into_iter().for_each(|hash| _ = taken.insert(hash));
        taken
    }

    fn insert(&mut self, hash: i64) -> bool {
        if !self.hashes.insert(hash) && !broken::is(Fault::TakenForgotten) {
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

    /// Handles the place of a request for us in the queue of another daemon. Returns the reply if the request is not
    /// taken. `has_room` says whether the room that it is for can take another.
    pub(super) fn refuse_place(
        &mut self,
        context: &mut Context,
        subscribers: &mut Subscribers,
        peer: Peer,
        (place, token): (Place, &Token),
        has_room: bool,
    ) -> Option<Handled> {
        if context.is_stopping() {
            return Some(SaidOfPlace::Away.reply());
        }
        let has_no_replies = peer.client().is_some_and(|client| client.parent().is_some());
        if self.has(token) {
            let has_ended = !context.journal.is_open(token);
            if has_no_replies {
                // Such a central gets no replies: a row tells it.
                context.row(token, Code::CONTINUE, json::message("it was sent again, and was taken before"));
            }
            subscribers.tell_subscribers(context, false);
            return Some(if has_ended { SaidOfPlace::Ended } else { SaidOfPlace::Taken }.reply());
        }
        if ![0, context.own_history].contains(&place.again) {
            context.row(token, Code::CONTINUE, RowTells::NewDatabase.data().to_owned());
            subscribers.tell_subscribers(context, false);
            return Some(SaidOfPlace::Away.reply());
        }
        if !has_room {
            return Some(SaidOfPlace::Away.reply());
        }
        if !self.is_next(place) {
            return Some(SaidOfPlace::Gap.reply());
        }
        if has_no_replies {
            subscribers.tell_subscribers(context, false);
        }
        None
    }

    /// Returns whether a request is the next one from the queue of another daemon. If so, it is the last one from now
    /// on.
    fn is_next(&mut self, place: Place) -> bool {
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
        self.hashes.contains(&token.digest()) && !broken::is(Fault::TakenForgotten)
    }

    /// Returns whether a message for us is a repetition. If not, it is remembered if it must be handled once.
    pub(super) fn is_repeated(&mut self, context: &mut Context, action: &Action, token: &Token, data: &str) -> bool {
        let Some(options) = options(data) else { return false };
        let hash = token.digest();
        if !self.insert(hash) {
            return true;
        }
        let keep = options.queue.map_or(KEEP, |place| place.keep.clamp(KEEP, KEEP_MAX));
        let until = context.now.wall.as_seconds().saturating_add(keep);
        // Such a request is not run before its first row is stored, so one without a row can be given back.
        let begins_with_row = matches!(action, Action::Command | Action::EngineCommand)
            && options.queue.is_some()
            && !json::is_false(&options.logging);
        let taken = context.now.wall.as_seconds();
        context.store(StoreChange::TakeToken(TakenToken { hash, taken, until, begins_with_row }));
        // A crash before its first row ends it, because nobody may send it again then.
        context.open_token(token, None);
        false
    }

    /// Gives back requests that an earlier run had taken and not begun, because their senders still have them.
    pub(super) fn give_back(&mut self, context: &mut Context, not_begun: &[Token]) {
        for token in not_begun {
            self.hashes.remove(&token.digest());
            context.give_back(token);
        }
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
