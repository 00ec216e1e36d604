//! All timers of the deciding part.

use crate::model::api::CallId;
use crate::model::connection::{ClientId, ParentKind};
use crate::model::copy::SourceId;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

/// The purpose of a timer. Each is set at most once at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The time limit for stopping has passed.
    Stop,
    /// The next ping of a node.
    Ping(NodeId),
    /// A ping stops waiting for its link.
    PingLink(NodeId),
    /// A ping stops waiting for its answer.
    Pong(NodeId),
    /// A node that dials in has not answered a PING or a GETLOG.
    Repeat(NodeId),
    /// The older connection of a node that registers twice has not answered.
    Rival(NodeId),
    /// A history sync stops waiting for its answer.
    SyncTimeout(NodeId),
    /// Messages that a broken link left unconfirmed are given up.
    Unconfirmed(NodeId),
    /// An unlisted node whose connection broke is forgotten.
    Unlisted(NodeId),
    /// A subscriber is told that there is something new.
    Subscriber(ClientId),
    /// We register with our central again.
    Register(ParentKind),
    /// Our central does not answer any more.
    ParentSilence(ParentKind),
    /// A listener polls or ends.
    Listener(Token),
    /// A copy that we send stops waiting.
    Copy(SourceId),
    /// The rate limit allows more of a copy to be sent to a node.
    CopyPace(NodeId),
    /// A copy that we fetch from a node has had no answer.
    Fetch(SourceId),
    /// A source that another daemon reads is idle.
    Served(SourceId),
    /// Commands stop waiting for copies.
    AfterCopies,
    /// A copy that we receive has made no progress.
    Sink(Token),
    /// A call of the API stops waiting.
    Call(CallId),
    /// A node with an awaited token is asked for its log.
    Poll(NodeId),
    /// The periodic history sync of every node.
    SyncAll,
    /// The clock is read for jobs.
    Cron,
    /// The Centreon database is read.
    ReadPollers,
    /// Command files are searched for.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    CommandFiles,
    /// The Centreon database is read for orders.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    CommandTables,
    /// Orders are sent or checked again.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    Orders,
    /// A command that was taken from a queue holds up the next no more.
    InOrder,
    /// Queued requests for a node are tried again.
    Queue(NodeId),
    /// A queued request may have expired, or its time may have come.
    QueueDue,
    /// The database is cleaned.
    Purge,
}

/// The timers that are set.
pub(super) type Timers = crate::model::timers::Timers<Timer>;
