//! The requests that were passed on lately, so that one that comes back by another way is noticed: two relays may each
//! believe that a target is behind the other. Bounded; what is remembered is a hash and who sent it.
//!
//! The same message from the same sender is none that came back: parts of a file or a question may be alike.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::action::Action;
use crate::model::connection::ClientId;
use crate::model::token::Token;

/// Requests remembered. A circle is closed within milliseconds, and no daemon passes on so many in that time.
const REMEMBERED_MAX: usize = 16_384;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct PassedOn {
    /// Hash of a request to who sent it; `None` for a call of the API or an event of our own.
    senders: BTreeMap<u64, Option<ClientId>>,
    order: VecDeque<u64>,
}

impl PassedOn {
    /// Remembers a request that is about to be passed on; whether somebody else has sent us the very same one before.
    pub(super) fn comes_back(
        &mut self,
        sender: Option<ClientId>,
        action: &Action,
        token: &Token,
        target: &str,
        data: &str,
    ) -> bool {
        let mut hasher = DefaultHasher::new();
        (action.as_str(), token.as_str(), target, data).hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(before) = self.senders.get(&hash) {
            return *before != sender;
        }
        if self.order.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.senders.remove(&oldest);
        }
        self.order.push_back(hash);
        self.senders.insert(hash, sender);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back(passed_on: &mut PassedOn, sender: u64, token: &str, data: &str) -> bool {
        passed_on.comes_back(Some(ClientId(sender)), &Action::Command, &Token::parse(token).unwrap(), "7", data)
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
}
