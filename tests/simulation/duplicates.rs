//! Messages that arrive twice. What a node says to the daemon above it (answers, confirmations, rows) may come again at
//! any time, whole and at once after the first: it must count once. The first messages of a stream make its session and
//! come once, and so does what is sealed by TLS, which a repeated message ends.

use std::collections::VecDeque;

use super::seeded::Seeded;

/// One message in this many comes twice.
const REPEATED_ONE_IN: u64 = 30;
/// The messages of a handshake.
const HANDSHAKE_MESSAGES: usize = 3;
const GREETING_BYTES: usize = 64;

#[derive(Clone, Copy, Default, PartialEq)]
enum Stage {
    /// A greeting of ZMTP or the head of a request.
    #[default]
    Beginning,
    Zmtp,
    WebSocket,
}

/// Finds whole messages in one direction of a stream and repeats some.
#[derive(Default)]
pub struct Repeater {
    stage: Stage,
    /// The bytes received so far of the current message.
    message: Vec<u8>,
    /// Where its current frame begins.
    frame: usize,
    messages: usize,
}

impl Repeater {
    /// Takes bytes that enter the stream.
    pub fn pass(&mut self, bytes: &[u8], stream: &mut VecDeque<u8>, random: &mut Seeded) {
        for byte in bytes {
            stream.push_back(*byte);
            self.message.push(*byte);
            if self.is_whole() {
                let is_repeatable = self.stage != Stage::Beginning && !self.is_control() && !self.is_sealed();
                if is_repeatable {
                    self.messages += 1;
                    if self.messages > HANDSHAKE_MESSAGES && random.once_in(REPEATED_ONE_IN) {
                        stream.extend(&self.message);
                    }
                }
                if self.stage == Stage::Beginning {
                    self.stage = if self.message[0] == 0xff { Stage::Zmtp } else { Stage::WebSocket };
                }
                self.message.clear();
                self.frame = 0;
            }
        }
    }

    fn is_whole(&mut self) -> bool {
        let frame = &self.message[self.frame..];
        match self.stage {
            Stage::Beginning if self.message[0] == 0xff => self.message.len() == GREETING_BYTES,
            Stage::Beginning => self.message.ends_with(b"\r\n\r\n"),
            Stage::Zmtp | Stage::WebSocket => {
                let len = if self.stage == Stage::Zmtp { zmtp_len(frame) } else { websocket_len(frame) };
                if len != Some(frame.len()) {
                    return false;
                }
                let is_last = if self.stage == Stage::Zmtp { frame[0] & 1 == 0 } else { frame[0] & 0x80 != 0 };
                self.frame = self.message.len();
                is_last
            }
        }
    }

    /// Returns whether it is a message of TLS records.
    fn is_sealed(&self) -> bool {
        let header = if self.message[0] & 2 != 0 { 9 } else { 2 };
        self.stage == Stage::Zmtp && self.message.get(header).is_some_and(|octet| (20..=23).contains(octet))
    }

    /// Returns whether it is a command of ZMTP or a control frame.
    fn is_control(&self) -> bool {
        if self.stage == Stage::Zmtp { self.message[0] & 4 != 0 } else { self.message[0] & 8 != 0 }
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Returns the length of a frame as soon as its header gives it.
fn zmtp_len(frame: &[u8]) -> Option<usize> {
    let width = if frame[0] & 2 != 0 { 8 } else { 1 };
    Some(1 + width + number(frame.get(1..1 + width)?))
}

fn websocket_len(frame: &[u8]) -> Option<usize> {
    let second = *frame.get(1)?;
    let (width, small) = match second & 0x7f {
        126 => (2, 0),
        127 => (8, 0),
        small => (0, usize::from(small)),
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    Some(2 + width + mask + small + number(frame.get(2..2 + width)?))
}
