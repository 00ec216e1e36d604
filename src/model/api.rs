//! Calls of the REST API as values (docs/protocol.md section 13).

use std::borrow::Cow;
use std::sync::Arc;

use super::connection::PeerAddress;
use super::rights::Rights;

/// Number of a call, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// The methods that the API knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    /// `HEAD`, which is answered as `GET` without a body.
    Head,
    Post,
    Patch,
    Put,
    Delete,
    /// Any other, such as `OPTIONS`. No path has it, and the answer names the methods of the path.
    Other,
}

impl Method {
    /// The word in a request line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Other => "",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// A user of `auth.users`; `None` for the single user of `auth`, or if nobody has to log in.
    pub user: Option<Arc<str>>,
    /// The caller's rights.
    pub rights: Arc<Rights>,
    /// The caller's address.
    pub address: PeerAddress,
}

impl Default for Caller {
    fn default() -> Self {
        Self { user: None, rights: Arc::new(Rights::admin()), address: PeerAddress::Local }
    }
}

/// What headers of a request say about the wanted answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `If-None-Match`: the caller has the answer with this tag.
    pub if_none_match: Option<Box<str>>,
    /// `Accept-Encoding` names gzip.
    pub gzip: bool,
    /// `Accept` names OpenMetrics.
    pub open_metrics: bool,
}

/// One authorised call.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiCall {
    /// Whether its path begins with `/api`; else it is for one of the few other paths.
    pub below_api: bool,
    pub method: Method,
    /// Percent-decoded path segments (after `/api`) without empty ones.
    pub path: Vec<String>,
    /// The wanted form of the answer.
    pub wishes: Wishes,
    /// Percent-decoded query parameters in order.
    pub query: Vec<(String, String)>,
    /// The body; empty without one.
    pub body: Vec<u8>,
    pub caller: Caller,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON text without the final newline; empty for an empty body (then the status is 204).
    pub body: String,
    /// The methods for an `Allow` header, such as `POST`.
    pub allow: Option<&'static str>,
    /// Instead of `body`: an answer that is not JSON, or has headers of its own.
    pub document: Option<Box<Document>>,
}

impl ApiAnswer {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), allow: None, document: None }
    }

    /// An answer without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { document: Some(Box::default()), ..Self::json(status, "") }
    }
}

/// An answer in bytes with its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Headers, as `Name: value` without the end of the line.
    pub headers: Vec<Cow<'static, str>>,
    /// The body.
    pub bytes: Cow<'static, [u8]>,
}
