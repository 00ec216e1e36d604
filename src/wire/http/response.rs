//! Responses of an API that speaks JSON (RFC 9110, RFC 9112).

use std::borrow::Cow;

use super::date::HttpDate;
use crate::model::api::Document;
use crate::wire::send_queue::SendQueue;

/// The interim response to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Space reserved for the head of a response with every header.
const HEAD_BYTES: usize = 256;

/// From this size on a body is moved into the queue instead of being copied after the head.
const LARGE_BODY_BYTES: usize = 16 * 1024;

/// What a response says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open, as HTTP/1.1 assumes.
    Implied,
    /// It stays open, which an HTTP/1.0 client must be told.
    KeepAlive,
    /// This is the last response.
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status. An empty body with status 200 is sent as 204.
    pub status: u16,
    /// JSON text without the final newline.
    pub body: Cow<'static, str>,
    /// The value of the header `Allow`.
    pub allow: Option<&'static str>,
    /// Takes the place of `body`.
    pub document: Option<Box<Document>>,
    /// What becomes of the connection.
    pub persistence: Persistence,
    /// The request was `HEAD`: headers only.
    pub head_only: bool,
}

impl Response {
    /// Number of bytes of its body.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.document.as_ref().map_or(self.body.len(), |document| document.bytes.len())
    }

    /// Appends the response to `queue`.
    pub fn write(mut self, date: &HttpDate, queue: &mut SendQueue) {
        if let Some(document) = self.document.take() {
            return self.write_document(*document, date, queue);
        }
        let is_large = !self.head_only && self.body.len() >= LARGE_BODY_BYTES;
        let copied_bytes = if is_large || self.head_only { 0 } else { self.body.len().saturating_add(1) };
        let mut bytes = Vec::with_capacity(HEAD_BYTES.saturating_add(copied_bytes));
        self.write_head(date, &mut bytes);
        if is_large {
            queue.push(bytes);
            let mut body = self.body.into_owned();
            body.push('\n');
            queue.push(body.into_bytes());
            return;
        }
        if !self.head_only && !self.body.is_empty() {
            bytes.extend_from_slice(self.body.as_bytes());
            bytes.push(b'\n');
        }
        queue.push(bytes);
    }

    fn write_document(self, document: Document, date: &HttpDate, queue: &mut SendQueue) {
        let mut bytes = Vec::with_capacity(HEAD_BYTES * 2);
        write_status(self.status, date, &mut bytes);
        for header in &document.headers {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(header.as_bytes());
        }
        // RFC 9110 section 8.6: a 304 has the length of the answer that it stands for, or none.
        if self.status != 304 {
            bytes.extend_from_slice(b"\r\nContent-Length: ");
            write_number(document.bytes.len(), &mut bytes);
        }
        self.write_end(&mut bytes);
        queue.push(bytes);
        if !self.head_only && self.status != 304 && !document.bytes.is_empty() {
            queue.push(document.bytes.into_owned());
        }
    }

    fn write_head(&self, date: &HttpDate, bytes: &mut Vec<u8>) {
        let status = if self.body.is_empty() && self.status == 200 { 204 } else { self.status };
        write_status(status, date, bytes);
        // RFC 9110 section 8.6: no length with a 204.
        if status != 204 {
            bytes.extend_from_slice(b"\r\nContent-Type: application/json\r\nContent-Length: ");
            let newline_bytes = usize::from(!self.body.is_empty());
            write_number(self.body.len().saturating_add(newline_bytes), bytes);
        }
        if status == 401 {
            bytes.extend_from_slice(b"\r\nWWW-Authenticate: Basic realm=\"gorgone\", charset=\"UTF-8\"");
        }
        if let Some(allow) = self.allow {
            bytes.extend_from_slice(b"\r\nAllow: ");
            bytes.extend_from_slice(allow.as_bytes());
        }
        self.write_end(bytes);
    }

    fn write_end(&self, bytes: &mut Vec<u8>) {
        match self.persistence {
            Persistence::Implied => {}
            Persistence::KeepAlive => bytes.extend_from_slice(b"\r\nConnection: keep-alive"),
            Persistence::Close => bytes.extend_from_slice(b"\r\nConnection: close"),
        }
        bytes.extend_from_slice(b"\r\n\r\n");
    }
}

fn write_status(status: u16, date: &HttpDate, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(b"HTTP/1.1 ");
    write_number(usize::from(status), bytes);
    bytes.push(b' ');
    bytes.extend_from_slice(reason(status).as_bytes());
    bytes.extend_from_slice(b"\r\nDate: ");
    bytes.extend_from_slice(date.as_bytes());
}

/// Appends `number` in decimal digits.
fn write_number(number: usize, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    let mut rest = number;
    loop {
        bytes.push(u8::try_from(rest % 10).unwrap_or(0) + b'0');
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(digits) = bytes.get_mut(start..) {
        digits.reverse();
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::WallTime;

    fn written(response: Response) -> String {
        let mut queue = SendQueue::default();
        response.write(&HttpDate::new(WallTime::from_micros(0)), &mut queue);
        let mut bytes = Vec::new();
        while !queue.is_empty() {
            let count = queue.front().len();
            bytes.extend_from_slice(queue.front());
            queue.consume(count);
        }
        String::from_utf8(bytes).unwrap().replace("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "")
    }

    fn response(status: u16, body: &'static str) -> Response {
        let persistence = Persistence::Implied;
        Response { status, body: body.into(), allow: None, document: None, persistence, head_only: false }
    }

    #[test]
    fn a_body_ends_with_a_newline_that_counts() {
        assert_eq!(
            written(response(200, "{}")),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}\n"
        );
        let large: String = "x".repeat(100_000);
        let text = written(Response { body: large.clone().into(), ..response(200, "") });
        assert!(text.ends_with(&format!("Content-Length: 100001\r\n\r\n{large}\n")));
    }

    #[test]
    fn an_empty_answer_is_204_without_length_or_type() {
        assert_eq!(written(response(200, "")), "HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(
            written(response(500, "")),
            "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn head_gets_the_headers_of_get_and_no_body() {
        let text = written(Response { head_only: true, ..response(200, "{}") });
        assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n");
    }

    #[test]
    fn challenge_allow_and_connection_are_said_where_they_belong() {
        let text = written(response(401, "{}"));
        assert!(text.contains("\r\nWWW-Authenticate: Basic realm="), "{text}");
        let text = written(Response { allow: Some("POST"), persistence: Persistence::Close, ..response(404, "{}") });
        assert!(text.contains("\r\nAllow: POST\r\nConnection: close\r\n\r\n"), "{text}");
        let text = written(Response { persistence: Persistence::KeepAlive, ..response(200, "{}") });
        assert!(text.contains("\r\nConnection: keep-alive\r\n\r\n"), "{text}");
    }
}
