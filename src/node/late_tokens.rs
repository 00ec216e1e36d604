//! Tokens that were ended here although their nodes may end them later: messages that a node had not confirmed when it
//! was given up. A late end becomes a row that does not end the token, so that each token has one end in each history.
//! Bounded: the oldest are forgotten.

use std::collections::{BTreeSet, VecDeque};

use crate::model::code::Code;
use crate::model::node_id::NodeId;
use crate::model::token::digest_of;

use super::json;

/// Maximum number of tokens.
const LATE_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct LateTokens {
    hashes: BTreeSet<i64>,
    order: VecDeque<i64>,
}

impl LateTokens {
    /// Returns the tokens stored by an earlier run, the oldest first.
    pub(super) fn restored(hashes: Vec<i64>) -> Self {
        let mut late = Self::default();
        hashes.into_iter().for_each(|hash| _ = late.insert(hash));
        late
    }

    /// Adds a token. Returns whether it is new.
    pub(super) fn insert(&mut self, hash: i64) -> bool {
        if !self.hashes.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > LATE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        true
    }

    /// Returns whether a token was ended here while its node might still end it.
    pub(super) fn has(&self, token: &str) -> bool {
        !self.hashes.is_empty() && self.hashes.contains(&digest_of(token))
    }
}

/// Returns the data of the row that a late end becomes.
pub(super) fn late_row(node: NodeId, code: Code, data: &str) -> String {
    let text = format!("node '{node}' reports the end after the token had ended here");
    let mut out = String::from("{\"message\":");
    json::push_string(&mut out, &text);
    let data = if json::is_valid(data) { data } else { "null" };
    out.push_str(&format!(",\"code\":{},\"data\":{data}}}", code.0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let count = i64::try_from(LATE_MAX).unwrap();
        let late = LateTokens::restored((0..=count).collect());
        assert_eq!((late.hashes.len(), late.order.len()), (LATE_MAX, LATE_MAX));
        assert!(!late.hashes.contains(&0) && late.hashes.contains(&count));
    }
}
