//! Received bytes that have not been read.

/// A contiguous first-in first-out byte buffer.
///
/// Invariant: `start <= storage.len()`, and the bytes from `start` on are readable. Once everything is consumed the
/// storage is freed, so that an idle connection costs nothing.
///
/// It has no bound of its own: the owner limits how much it reads before it consumes.
#[derive(Default)]
pub struct ReceiveBuffer {
    storage: Vec<u8>,
    start: usize,
}

impl ReceiveBuffer {
    /// An empty buffer, without an allocation.
    #[must_use]
    pub const fn new() -> Self {
        Self { storage: Vec::new(), start: 0 }
    }

    /// Appends a copy of `bytes`.
    ///
    /// Fewer bytes are moved than were consumed since the last move, so the cost per byte is constant.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let fits = self.storage.capacity() - self.storage.len() >= bytes.len();
        if !fits && self.start >= self.len() {
            self.storage.drain(..self.start);
            self.start = 0;
        }
        self.storage.extend_from_slice(bytes);
    }

    /// The readable bytes.
    #[must_use]
    pub fn readable(&self) -> &[u8] {
        self.storage.get(self.start..).unwrap_or_default()
    }

    /// Drops the first `count_bytes` readable bytes, or all of them if there are fewer.
    pub fn consume(&mut self, count_bytes: usize) {
        self.start = self.start.saturating_add(count_bytes).min(self.storage.len());
        if self.is_empty() {
            *self = Self::new();
        }
    }

    /// Number of readable bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.storage.len() - self.start
    }

    /// Whether nothing is readable.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.storage.len() == self.start
    }

    /// Bytes of memory held, readable or not; 0 when empty.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.storage.capacity()
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
                for _ in 0..count {
                    buffer.extend_from_slice(&[next_in]);
                    next_in = next_in.wrapping_add(1);
                }
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
    }

    #[test]
    fn counts_beyond_the_end_are_cut() {
        let mut buffer = ReceiveBuffer::new();
        buffer.extend_from_slice(b"abc");
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
