//! Frame headers and masks (RFC 6455 section 5.2). The connection handles bodies.

use super::WebSocketError;

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Continues a message.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Ends the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    const fn parse(code: u8) -> Result<Self, WebSocketError> {
        match code {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            _ => Err(WebSocketError::ReservedOpcode(code)),
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it is a control frame.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the message ends with it.
    pub is_final: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The mask of its payload.
    pub mask: Option<[u8; 4]>,
    /// Announced length of the payload. It is valid for the frame's type but not checked against a limit.
    pub payload_bytes: u64,
    /// Length of this header.
    pub header_bytes: usize,
}

impl FrameHeader {
    /// Reads a header from the start of `bytes`; `None` while it is incomplete. An error in the first two bytes or the
    /// length is reported before the rest arrives.
    ///
    /// # Errors
    /// [`WebSocketError`] for reserved bits and opcodes, malformed lengths and control frames that are split or too
    /// long.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, WebSocketError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(WebSocketError::ReservedBits);
        }
        let (is_final, opcode) = (first & FIN != 0, Opcode::parse(first & 0x0f)?);
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let short = second & !MASKED;
        if opcode.is_control() && (!is_final || usize::from(short) > MAX_CONTROL_BYTES) {
            return Err(WebSocketError::ControlFrame);
        }
        let (payload_bytes, length_bytes) = match short {
            126 => match rest.first_chunk::<2>() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(length) => (u64::from_be_bytes(*length), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        let is_shortest = match length_bytes {
            2 => payload_bytes > 125,
            8 => payload_bytes > u64::from(u16::MAX) && payload_bytes >> 63 == 0,
            _ => true,
        };
        if !is_shortest {
            return Err(WebSocketError::LengthForm);
        }
        let mask = if second & MASKED == 0 {
            None
        } else {
            match rest.get(length_bytes..).and_then(<[u8]>::first_chunk::<4>) {
                Some(mask) => Some(*mask),
                None => return Ok(None),
            }
        };
        let header_bytes = 2 + length_bytes + if mask.is_some() { 4 } else { 0 };
        Ok(Some(Self { is_final, opcode, mask, payload_bytes, header_bytes }))
    }
}

/// Appends the header of an unfragmented frame through `append`, in its shortest form.
pub fn encode_header(opcode: Opcode, payload_bytes: usize, mask: Option<[u8; 4]>, mut append: impl FnMut(&[u8])) {
    let first = FIN | opcode.code();
    let masked = if mask.is_some() { MASKED } else { 0 };
    match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(length), _) if length < 126 => append(&[first, masked | length]),
        (_, Ok(length)) => {
            let [high, low] = length.to_be_bytes();
            append(&[first, masked | 126, high, low]);
        }
        _ => {
            append(&[first, masked | 127]);
            append(&(payload_bytes as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        append(&mask);
    }
}

/// Masks or unmasks a part of a payload that begins `offset_bytes` after the start of the payload. Works on words of
/// eight bytes.
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset_bytes: usize) {
    let [a, b, c, d] = mask;
    let [a, b, c, d] = match offset_bytes % 4 {
        0 => [a, b, c, d],
        1 => [b, c, d, a],
        2 => [c, d, a, b],
        _ => [d, a, b, c],
    };
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}
