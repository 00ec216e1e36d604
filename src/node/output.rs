//! The outputs of the deciding part of a daemon. Each value is one side effect.

use std::time::Duration;

use crate::model::api::{ApiAnswer, CallId};
use crate::model::connection::{ClientId, Endpoint, ParentKind};
use crate::model::history::StoreChange;
use crate::model::host_work::HostWork;
use crate::model::log::{Level, LogLine};
use crate::model::message::Outgoing;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshTarget, SshTask, SshTaskId};
use crate::model::time::WallTime;

/// Number of a change of the database whose result is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptId(pub u64);

/// The decision between two connections that register as the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    /// The same daemon has reconnected: the newer one is used.
    Again,
    /// The older one does not answer: the newer one is used.
    Silent,
    /// The newer one is used, because the configuration says so.
    Replaced,
    /// The older one answers: the newer one is refused.
    Refused,
}

/// One side effect.
#[derive(Clone, PartialEq)]
pub enum Output {
    /// Send to a client of the external socket; dropped if it is not connected.
    SendToClient {
        /// The receiver of the message.
        client: ClientId,
        /// The message, to be encrypted and framed for its transport.
        outgoing: Outgoing,
    },
    /// Send over the link to a node. Until the link is up the message waits in its limited queue.
    SendToNode {
        /// The receiver of the message.
        node: NodeId,
        /// The message, to be encrypted and framed for its transport.
        outgoing: Outgoing,
    },
    /// Keep a link to a node: connect now, and reconnect with back-off until [`Output::CloseLink`]. A changed endpoint
    /// rebuilds the link.
    OpenLink {
        node: NodeId,
        /// The address on which it listens.
        endpoint: Endpoint,
    },
    /// Keep an SSH connection to a node, as [`Output::OpenLink`] does. A changed target rebuilds it.
    OpenSsh {
        node: NodeId,
        /// The host and how to log in.
        target: Box<SshTarget>,
    },
    /// Start a task on a node that is reached by SSH. Its end is the input [`super::input::Input::SshEnded`].
    StartSshTask {
        node: NodeId,
        /// The number of the task.
        task: SshTaskId,
        work: SshTask,
    },
    /// Abort such a task; its end is still reported.
    AbortSshTask {
        node: NodeId,
        /// The number given to the task at its start.
        task: SshTaskId,
        /// The cause, as a sentence for the log and for rows.
        reason: String,
    },
    /// Drop the connection of a link and reconnect at once.
    ResetLink(NodeId),
    /// Change the trusted key of a node that we dial, and rebuild its link.
    SetNodeKey {
        node: NodeId,
        /// RFC 7638 thumbprint of the key; `None` forgets the known one. For SSH it is always `None`.
        thumbprint: Option<String>,
    },
    /// Close a link for good.
    CloseLink(NodeId),
    /// A node has another connection. Output before one of the two is closed.
    NodeMoved {
        node: NodeId,
        /// The older client, whose connection may be gone.
        before: ClientId,
        /// The newer client.
        client: ClientId,
        /// The decision between the two.
        twice: Twice,
    },
    /// Close the WebSocket of a node that was replaced or that breaks the rules; `refusal` is the last message, if any.
    /// No [`super::input::Input::ClientGone`] follows.
    CloseClient {
        client: ClientId,
        /// A JSON text such as `{"code":500,"message":"please registernodes"}`.
        refusal: Option<String>,
    },
    /// Send to our central. A message that cannot be sent now is dropped; the central asks again.
    SendToParent {
        /// The transport.
        kind: ParentKind,
        /// The message, to be encrypted and framed for its transport.
        outgoing: Outgoing,
    },
    /// Drop the connection to our central, which does not answer, and dial again with a new session.
    ResetParent(ParentKind),
    /// Change the database in the commit of this turn.
    Store {
        /// The change, part of the next commit.
        change: StoreChange,
        /// The receipt, if the result is awaited.
        receipt: Option<ReceiptId>,
    },
    /// Let the changes of a receipt wait a moment for others that share their commit, if the receipt's
    /// [`super::input::Input::MayBegin`] can be sent at once. If it is not sent, the deciding part continues without
    /// it.
    StoreMayWait {
        receipt: ReceiptId,
        /// Maximum time to wait.
        patience: Duration,
    },
    /// Have the host do work after the commit of this turn. The result is the input [`super::input::Input::Host`].
    Host(HostWork),
    /// Send [`super::input::Input::Room`] once, as soon as the send queue to a node has room.
    AwaitRoom {
        node: NodeId,
        /// The client of the node, if it has dialled in.
        client: Option<ClientId>,
    },
    /// Pause or resume reading from a peer. Meanwhile its data stays in the operating system's buffers.
    PauseSender {
        /// The peer.
        sender: ClientId,
        paused: bool,
    },
    /// Answer a call of the API.
    Answer {
        /// The number of the call.
        call: CallId,
        /// Status and body of the HTTP answer.
        answer: ApiAnswer,
    },
    /// Write a line to the log.
    Log(LogLine),
    /// Change the severity of the whole daemon's log; `None` restores the configured one.
    SetLogLevel(Option<Level>),
    /// A central has told this time: it has passed. It counts while our clock cannot be right.
    LearnTime(WallTime),
    /// All work is done or given up, so the process may end.
    Stopped,
}
