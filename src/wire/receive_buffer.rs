//! Bytes that came in and have not been read yet. No socket: the owner reads into [`ReceiveBuffer::spare`].

/// A contiguous first-in first-out byte buffer.
///
/// Invariant: `start <= end <= storage.len()`; the bytes in `start..end` are readable, those from `end` are zeroed or
/// stale space to read into. When everything is consumed the storage is given back, so that an idle connection costs
/// nothing.
///
/// It has no bound of its own: the owner decides how much it reads before it consumes.
#[derive(Default)]
pub struct ReceiveBuffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReceiveBuffer {
    /// An empty buffer, without an allocation.
    #[must_use]
    pub const fn new() -> Self {
        Self { storage: Vec::new(), start: 0, end: 0 }
    }

    /// At least `min_bytes` of space to read a socket into; call [`Self::advance`] with what was read.
    ///
    /// The bytes moved to make room are fewer than those consumed since the last move, so the cost per byte is
    /// constant.
    pub fn spare(&mut self, min_bytes: usize) -> &mut [u8] {
        self.make_room(min_bytes);
        let wanted_len = self.end.saturating_add(min_bytes);
        if self.storage.is_empty() {
            // A fresh zeroed allocation is cheaper than an empty one that is then filled.
            self.storage = vec![0; wanted_len];
        } else if self.storage.len() < wanted_len {
            self.storage.resize(wanted_len, 0);
        }
        self.storage.get_mut(self.end..).unwrap_or_default()
    }

    /// Makes the first `count_bytes` of the spare space readable; more than there is counts as all of it.
    pub fn advance(&mut self, count_bytes: usize) {
        self.end = self.end.saturating_add(count_bytes).min(self.storage.len());
        self.release_if_empty();
    }

    /// Appends a copy of `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.make_room(bytes.len());
        self.storage.truncate(self.end);
        self.storage.extend_from_slice(bytes);
        self.end = self.storage.len();
    }

    /// What can be read now.
    #[must_use]
    pub fn readable(&self) -> &[u8] {
        self.storage.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops the first `count_bytes` readable bytes; more than there is counts as all of them.
    pub fn consume(&mut self, count_bytes: usize) {
        self.start = self.start.saturating_add(count_bytes).min(self.end);
        self.release_if_empty();
    }

    /// Number of readable bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is readable.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes of memory held, readable or not; 0 when empty.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.storage.capacity()
    }

    /// Moves the readable bytes to the front, where that both helps and costs less than what was consumed.
    fn make_room(&mut self, min_bytes: usize) {
        let fits = self.storage.capacity().saturating_sub(self.end) >= min_bytes;
        if !fits && self.start >= self.len() {
            self.storage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    fn release_if_empty(&mut self) {
        if self.is_empty() {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReceiveBuffer;

    #[test]
    fn bytes_come_out_in_the_order_they_went_in_however_they_were_put_and_taken() {
        let mut buffer = ReceiveBuffer::new();
        let (mut next_in, mut next_out) = (0_u8, 0_u8);
        for round in 0..2_000_usize {
            if round % 3 == 0 {
                let bytes: Vec<u8> = (0..round % 71).map(|step| next_in.wrapping_add(step as u8)).collect();
                buffer.extend_from_slice(&bytes);
                next_in = next_in.wrapping_add(bytes.len() as u8);
            } else {
                let count = round % 53;
                for slot in &mut buffer.spare(count + 5)[..count] {
                    *slot = next_in;
                    next_in = next_in.wrapping_add(1);
                }
                buffer.advance(count);
            }
            let take = (round * 7) % 60;
            for byte in buffer.readable().iter().take(take) {
                assert_eq!(*byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            buffer.consume(take);
        }
        assert!(buffer.capacity_bytes() < 1 << 16, "grew to {}", buffer.capacity_bytes());
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buffer = ReceiveBuffer::new();
        assert_eq!(buffer.capacity_bytes(), 0);
        buffer.extend_from_slice(&[7; 100_000]);
        buffer.consume(99_999);
        assert_eq!(buffer.readable(), [7]);
        buffer.consume(1);
        assert_eq!(buffer.capacity_bytes(), 0);
        assert!(buffer.spare(4096).len() >= 4096);
        buffer.advance(0);
        assert_eq!(buffer.capacity_bytes(), 0, "a read that brought nothing leaves nothing behind");
    }

    #[test]
    fn counts_beyond_the_end_are_cut() {
        let mut buffer = ReceiveBuffer::new();
        buffer.extend_from_slice(b"abc");
        buffer.advance(usize::MAX);
        assert_eq!(buffer.readable(), b"abc");
        buffer.consume(usize::MAX);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_buffer_that_is_never_quite_empty_does_not_grow() {
        let mut buffer = ReceiveBuffer::new();
        buffer.extend_from_slice(b"x");
        for _ in 0..100_000 {
            buffer.extend_from_slice(&[0; 100]);
            buffer.consume(100);
        }
        assert_eq!(buffer.len(), 1);
        assert!(buffer.capacity_bytes() <= 1024, "grew to {}", buffer.capacity_bytes());
    }
}
