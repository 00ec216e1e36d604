//! The upgrade from HTTP/1.1 to a WebSocket (RFC 6455 section 4), for the end that accepts and the end that dials. The
//! latter may go through a proxy by CONNECT (RFC 9110 section 9.3.6).
//!
//! Extensions and subprotocols are neither offered nor accepted.

use crate::model::api::Method;
use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use crate::model::random::Random;
use crate::wire::http::date::HttpDate;
use crate::wire::http::head::{BodyLength, RequestHead, Version};
use crate::wire::receive_buffer::ReceiveBuffer;

/// Appended to the key before hashing (RFC 6455 section 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Maximum size of the head of a response in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Maximum length of a peer's reason phrase in errors.
const SHOWN_CHARACTERS: usize = 80;

/// Why a request does not upgrade to a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeRefusal {
    /// It does not ask for one.
    NotAsked,
    /// It is not a `GET` of HTTP/1.1, or has a body.
    NoPlainGet,
    /// Another version than 13.
    Version,
    /// `Sec-WebSocket-Key` is missing, came twice or is not 16 bytes in base64.
    Key,
}

impl UpgradeRefusal {
    /// The status code of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NotAsked | Self::Version => 426,
            Self::NoPlainGet | Self::Key => 400,
        }
    }

    /// The whole response; the connection closes after it. `date` tells a client whose clock is off.
    #[must_use]
    pub fn response(self, date: &HttpDate) -> Vec<u8> {
        let (status, phrase) = match self.status() {
            426 => (426, "Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"),
            status => (status, "Bad Request"),
        };
        let body = format!("{{\"error\":\"http_error_{status}\",\"message\":\"{self}\"}}\n");
        format!(
            "HTTP/1.1 {status} {phrase}\r\nDate: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            String::from_utf8_lossy(date.as_bytes()),
            body.len()
        )
        .into_bytes()
    }
}

impl fmt::Display for UpgradeRefusal {
    /// A sentence that needs no escapes in a JSON string.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotAsked => {
                "only WebSockets are served here; send Connection: Upgrade and Upgrade: websocket over HTTP/1.1"
            }
            Self::NoPlainGet => "a WebSocket is asked for with GET, HTTP/1.1 and no body",
            Self::Version => "only version 13 of WebSocket is served; send Sec-WebSocket-Version: 13",
            Self::Key => "Sec-WebSocket-Key has to be sent once, with 16 bytes in base64",
        })
    }
}

/// Checks a request and gives the `101` response that makes the connection a WebSocket.
///
/// # Errors
/// [`UpgradeRefusal`].
pub fn accept(head: &RequestHead) -> Result<Vec<u8>, UpgradeRefusal> {
    let Some(upgrade) = &head.upgrade else { return Err(UpgradeRefusal::NotAsked) };
    if !upgrade.values("upgrade").any(|value| has_token(value, b"websocket")) {
        return Err(UpgradeRefusal::NotAsked);
    }
    if head.method != Method::Get || head.version != Version::Http11 || head.body != BodyLength::Known(0) {
        return Err(UpgradeRefusal::NoPlainGet);
    }
    let version = only(upgrade.values("sec-websocket-version"));
    if version.is_none_or(|version| version.trim_ascii() != b"13") {
        return Err(UpgradeRefusal::Version);
    }
    let key = only(upgrade.values("sec-websocket-key")).map(<[u8]>::trim_ascii).ok_or(UpgradeRefusal::Key)?;
    // The slice has exactly the size that 16 bytes need, so longer keys fail without an allocation.
    let mut decoded = [0; 18];
    if key.len() != 24 || STANDARD.decode_slice(key, &mut decoded) != Ok(16) {
        return Err(UpgradeRefusal::Key);
    }
    Ok([
        b"HTTP/1.1 101 Switching Protocols\r\nServer: Stheno\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
        accept_value(key).as_bytes(),
        b"\r\n\r\n",
    ]
    .concat())
}

fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    values.next().filter(|_| values.next().is_none())
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(token))
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).
fn accept_value(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(KEY_SUFFIX.as_bytes());
    STANDARD.encode(context.finish())
}

/// Why a response is not the expected one. The peer's bytes appear in the text only escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseProblem {
    /// It is not an HTTP/1.x response.
    NotHttp,
    /// Its head is larger than 16 KiB or has more than 64 headers.
    TooLarge,
    /// Another status than the expected one.
    Status {
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// A `101` that does not match our request, with the name of the wrong header.
    NotOurUpgrade(&'static str),
}

impl fmt::Display for ResponseProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => formatter.write_str("it does not answer with HTTP/1.1"),
            Self::TooLarge => write!(formatter, "its answer has a head of more than {MAX_HEAD_BYTES} bytes"),
            Self::Status { status, reason } if reason.is_empty() => {
                write!(formatter, "it answered with status {status}")
            }
            Self::Status { status, reason } => write!(formatter, "it answered with status {status} {reason}"),
            Self::NotOurUpgrade(header) => {
                write!(
                    formatter,
                    "its answer 101 has a wrong or missing {header}: something in between is not a WebSocket server"
                )
            }
        }
    }
}

/// One request of ours for a WebSocket, until its response arrives.
pub struct UpgradeCall {
    key: String,
    is_perl: Cell<bool>,
    is_ours: Cell<bool>,
}

/// The `Server` header of a Perl central.
const PERL_CENTRAL: &[u8] = b"Mojolicious (Perl)";

/// The `Server` header of a central of our own kind.
const OUR_CENTRAL: &[u8] = b"Stheno";

impl UpgradeCall {
    /// A call with a fresh key.
    #[must_use]
    pub fn new(random: &mut dyn Random) -> Self {
        let mut key = [0; 16];
        random.fill(&mut key);
        Self { key: STANDARD.encode(key), is_perl: Cell::new(false), is_ours: Cell::new(false) }
    }

    /// Whether a Perl central has answered.
    #[must_use]
    pub const fn is_perl(&self) -> bool {
        self.is_perl.get()
    }

    /// Whether a central of our own kind has answered.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.is_ours.get()
    }

    /// The request. `host` is a name or an address without brackets. Control characters and spaces in the arguments are
    /// omitted.
    #[must_use]
    pub fn request(&self, host: &str, port: u16, is_tls: bool, path: &str, token: &str) -> Vec<u8> {
        let host = bracketed(host);
        let authority = if port == if is_tls { 443 } else { 80 } { host } else { format!("{host}:{port}") };
        let path = clean(path);
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!(
            "GET {slash}{path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {}\r\n\r\n",
            self.key,
            clean(token)
        )
        .into_bytes()
    }

    /// Reads the response from the start of `received` and consumes its head; `false` while it is incomplete. Call it
    /// whenever bytes arrive.
    ///
    /// # Errors
    /// [`ResponseProblem`].
    pub fn read_response(&self, received: &mut ReceiveBuffer) -> Result<bool, ResponseProblem> {
        read_head(received, |status, reason, headers| {
            if status != 101 {
                return Err(ResponseProblem::Status { status, reason: shown(reason) });
            }
            let says = |name: &str, token: &[u8]| {
                let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
                values.any(|header| has_token(header.value, token))
            };
            if !says("upgrade", b"websocket") {
                return Err(ResponseProblem::NotOurUpgrade("Upgrade"));
            }
            if !says("connection", b"upgrade") {
                return Err(ResponseProblem::NotOurUpgrade("Connection"));
            }
            let expected = accept_value(self.key.as_bytes());
            let is_accept = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("sec-websocket-accept");
            let accepted = only(headers.iter().filter(is_accept).map(|header| header.value));
            if accepted.is_none_or(|value| value.trim_ascii() != expected.as_bytes()) {
                return Err(ResponseProblem::NotOurUpgrade("Sec-WebSocket-Accept"));
            }
            let mut servers = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("server"));
            let server = servers.next().map(|header| header.value.trim_ascii());
            self.is_perl.set(server == Some(PERL_CENTRAL));
            self.is_ours.set(server == Some(OUR_CENTRAL));
            // We offered nothing, so the peer can accept nothing (RFC 6455 section 4.1).
            for header in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
                if headers.iter().any(|other| other.name.eq_ignore_ascii_case(header)) {
                    return Err(ResponseProblem::NotOurUpgrade(header));
                }
            }
            Ok(())
        })
    }
}

/// The request that asks a proxy for a connection to `host` and `port`; `auth` is a user and a password.
#[must_use]
pub fn connect_request(host: &str, port: u16, auth: Option<(&str, &str)>) -> Vec<u8> {
    let authority = format!("{}:{port}", bracketed(host));
    let authorization = auth.map_or_else(String::new, |(user, password)| {
        format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
    });
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n").into_bytes()
}

/// Reads a proxy's response to [`connect_request`] from the start of `received` and consumes its head; `false` while it
/// is incomplete.
///
/// # Errors
/// [`ResponseProblem`] for anything but a 2xx.
pub fn read_connect_response(received: &mut ReceiveBuffer) -> Result<bool, ResponseProblem> {
    read_head(received, |status, reason, _| match status {
        200..=299 => Ok(()),
        status => Err(ResponseProblem::Status { status, reason: shown(reason) }),
    })
}

fn read_head(
    received: &mut ReceiveBuffer,
    check: impl FnOnce(u16, &str, &[httparse::Header<'_>]) -> Result<(), ResponseProblem>,
) -> Result<bool, ResponseProblem> {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let bytes = received.readable();
    if !BEGINNING.starts_with(bytes) && !bytes.starts_with(BEGINNING) {
        return Err(ResponseProblem::NotHttp);
    }
    let window = bytes.get(..MAX_HEAD_BYTES).unwrap_or(bytes);
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, window, &mut headers) {
        Ok(httparse::Status::Complete(len)) => {
            check(response.code.unwrap_or(0), response.reason.unwrap_or(""), response.headers)?;
            received.consume(len);
            Ok(true)
        }
        Ok(httparse::Status::Partial) if window.len() == MAX_HEAD_BYTES => Err(ResponseProblem::TooLarge),
        Ok(httparse::Status::Partial) => Ok(false),
        Err(httparse::Error::TooManyHeaders) => Err(ResponseProblem::TooLarge),
        Err(_) => Err(ResponseProblem::NotHttp),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_debug).collect()
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{}]", clean(host)) } else { clean(host) }
}

fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control() && *letter != ' ').collect()
}
