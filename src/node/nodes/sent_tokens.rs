//! The nodes to which tokens were sent recently: a row of a node ends a token only if the token was sent there.
//! Bounded; only hashes are kept.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::node_id::NodeId;
use crate::model::token::Token;

/// Maximum number of remembered tokens.
const REMEMBERED_MAX: usize = 65_536;

/// The routes of recently sent tokens.
#[derive(Debug, Default)]
pub(in crate::node) struct SentTokens {
    /// For the hash of a token, the node that it was last sent to, and its target.
    routes: BTreeMap<u64, (NodeId, NodeId)>,
    order: VecDeque<u64>,
}

impl SentTokens {
    /// Remembers that a message was sent to `target` through `through`.
    pub(in crate::node) fn note(&mut self, token: &Token, through: NodeId, target: NodeId) {
        let hash = hash_of(token.as_str());
        if self.routes.insert(hash, (through, target)).is_some() {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.routes.remove(&oldest);
        }
    }

    /// Returns the node that a token was last sent to, and its target.
    pub(super) fn route_of(&self, token: &str) -> Option<(NodeId, NodeId)> {
        self.routes.get(&hash_of(token)).copied()
    }
}

fn hash_of(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut sent = SentTokens::default();
        let node = |id: u64| NodeId::new(id).unwrap();
        let token = |number: usize| Token::parse(&format!("t{number}")).unwrap();
        for number in 0..=REMEMBERED_MAX {
            sent.note(&token(number), node(2), node(3));
            sent.note(&token(number), node(4), node(3));
        }
        assert_eq!((sent.routes.len(), sent.order.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        assert_eq!(sent.routes.get(&hash_of("t0")), None);
        assert_eq!(sent.routes.get(&hash_of("t1")), Some(&(node(4), node(3))));
    }
}
