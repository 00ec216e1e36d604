//! Calls of the REST API of the daemon on this machine, for subcommands. Each call uses one connection and blocks.
//!
//! With TLS the server must show exactly the certificate that the configuration names, so no authority is needed.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tls::client::ClientContext;
use crate::config::modules::httpserver::HttpSettings;

const CONNECT: Duration = Duration::from_secs(5);
/// Time limit for an answer: longer than a subcommand asks the daemon to wait, and short enough for a user at a
/// terminal.
const ANSWER: Duration = Duration::from_secs(15);
/// Maximum size of an answer in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Address and login of the API. Holds a password: no `Debug`.
pub struct ApiConnection {
    address: SocketAddr,
    tls: Option<ClientContext>,
    authorization: Option<String>,
}

/// An answer of the API.
pub struct ApiReply {
    /// HTTP status.
    pub status: u16,
    pub body: Vec<u8>,
}

impl ApiConnection {
    /// Prepares calls of the API that a configuration describes. Does not connect.
    ///
    /// # Errors
    /// The certificate file cannot be read.
    pub fn new(http: &HttpSettings) -> Result<Self, String> {
        let ip = match http.address {
            IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            address => address,
        };
        let tls = http.tls.as_ref().map(|tls| ClientContext::for_own_certificate(&tls.certificate_file));
        let tls = tls.transpose().map_err(|error| error.to_string())?;
        let authorization = http.auth.as_ref().map(|auth| {
            let credentials = STANDARD.encode(format!("{}:{}", auth.user, auth.password));
            format!("Authorization: Basic {credentials}\r\n")
        });
        Ok(Self { address: SocketAddr::new(ip, http.port), tls, authorization })
    }

    /// Makes one call.
    ///
    /// # Errors
    /// A sentence about what went wrong on the way.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Result<ApiReply, String> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
                "the REST API on {} has not answered for {} s: is the disk of the daemon full, or the daemon stopped? \
                 Its log says more",
                self.address,
                ANSWER.as_secs()
            ),
            _ => format!("the REST API on {} does not answer: {error}", self.address),
        };
        let stream = TcpStream::connect_timeout(&self.address, CONNECT).map_err(|error| {
            format!("no connection to the REST API on {}: {error}; does the daemon run?", self.address)
        })?;
        stream.set_read_timeout(Some(ANSWER)).map_err(failed)?;
        stream.set_write_timeout(Some(ANSWER)).map_err(failed)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.address,
            self.authorization.as_deref().unwrap_or_default(),
            body.len()
        );
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.blocking(&self.address.ip().to_string(), stream)?),
        };
        stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(failed)?;
        read_reply(&mut stream).map_err(failed)
    }
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

fn read_reply(stream: &mut impl Read) -> io::Result<ApiReply> {
    let mut received = Vec::new();
    let mut buffer = vec![0_u8; 64 << 10];
    loop {
        if let Some(reply) = parse(&received)? {
            return Ok(reply);
        }
        if received.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("its answer is too long"));
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The answer, once it is complete. Our API always sends the length.
fn parse(received: &[u8]) -> io::Result<Option<ApiReply>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(received).map_err(|error| io::Error::other(format!("it is not HTTP: {error}")))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize =
        length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok()).unwrap_or(0);
    let status = response.code.unwrap_or(0);
    let body = received.get(head..head.saturating_add(length));
    Ok(body.map(|body| ApiReply { status, body: body.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_in_pieces_of_any_size() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 4\r\n\r\n{}\n\n";
        for end in 0..text.len() {
            assert!(parse(&text[..end]).unwrap().is_none(), "{end}");
        }
        let reply = parse(text).unwrap().unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"{}\n\n".as_slice()));
        let nothing = parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!((nothing.status, nothing.body.len()), (204, 0));
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
