//! Requests that were passed on recently, to notice one that comes back by another route: two relays may each believe
//! that a target is behind the other. Limited in number and time; only a hash and the sender are kept.
//!
//! A repetition by the same sender is not a loop, because parts of a file or a query may be equal.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::model::action::Action;
use crate::model::broken::{self, Fault};
use crate::model::connection::ClientId;
use crate::model::time::Monotonic;
use crate::model::token::Token;

/// Maximum number of remembered requests. A loop closes within milliseconds, and no daemon passes on so many in that
/// time.
const REMEMBERED_MAX: usize = 16_384;

/// Time for which a request is remembered. A message may have to wait for a connection on its route.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// The requests that were passed on recently.
#[derive(Debug, Default)]
pub(in crate::node) struct PassedOn {
    /// The sender of each request by its hash; `None` for a call of the API or an event of our own.
    senders: BTreeMap<u64, Option<ClientId>>,
    order: VecDeque<(Monotonic, u64)>,
}

impl PassedOn {
    /// Remembers a request that is about to be passed on. Returns whether another sender has sent the same one before.
    pub(in crate::node) fn comes_back(
        &mut self,
        sender: Option<ClientId>,
        action: &Action,
        token: &Token,
        target: &str,
        data: &str,
        now: Monotonic,
    ) -> bool {
        let mut hasher = DefaultHasher::new();
        (action.as_str(), token.as_str(), target, data).hash(&mut hasher);
        let hash = hasher.finish();
        self.forget(now);
        if let Some(before) = self.senders.get(&hash) {
            return *before != sender && !broken::is(Fault::CircleUnnoticed);
        }
        self.order.push_back((now, hash));
        self.senders.insert(hash, sender);
        false
    }

    /// Makes room for one more, and removes old ones.
    fn forget(&mut self, now: Monotonic) {
        while let Some((at, oldest)) = self.order.front().copied()
            && (self.order.len() >= REMEMBERED_MAX || now.since(at) > REMEMBERED_FOR)
        {
            self.senders.remove(&oldest);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back_at(passed_on: &mut PassedOn, sender: u64, token: &str, data: &str, minute: u64) -> bool {
        let (token, now) = (Token::parse(token).unwrap(), Monotonic::from_millis(minute * 60_000));
        passed_on.comes_back(Some(ClientId::Zmq(sender)), &Action::Command, &token, "7", data, now)
    }

    fn comes_back(passed_on: &mut PassedOn, sender: u64, token: &str, data: &str) -> bool {
        comes_back_at(passed_on, sender, token, data, 0)
    }

    #[test]
    fn a_message_that_another_sent_before_has_come_back_and_one_of_the_same_sender_has_not() {
        let mut passed_on = PassedOn::default();
        assert!(!comes_back(&mut passed_on, 1, "t", "{}"));
        assert!(!comes_back(&mut passed_on, 1, "t", "{}"));
        assert!(!comes_back(&mut passed_on, 2, "t", "{\"other\":1}"));
        assert!(!comes_back(&mut passed_on, 2, "u", "{}"));
        assert!(comes_back(&mut passed_on, 2, "t", "{}"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut passed_on = PassedOn::default();
        for number in 0..=REMEMBERED_MAX {
            comes_back(&mut passed_on, 1, &format!("t{number}"), "{}");
        }
        assert_eq!(passed_on.senders.len(), REMEMBERED_MAX);
        assert!(!comes_back(&mut passed_on, 2, "t0", "{}"), "the oldest is forgotten");
        assert!(comes_back(&mut passed_on, 2, "t9", "{}"));
    }

    #[test]
    fn what_was_passed_on_long_ago_is_forgotten() {
        let mut passed_on = PassedOn::default();
        comes_back(&mut passed_on, 1, "t", "{}");
        assert!(comes_back_at(&mut passed_on, 2, "t", "{}", 10));
        assert!(!comes_back_at(&mut passed_on, 2, "u", "{}", 11));
        assert_eq!((passed_on.senders.len(), passed_on.order.len()), (1, 1));
    }
}
