//! Every point in time at which the deciding part has something to do.

use crate::model::api::CallId;
use crate::model::connection::ClientId;
use crate::model::copy::SourceId;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use crate::model::connection::ParentKind;

/// What is due. Each is set at most once at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Everything must have ended: the daemon stops.
    Stop,
    /// The next ping of a node.
    Ping(NodeId),
    /// A ping waits for its link no longer.
    PingLink(NodeId),
    /// A ping waits for its answer no longer.
    Pong(NodeId),
    /// A node that dials in has not answered a PING or a GETLOG.
    Repeat(NodeId),
    /// The older connection of a node that registers twice has not answered.
    Rival(NodeId),
    /// A history sync waits for its answer no longer.
    SyncTimeout(NodeId),
    /// Messages that a broken link left unconfirmed are given up.
    Unconfirmed(NodeId),
    /// A node that no list has, and whose connection broke, is forgotten.
    Unlisted(NodeId),
    /// A daemon that pinged us is told that there is something new.
    Subscriber(ClientId),
    /// We register with our central once more.
    Register(ParentKind),
    /// Our central answers no more.
    ParentSilence(ParentKind),
    /// A listener polls or ends.
    Listener(Token),
    /// A copy that we send waits no longer.
    Copy(SourceId),
    /// More of a copy may be sent to a node, as its rate allows.
    CopyPace(NodeId),
    /// Commands wait for copies no longer.
    AfterCopies,
    /// A copy that we receive has not gone on.
    Sink(Token),
    /// A call of the API waits no longer.
    Call(CallId),
    /// A node whose token is waited for is asked for its log.
    Poll(NodeId),
    /// The periodic history sync of every node.
    SyncAll,
    /// The clock is looked at for jobs.
    Cron,
    /// The Centreon database is read.
    ReadPollers,
    /// Command files are looked for.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    CommandFiles,
    /// The Centreon database is read for orders.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    CommandTables,
    /// Orders are sent, or looked at again.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    Orders,
    /// The database is cleaned.
    Purge,
}

/// The timers that are set.
pub(super) type Timers = crate::model::timers::Timers<Timer>;
