//! Errors of requests.

use std::fmt;

/// Why a request is refused. The connection must close afterwards, because the start of the next request is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The first byte cannot begin a method.
    NotHttp,
    /// A TLS client speaks to a plain port.
    TlsHello,
    /// The HTTP/2 preface.
    Http2,
    /// A version that is neither 1.0 nor 1.1.
    UnsupportedVersion,
    /// No `METHOD TARGET VERSION` with single spaces.
    BadRequestLine,
    /// The request line is longer than this number of bytes.
    RequestLineTooLong(usize),
    /// The head is larger than this number of bytes.
    HeadTooLarge(usize),
    /// More headers than this.
    TooManyHeaders(usize),
    /// A line that ends without a carriage return.
    BareLineFeed,
    /// A header that is not `name: value`, or a folded one.
    BadHeader,
    /// A target that is neither a path nor an absolute URL, or has an invalid percent-encoding.
    BadTarget,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// A header that may occur once occurred again.
    RepeatedHeader(&'static str),
    /// A `Content-Length` that is not a plain number.
    BadContentLength,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthAndCoding,
    /// A transfer coding other than `chunked`, or any of HTTP/1.0.
    UnsupportedCoding,
    /// An expectation other than `100-continue`.
    UnsupportedExpectation,
    /// The body is larger than this number of bytes.
    BodyTooLarge(usize),
    /// Broken chunk framing, or too many bytes of it.
    BadChunk,
}

impl HttpError {
    /// The status code of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BodyTooLarge(_) => 413,
            Self::RequestLineTooLong(_) => 414,
            Self::UnsupportedExpectation => 417,
            Self::HeadTooLarge(_) | Self::TooManyHeaders(_) => 431,
            Self::UnsupportedCoding => 501,
            Self::Http2 | Self::UnsupportedVersion => 505,
            _ => 400,
        }
    }
}

impl fmt::Display for HttpError {
    /// A sentence that needs no escapes in a JSON string.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::RequestLineTooLong(limit) => {
                return write!(
                    formatter,
                    "the request line is longer than {limit} bytes; put long values into the body"
                );
            }
            Self::HeadTooLarge(limit) => {
                return write!(formatter, "the headers are larger than {limit} bytes; send fewer or shorter ones");
            }
            Self::TooManyHeaders(limit) => return write!(formatter, "more than {limit} headers; send fewer"),
            Self::RepeatedHeader(name) => return write!(formatter, "the header {name} came twice; send it once"),
            Self::BodyTooLarge(limit) => {
                return write!(formatter, "the body is larger than {limit} bytes; send it in smaller requests");
            }
            Self::NotHttp => "this is no HTTP request",
            Self::TlsHello => "this port speaks plain HTTP; use http:// instead of https://",
            Self::Http2 => "HTTP/2 is not supported; use HTTP/1.1",
            Self::UnsupportedVersion => "this HTTP version is not supported; use HTTP/1.1",
            Self::BadRequestLine => "the request line is malformed; send METHOD TARGET HTTP/1.1",
            Self::BareLineFeed => "a line ends without a carriage return; end lines with CR LF",
            Self::BadHeader => "a header is malformed; send NAME: VALUE on one line",
            Self::BadTarget => "the target is malformed; send a path with valid percent-encoding",
            Self::MissingHost => "the header Host is missing",
            Self::BadContentLength => "Content-Length is not a plain number",
            Self::LengthAndCoding => "Content-Length and Transfer-Encoding came together; send one of them",
            Self::UnsupportedCoding => "this transfer coding is not supported; use Content-Length or chunked",
            Self::UnsupportedExpectation => "this expectation is not supported; only 100-continue is",
            Self::BadChunk => "the chunked body is malformed",
        };
        formatter.write_str(text)
    }
}
