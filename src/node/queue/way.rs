//! The queued requests of one node. All of them are in the database; only those that are about to be sent are here.
//!
//! Requests are sent in their order, some at a time. One that was sent is in flight until a reply or a row shows that
//! the node has taken it. After any doubt everything in flight is read and sent again; the node knows what it has
//! taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::node_id::NodeId;
use crate::model::queue::{QueueQuery, QueuedRequest};
use crate::model::work::WorkId;

/// Maximum number of requests in flight, and bytes above which no more are sent.
const WINDOW_MAX: usize = 1_024;
const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// Number and bytes of requests that are read at once.
const PAGE: usize = 1_024;
const PAGE_BYTES: usize = 1 << 20;
/// The next page is read when no more requests than this are left of the one before.
const READ_AHEAD_BELOW: usize = PAGE / 2;
/// Maximum number of bytes of new requests that are kept until they are sent, instead of being read.
const FRESH_BYTES_MAX: usize = 256 << 10;
/// Pause before a node is tried again; doubles each time.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The requests of one node.
#[derive(Default)]
pub(super) struct Way {
    /// Number of requests that this run has not sent, without those that wait for their time.
    pub unsent: usize,
    /// Number of requests that wait for their time.
    pub scheduled: usize,
    /// Number of requests that the node has taken and that have not ended.
    pub taken: usize,
    /// Number of requests that are being stored.
    pub storing: usize,
    /// Number of bytes of all requests.
    pub bytes: u64,
    /// The last place that is marked as sent in the database.
    pub marked: i64,
    /// When the oldest known request was accepted.
    pub oldest: i64,
    /// Requests that may have been sent and are not known to be taken, with their bytes.
    flight: BTreeMap<i64, u64>,
    /// The last place that was sent, or looked at.
    cursor: i64,
    /// Requests behind the cursor, in order.
    buffer: VecDeque<QueuedRequest>,
    /// The first request of the buffer that was never read from disk, and so has not waited.
    fresh: Option<i64>,
    reading: Option<WorkId>,
    /// The last place that was read; behind the buffer, if that was read.
    read_to: i64,
    /// Requests that were removed while a page was being read.
    removed: BTreeSet<i64>,
    /// Whether requests were added while a page was being read.
    has_grown: bool,
    /// Maximum number of requests in flight up to the cursor, and their number.
    window: usize,
    in_window: usize,
    window_bytes: u64,
    /// Number of times that sending began again.
    attempt: u32,
    pause: Option<Duration>,
    /// Whether the node has taken something during the pause.
    has_sign: bool,
    /// Whether the node has not got one of several requests.
    pub has_gap: bool,
    /// Whether the node could not be reached when something was to be sent.
    is_blocked: bool,
}

impl Way {
    /// Returns the number of all requests.
    pub(super) fn len(&self) -> usize {
        self.unsent + self.scheduled + self.taken + self.storing + self.flight.len()
    }

    /// Adds a request that an earlier run may have sent.
    pub(super) fn restore_sent(&mut self, sequence: i64, bytes: u64) {
        self.flight.insert(sequence, bytes);
        self.unsent = self.unsent.saturating_sub(1);
    }

    /// Adds a request that is stored. It is kept if it can be sent next and nothing keeps the node from getting it.
    pub(super) fn add(&mut self, request: QueuedRequest) {
        let is_whole = self.unsent == self.buffer.len() && self.reading.is_none() && !self.has_flight_behind();
        let size: usize = self.buffer.iter().map(|request| request.data.len()).sum();
        self.unsent += 1;
        self.has_grown |= self.reading.is_some();
        if is_whole && !self.is_blocked && size + request.data.len() <= FRESH_BYTES_MAX && self.buffer.len() < PAGE {
            self.fresh.get_or_insert(request.head.sequence);
            self.buffer.push_back(request);
        }
    }

    /// Notes that the time of a request has come.
    pub(super) fn begin_scheduled(&mut self) {
        self.scheduled = self.scheduled.saturating_sub(1);
        self.unsent += 1;
        self.has_grown |= self.reading.is_some();
    }

    fn has_flight_behind(&self) -> bool {
        self.flight.range(self.cursor.saturating_add(1)..).next().is_some()
    }

    /// Returns whether something is to be sent that the window has room for.
    pub(super) fn wants_to_send(&self) -> bool {
        let has_any = self.unsent > 0 || !self.buffer.is_empty() || self.has_flight_behind();
        let has_room = self.in_window < self.window.max(1) && self.window_bytes < WINDOW_BYTES_MAX;
        has_any && has_room
    }

    /// Returns whether a node that gets no more must be tried again some time.
    pub(super) fn is_waiting(&self) -> bool {
        self.unsent > 0 || !self.flight.is_empty()
    }

    /// Returns the question for the next page, if one must be read.
    pub(super) fn page_wanted(&self, target: NodeId) -> Option<QueueQuery> {
        let is_low = self.buffer.len() <= READ_AHEAD_BELOW && self.unsent > self.buffer.len();
        let reads_ahead = is_low && self.fresh.is_none() && !self.has_flight_behind();
        let is_wanted = (self.buffer.is_empty() || reads_ahead) && self.reading.is_none();
        let after = self.cursor.max(self.read_to);
        is_wanted.then_some(QueueQuery::Page { target, after, limit: PAGE, bytes: PAGE_BYTES })
    }

    /// Notes that a page is being read.
    pub(super) fn is_read_by(&mut self, work: WorkId) {
        self.reading = Some(work);
        self.has_grown = false;
    }

    /// Takes a page, unless it is not wanted any more. `is_taken` tells which requests the node has taken.
    pub(super) fn page_read(&mut self, work: WorkId, page: Vec<QueuedRequest>, is_taken: impl Fn(i64) -> bool) {
        if self.reading != Some(work) {
            return;
        }
        self.reading = None;
        let removed = std::mem::take(&mut self.removed);
        let last = page.last().map(|request| request.head.sequence);
        let begin = self.cursor.max(self.last_place());
        self.read_to = self.read_to.max(last.unwrap_or(0));
        let wanted = |request: &QueuedRequest| {
            let head = &request.head;
            head.sequence > begin && !removed.contains(&head.sequence) && !is_taken(head.token.digest())
        };
        self.buffer.extend(page.into_iter().filter(wanted));
        self.fresh = None;
        match last {
            // Only requests that the node has taken.
            Some(last) if self.buffer.is_empty() => self.cursor = self.cursor.max(last),
            None if !self.has_grown => {
                // Fewer are stored than counted: some had the token of another one.
                self.unsent = self.buffer.len();
                self.flight.split_off(&self.cursor.saturating_add(1));
            }
            _ => {}
        }
    }

    pub(super) fn next(&self) -> Option<&QueuedRequest> {
        self.buffer.front()
    }

    /// Returns the place of the last request that can be sent without reading.
    pub(super) fn last_place(&self) -> i64 {
        self.buffer.back().map_or(0, |request| request.head.sequence)
    }

    /// Returns whether the next request has waited.
    pub(super) fn next_has_waited(&self) -> bool {
        let next = self.buffer.front().map_or(0, |request| request.head.sequence);
        self.fresh.is_none_or(|fresh| next < fresh)
    }

    /// Takes the next request to be sent. Returns it with the place of the one before it that is not known to be taken.
    pub(super) fn send_next(&mut self) -> Option<(QueuedRequest, i64)> {
        let request = self.buffer.pop_front()?;
        let (sequence, bytes) = (request.head.sequence, request.head.len_bytes);
        let after = self.flight.range(..sequence).next_back().map_or(0, |(before, _)| *before);
        if self.flight.insert(sequence, bytes).is_none() {
            self.unsent = self.unsent.saturating_sub(1);
        }
        self.cursor = self.cursor.max(sequence);
        self.in_window += 1;
        self.window_bytes = self.window_bytes.saturating_add(bytes);
        self.is_blocked = false;
        self.oldest = self.oldest.max(request.head.created);
        Some((request, after))
    }

    /// Returns the number of times that sending began again.
    pub(super) const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Notes that the node has taken a request in flight.
    pub(super) fn is_taken(&mut self, sequence: i64) {
        if self.leave_flight(sequence) {
            self.taken += 1;
            self.window = (self.window.max(1) * 2).min(WINDOW_MAX);
            self.pause = None;
            self.has_sign = true;
            self.leave_buffer(sequence);
        }
    }

    fn leave_buffer(&mut self, sequence: i64) {
        let found = self.buffer.binary_search_by_key(&sequence, |request| request.head.sequence);
        found.ok().and_then(|index| self.buffer.remove(index));
    }

    fn leave_flight(&mut self, sequence: i64) -> bool {
        let Some(bytes) = self.flight.remove(&sequence) else { return false };
        if sequence <= self.cursor {
            self.in_window = self.in_window.saturating_sub(1);
            self.window_bytes = self.window_bytes.saturating_sub(bytes);
        }
        true
    }

    /// Removes a request: one in flight, one that was taken, one that waits for its time, or one that was not sent.
    pub(super) fn remove(&mut self, sequence: i64, is_taken: bool, is_scheduled: bool, bytes: u64) {
        if is_taken {
            self.taken = self.taken.saturating_sub(1);
        } else if is_scheduled {
            self.scheduled = self.scheduled.saturating_sub(1);
        } else if !self.leave_flight(sequence) {
            self.unsent = self.unsent.saturating_sub(1);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.leave_buffer(sequence);
        if self.reading.is_some() {
            self.removed.insert(sequence);
        }
    }

    /// Begins again with the first request that is not known to be taken.
    pub(super) fn rewind(&mut self) {
        if let Some((first, _)) = self.flight.first_key_value() {
            self.cursor = self.cursor.min(first.saturating_sub(1));
            self.forget_read();
            (self.window, self.in_window, self.window_bytes) = (1, 0, 0);
            self.attempt = self.attempt.saturating_add(1);
        }
    }

    /// Forgets what was read, because it cannot be sent now, or in this order.
    fn forget_read(&mut self) {
        self.buffer = VecDeque::new();
        self.fresh = None;
        self.reading = None;
        self.read_to = 0;
        self.removed.clear();
    }

    /// Notes that nothing can be sent now.
    pub(super) fn block(&mut self) {
        self.forget_read();
        self.is_blocked = true;
    }

    /// Returns how long to wait for the node.
    pub(super) fn pause(&self) -> Duration {
        self.pause.unwrap_or(PAUSE_FIRST)
    }

    /// Handles the end of the pause: if the node gave no sign, begins again and waits longer next time.
    pub(super) fn try_again(&mut self) {
        if std::mem::take(&mut self.has_gap) {
            self.rewind();
        } else if !std::mem::take(&mut self.has_sign) {
            self.pause = Some((self.pause() * 2).min(PAUSE_MAX));
            self.rewind();
        }
    }

    /// Returns whether anything is in flight.
    pub(super) fn has_flight(&self) -> bool {
        !self.flight.is_empty()
    }

    /// Notes that requests that were taken are in doubt again: the node has another machine, or has given them back.
    pub(super) fn doubt(&mut self, taken: impl Iterator<Item = (i64, u64)>) {
        let before = self.flight.len();
        self.flight.extend(taken);
        self.taken = self.taken.saturating_sub(self.flight.len() - before);
        self.rewind();
    }
}
