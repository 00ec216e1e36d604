//! Bytes that wait to be sent, of all connections together: the largest part of the budget (`budget.rs`).
//!
//! A connection asks its next question when the previous answers are sent. Above the budget, a peer that takes nothing
//! is closed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::connection::ConnectionId;
use crate::model::history::LogPage;
use crate::model::host_work::{HostDone, HostWork};
use crate::model::time::{Monotonic, Now};
use crate::node::input::Input;

use super::budget::SMALL_ANSWER_BYTES;
use super::connections::Kind;
use super::{Dispatch, Effect, Owner};

/// A connection asks questions only while fewer bytes than this wait for it.
const ASKS_BELOW_BYTES: usize = 256 << 10;
/// Number of simultaneous questions of one connection: initially, and at most while its answers are small. After a
/// large answer, and while more than half of the budget is used, there is one at a time.
const OPEN_FIRST: usize = 4;
const OPEN_MAX: usize = 256;
/// Above the budget, a peer must take [`TAKEN_BYTES`] within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Number of bytes that a peer must take within [`PATIENCE`].
const TAKEN_BYTES: usize = 64 << 10;

/// How large an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerRoom {
    /// Any size.
    Whole,
    /// At most this many bytes.
    Bytes(usize),
    /// No question may be asked now.
    None,
}

/// The bytes that wait for one peer.
struct Waiting {
    bytes: usize,
    /// Number of waiting bytes when the peer last took enough, and the time.
    mark: (usize, Monotonic),
}

/// The bytes that wait for all peers, and the questions that wait for room.
#[derive(Default)]
pub(super) struct Unsent {
    by_connection: BTreeMap<ConnectionId, Waiting>,
    total_bytes: usize,
    asking: BTreeMap<ConnectionId, Asking>,
}

/// The questions of one connection.
struct Asking {
    /// Number of unanswered questions.
    open: usize,
    /// Maximum number of unanswered questions.
    most: usize,
    /// Questions to ask when one of the open ones is answered and the answer is sent.
    waiting: VecDeque<HostWork>,
}

impl Default for Asking {
    fn default() -> Self {
        Self { open: 0, most: OPEN_FIRST, waiting: VecDeque::new() }
    }
}

impl Unsent {
    fn note(&mut self, connection: ConnectionId, bytes: usize, now: Monotonic) {
        let waiting = self.by_connection.get(&connection);
        if bytes == 0 && waiting.is_none() {
            return;
        }
        self.total_bytes = self.total_bytes.saturating_sub(waiting.map_or(0, |waiting| waiting.bytes)) + bytes;
        if bytes == 0 {
            self.by_connection.remove(&connection);
            return;
        }
        let (before, since) = waiting.map_or((bytes, now), |waiting| waiting.mark);
        // Newly queued bytes must not change how much the peer has taken.
        let grown = bytes.saturating_sub(waiting.map_or(bytes, |waiting| waiting.bytes));
        let before = before + grown;
        let mark = if before.saturating_sub(bytes) >= TAKEN_BYTES { (bytes, now) } else { (before, since) };
        self.by_connection.insert(connection, Waiting { bytes, mark });
    }

    /// Forgets a closed connection; returns its questions that were not asked.
    fn forget(&mut self, connection: ConnectionId) -> VecDeque<HostWork> {
        self.note(connection, 0, Monotonic::default());
        self.asking.remove(&connection).unwrap_or_default().waiting
    }

    /// The next question of a connection, if it may be asked now.
    fn next_question(&mut self, connection: ConnectionId, is_low: bool) -> Option<HostWork> {
        let bytes = self.of(connection);
        let asking = self.asking.get_mut(&connection).filter(|asking| !asking.waiting.is_empty())?;
        let may_ask = bytes < ASKS_BELOW_BYTES;
        let most = if is_low { asking.most } else { 1 };
        let next = if may_ask && asking.open < most { asking.waiting.pop_front() } else { None };
        asking.open += usize::from(next.is_some());
        next
    }

    fn answered(&mut self, connection: ConnectionId, answer_bytes: usize) {
        if let Some(asking) = self.asking.get_mut(&connection) {
            asking.open = asking.open.saturating_sub(1);
            asking.most = if answer_bytes > SMALL_ANSWER_BYTES { 1 } else { (asking.most * 2).min(OPEN_MAX) };
        }
    }

    fn of(&self, connection: ConnectionId) -> usize {
        self.by_connection.get(&connection).map_or(0, |waiting| waiting.bytes)
    }

    /// Of the peers that have taken too little for too long, the one with the most waiting bytes.
    fn idler(&self, now: Monotonic) -> Option<ConnectionId> {
        let idle = self.by_connection.iter().filter(|(_, waiting)| now.since(waiting.mark.1) >= PATIENCE);
        idle.max_by_key(|(_, waiting)| waiting.bytes).map(|(connection, _)| *connection)
    }
}

impl Dispatch {
    /// Asks a question of a connection as soon as few bytes wait for it.
    pub(super) fn ask_in_turn(&mut self, connection: ConnectionId, work: HostWork) {
        self.unsent.asking.entry(connection).or_default().waiting.push_back(work);
        self.ask_next(connection);
    }

    /// Notes that a question of a connection was answered with rows of `answer_bytes` bytes.
    pub(super) fn question_answered(&mut self, connection: ConnectionId, answer_bytes: usize, now: Now) {
        self.unsent.answered(connection, answer_bytes);
        self.note_unsent(connection, now);
    }

    fn ask_next(&mut self, connection: ConnectionId) {
        while let Some(work) = self.unsent.next_question(connection, self.budget.is_low()) {
            self.effects.push_back(Effect::Host(work));
        }
    }

    /// Notes the size of a connection's send queue after a change.
    pub(super) fn note_unsent(&mut self, connection: ConnectionId, now: Now) {
        let bytes = self.unsent_bytes(connection);
        self.unsent.note(connection, bytes, now.monotonic);
        self.budget.set_answers(self.unsent.total_bytes);
        self.ask_next(connection);
        if self.budget.is_full_of_answers() {
            self.timers.set_if_unset(Owner::Unsent, now.monotonic + PATIENCE);
        }
    }

    /// Forgets a closed connection and answers its unasked questions with no rows.
    pub(super) fn forget_unsent(&mut self, connection: ConnectionId, now: Now) {
        let waiting = self.unsent.forget(connection);
        self.budget.set_answers(self.unsent.total_bytes);
        for work in waiting {
            if let HostWork::Query { query, .. } = work {
                self.connections.answered(query);
                let nothing = LogPage::default();
                let done = HostDone::QueryAnswer { query, result: Ok(nothing) };
                self.core.handle_input(Input::Host(done), now);
            }
        }
    }

    /// Handles the timer [`Owner::Unsent`]: above the budget, closes peers that take nothing, the one with the most
    /// waiting bytes first.
    pub(super) fn close_idlers(&mut self, now: Now) {
        while self.budget.is_full_of_answers()
            && let Some(idler) = self.unsent.idler(now.monotonic)
        {
            let (bytes, peer) = (self.unsent.of(idler), self.connections.get(idler).map(|entry| entry.peer));
            if let Some(peer) = peer {
                let total = self.budget.total_bytes() >> 20;
                let text = format!(
                    "{peer}: does not read its answers, {bytes} bytes wait for it and {total} MiB for all: closed"
                );
                self.complain(text, now);
            }
            self.effects.push_back(Effect::Close(idler));
            self.closed(idler, "it does not read".to_owned(), now);
            self.unsent.note(idler, 0, now.monotonic);
            self.budget.set_answers(self.unsent.total_bytes);
        }
        if self.budget.is_full_of_answers() {
            self.timers.set(Owner::Unsent, now.monotonic + PATIENCE / 5);
        }
    }

    fn unsent_bytes(&mut self, connection: ConnectionId) -> usize {
        if let Some(Kind::Api(client)) = self.connections.get(connection).map(|entry| &entry.kind) {
            return client.unsent_bytes();
        }
        self.send_queue(connection).map_or(0, |queue| queue.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ConnectionId = ConnectionId(1);
    const TWO: ConnectionId = ConnectionId(2);

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_millis(millis)
    }

    #[test]
    fn the_idler_is_who_takes_too_little_however_much_comes_on_top() {
        let mut unsent = Unsent::default();
        unsent.note(ONE, 10 << 20, at(0));
        unsent.note(TWO, 30 << 20, at(0));
        for second in 1..=5 {
            unsent.note(ONE, (10 << 20) + second, at(1_000 * second as u64));
            unsent.note(TWO, (30 << 20) - second * TAKEN_BYTES, at(1_000 * second as u64));
        }
        assert_eq!(unsent.idler(at(4_999)), None);
        assert_eq!(unsent.idler(at(5_000)), Some(ONE));
        assert_eq!(unsent.idler(at(10_000)), Some(TWO), "the largest of both");
    }
}
