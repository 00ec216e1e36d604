//! Requests that wait on disk until their nodes can be reached, as values (docs/queue.md).
//!
//! Times are seconds of the queue's own clock, which runs evenly from one start of the daemon to the next, however the
//! wall clock is set meanwhile; only `not_before` is a time of the wall clock.

use super::action::Action;
use super::node_id::NodeId;
use super::token::Token;

/// Maximum time to live of a request, in seconds: 30 days.
pub const TTL_MAX: i64 = 30 * 86_400;

/// What a row of a node tells about a queued request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowTells {
    /// The node has taken it.
    Taken,
    /// The node had taken it, and ended before it had begun with it: it is sent again.
    Back,
    /// The node has a new database since it was first sent, so it does not know whether it has taken it.
    NewDatabase,
    /// Its token has ended, wherever the end was written.
    Ended,
}

impl RowTells {
    /// Returns the data of the row that tells it, for [`Self::Back`] and [`Self::NewDatabase`].
    #[must_use]
    pub const fn data(self) -> &'static str {
        match self {
            Self::Taken | Self::Ended => "null",
            Self::Back => r#"{"message":"it had not begun when the daemon ended, so it is sent again","queue":"back"}"#,
            Self::NewDatabase => {
                r#"{"message":"it was sent to a daemon with another database, so it is not taken","queue":"new"}"#
            }
        }
    }

    /// Reads the data of a row.
    #[must_use]
    pub fn by(data: &str) -> Self {
        [Self::Back, Self::NewDatabase].into_iter().find(|told| told.data() == data).unwrap_or(Self::Taken)
    }
}

/// What is known of a queued request without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedHead {
    /// Its place among all requests of this daemon. It grows, and a restart does not begin again.
    pub sequence: i64,
    pub token: Token,
    /// The node that it is for; our own id for a request that only waits for its time.
    pub target: NodeId,
    pub action: Action,
    /// When it was accepted.
    pub created: i64,
    /// When it is given up.
    pub expires: i64,
    /// Wall-clock time before which it is not sent; 0 for none.
    pub not_before: i64,
    /// Number of the history of the node when it was first sent; 1 if that was not known, 0 if it was not sent.
    pub sent: i64,
    /// Number of bytes of the data.
    pub len_bytes: u64,
}

/// A queued request. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct QueuedRequest {
    /// All but the data.
    pub head: QueuedHead,
    /// The data as JSON text, an object.
    pub data: String,
}

/// A change of the queue in the database.
#[derive(Clone, PartialEq, Eq)]
pub enum QueueChange {
    /// Add a request. One with a token that is queued already is left out.
    Put(QueuedRequest),
    /// Remove a request that has ended, or was handed over.
    Delete {
        target: NodeId,
        /// Its place.
        sequence: i64,
    },
    /// The requests of a node from one place to another are being sent.
    MarkSent {
        target: NodeId,
        /// The first place.
        from: i64,
        /// The last place.
        to: i64,
        /// See [`QueuedHead::sent`].
        history: i64,
    },
    /// The time of a request has come: it takes its place behind those that are queued.
    Release {
        target: NodeId,
        /// Its place so far.
        sequence: i64,
        /// Its new place.
        place: i64,
    },
    /// A request that its node has taken is given up later.
    Postpone {
        target: NodeId,
        /// Its place.
        sequence: i64,
        /// When it is given up.
        expires: i64,
    },
    /// Remember a token that a caller of the API brought, and what it asked for.
    PutAsked {
        /// [`Token::digest`] of the token.
        hash: i64,
        /// A digest of action, target and data.
        request: i64,
        /// When, in seconds since the epoch.
        at: i64,
    },
    /// Remember how far the wall clock is ahead of the queue's clock, in seconds.
    PutClock(i64),
}

/// A question to the queue in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueQuery {
    /// The next requests of a node whose time has come, in order, with their data.
    Page {
        target: NodeId,
        /// Only those behind this place.
        after: i64,
        /// Maximum number.
        limit: usize,
        /// Number of bytes of data after which no more are read.
        bytes: usize,
    },
    /// Requests that have expired or whose time has come, and when the next ones will.
    Due {
        /// The time of the queue's clock.
        now: i64,
        /// The time of the wall clock.
        wall: i64,
    },
    /// Requests without their data.
    List {
        /// Only those of this node.
        target: Option<NodeId>,
        /// Only those behind this place.
        after: i64,
        /// Maximum number.
        limit: usize,
    },
    /// What is known of a token.
    Find(Token),
}

/// The answer to a [`QueueQuery`].
#[derive(Clone, PartialEq, Eq)]
pub enum QueueAnswer {
    /// To [`QueueQuery::Page`].
    Page(Vec<QueuedRequest>),
    /// To [`QueueQuery::Due`].
    Due {
        /// Some of those that have expired, in order.
        expired: Vec<QueuedHead>,
        /// Some of those whose time has come, in order.
        begun: Vec<QueuedHead>,
        /// When the next one expires.
        next_expiry: Option<i64>,
        /// When the time of the next one comes, by the wall clock.
        next_begin: Option<i64>,
    },
    /// To [`QueueQuery::List`]: the requests, and whether there are more.
    List(Vec<QueuedHead>, bool),
    /// To [`QueueQuery::Find`].
    Found(Known),
    /// The database cannot be read.
    Failed(String),
}

/// What is known of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The queued request.
    pub queued: Option<QueuedHead>,
    /// Digest of the request with which a caller of the API brought it.
    pub asked: Option<i64>,
    /// Whether the history has a row of it.
    pub has_rows: bool,
    /// Whether the history has its end.
    pub has_ended: bool,
}

/// The requests of one node in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSummary {
    pub target: NodeId,
    /// Number of requests whose time has come.
    pub ready: usize,
    /// Number of requests that wait for their time.
    pub scheduled: usize,
    /// Number of bytes of their data.
    pub bytes: u64,
    /// When the oldest was accepted.
    pub oldest: i64,
}

/// What a start takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStored {
    /// The nodes with requests.
    pub nodes: Vec<QueueSummary>,
    /// The requests that an earlier run may have sent, without their data.
    pub sent: Vec<QueuedHead>,
    /// The last place.
    pub last: i64,
    /// Seconds by which the wall clock was ahead of the queue's clock.
    pub clock: i64,
}

/// Numbers about the queue, for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Number of requests that are queued now.
    pub depth: u64,
    /// Number of bytes of their data.
    pub bytes: u64,
    /// Age in seconds of the oldest; 0 if nothing waits.
    pub oldest_seconds: u64,
    /// Number of requests accepted since the start.
    pub accepted: u64,
    /// Number of requests that have expired since the start.
    pub expired: u64,
    /// Number of requests that were cancelled since the start.
    pub cancelled: u64,
    /// Number of requests that were refused because the queue was full.
    pub full: u64,
    /// Number of times that a request was sent again after a doubt.
    pub repeated: u64,
}
