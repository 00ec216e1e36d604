//! Messages that their nodes have not confirmed yet, in order for each node. The same messages are in the database.
//!
//! Out of scope: the content of a message, and whether a node can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::legacy::StoredOrder;
use crate::model::time::Monotonic;
use crate::model::token::Token;

use super::orders::EXTERNAL;

/// Maximum number of unconfirmed messages to one node.
const WINDOW: usize = 64;
/// Number of messages, and total number of bytes, above which no file is read. Messages for unreachable nodes do not
/// count.
const FULL: usize = 2_000;
const FULL_BYTES: usize = 128 << 20;
/// Maximum number of messages that wait for one unreachable node, and the total number of bytes above which it gets no
/// more.
const TARGET_MAX: usize = 2_000;
const AWAY_BYTES_MAX: usize = 64 << 20;
/// Time that an acknowledgement or a downtime waits for an unreachable node, and time that any other order does.
const KEEP_EXTERNAL: Duration = Duration::from_secs(3_600);
const KEEP: Duration = Duration::from_secs(60);

/// The state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Sent,
}

/// A message. Holds command lines: no `Debug`.
struct Queued {
    order: StoredOrder,
    state: State,
    until: Monotonic,
    /// Whether an earlier run may have begun with it.
    is_unsure: bool,
}

/// The messages to one node.
#[derive(Debug, Default)]
struct Way {
    waiting: BTreeSet<i64>,
    sent: usize,
    /// Whether the node cannot be reached now, or may have lost messages.
    is_blocked: bool,
}

impl Way {
    fn is_ready(&self) -> bool {
        !self.is_blocked && !self.waiting.is_empty() && self.sent < WINDOW
    }
}

/// The messages of all nodes.
#[derive(Default)]
pub(super) struct Queue {
    all: BTreeMap<i64, Queued>,
    by_token: BTreeMap<Token, i64>,
    ways: BTreeMap<String, Way>,
    ready: BTreeSet<String>,
    last: i64,
    len_bytes: usize,
}

/// A message that can be sent now.
pub(super) struct Next {
    pub order: StoredOrder,
    pub is_unsure: bool,
}

impl Queue {
    /// Returns whether reading of files must pause.
    pub(super) fn is_full(&self) -> bool {
        let away: usize = self.ways.values().filter(|way| way.is_blocked).map(|way| way.waiting.len()).sum();
        self.all.len().saturating_sub(away) >= FULL || self.len_bytes >= FULL_BYTES
    }

    /// Returns whether an unreachable node has the maximum number of waiting messages.
    pub(super) fn is_full_for(&self, target: &str) -> bool {
        let is_full = |way: &Way| way.waiting.len() >= TARGET_MAX || self.len_bytes >= AWAY_BYTES_MAX;
        self.ways.get(target).is_some_and(|way| way.is_blocked && is_full(way))
    }

    /// Returns whether a token is in the queue.
    pub(super) fn has(&self, token: &Token) -> bool {
        self.by_token.contains_key(token)
    }

    /// Returns the number of the next message.
    pub(super) fn next_sequence(&mut self) -> i64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// Adds a message.
    pub(super) fn push(&mut self, order: StoredOrder, now: Monotonic) {
        let keep = if order.name.starts_with(EXTERNAL) { KEEP_EXTERNAL } else { KEEP };
        let queued = Queued { order, state: State::Waiting, until: now + keep, is_unsure: false };
        self.insert(queued);
    }

    /// Adds a message of an earlier run: it was sent to a node, it may have begun here, or its state is unknown.
    pub(super) fn restore(&mut self, order: StoredOrder, is_sent: bool, is_unsure: bool, now: Monotonic) {
        let state = if is_sent { State::Sent } else { State::Waiting };
        self.insert(Queued { order, state, until: now + KEEP_EXTERNAL, is_unsure });
    }

    fn insert(&mut self, queued: Queued) {
        let (sequence, target) = (queued.order.sequence, queued.order.target.clone());
        self.last = self.last.max(sequence);
        self.len_bytes = self.len_bytes.saturating_add(queued.order.data.len());
        self.by_token.insert(queued.order.token.clone(), sequence);
        let way = self.ways.entry(target.clone()).or_default();
        match queued.state {
            State::Waiting => _ = way.waiting.insert(sequence),
            State::Sent => way.sent += 1,
        }
        self.all.insert(sequence, queued);
        self.look_at(&target);
    }

    /// Updates whether something can be sent to a node.
    fn look_at(&mut self, target: &str) {
        let Some(way) = self.ways.get(target) else { return };
        if way.is_ready() {
            self.ready.insert(target.to_owned());
        } else {
            self.ready.remove(target);
        }
        if way.waiting.is_empty() && way.sent == 0 {
            self.ways.remove(target);
        }
    }

    /// Returns a node for which something can be sent.
    pub(super) fn ready(&self) -> Option<&str> {
        self.ready.first().map(String::as_str)
    }

    /// Returns the next message to a node, and marks it as sent.
    pub(super) fn next(&mut self, target: &str) -> Option<Next> {
        let way = self.ways.get_mut(target)?;
        let sequence = way.waiting.pop_first()?;
        way.sent += 1;
        self.look_at(target);
        let queued = self.all.get_mut(&sequence)?;
        queued.state = State::Sent;
        let is_unsure = std::mem::take(&mut queued.is_unsure);
        Some(Next { order: queued.order.clone(), is_unsure })
    }

    /// Removes a message that was confirmed or has ended. Returns its number.
    pub(super) fn remove(&mut self, token: &str) -> Option<i64> {
        let sequence = self.by_token.remove(token)?;
        let queued = self.all.remove(&sequence)?;
        let target = queued.order.target;
        self.len_bytes = self.len_bytes.saturating_sub(queued.order.data.len());
        if let Some(way) = self.ways.get_mut(&target) {
            match queued.state {
                State::Waiting => _ = way.waiting.remove(&sequence),
                State::Sent => way.sent = way.sent.saturating_sub(1),
            }
        }
        self.unblock(&target);
        Some(sequence)
    }

    /// Marks a message that its node has not got to be sent again, in its place. Returns whether the message is in the
    /// queue.
    pub(super) fn send_again(&mut self, token: &str) -> bool {
        let Some(sequence) = self.by_token.get(token).copied() else { return false };
        let Some(queued) = self.all.get_mut(&sequence) else { return false };
        let target = queued.order.target.clone();
        if std::mem::replace(&mut queued.state, State::Waiting) == State::Sent
            && let Some(way) = self.ways.get_mut(&target)
        {
            way.sent = way.sent.saturating_sub(1);
            way.waiting.insert(sequence);
        }
        self.unblock(&target);
        true
    }

    /// Blocks a node until [`Self::unblock_all`], or until one of its messages changes.
    pub(super) fn block(&mut self, target: &str) {
        if let Some(way) = self.ways.get_mut(target) {
            way.is_blocked = true;
        }
        self.ready.remove(target);
    }

    fn unblock(&mut self, target: &str) {
        if let Some(way) = self.ways.get_mut(target) {
            way.is_blocked = false;
        }
        self.look_at(target);
    }

    /// Unblocks all nodes.
    pub(super) fn unblock_all(&mut self) {
        let targets: Vec<String> =
            self.ways.iter().filter(|(_, way)| way.is_blocked).map(|(target, _)| target.clone()).collect();
        targets.iter().for_each(|target| self.unblock(target));
    }

    /// Returns whether any node is blocked.
    pub(super) fn has_blocked(&self) -> bool {
        self.ways.values().any(|way| way.is_blocked)
    }

    /// Returns the messages that have waited too long for unreachable nodes, each with the name of its order.
    pub(super) fn expired(&self, now: Monotonic) -> Vec<(Token, String)> {
        let blocked = self.ways.values().filter(|way| way.is_blocked);
        let waiting = blocked.flat_map(|way| way.waiting.iter()).filter_map(|sequence| self.all.get(sequence));
        let expired = waiting.filter(|queued| queued.until <= now);
        expired.map(|queued| (queued.order.token.clone(), queued.order.name.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic::from_millis(0);

    fn order(queue: &mut Queue, target: &str, name: &str) -> String {
        let sequence = queue.next_sequence();
        let token = format!("t{sequence}");
        let order = StoredOrder {
            sequence,
            token: Token::parse(&token).unwrap(),
            target: target.to_owned(),
            action: "COMMAND".to_owned(),
            data: "{}".to_owned(),
            name: name.to_owned(),
        };
        queue.push(order, NOW);
        token
    }

    fn next(queue: &mut Queue) -> Option<String> {
        let target = queue.ready()?.to_owned();
        queue.next(&target).map(|next| next.order.token.to_string())
    }

    #[test]
    fn messages_to_a_node_go_out_in_their_order_and_those_that_were_lost_before_later_ones() {
        let mut queue = Queue::default();
        let tokens: Vec<String> = (0..4).map(|_| order(&mut queue, "2", "RELOAD for 2")).collect();
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(tokens[0].clone()), Some(tokens[1].clone())));
        assert!(queue.send_again(&tokens[1]) && queue.send_again(&tokens[0]) && !queue.send_again("x"));
        let rest: Vec<String> = std::iter::from_fn(|| next(&mut queue)).collect();
        assert_eq!(rest, tokens);
        assert_eq!(queue.remove(&tokens[0]), Some(1));
        assert_eq!(queue.remove(&tokens[0]), None);
    }

    #[test]
    fn a_node_that_cannot_be_reached_holds_up_no_other_and_its_messages_expire() {
        let mut queue = Queue::default();
        let reload = order(&mut queue, "2", "RELOAD for 2");
        let external = order(&mut queue, "2", "EXTERNALCMD for 2");
        let other = order(&mut queue, "3", "RELOAD for 3");
        queue.block("2");
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(other), None));
        assert!(queue.has_blocked());
        let expired = |queue: &Queue, at| queue.expired(NOW + at).iter().map(|(token, _)| token.to_string()).collect();
        let at_60: Vec<String> = expired(&queue, KEEP);
        assert_eq!(at_60, std::slice::from_ref(&reload));
        let at_3600: Vec<String> = expired(&queue, KEEP_EXTERNAL);
        assert_eq!(at_3600, [reload.clone(), external]);
        queue.unblock_all();
        assert_eq!(next(&mut queue), Some(reload));
    }

    #[test]
    fn a_node_gets_so_many_messages_at_once_and_no_file_is_read_on_when_many_wait() {
        let mut queue = Queue::default();
        let tokens: Vec<String> = (0..FULL).map(|_| order(&mut queue, "2", "RELOAD for 2")).collect();
        assert!(queue.is_full() && !queue.is_full_for("2"));
        queue.block("2");
        assert!(!queue.is_full() && queue.is_full_for("2") && !queue.is_full_for("3"));
        queue.unblock_all();
        let sent = std::iter::from_fn(|| next(&mut queue)).count();
        assert_eq!(sent, WINDOW);
        tokens.iter().for_each(|token| assert!(queue.remove(token).is_some()));
        assert!(!queue.is_full() && queue.ways.is_empty() && queue.ready.is_empty());
    }
}
