//! Frames inside a TLS link: a kind, a length and a body. The records of a message hold whole frames, so that who cuts
//! a message between two records is noticed.

use super::chunk;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// The first frame of each direction: who speaks.
    Greeting,
    /// An envelope (docs/protocol.md section 1).
    Envelope,
    /// An envelope with a chunk of a copy (`chunk`). It is read as an envelope.
    Chunk,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it holds.
    pub kind: FrameKind,
    pub body: Vec<u8>,
}

/// Length of the header in bytes: kind, and length of the body as a big-endian number.
pub(super) const HEADER_BYTES: usize = 5;

impl FrameKind {
    const fn octet(self) -> u8 {
        match self {
            Self::Greeting => 0,
            Self::Envelope => 1,
            Self::Chunk => 2,
        }
    }

    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0 => Some(Self::Greeting),
            1 => Some(Self::Envelope),
            2 => Some(Self::Chunk),
            _ => None,
        }
    }
}

/// Appends the parts of a body behind their header. An envelope with a chunk becomes a frame of its own kind.
///
/// # Errors
/// The body has 4 GiB or more.
pub(super) fn encode(kind: FrameKind, parts: &[&[u8]], bytes: &mut Vec<u8>) -> Result<(), String> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let start = bytes.len();
    bytes.reserve(HEADER_BYTES.saturating_add(len));
    bytes.extend_from_slice(&[0; HEADER_BYTES]);
    let is_chunk = kind == FrameKind::Envelope && chunk::encode(parts, bytes);
    if !is_chunk {
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
    }
    let body = bytes.len().saturating_sub(start).saturating_sub(HEADER_BYTES);
    let number = u32::try_from(body).map_err(|_| format!("a message of {body} bytes is too long for a link"))?;
    if let Some([octet, length @ ..]) = bytes.get_mut(start..).and_then(|frame| frame.first_chunk_mut::<HEADER_BYTES>())
    {
        *octet = if is_chunk { FrameKind::Chunk } else { kind }.octet();
        *length = number.to_be_bytes();
    }
    Ok(())
}

/// Reads all frames of a message.
///
/// # Errors
/// A sentence about the peer: the frames are not whole, or of an unknown kind.
pub(super) fn decode(mut bytes: Vec<u8>) -> Result<Vec<Frame>, String> {
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let Some(([octet, length @ ..], behind)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Err("a message was cut".to_owned());
        };
        let kind = FrameKind::from_octet(*octet).ok_or_else(|| format!("a frame of the unknown kind {octet}"))?;
        let len = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((body, behind)) = behind.split_at_checked(len) else { return Err("a message was cut".to_owned()) };
        if kind == FrameKind::Chunk {
            let body = chunk::decode(body).ok_or("a frame with a chunk of wrong lengths")?;
            frames.push(Frame { kind: FrameKind::Envelope, body });
        } else if frames.is_empty() && behind.is_empty() {
            // The only frame keeps the allocation.
            bytes.drain(..HEADER_BYTES);
            return Ok(vec![Frame { kind, body: bytes }]);
        } else {
            frames.push(Frame { kind, body: body.to_vec() });
        }
        rest = behind;
    }
    Ok(frames)
}
