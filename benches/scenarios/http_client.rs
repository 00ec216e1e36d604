//! A blocking HTTP client that keeps its connection open and supports pipelining.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use stheno::wire::receive_buffer::ReceiveBuffer;

use crate::Outcome;

const READ_BYTES: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a daemon's API.
pub struct HttpClient {
    stream: TcpStream,
    buffer: ReceiveBuffer,
}

/// A response's status and body.
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Returns the body of a successful response as JSON.
    ///
    /// # Errors
    /// The status is not 200, or the body is not JSON.
    pub fn json(&self) -> Outcome<Value> {
        if self.status != 200 {
            return Err(format!("status {}: {}", self.status, self.body.escape_ascii()).into());
        }
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Returns the bytes of a request.
#[must_use]
pub fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
}

impl HttpClient {
    /// Connects to a daemon on loopback.
    ///
    /// # Errors
    /// The daemon is not running.
    pub fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: ReceiveBuffer::new() })
    }

    /// Sends a `GET` request for a path.
    ///
    /// # Errors
    /// No response arrives.
    pub fn get(&mut self, path: &str) -> Outcome<HttpResponse> {
        self.send(request("GET", path, "").as_bytes())?;
        self.receive()
    }

    /// Writes requests without waiting for responses.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn send(&mut self, requests: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(requests)?)
    }

    /// Reads the next response.
    ///
    /// # Errors
    /// No response arrives.
    pub fn receive(&mut self) -> Outcome<HttpResponse> {
        loop {
            if let Some((response, used_bytes)) = parse(self.buffer.readable())? {
                self.buffer.consume(used_bytes);
                return Ok(response);
            }
            let mut bytes = [0; READ_BYTES];
            let count = self.stream.read(&mut bytes)?;
            self.buffer.extend_from_slice(bytes.get(..count).unwrap_or_default());
            if count == 0 {
                return Err("the daemon closed the connection".into());
            }
        }
    }

    /// Writes `requests` as fast as they are taken while reading `count` responses, all of which must have `status`.
    /// Returns the duration.
    ///
    /// # Errors
    /// A response has another status or is missing.
    pub fn pipeline(&mut self, requests: &[u8], count: usize, status: u16) -> Outcome<Duration> {
        let mut writing = self.stream.try_clone()?;
        let started = Instant::now();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || writing.write_all(requests));
            for _ in 0..count {
                let response = self.receive()?;
                if response.status != status {
                    return Err(format!("status {} instead of {status}", response.status).into());
                }
            }
            let elapsed = started.elapsed();
            writer.join().map_err(|_| "the writer died")??;
            Ok(elapsed)
        })
    }
}

fn parse(bytes: &[u8]) -> Outcome<Option<(HttpResponse, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_len) = response.parse(bytes).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body_len = length.map_or(Ok(0), |header| str::from_utf8(header.value).unwrap_or_default().parse::<usize>())?;
    let end = head_len.saturating_add(body_len);
    let status = response.code.unwrap_or_default();
    Ok(bytes.get(head_len..end).map(|body| (HttpResponse { status, body: body.to_vec() }, end)))
}
