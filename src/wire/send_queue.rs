//! Bytes that wait to be sent. The owner writes [`SendQueue::front`] to its socket and reports what the socket took.

use std::collections::VecDeque;

/// Small pieces are gathered into chunks of at most this size, so that one write covers many frames.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// A pushed piece of at least this size keeps its own allocation instead of being copied.
const KEEP_WHOLE_BYTES: usize = 16 * 1024;

/// Fill levels of a [`SendQueue`], in bytes, between which its source is paused and resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaterMarks {
    /// Above this the source should be paused.
    pub high_bytes: usize,
    /// Below this it may be resumed.
    pub low_bytes: usize,
}

impl WaterMarks {
    /// Default of [`WaterMarks::high_bytes`].
    pub const DEFAULT_HIGH_BYTES: usize = 1024 * 1024;
    /// Default of [`WaterMarks::low_bytes`].
    pub const DEFAULT_LOW_BYTES: usize = 256 * 1024;
}

impl Default for WaterMarks {
    fn default() -> Self {
        Self { high_bytes: Self::DEFAULT_HIGH_BYTES, low_bytes: Self::DEFAULT_LOW_BYTES }
    }
}

/// A first-in first-out queue of bytes in chunks. Each chunk is one write.
///
/// It accepts everything: the water marks inform and do not refuse. An empty queue holds no memory.
#[derive(Default)]
pub struct SendQueue {
    /// No chunk is empty, and the front one has more than `sent_bytes`.
    chunks: VecDeque<Vec<u8>>,
    /// Number of bytes of the front chunk that have been sent.
    sent_bytes: usize,
    /// Number of unsent bytes in all chunks.
    len_bytes: usize,
    marks: WaterMarks,
}

impl SendQueue {
    /// An empty queue, without an allocation.
    #[must_use]
    pub const fn new(marks: WaterMarks) -> Self {
        Self { chunks: VecDeque::new(), sent_bytes: 0, len_bytes: 0, marks }
    }

    /// Appends `bytes`, without a copy if they are large or the queue is empty.
    pub fn push(&mut self, bytes: Vec<u8>) {
        if bytes.len() < KEEP_WHOLE_BYTES && !self.chunks.is_empty() {
            self.extend_from_slice(&bytes);
        } else if !bytes.is_empty() {
            self.len_bytes = self.len_bytes.saturating_add(bytes.len());
            self.chunks.push_back(bytes);
        }
    }

    /// Appends a copy of `bytes`, to the last chunk if they fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.len_bytes = self.len_bytes.saturating_add(bytes.len());
        match self.chunks.back_mut() {
            Some(last) if last.len().saturating_add(bytes.len()) <= CHUNK_BYTES => last.extend_from_slice(bytes),
            _ => self.chunks.push_back(bytes.to_vec()),
        }
    }

    /// The bytes to write next; empty only if the queue is empty.
    #[must_use]
    pub fn front(&self) -> &[u8] {
        self.chunks.front().and_then(|chunk| chunk.get(self.sent_bytes..)).unwrap_or_default()
    }

    /// Drops the first `count_bytes`, or all bytes if there are fewer.
    pub fn consume(&mut self, count_bytes: usize) {
        let mut left_bytes = count_bytes.min(self.len_bytes);
        self.len_bytes -= left_bytes;
        while left_bytes > 0 {
            let front_bytes = self.front().len();
            if left_bytes < front_bytes {
                self.sent_bytes += left_bytes;
                return;
            }
            left_bytes -= front_bytes;
            self.sent_bytes = 0;
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    /// Number of unsent bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len_bytes
    }

    /// Whether there are no unsent bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Whether the source should be paused.
    #[must_use]
    pub const fn is_above_high(&self) -> bool {
        self.len_bytes > self.marks.high_bytes
    }

    /// Whether a paused source may resume.
    #[must_use]
    pub const fn is_below_low(&self) -> bool {
        self.len_bytes < self.marks.low_bytes
    }

    /// Number of bytes of memory held by the chunks, including sent parts; 0 if empty.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, SendQueue, WaterMarks};

    fn drained(queue: &mut SendQueue, step_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !queue.is_empty() {
            let count = queue.front().len().min(step_bytes);
            bytes.extend_from_slice(&queue.front()[..count]);
            queue.consume(count);
        }
        bytes
    }

    #[test]
    fn bytes_go_out_in_order_whatever_the_pieces_and_writes() {
        for step_bytes in [1, 7, 1000, CHUNK_BYTES, usize::MAX] {
            let mut queue = SendQueue::default();
            let mut expected = Vec::new();
            for (fill, size) in (0_u8..).zip([1, 0, 3, 20_000, 70_000, 5, CHUNK_BYTES, 1, 100]) {
                let piece = vec![fill; size];
                expected.extend_from_slice(&piece);
                if fill % 2 == 0 { queue.push(piece) } else { queue.extend_from_slice(&piece) }
            }
            assert_eq!(queue.len(), expected.len());
            assert!(drained(&mut queue, step_bytes) == expected, "with writes of {step_bytes}");
            assert_eq!(queue.capacity_bytes(), 0);
            assert!(queue.front().is_empty());
        }
    }

    #[test]
    fn small_pieces_share_a_write() {
        let mut queue = SendQueue::default();
        for _ in 0..1000 {
            queue.extend_from_slice(b"frame");
            queue.push(b"other".to_vec());
        }
        assert_eq!(queue.front().len(), 10_000);
    }

    #[test]
    fn a_large_piece_is_not_copied() {
        let piece = vec![1; 200_000];
        let address = piece.as_ptr();
        let mut queue = SendQueue::default();
        queue.extend_from_slice(b"header");
        queue.push(piece);
        queue.consume(6);
        assert_eq!(queue.front().as_ptr(), address);
    }

    #[test]
    fn one_consume_may_span_chunks_and_is_cut_at_the_end() {
        let mut queue = SendQueue::default();
        queue.push(vec![1; 20_000]);
        queue.push(vec![2; 20_000]);
        queue.consume(20_001);
        assert_eq!(queue.len(), 19_999);
        assert_eq!(queue.front().first(), Some(&2));
        queue.consume(usize::MAX);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_water_marks_tell_when_to_pause_and_when_to_go_on() {
        let mut queue = SendQueue::new(WaterMarks { high_bytes: 10, low_bytes: 4 });
        assert!(queue.is_below_low() && !queue.is_above_high());
        queue.extend_from_slice(&[0; 10]);
        assert!(!queue.is_below_low() && !queue.is_above_high());
        queue.extend_from_slice(&[0; 1]);
        assert!(queue.is_above_high());
        queue.consume(7);
        assert!(!queue.is_below_low() && !queue.is_above_high());
        queue.consume(1);
        assert!(queue.is_below_low());
    }

    #[test]
    fn a_queue_that_is_never_quite_drained_does_not_grow() {
        let mut queue = SendQueue::default();
        queue.extend_from_slice(b"x");
        for _ in 0..100_000 {
            queue.extend_from_slice(&[0; 100]);
            queue.consume(100);
        }
        assert!(queue.capacity_bytes() <= 4 * CHUNK_BYTES, "grew to {}", queue.capacity_bytes());
    }
}
