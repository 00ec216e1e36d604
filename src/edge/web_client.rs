//! Sends one request to a web server over HTTP/1.1, with or without TLS. It blocks until a deadline, so it runs on
//! worker threads.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::resolver;
use super::tls::client::ClientContext;
use crate::config::web_api::WebUrl;

/// Maximum size in bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A server's answer. It may hold secrets, so it has no `Debug`.
pub struct WebReply {
    /// HTTP status.
    pub status: u16,
    pub body: Vec<u8>,
}

/// Sends one request; `headers` are complete lines without line ends.
///
/// # Errors
/// A sentence about the fault that names the server but no header.
pub fn call(
    url: &WebUrl,
    request: (&str, &str),
    headers: &[String],
    body: &str,
    patience: Duration,
) -> Result<WebReply, String> {
    let (method, path) = request;
    let place = format!("{}:{}", url.host, url.port);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{place} does not answer in time"),
        _ => format!("{place} does not answer: {error}"),
    };
    let deadline = Instant::now() + patience;
    let addresses = resolver::resolve(&url.host, url.port)?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut socket = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(deadline).map_err(failed)?) {
            Ok(connected) => {
                socket = Some(connected);
                break;
            }
            Err(error) => last = error,
        }
    }
    let socket = Limited { socket: socket.ok_or_else(|| failed(last))?, deadline };
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let mut text =
        format!("{method} {}{path} HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n", url.path, url.port);
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    match &url.tls {
        None => exchange(socket, &text).map_err(failed),
        Some(check) => {
            let context = ClientContext::load(check).map_err(|error| error.to_string())?;
            let session = context.connection(&url.host)?;
            exchange(rustls::StreamOwned::new(session, socket), &text).map_err(failed)
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket whose operations end at the deadline.
struct Limited {
    socket: TcpStream,
    deadline: Instant,
}

impl Read for Limited {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(bytes)
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<WebReply> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let (mut received, mut buffer, mut has_ended) = (Vec::new(), vec![0_u8; 16 << 10], false);
    loop {
        if let Some(reply) = parse(&received, has_ended)? {
            return Ok(reply);
        }
        if has_ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("its answer is too long"));
        }
        match stream.read(&mut buffer) {
            Ok(0) => has_ended = true,
            Ok(count) => received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Many servers close TLS connections without a closure alert.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => has_ended = true,
            Err(error) => return Err(error),
        }
    }
}

/// Parses the answer once it is complete; with `has_ended` no more bytes follow.
fn parse(received: &[u8], has_ended: bool) -> io::Result<Option<WebReply>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(received).map_err(|error| io::Error::other(format!("it is not HTTP: {error}")))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let status = response.code.unwrap_or(0);
    let rest = received.get(head..).unwrap_or_default();
    let body = if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        chunks(rest)?
    } else if let Some(length) = value("content-length") {
        let length: usize = length.parse().map_err(|_| io::Error::other("its Content-Length is not a number"))?;
        rest.get(..length).map(<[u8]>::to_vec)
    } else if matches!(status, 204 | 304) {
        Some(Vec::new())
    } else {
        has_ended.then(|| rest.to_vec())
    };
    Ok(body.map(|body| WebReply { status, body }))
}

/// Returns the body of a chunked answer once it is complete.
fn chunks(mut rest: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, len))) = httparse::parse_chunk_size(rest) else {
            return if rest.len() > 64 { Err(io::Error::other("its chunks cannot be read")) } else { Ok(None) };
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len == 0 {
            return Ok(Some(body));
        }
        let end = start.saturating_add(len);
        let (Some(chunk), Some(after)) = (rest.get(start..end), rest.get(end.saturating_add(2)..)) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_in_pieces_of_any_size_and_every_length() {
        let whole = |text: &[u8]| {
            for end in 0..text.len() {
                let _ = parse(&text[..end], false);
            }
            parse(text, false).unwrap().map(|reply| (reply.status, reply.body))
        };
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(whole(chunked), Some((200, b"abcde".to_vec())));
        assert_eq!(whole(b"HTTP/1.1 404 x\r\ncontent-length: 2\r\n\r\n{}"), Some((404, b"{}".to_vec())));
        let open = b"HTTP/1.0 200 OK\r\n\r\nabc";
        assert!(parse(open, false).unwrap().is_none());
        assert_eq!(parse(open, true).unwrap().unwrap().body, b"abc");
        assert!(parse(b"<html>", false).is_err());
    }
}
