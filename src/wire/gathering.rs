//! A large message that is being received into the buffer that is read in the end.

use crate::wire::receive_buffer::ReceiveBuffer;

/// Initial room for a message, in bytes. Its pages are not touched before bytes arrive.
const FIRST_ROOM_BYTES: usize = 512 * 1024;

/// A message of `size_bytes`. The first `filled_bytes` of `payload` have arrived.
///
/// It has no bound of its own: the owner checks a size before it announces it.
#[derive(Default)]
pub(super) struct Gathering {
    payload: Vec<u8>,
    filled_bytes: usize,
    size_bytes: usize,
}

impl Gathering {
    /// Announces that `count_bytes` more bytes belong to the message.
    pub(super) const fn expect(&mut self, count_bytes: usize) {
        self.size_bytes = self.size_bytes.saturating_add(count_bytes);
    }

    /// Number of bytes that have arrived.
    pub(super) const fn filled_bytes(&self) -> usize {
        self.filled_bytes
    }

    /// Number of announced bytes that have not arrived.
    pub(super) const fn missing_bytes(&self) -> usize {
        self.size_bytes.saturating_sub(self.filled_bytes)
    }

    /// The room for the next bytes; empty if none are missing. From [`FIRST_ROOM_BYTES`] on it grows with the received
    /// bytes.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.payload.len() == self.filled_bytes {
            let len = self.filled_bytes.saturating_mul(2).max(FIRST_ROOM_BYTES).min(self.size_bytes);
            if self.payload.is_empty() {
                // A new zeroed block is cheaper than one that must be zeroed.
                self.payload = vec![0; len];
            } else {
                self.payload.resize(len, 0);
            }
        }
        self.payload.get_mut(self.filled_bytes..).unwrap_or_default()
    }

    /// Takes the number of bytes that were put into [`Self::room`].
    pub(super) fn fill(&mut self, count_bytes: usize) {
        self.filled_bytes = self.filled_bytes.saturating_add(count_bytes).min(self.payload.len());
    }

    /// Moves what is missing and has been received.
    pub(super) fn take(&mut self, received: &mut ReceiveBuffer) {
        while self.missing_bytes() > 0 && !received.is_empty() {
            let room = self.room();
            let here = received.readable();
            let count = here.len().min(room.len());
            if let (Some(room), Some(here)) = (room.get_mut(..count), here.get(..count)) {
                room.copy_from_slice(here);
            }
            received.consume(count);
            self.fill(count);
        }
    }

    /// The bytes that have arrived from a place on.
    pub(super) fn filled_from(&mut self, start: usize) -> &mut [u8] {
        self.payload.get_mut(start..self.filled_bytes).unwrap_or_default()
    }

    /// The message, once nothing is missing.
    pub(super) fn into_payload(self) -> Vec<u8> {
        self.payload
    }
}
