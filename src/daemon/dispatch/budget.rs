//! The budget of memory for data in transit: how much all peers, commands and copies hold together, and who waits when
//! it is used up.
//!
//! Nothing is charged or released by hand, so nothing is forgotten: each part keeps the sum of what it holds, and this
//! module adds the sums up. No part can use up the whole budget, so none can block the others:
//!
//! | part | share | above the share, or when the budget is used up |
//! |---|---|---|
//! | incomplete messages | a quarter | only the oldest is read; one that makes no progress is closed |
//! | answers | half; small ones three quarters | no question is asked; a peer that takes nothing is closed
//! (`unsent.rs`) |
//! | outputs of commands | an eighth | only the oldest command is read (`event_loop/output_budget.rs`) |
//! | files read for copies | the remainder | they are read later |
//!
//! Messages of less than [`SMALL_BYTES`] never wait, nor does any message of our nodes or our central, so that control
//! messages get through.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::connection::ConnectionId;
use crate::model::copy::SourceStep;
use crate::model::host_work::HostWork;
use crate::model::time::{Monotonic, Now};

use super::connections::Kind;
use super::unsent::AnswerRoom;
use super::{Dispatch, Effect, Owner};

/// Limit in bytes for all parts together; a quarter of `max_memory` if that is less.
const LIMIT_BYTES: usize = 64 << 20;
/// Maximum size in bytes of an answer that is requested above the share of answers.
pub(super) const SMALL_ANSWER_BYTES: usize = 64 << 10;
/// A message of which less than this many bytes have been received is always read.
const SMALL_BYTES: usize = 64 << 10;
/// Incomplete messages smaller than this many bytes are not counted.
const COUNTED_BYTES: usize = 4 << 10;
/// When the share is used up, at least this many bytes of the oldest message must arrive within [`PATIENCE`].
const READ_BYTES: usize = 64 << 10;
/// Time within which [`READ_BYTES`] must arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message that is partly received.
struct Coming {
    bytes: usize,
    /// Number of bytes received at the last progress, and its time.
    mark: (usize, Monotonic),
    /// Sequence number: messages that began earlier have lower ones.
    began: u64,
}

/// The budget of memory for data in transit.
pub(super) struct Budget {
    limit_bytes: usize,
    /// Answers that wait to be sent.
    answers_bytes: usize,
    /// Outputs of running commands.
    outputs_bytes: usize,
    /// Requests, chunks and pages that wait in the deciding core.
    rooms_bytes: usize,
    coming: BTreeMap<ConnectionId, Coming>,
    /// Messages that may be made to wait and of which [`SMALL_BYTES`] have been received, in the order of their start.
    large: BTreeMap<u64, ConnectionId>,
    coming_bytes: usize,
    next_began: u64,
    /// Whether any connection was told to wait.
    has_waiting: bool,
    /// Postponed reads of files.
    reads: Vec<HostWork>,
}

impl Budget {
    /// An unused budget; `max_memory` is the memory limit of the whole daemon in bytes.
    pub(super) fn new(max_memory: Option<u64>) -> Self {
        let share = max_memory.map(|bytes| usize::try_from(bytes / 4).unwrap_or(LIMIT_BYTES));
        Self {
            limit_bytes: share.map_or(LIMIT_BYTES, |share| share.min(LIMIT_BYTES)),
            answers_bytes: 0,
            outputs_bytes: 0,
            rooms_bytes: 0,
            coming: BTreeMap::new(),
            large: BTreeMap::new(),
            coming_bytes: 0,
            next_began: 0,
            has_waiting: false,
            reads: Vec::new(),
        }
    }

    pub(super) const fn total_bytes(&self) -> usize {
        self.answers_bytes + self.outputs_bytes + self.rooms_bytes + self.coming_bytes
    }

    const fn is_full(&self) -> bool {
        self.total_bytes() >= self.limit_bytes
    }

    /// Whether incomplete messages have used up their share.
    const fn is_full_of_coming(&self) -> bool {
        self.coming_bytes >= self.limit_bytes / 4 || self.is_full()
    }

    /// Whether less than a third of the budget is used.
    pub(super) const fn is_low(&self) -> bool {
        self.total_bytes() < self.limit_bytes / 3
    }

    pub(super) const fn set_answers(&mut self, bytes: usize) {
        self.answers_bytes = bytes;
    }

    /// Whether answers that wait to be sent have used up their share.
    pub(super) const fn is_full_of_answers(&self) -> bool {
        self.answers_bytes >= self.limit_bytes / 2
    }

    pub(super) const fn answer_room(&self) -> AnswerRoom {
        if self.answers_bytes >= self.limit_bytes / 4 * 3 {
            AnswerRoom::None
        } else if self.is_full_of_answers() || self.total_bytes() >= self.limit_bytes / 4 * 3 {
            AnswerRoom::Bytes(SMALL_ANSWER_BYTES)
        } else {
            AnswerRoom::Whole
        }
    }

    /// Notes how many bytes of a message a connection has received.
    fn note_coming(&mut self, connection: ConnectionId, bytes: usize, may_wait: bool, now: Monotonic) {
        let before = self.coming.get(&connection).map_or(0, |coming| coming.bytes);
        if bytes < before || bytes < COUNTED_BYTES {
            // The message is complete, or another one has begun.
            if let Some(gone) = self.coming.remove(&connection) {
                self.coming_bytes = self.coming_bytes.saturating_sub(gone.bytes);
                self.large.remove(&gone.began);
            }
        }
        if bytes < COUNTED_BYTES {
            return;
        }
        self.next_began += 1;
        let began = self.next_began;
        let coming = self.coming.entry(connection).or_insert(Coming { bytes: 0, mark: (bytes, now), began });
        self.coming_bytes = self.coming_bytes.saturating_sub(coming.bytes) + bytes;
        coming.bytes = bytes;
        if bytes >= coming.mark.0 + READ_BYTES {
            coming.mark = (bytes, now);
        }
        if may_wait && bytes >= SMALL_BYTES {
            self.large.insert(coming.began, connection);
        }
    }

    /// The connection of the large message that began first; it is read even when the budget is used up.
    fn oldest(&self) -> Option<ConnectionId> {
        self.large.first_key_value().map(|(_, connection)| *connection)
    }

    /// Whether a connection must not be read now.
    pub(super) fn holds(&self, connection: ConnectionId) -> bool {
        self.is_full_of_coming()
            && self.coming.get(&connection).is_some_and(|coming| self.large.contains_key(&coming.began))
            && self.oldest().is_some_and(|oldest| oldest != connection)
    }

    /// The connection of the oldest message if it makes no progress while others wait for it.
    fn standing_still(&self, now: Monotonic) -> Option<ConnectionId> {
        let connection = self.oldest().filter(|_| self.is_full_of_coming())?;
        let coming = self.coming.get(&connection)?;
        (now.since(coming.mark.1) >= PATIENCE).then_some(connection)
    }
}

impl Dispatch {
    /// How large the answer to a question asked now may be.
    #[must_use]
    pub const fn answer_room(&self) -> AnswerRoom {
        self.budget.answer_room()
    }

    /// Notes the number of bytes that the outputs of running commands hold.
    pub fn note_outputs(&mut self, bytes: usize) {
        self.budget.outputs_bytes = bytes;
    }

    /// Number of bytes that the outputs of running commands may hold now.
    #[must_use]
    pub fn output_room(&self) -> usize {
        let others = self.budget.total_bytes().saturating_sub(self.budget.outputs_bytes);
        (self.budget.limit_bytes / 8).min(self.budget.limit_bytes.saturating_sub(others))
    }

    /// Notes how many bytes of an incomplete message a connection holds.
    pub(super) fn note_coming(&mut self, connection: ConnectionId, now: Now) {
        let (bytes, may_wait) = match self.connections.get(connection).map(|entry| &entry.kind) {
            Some(Kind::External(external)) => (external.zmtp.buffered_bytes(), true),
            Some(Kind::Api(client)) => (client.incoming_bytes(), true),
            Some(Kind::WebSocket(node)) => (node.incoming_bytes(), true),
            // Connections that we dialled are counted, but never wait.
            Some(Kind::Link { zmtp, .. }) => (zmtp.buffered_bytes(), false),
            Some(Kind::WebSocketParent | Kind::Undecided(_) | Kind::Ssh { .. }) | None => (0, false),
        };
        self.budget.note_coming(connection, bytes, may_wait, now.monotonic);
    }

    /// Notes what the deciding core holds, and resumes those who waited as far as there is room.
    pub(super) fn take_stock(&mut self, now: Now) {
        self.budget.rooms_bytes = self.core.held_bytes();
        if self.budget.is_full_of_coming() {
            self.budget.has_waiting = true;
            self.timers.set_if_unset(Owner::Budget, now.monotonic + PATIENCE);
        } else if std::mem::take(&mut self.budget.has_waiting) {
            let waiting: Vec<ConnectionId> = self.budget.coming.keys().copied().collect();
            // The driver then checks whether they may be read again.
            waiting.into_iter().for_each(|connection| self.connections.mark_dirty(connection));
            self.effects.extend(std::mem::take(&mut self.budget.reads).into_iter().map(Effect::Host));
        }
    }

    /// Starts work on this machine: at once, or once there is room if it reads data that will be sent.
    pub(super) fn read_when_there_is_room(&mut self, work: HostWork) {
        let waits = |source| self.budget.reads.iter().any(|read| read.source() == Some(source));
        let has_to_wait = match &work {
            HostWork::ReadSource { source, step } => {
                waits(*source) || (self.budget.is_full() && matches!(step, SourceStep::Read { .. }))
            }
            _ => false,
        };
        if has_to_wait {
            self.budget.has_waiting = true;
            self.budget.reads.push(work);
        } else {
            self.effects.push_back(Effect::Host(work));
        }
    }

    /// Handles the timer [`Owner::Budget`]: while the share is used up, closes the connection of a message that makes
    /// no progress.
    pub(super) fn close_who_stands_still(&mut self, now: Now) {
        if let Some(connection) = self.budget.standing_still(now.monotonic) {
            if let Some(peer) = self.connections.get(connection).map(|entry| entry.peer) {
                let bytes = self.budget.coming.get(&connection).map_or(0, |coming| coming.bytes);
                let total = self.budget.total_bytes() >> 20;
                let text = format!(
                    "{peer}: the rest of its message does not come, {bytes} bytes of it are here and {total} MiB are \
                     under way for all: closed"
                );
                self.complain(text, now);
            }
            self.effects.push_back(Effect::Close(connection));
            self.closed(connection, "the rest of its message does not come".to_owned(), now);
        }
        self.take_stock(now);
        if self.budget.is_full_of_coming() {
            self.timers.set(Owner::Budget, now.monotonic + PATIENCE / 5);
            if let Some(oldest) = self.budget.oldest() {
                self.connections.mark_dirty(oldest);
            }
        }
    }

    /// Forgets a closed connection.
    pub(super) fn forget_coming(&mut self, connection: ConnectionId) {
        self.budget.note_coming(connection, 0, false, Monotonic::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ConnectionId = ConnectionId(1);
    const TWO: ConnectionId = ConnectionId(2);
    const THREE: ConnectionId = ConnectionId(3);

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_millis(millis)
    }

    #[test]
    fn answers_become_small_and_then_none_whoever_holds_the_rest() {
        let mut budget = Budget::new(None);
        budget.set_answers(20 << 20);
        budget.outputs_bytes = 8 << 20;
        budget.note_coming(ONE, 16 << 20, true, at(0));
        assert_eq!(budget.answer_room(), AnswerRoom::Whole);
        budget.rooms_bytes = 40 << 20;
        assert_eq!(
            budget.answer_room(),
            AnswerRoom::Bytes(SMALL_ANSWER_BYTES),
            "others do not keep small ones waiting"
        );
        budget.note_coming(ONE, 0, true, at(1));
        budget.rooms_bytes = 0;
        assert_eq!((budget.answer_room(), budget.coming_bytes), (AnswerRoom::Whole, 0));
        budget.set_answers(32 << 20);
        assert_eq!(budget.answer_room(), AnswerRoom::Bytes(SMALL_ANSWER_BYTES));
        budget.set_answers(48 << 20);
        assert_eq!(budget.answer_room(), AnswerRoom::None);
    }

    #[test]
    fn the_limit_is_a_quarter_of_what_the_daemon_may_have() {
        assert_eq!(Budget::new(None).limit_bytes, 64 << 20);
        assert_eq!(Budget::new(Some(1 << 30)).limit_bytes, 64 << 20);
        assert_eq!(Budget::new(Some(32 << 20)).limit_bytes, 8 << 20);
    }

    #[test]
    fn when_all_is_used_up_the_oldest_message_goes_on_and_small_ones_never_wait() {
        let mut budget = Budget::new(None);
        budget.note_coming(TWO, 5 << 20, true, at(0));
        budget.note_coming(ONE, 10 << 20, true, at(1));
        budget.note_coming(THREE, 63 << 10, true, at(2));
        assert!(![ONE, TWO, THREE].into_iter().any(|connection| budget.holds(connection)), "there is room");
        budget.note_coming(ONE, 12 << 20, true, at(2));
        assert_eq!([ONE, TWO, THREE].map(|connection| budget.holds(connection)), [true, false, false]);
        budget.note_coming(TWO, 5 << 10, true, at(3));
        budget.note_coming(THREE, 5 << 20, true, at(3));
        assert!(!budget.holds(ONE), "the older one was whole, and another has begun");
        assert!(budget.holds(THREE));
    }

    #[test]
    fn a_message_that_keeps_others_waiting_must_go_on() {
        let mut budget = Budget::new(None);
        budget.note_coming(ONE, 40 << 20, true, at(0));
        budget.note_coming(TWO, 10 << 20, true, at(0));
        assert_eq!(budget.standing_still(at(4_999)), None);
        assert_eq!(budget.standing_still(at(5_000)), Some(ONE));
        budget.note_coming(ONE, (40 << 20) + READ_BYTES, true, at(4_000));
        assert_eq!(budget.standing_still(at(8_999)), None, "it goes on");
        budget.note_coming(ONE, 0, true, at(9_000));
        assert_eq!(budget.standing_still(at(60_000)), None, "there is room");
    }
}
