//! Request line and headers as values (RFC 9112 sections 2 to 7).

use crate::model::api::{Method, Wishes};
use std::fmt;
use std::mem::MaybeUninit;

use super::error::HttpError;
use super::head_scanner::Limits;
use super::target::Target;

/// Supported versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// This number of bytes follows; 0 without a body.
    Known(usize),
    /// Chunks follow.
    Chunked,
}

/// All headers of a request that asks for another protocol on this connection (RFC 9110 section 7.8). Holds secrets: no
/// `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct UpgradeRequest {
    headers: Vec<(Box<str>, Box<[u8]>)>,
}

impl UpgradeRequest {
    /// Whether `User-Agent` has this value.
    #[must_use]
    pub fn is_from(&self, user_agent: &[u8]) -> bool {
        let is_name = |name: &str| name.eq_ignore_ascii_case("user-agent");
        self.headers.iter().any(|(name, value)| is_name(name) && value.trim_ascii() == user_agent)
    }
}

impl UpgradeRequest {
    /// The values of a header in order. The case of `name` is ignored.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}

/// Headers that say where a request comes from. A client may lie here; a browser does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestSource {
    pub host: Option<Box<[u8]>>,
    /// `Origin`: the site of the page that sends the request.
    pub origin: Option<Box<[u8]>>,
    /// `Sec-Fetch-Site`: the relation between that site and ours.
    pub fetch_site: Option<Box<[u8]>>,
    /// `Sec-Fetch-Mode`: `navigate` when a user follows a link.
    pub fetch_mode: Option<Box<[u8]>>,
    /// All values of `X-Forwarded-For` in order: the clients for which a proxy asks.
    pub forwarded_for: Vec<Box<[u8]>>,
}

impl RequestSource {
    fn of(headers: &[httparse::Header<'_>]) -> Self {
        let mut source = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = || header.value.trim_ascii().into();
            match header.name.len() {
                4 if is("host") => source.host = Some(value()),
                6 if is("origin") => source.origin = Some(value()),
                14 if is("sec-fetch-site") => source.fetch_site = Some(value()),
                14 if is("sec-fetch-mode") => source.fetch_mode = Some(value()),
                15 if is("x-forwarded-for") => source.forwarded_for.push(value()),
                _ => {}
            }
        }
        source
    }
}

/// Longest `If-None-Match` that is kept, in bytes.
const TAG_MAX: usize = 100;

fn wishes_of(headers: &[httparse::Header<'_>]) -> Wishes {
    let mut wishes = Wishes::default();
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let names = |word: &str| std::str::from_utf8(header.value).is_ok_and(|value| value.contains(word));
        match header.name.len() {
            6 if is("accept") => wishes.open_metrics |= names("application/openmetrics-text"),
            13 if is("if-none-match") && header.value.len() <= TAG_MAX => {
                wishes.if_none_match = std::str::from_utf8(header.value).ok().map(Into::into);
            }
            15 if is("accept-encoding") => wishes.gzip |= names("gzip") && !names("gzip;q=0"),
            _ => {}
        }
    }
    wishes
}

/// The content of a head. `Debug` omits what may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    pub method: Method,
    pub target: Target,
    pub version: Version,
    /// Whether the connection goes on after the response.
    pub keep_alive: bool,
    /// The body that follows.
    pub body: BodyLength,
    /// The client sends the body only after a `100 Continue`.
    pub expects_continue: bool,
    /// Value of `Authorization`.
    pub authorization: Option<Box<[u8]>>,
    /// Where the request claims to come from.
    pub source: RequestSource,
    /// The wanted form of the answer.
    pub wishes: Wishes,
    /// Set if `Connection: upgrade` and `Upgrade` are present, so that the connection can be handed over.
    pub upgrade: Option<Box<UpgradeRequest>>,
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RequestHead")
            .field("method", &self.method)
            .field("path", &self.target.path)
            .field("body", &self.body)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}

/// Reads a complete head as [`super::head_scanner::HeadScanner`] delimits it.
///
/// # Errors
/// [`HttpError`] for the first fault found.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<RequestHead, HttpError> {
    let mut headers = [const { MaybeUninit::uninit() }; Limits::MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err(HttpError::BadHeader),
        Err(error) => return Err(from_httparse(error)),
    }
    let target = request.path.ok_or(HttpError::BadRequestLine)?;
    let version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        Some("PUT") => Method::Put,
        Some("PATCH") => Method::Patch,
        Some("DELETE") => Method::Delete,
        _ => Method::Other,
    };
    let known = KnownHeaders::collect(request.headers)?;
    if version == Version::Http11 && known.host.is_none() {
        return Err(HttpError::MissingHost);
    }
    let upgrades = version == Version::Http11 && known.connection_upgrade && known.upgrade;
    Ok(RequestHead {
        method,
        target: Target::parse(target)?,
        version,
        keep_alive: !known.connection_close && (version == Version::Http11 || known.connection_keep_alive),
        body: known.body_length(version, limits)?,
        expects_continue: known.expects_continue(version)?,
        authorization: known.authorization.map(Into::into),
        source: RequestSource::of(request.headers),
        wishes: wishes_of(request.headers),
        upgrade: upgrades.then(|| Box::new(keep_all(request.headers))),
    })
}

const fn from_httparse(error: httparse::Error) -> HttpError {
    match error {
        httparse::Error::Version => HttpError::UnsupportedVersion,
        httparse::Error::TooManyHeaders => HttpError::TooManyHeaders(Limits::MAX_HEADERS),
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HttpError::BadHeader,
        httparse::Error::NewLine | httparse::Error::Token | httparse::Error::Status => HttpError::BadRequestLine,
    }
}

fn keep_all(headers: &[httparse::Header<'_>]) -> UpgradeRequest {
    UpgradeRequest { headers: headers.iter().map(|header| (header.name.into(), header.value.into())).collect() }
}

/// The headers that matter for the framing of messages and for access.
#[derive(Default)]
struct KnownHeaders<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
    connection_close: bool,
    connection_keep_alive: bool,
    connection_upgrade: bool,
    upgrade: bool,
}

impl<'a> KnownHeaders<'a> {
    fn collect(headers: &[httparse::Header<'a>]) -> Result<Self, HttpError> {
        let mut known = Self::default();
        for header in headers {
            let slot = match header.name.len() {
                4 if header.name.eq_ignore_ascii_case("host") => (&mut known.host, "Host"),
                6 if header.name.eq_ignore_ascii_case("expect") => (&mut known.expect, "Expect"),
                13 if header.name.eq_ignore_ascii_case("authorization") => (&mut known.authorization, "Authorization"),
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    (&mut known.content_length, "Content-Length")
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    (&mut known.transfer_encoding, "Transfer-Encoding")
                }
                7 if header.name.eq_ignore_ascii_case("upgrade") => {
                    known.upgrade = true;
                    continue;
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    known.read_connection(header.value);
                    continue;
                }
                _ => continue,
            };
            // Two equal lengths are allowed (RFC 9110 section 8.6), but only an attacker sends them.
            if slot.0.replace(header.value).is_some() {
                return Err(HttpError::RepeatedHeader(slot.1));
            }
        }
        Ok(known)
    }

    fn read_connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.connection_close |= option.eq_ignore_ascii_case(b"close");
            self.connection_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    fn body_length(&self, version: Version, limits: &Limits) -> Result<BodyLength, HttpError> {
        match (self.content_length, self.transfer_encoding) {
            (None, None) => Ok(BodyLength::Known(0)),
            (Some(_), Some(_)) => Err(HttpError::LengthAndCoding),
            (Some(value), None) => Ok(BodyLength::Known(content_length(value, limits)?)),
            (None, Some(value)) if version == Version::Http11 && value.eq_ignore_ascii_case(b"chunked") => {
                Ok(BodyLength::Chunked)
            }
            (None, Some(_)) => Err(HttpError::UnsupportedCoding),
        }
    }

    /// HTTP/1.0 has no `100 Continue`, so the header is ignored there (RFC 9110 section 10.1.1).
    fn expects_continue(&self, version: Version) -> Result<bool, HttpError> {
        match self.expect {
            None => Ok(false),
            Some(_) if version == Version::Http10 => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(HttpError::UnsupportedExpectation),
        }
    }
}

/// Digits only. A number that exceeds every integer type is too large, not invalid.
fn content_length(value: &[u8], limits: &Limits) -> Result<usize, HttpError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::BadContentLength);
    }
    let number = value
        .iter()
        .fold(0_usize, |number, digit| number.saturating_mul(10).saturating_add(usize::from(digit.wrapping_sub(b'0'))));
    if number > limits.body_bytes { Err(HttpError::BodyTooLarge(limits.body_bytes)) } else { Ok(number) }
}
