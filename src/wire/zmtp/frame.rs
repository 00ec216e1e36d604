//! Frame headers (37/ZMTP, "Framing"). The connection handles bodies.

use super::ZmtpError;

const MORE: u8 = 0x01;
const LONG: u8 = 0x02;
const COMMAND: u8 = 0x04;

/// Maximum length of a header: flags and eight octets of size.
pub const MAX_HEADER_BYTES: usize = 9;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// The last or only frame of a message.
    Last,
    /// A frame of a message that continues.
    More,
    Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame carries.
    pub kind: FrameKind,
    /// Announced length of the body, not checked against a limit.
    pub body_bytes: u64,
    /// Length of this header.
    pub header_bytes: usize,
}

impl FrameHeader {
    /// Reads a header from the start of `bytes`; `None` while it is incomplete. A long header for a short body is
    /// accepted.
    ///
    /// # Errors
    /// [`ZmtpError::InvalidFlags`] for reserved bits and for a command that would continue in another frame.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, ZmtpError> {
        let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
        let kind = match flags & !LONG {
            0 => FrameKind::Last,
            MORE => FrameKind::More,
            COMMAND => FrameKind::Command,
            _ => return Err(ZmtpError::InvalidFlags { flags }),
        };
        let header = if flags & LONG == 0 {
            rest.first().map(|size| (u64::from(*size), 2))
        } else {
            rest.first_chunk().map(|size| (u64::from_be_bytes(*size), MAX_HEADER_BYTES))
        };
        Ok(header.map(|(body_bytes, header_bytes)| Self { kind, body_bytes, header_bytes }))
    }

    /// Checks the announced length against `limit_bytes` and returns it as a size in memory.
    ///
    /// # Errors
    /// [`ZmtpError::TooLarge`].
    pub fn body_within(&self, limit_bytes: usize) -> Result<usize, ZmtpError> {
        match usize::try_from(self.body_bytes) {
            Ok(body_bytes) if body_bytes <= limit_bytes => Ok(body_bytes),
            _ => Err(ZmtpError::TooLarge { size: self.body_bytes, limit: limit_bytes as u64 }),
        }
    }
}

/// Appends the header of a frame with a body of `body_bytes`, in its shortest form, through `append`.
pub fn encode_header(kind: FrameKind, body_bytes: usize, append: impl FnOnce(&[u8])) {
    let flags = match kind {
        FrameKind::Last => 0,
        FrameKind::More => MORE,
        FrameKind::Command => COMMAND,
    };
    if let Ok(size) = u8::try_from(body_bytes) {
        append(&[flags, size]);
    } else {
        let [a, b, c, d, e, f, g, h] = (body_bytes as u64).to_be_bytes();
        append(&[flags | LONG, a, b, c, d, e, f, g, h]);
    }
}
