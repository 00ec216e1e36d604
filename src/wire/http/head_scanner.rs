//! Finds the end of a head that arrives in pieces. Looks at each byte once.

use super::error::HttpError;

/// Bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of a request line without its CRLF; beyond it 414.
    pub request_line_bytes: usize,
    /// Maximum length of request line, headers and line ends together; beyond it 431.
    pub head_bytes: usize,
    /// Maximum length of a decoded body; beyond it 413.
    pub body_bytes: usize,
}

impl Limits {
    /// Maximum number of headers; beyond it 431. Not a setting, because the parser keeps them on its stack.
    pub const MAX_HEADERS: usize = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self { request_line_bytes: 8 * 1024, head_bytes: 16 * 1024, body_bytes: 8 * 1024 * 1024 }
    }
}

/// State of the search for the end of a head. Offsets count from the first byte of the request line.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    scanned: usize,
    line_start: usize,
    lines: usize,
}

impl HeadScanner {
    /// Whether no byte has been looked at.
    #[must_use]
    pub const fn is_at_start(&self) -> bool {
        self.scanned == 0
    }

    /// Looks at the bytes that arrived since the last call. `bytes` always begins at the request line. Returns the
    /// length of the head including its empty line, once it is complete.
    ///
    /// # Errors
    /// [`HttpError`] as soon as the bytes cannot become a head within `limits`.
    pub fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, HttpError> {
        if self.scanned == 0 {
            check_first_byte(bytes)?;
        }
        while let Some(step) = bytes.get(self.scanned..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
            let end = self.scanned.saturating_add(step);
            self.scanned = end.saturating_add(1);
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            // Sizes are checked first, so that the result does not depend on how the bytes were split.
            self.check_sizes(self.scanned, line.len(), limits)?;
            let Some((b'\r', line)) = line.split_last() else { return Err(HttpError::BareLineFeed) };
            if line.is_empty() && self.lines > 0 {
                return Ok(Some(self.scanned));
            }
            if self.lines == 0 {
                check_request_line(line)?;
            }
            self.lines = self.lines.saturating_add(1);
            if self.lines > Limits::MAX_HEADERS.saturating_add(1) {
                return Err(HttpError::TooManyHeaders(Limits::MAX_HEADERS));
            }
            self.line_start = self.scanned;
        }
        self.scanned = bytes.len();
        // At least one byte is still missing, and it counts too.
        self.check_sizes(bytes.len().saturating_add(1), bytes.len().saturating_sub(self.line_start), limits)?;
        Ok(None)
    }

    /// `line_bytes` includes the carriage return.
    const fn check_sizes(&self, head_bytes: usize, line_bytes: usize, limits: &Limits) -> Result<(), HttpError> {
        if self.lines == 0 && line_bytes > limits.request_line_bytes.saturating_add(1) {
            return Err(HttpError::RequestLineTooLong(limits.request_line_bytes));
        }
        if head_bytes > limits.head_bytes {
            return Err(HttpError::HeadTooLarge(limits.head_bytes));
        }
        Ok(())
    }
}

/// Refuses peers of another protocol at once instead of waiting for the end of a line.
fn check_first_byte(bytes: &[u8]) -> Result<(), HttpError> {
    match bytes.first() {
        None | Some(b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9') => Ok(()),
        Some(
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~',
        ) => Ok(()),
        Some(0x16) => Err(HttpError::TlsHello),
        Some(b'\n') => Err(HttpError::BareLineFeed),
        Some(_) => Err(HttpError::NotHttp),
    }
}

/// A line without a version (HTTP/0.9) is refused before the client waits for an answer to it.
fn check_request_line(line: &[u8]) -> Result<(), HttpError> {
    if line == b"PRI * HTTP/2.0" {
        return Err(HttpError::Http2);
    }
    match line.len().checked_sub(9).and_then(|start| line.get(start..)) {
        Some(b" HTTP/1.0" | b" HTTP/1.1") => Ok(()),
        Some(end) if end.starts_with(b" HTTP/") => Err(HttpError::UnsupportedVersion),
        _ => Err(HttpError::BadRequestLine),
    }
}
