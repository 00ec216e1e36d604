//! How large the next chunk of a copy is, by the time that the confirmations of earlier ones took, so that on a
//! thin line a command behind a chunk waits no longer than about a round trip.
//!
//! Only a line that takes less than [`THIN_BYTES_PER_SECOND`] gets small chunks, one at a time. A receiver that
//! confirms slowly although little was sent has a long round trip, not a thin line.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::copy::SourceId;
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;

use super::Sender;

/// A line that carries less is thin.
const THIN_BYTES_PER_SECOND: u128 = 64 << 10;
/// Size of the smallest chunk, whose own time on the line is not counted.
const LEAST_BYTES: usize = 1 << 10;
/// Size of the first chunk, and of that over a way with a long round trip.
const FIRST_BYTES: usize = 16 << 10;
const FIRST_FAR_BYTES: usize = 2 << 10;
/// A round trip above this is long. A shorter one counts as half of it.
const FAR: Duration = Duration::from_millis(100);

/// The speed of one copy.
#[derive(Debug)]
pub(super) struct Speed {
    chunk_bytes: usize,
    round_trip: Duration,
    /// When each unconfirmed chunk was sent, and how many bytes were unconfirmed then, itself included.
    sent: VecDeque<(Monotonic, usize)>,
}

impl Speed {
    /// Starts with the round-trip time of the last ping.
    pub(super) fn new(round_trip: Option<Duration>) -> Self {
        let round_trip = round_trip.unwrap_or_default();
        let chunk_bytes = if round_trip > FAR { FIRST_FAR_BYTES } else { FIRST_BYTES };
        Self { chunk_bytes, round_trip: round_trip.max(FAR / 2), sent: VecDeque::new() }
    }

    /// Returns the size of the next chunk, at most `most`.
    pub(super) fn chunk_bytes(&self, most: usize) -> usize {
        self.chunk_bytes.min(most)
    }

    /// Returns how many chunks may be unconfirmed: all of `most` once chunks have their full size.
    pub(super) const fn window(&self, full_bytes: usize, most: usize) -> usize {
        if self.chunk_bytes < full_bytes { 1 } else { most }
    }

    /// Notes a chunk that is sent while `under_way` bytes are not confirmed, itself included.
    pub(super) fn sent(&mut self, now: Monotonic, under_way: usize) {
        self.sent.push_back((now, under_way));
    }

    /// Forgets what a broken connection has lost.
    pub(super) fn interrupted(&mut self) {
        self.sent.clear();
    }

    /// Notes that the oldest chunk is confirmed.
    pub(super) fn confirmed(&mut self, now: Monotonic, full_bytes: usize) {
        let Some((at, bytes)) = self.sent.pop_front() else { return };
        let took = now.since(at);
        self.round_trip = self.round_trip.min(took.max(FAR / 2));
        if took <= self.round_trip * 2 {
            self.chunk_bytes = (self.chunk_bytes * 2).min(full_bytes.max(LEAST_BYTES));
        } else if bytes as u128 * 1_000 < THIN_BYTES_PER_SECOND * took.as_millis() {
            if self.chunk_bytes <= LEAST_BYTES {
                self.round_trip = took;
            }
            self.chunk_bytes = (self.chunk_bytes / 2).max(LEAST_BYTES);
        } else if self.chunk_bytes < full_bytes {
            self.chunk_bytes = (self.chunk_bytes * 2).min(full_bytes);
        }
    }
}

impl Sender<'_> {
    /// Handles [`Timer::CopyPace`].
    pub(in crate::node) fn pace_due(&mut self, target: NodeId) {
        let waiting: Vec<SourceId> = self
            .sending
            .all
            .iter()
            .filter(|(_, copy)| copy.route.target == target)
            .map(|(source, _)| *source)
            .collect();
        for source in waiting {
            self.go_on(source);
        }
    }

    /// Handles room in the send queue of a node.
    pub(in crate::node) fn room(&mut self, through: NodeId) {
        for source in self.sending.of_node(through) {
            if let Some(copy) = self.sending.all.get_mut(&source) {
                copy.has_room = true;
            }
            self.go_on(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 150_000;

    /// Sends `count` chunks over a line; returns the sizes, and for each how long a command behind it waited.
    fn run(line_bytes_per_second: u64, round_trip_ms: u64, disk_ms: u64, count: usize) -> Vec<(usize, u64)> {
        let mut speed = Speed::new(Some(Duration::from_millis(round_trip_ms)));
        let (mut now, mut seen) = (0, Vec::new());
        for _ in 0..count {
            let bytes = speed.chunk_bytes(FULL);
            let under_way = bytes * speed.window(FULL, 8);
            let on_line = under_way as u64 * 1_000 / line_bytes_per_second;
            speed.sent(Monotonic::from_millis(now), under_way);
            now += on_line + round_trip_ms + disk_ms;
            speed.confirmed(Monotonic::from_millis(now), FULL);
            seen.push((bytes, on_line + round_trip_ms));
        }
        seen
    }

    #[test]
    fn a_command_behind_a_chunk_on_a_thin_line_waits_for_at_most_two_round_trips() {
        let seen = run(2_500, 600, 0, 100);
        assert!(seen.iter().skip(4).all(|(bytes, wait)| *wait <= 3 * 600 && *bytes >= LEAST_BYTES), "{seen:?}");
        let sent: usize = seen.iter().map(|(bytes, _)| bytes).sum();
        assert!(sent > 100 * 1_200, "and the line is used: {sent}");
    }

    #[test]
    fn a_fast_line_has_full_chunks_after_a_few_however_slow_the_disk_behind_it() {
        for (line, round_trip, disk) in
            [(12_000_000, 1, 0), (12_000_000, 200, 0), (12_000_000, 1, 300), (1_000_000, 40, 50)]
        {
            let seen = run(line, round_trip, disk, 60);
            let full = seen.iter().position(|(bytes, _)| *bytes == FULL);
            assert!(full.is_some_and(|at| at < 30), "{line} {round_trip} {disk}: {seen:?}");
            assert!(
                seen.iter().rev().take(10).all(|(bytes, _)| *bytes == FULL),
                "{line} {round_trip} {disk}: {seen:?}"
            );
        }
    }
}
