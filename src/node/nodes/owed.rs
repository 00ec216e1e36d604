//! Tokens that were sent to a node and that it has not confirmed yet. They are kept in memory only; their number is
//! limited.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::action::{Action, Ends};
use crate::model::broken::{self, Fault};
use crate::model::code::Code;
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::json;

/// Maximum number of tokens owed by a node.
pub(in crate::node) const OWED_MAX: usize = 10_000;

/// Maximum number of tokens that a query of a node's history asks about.
pub(in crate::node) const ASKED_MAX: usize = 100;

/// Maximum number of bytes of a kept answer; a larger one belongs to a row that the node writes itself.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Time to wait for the row about the end of a copy. The receiver writes it when everything is in place, and it may
/// pass through relays, so one sync is not enough. After a restart every token that was sent to a relay gets this time,
/// because it may be the token of a copy.
const COPY_WAIT: Duration = Duration::from_secs(60);

/// The state of a message.
#[derive(Clone, Debug, Default, PartialEq)]
enum Progress {
    /// It was handed to the link.
    #[default]
    Sent,
    /// The link broke before the node confirmed it.
    Unconfirmed,
    /// The node answered with a terminal code. The row comes with the history sync, or never.
    Answered { code: Code, data: String },
}

#[derive(Clone, Debug, Default)]
struct Owed {
    progress: Progress,
    /// Whether the reply is all: the node writes no row for this action.
    ends_with_reply: bool,
    /// Whether the node may write no row, whatever it replies.
    leaves_no_row: bool,
    /// The next sync after this serial number brings the row, or it never comes.
    after_sync: u64,
    is_copy: bool,
    /// Whether an earlier run sent it.
    is_restored: bool,
    /// Time when it was first missed, if one sync is not enough.
    missed_at: Option<Monotonic>,
}

/// Returns whether a reply tells the progress of a copy: it comes from a receiver of our own kind, or a relay.
fn is_about_part(data: &str) -> bool {
    const KEYS: [&str; 4] = ["received", "interrupted", "failed", "plain"];
    serde_json::from_str::<serde_json::Value>(data)
        .is_ok_and(|data| KEYS.iter().any(|key| data.get(key).is_some_and(|value| !value.is_null())))
}

/// The end of a token that got no row of its own.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::node) enum Ending {
    /// It is not known whether the message arrived.
    Lost,
    /// The node's reply is the end.
    Answered { code: Code, data: String },
}

impl Ending {
    /// Writes the row of a token that gets none from its node.
    pub(in crate::node) fn write(self, context: &mut Context, id: NodeId, token: &Token) {
        let (code, data) = match self {
            Self::Lost => {
                context.may_end_late(token);
                let text = format!("proxy - connection to node '{id}' was lost before it confirmed the message");
                (Code::FINISHED_KO, json::message(&text))
            }
            Self::Answered { code, data } if data == "null" => (code, json::message("done")),
            Self::Answered { code, data } => (code, data),
        };
        context.finish(token, code, data);
    }
}

/// What a node of our own kind says about tokens that it owes.
#[derive(Debug)]
pub(in crate::node) struct Told {
    /// The tokens that it was asked about.
    pub asked: Vec<Token>,
    /// Those that it will still end.
    pub open: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(in crate::node) struct OwedTokens {
    owed: BTreeMap<Token, Owed>,
}

impl OwedTokens {
    /// Returns whether no more tokens are taken.
    pub(in crate::node) fn is_full(&self) -> bool {
        self.owed.len() >= OWED_MAX
    }

    /// Adds a token whose message is known to have been answered with an end.
    pub(in crate::node) fn refused(&mut self, token: Token, current_sync: u64) {
        self.owed.insert(token, Owed { after_sync: current_sync, ..Owed::default() });
    }

    /// Returns the number of owed tokens.
    pub(in crate::node) fn count(&self) -> u64 {
        u64::try_from(self.owed.len()).unwrap_or(u64::MAX)
    }

    /// Returns whether nothing is owed.
    pub(in crate::node) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    pub(in crate::node) fn owes(&self, token: &Token) -> bool {
        self.owed.contains_key(token)
    }

    /// Returns whether a token stays open after a reply whose code is not terminal: it was answered and waits only for
    /// its row, or the reply is about a part of a copy whose end was sent, by this run or an earlier one.
    pub(in crate::node) fn outlasts(&self, token: &Token, data: &str) -> bool {
        self.owed.get(token).is_some_and(|owed| match owed.progress {
            Progress::Answered { .. } => true,
            Progress::Sent | Progress::Unconfirmed => (owed.is_copy || owed.is_restored) && is_about_part(data),
        })
    }

    /// Returns whether any token waits for a sync to settle it.
    pub(in crate::node) fn has_unsettled(&self) -> bool {
        self.owed.values().any(|owed| owed.progress != Progress::Sent)
    }

    /// Returns tokens that the sync with this number may settle, those that wait longest first.
    pub(in crate::node) fn unsettled(&self, serial: u64) -> Vec<Token> {
        let waits = |owed: &Owed| owed.progress != Progress::Sent && owed.after_sync < serial;
        let mut waiting: Vec<(u64, &Token)> =
            self.owed.iter().filter(|(_, owed)| waits(owed)).map(|(token, owed)| (owed.after_sync, token)).collect();
        waiting.sort_unstable();
        waiting.into_iter().take(ASKED_MAX).map(|(_, token)| token.clone()).collect()
    }

    /// Returns whether tokens are left that the sync with this number could not ask about.
    pub(in crate::node) fn has_unasked(&self, serial: u64) -> bool {
        self.owed
            .values()
            .any(|owed| owed.progress != Progress::Sent && owed.after_sync < serial && owed.missed_at.is_none())
    }

    /// Adds a message that is handed to the link. Returns whether a row is owed for it, so that it must survive a
    /// restart. For a message that `is_relayed` the relay writes a row in any case.
    pub(in crate::node) fn sent(&mut self, token: Token, action: &Action, current_sync: u64, is_relayed: bool) -> bool {
        let ends = if is_relayed { Ends::Row } else { action.ends() };
        let ends_with_reply = ends == Ends::Reply;
        let leaves_no_row = ends != Ends::Row;
        let progress = Progress::Sent;
        self.owed.insert(
            token,
            Owed { progress, ends_with_reply, leaves_no_row, after_sync: current_sync, ..Owed::default() },
        );
        !ends_with_reply
    }

    /// Does the same for the last message of a copy.
    pub(in crate::node) fn sent_copy(&mut self, token: Token, current_sync: u64) {
        self.sent(token.clone(), &Action::ProcessCopy, current_sync, false);
        if let Some(owed) = self.owed.get_mut(&token) {
            owed.is_copy = true;
        }
    }

    /// Adds an unconfirmed token of an earlier run.
    pub(in crate::node) fn restore(&mut self, token: Token) {
        let progress = Progress::Unconfirmed;
        let owed = Owed { progress, is_restored: true, ..Owed::default() };
        self.owed.insert(token, owed);
    }

    /// Handles a reply of the node. Returns the ending if this reply is all, and whether to sync the node's history
    /// soon.
    pub(in crate::node) fn replied(
        &mut self,
        token: &Token,
        code: Code,
        data: &str,
        current_sync: u64,
    ) -> (Option<Ending>, bool) {
        let Some(owed) = self.owed.get_mut(token) else { return (None, false) };
        if code.is_terminal() {
            let data = if data.len() <= ANSWER_BYTES_MAX { data } else { "null" };
            owed.progress = Progress::Answered { code, data: data.to_owned() };
            owed.after_sync = current_sync;
            return (None, true);
        }
        let ending = owed.ends_with_reply.then(|| Ending::Answered { code: Code::FINISHED_OK, data: data.to_owned() });
        self.owed.remove(token);
        (ending, false)
    }

    /// Removes a token that has its row.
    pub(in crate::node) fn ended(&mut self, token: &Token) -> bool {
        self.owed.remove(token).is_some()
    }

    /// Marks all sent messages as possibly lost, because the link broke.
    pub(in crate::node) fn link_lost(&mut self) {
        for owed in self.owed.values_mut() {
            if owed.progress == Progress::Sent && !broken::is(Fault::LossUnnoticed) {
                owed.progress = Progress::Unconfirmed;
            }
        }
    }

    /// Notes that the link is back. Lost messages are looked for in syncs after `current_sync`.
    pub(in crate::node) fn link_restored(&mut self, current_sync: u64) {
        for owed in self.owed.values_mut() {
            if owed.progress == Progress::Unconfirmed {
                owed.after_sync = current_sync;
            }
        }
    }

    /// Handles the end of a sync: returns the endings of tokens whose rows it should have brought and did not. A node
    /// of our own kind has `told` which of them it will still end.
    pub(in crate::node) fn synced(
        &mut self,
        serial: u64,
        is_relay: bool,
        told: Option<&Told>,
        now: Monotonic,
    ) -> Vec<(Token, Ending)> {
        let is_asked = |token: &Token| told.is_none_or(|told| told.asked.contains(token));
        // What is not open at the node itself has its row, or never will. A relay may wait for the row of a copy, too.
        let may_be_late = |owed: &Owed| (owed.is_copy || owed.is_restored && is_relay) && (told.is_none() || is_relay);
        for (token, owed) in &mut self.owed {
            if owed.progress == Progress::Sent || owed.after_sync >= serial || !is_asked(token) {
                continue;
            }
            if told.is_some_and(|told| told.open.contains(token.as_str())) {
                owed.after_sync = serial;
                owed.missed_at = None;
            } else if may_be_late(owed) {
                owed.missed_at.get_or_insert(now);
            }
        }
        let is_over = |owed: &Owed| owed.missed_at.is_some_and(|missed| now.since(missed) >= COPY_WAIT);
        let serial = if broken::is(Fault::GivenUpEarly) { u64::MAX } else { serial };
        self.take(|token, owed| owed.after_sync < serial && is_asked(token) && (!may_be_late(owed) || is_over(owed)))
    }

    /// Handles the end of a sync over an unbroken connection: everything sent before its question has arrived. Returns
    /// those tokens, with the ending of those whose action leaves no row. A copy that has arrived is stored nowhere
    /// before its last row, so it is owed until then.
    pub(in crate::node) fn arrived(&mut self, serial: u64) -> Vec<(Token, Option<Ending>)> {
        let has_arrived = |owed: &Owed| owed.progress == Progress::Sent && owed.after_sync < serial && !owed.is_copy;
        let tokens: Vec<Token> =
            self.owed.iter().filter(|(_, owed)| has_arrived(owed)).map(|(token, _)| token.clone()).collect();
        let end = |owed: Owed| {
            let done = || Ending::Answered { code: Code::FINISHED_OK, data: "null".to_owned() };
            owed.leaves_no_row.then(done)
        };
        tokens.into_iter().filter_map(|token| self.owed.remove(&token).map(|owed| (token, end(owed)))).collect()
    }

    /// Ends every token that waits for a sync, because the node did not come back.
    pub(in crate::node) fn give_up(&mut self) -> Vec<(Token, Ending)> {
        self.take(|_, _| true)
    }

    /// Removes every token, because the node is unregistered, or the daemon stops with the link down.
    pub(in crate::node) fn take_all(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.owed).into_keys().collect()
    }

    /// Removes, because the daemon stops, the tokens that the next run would not know, and with `never_sent` those that
    /// wait for the link.
    pub(in crate::node) fn take_unknown(
        &mut self,
        never_sent: bool,
        is_remembered: impl Fn(&Token) -> bool,
    ) -> Vec<Token> {
        let ends =
            |(token, owed): &(&Token, &Owed)| !is_remembered(token) || never_sent && owed.progress == Progress::Sent;
        let tokens: Vec<Token> = self.owed.iter().filter(ends).map(|(token, _)| token.clone()).collect();
        tokens.iter().for_each(|token| drop(self.owed.remove(token)));
        tokens
    }

    fn take(&mut self, is_due: impl Fn(&Token, &Owed) -> bool) -> Vec<(Token, Ending)> {
        let is_due = |token: &Token, owed: &Owed| owed.progress != Progress::Sent && is_due(token, owed);
        let due: Vec<Token> =
            self.owed.iter().filter(|(token, owed)| is_due(token, owed)).map(|(token, _)| token.clone()).collect();
        due.into_iter()
            .filter_map(|token| match self.owed.remove(&token)?.progress {
                Progress::Answered { code, data } => Some((token, Ending::Answered { code, data })),
                Progress::Sent | Progress::Unconfirmed => Some((token, Ending::Lost)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic::from_millis(5_000);

    fn token(text: &str) -> Token {
        Token::parse(text).unwrap()
    }

    #[test]
    fn a_reply_confirms_a_message() {
        let mut owed = OwedTokens::default();
        owed.sent(token("a"), &Action::Command, 3, false);
        assert_eq!(owed.replied(&token("a"), Code::BEGIN, "null", 3), (None, false));
        owed.link_lost();
        assert!(!owed.has_unsettled());
    }

    #[test]
    fn an_unconfirmed_token_ends_with_the_first_sync_after_reconnection_that_does_not_bring_its_row() {
        let mut owed = OwedTokens::default();
        owed.sent(token("a"), &Action::Command, 3, false);
        owed.sent(token("b"), &Action::Command, 3, false);
        owed.link_lost();
        owed.link_restored(4);
        assert_eq!(owed.synced(4, false, None, NOW), vec![]);
        assert!(owed.ended(&token("b")));
        assert_eq!(owed.synced(5, false, None, NOW), vec![(token("a"), Ending::Lost)]);
        assert_eq!(owed.synced(6, false, None, NOW), vec![]);
    }

    #[test]
    fn a_terminal_reply_becomes_the_row_when_the_node_wrote_none() {
        let mut owed = OwedTokens::default();
        owed.sent(token("a"), &Action::Kill, 0, false);
        assert_eq!(owed.replied(&token("a"), Code::FINISHED_KO, "{}", 1), (None, true));
        assert_eq!(owed.synced(1, false, None, NOW), vec![]);
        let ending = Ending::Answered { code: Code::FINISHED_KO, data: "{}".to_owned() };
        assert_eq!(owed.synced(2, false, None, NOW), vec![(token("a"), ending)]);
    }

    #[test]
    fn a_reply_to_an_action_without_rows_ends_the_token_at_once() {
        let mut owed = OwedTokens::default();
        owed.sent(token("a"), &Action::PutLog, 0, false);
        let ending = Ending::Answered { code: Code::FINISHED_OK, data: "{}".to_owned() };
        assert_eq!(owed.replied(&token("a"), Code::BEGIN, "{}", 0), (Some(ending), false));
    }

    #[test]
    fn a_relay_of_our_kind_owes_a_row_whatever_it_replies() {
        let mut owed = OwedTokens::default();
        assert!(owed.sent(token("a"), &Action::PutLog, 0, true));
        assert_eq!(owed.replied(&token("a"), Code::BEGIN, "null", 0), (None, false));
    }

    #[test]
    fn what_a_node_says_about_a_part_of_a_copy_is_no_confirmation_of_its_end() {
        let mut owed = OwedTokens::default();
        owed.restore(token("a"));
        for part in [r#"{"received":0}"#, r#"{"query":3,"interrupted":true}"#, r#"{"failed":"x"}"#, r#"{"plain":true}"#]
        {
            assert!(owed.outlasts(&token("a"), part), "{part}");
        }
        for end in [r#"{"unchanged":false}"#, "null", "no JSON", r#"{"message":"received"}"#] {
            assert!(!owed.outlasts(&token("a"), end), "{end}");
        }
        owed.sent_copy(token("c"), 0);
        assert!(owed.outlasts(&token("c"), r#"{"received":4}"#), "the confirmation of its last chunk came twice");
        assert!(!owed.outlasts(&token("c"), r#"{"unchanged":false}"#));
        owed.sent(token("b"), &Action::Command, 0, false);
        assert!(!owed.outlasts(&token("b"), r#"{"received":0}"#));
        owed.replied(&token("b"), Code::FINISHED_KO, "{}", 0);
        assert!(owed.outlasts(&token("b"), "null"));
    }

    #[test]
    fn a_message_that_still_waits_in_the_link_is_not_given_up() {
        let mut owed = OwedTokens::default();
        owed.sent(token("a"), &Action::Command, 0, false);
        assert_eq!(owed.give_up(), vec![]);
        owed.link_lost();
        assert_eq!(owed.give_up(), vec![(token("a"), Ending::Lost)]);
    }

    #[test]
    fn a_copy_that_its_receiver_still_puts_in_place_is_waited_for_and_one_that_it_does_not_know_is_lost_at_once() {
        let mut owed = OwedTokens::default();
        let told = |open: &[&str]| Told {
            asked: vec![token("a"), token("b")],
            open: open.iter().map(|token| (*token).to_owned()).collect(),
        };
        for name in ["a", "b", "c"] {
            owed.sent_copy(token(name), 3);
        }
        owed.link_lost();
        owed.link_restored(4);
        assert_eq!(owed.unsettled(5), [token("a"), token("b"), token("c")]);
        assert_eq!(owed.synced(5, false, Some(&told(&["a"])), NOW), vec![(token("b"), Ending::Lost)]);
        assert!(owed.has_unasked(5), "the third");
        let much_later = NOW + 9 * COPY_WAIT;
        assert_eq!(owed.synced(9, false, Some(&told(&["a"])), much_later), vec![]);
        assert_eq!(owed.synced(10, false, Some(&told(&[])), much_later), vec![(token("a"), Ending::Lost)]);
        // A relay may wait for the row itself.
        owed.sent_copy(token("a"), 10);
        owed.link_lost();
        assert_eq!(owed.synced(11, true, Some(&told(&[])), NOW), vec![]);
        assert_eq!(owed.synced(12, true, Some(&told(&["a"])), NOW + COPY_WAIT), vec![]);
        assert_eq!(owed.synced(13, true, Some(&told(&[])), NOW + COPY_WAIT), vec![]);
        let ended = owed.synced(14, true, Some(&told(&[])), NOW + 2 * COPY_WAIT);
        assert_eq!(ended, vec![(token("a"), Ending::Lost)]);
    }

    #[test]
    fn a_copy_is_owed_until_its_last_row_and_other_requests_until_they_have_arrived() {
        let mut owed = OwedTokens::default();
        owed.sent_copy(token("a"), 3);
        owed.sent(token("b"), &Action::Command, 3, false);
        assert_eq!(owed.arrived(4), vec![(token("b"), None)]);
        owed.link_lost();
        owed.link_restored(5);
        let told = Told { asked: vec![token("a")], open: BTreeSet::new() };
        assert_eq!(owed.synced(6, false, Some(&told), NOW), vec![(token("a"), Ending::Lost)]);
    }

    #[test]
    fn the_end_of_a_copy_may_come_later_than_the_next_sync() {
        let mut owed = OwedTokens::default();
        owed.sent_copy(token("a"), 3);
        owed.link_lost();
        owed.link_restored(4);
        assert_eq!(owed.synced(5, false, None, NOW), vec![]);
        assert_eq!(owed.synced(9, false, None, NOW + Duration::from_secs(59)), vec![]);
        assert_eq!(owed.synced(10, false, None, NOW + COPY_WAIT), vec![(token("a"), Ending::Lost)]);
        // After a restart nobody knows whether a token belongs to a copy; one that was sent to a relay may.
        owed.restore(token("b"));
        owed.link_restored(10);
        assert_eq!(owed.synced(11, true, None, NOW), vec![]);
        assert_eq!(owed.synced(12, true, None, NOW + COPY_WAIT), vec![(token("b"), Ending::Lost)]);
        owed.restore(token("c"));
        assert_eq!(owed.synced(13, false, None, NOW), vec![(token("c"), Ending::Lost)]);
    }
}
