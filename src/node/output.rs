//! Everything that the deciding part of a daemon can want done. Each value is one side effect.

use std::time::Duration;

use crate::model::api::{ApiAnswer, CallId};
use crate::model::connection::{ClientId, Endpoint, ParentKind};
use crate::model::history::StoreChange;
use crate::model::host_work::HostWork;
use crate::model::log::{Level, LogLine};
use crate::model::message::Outgoing;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshTarget, SshTask, SshTaskId};

/// One change of the database whose outcome is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptId(pub u64);

/// What becomes of two connections that both register as one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    /// The same daemon has connected again: the newer one is used.
    Again,
    /// The older one does not answer: the newer one is used.
    Silent,
    /// The newer one is used, as the configuration wants it.
    Replaced,
    /// The older one answers: the newer one is refused.
    Refused,
}

/// One side effect.
#[derive(Clone, PartialEq)]
pub enum Output {
    /// Send to a client of the external socket; dropped when it is not connected.
    SendToClient {
        /// The client that gets it.
        client: ClientId,
        /// The message, to be sealed and framed for its transport.
        outgoing: Outgoing,
    },
    /// Send over the link to a node; waits in the link's bounded queue until it is up.
    SendToNode {
        /// The node that gets it.
        node: NodeId,
        /// The message, to be sealed and framed for its transport.
        outgoing: Outgoing,
    },
    /// Keep a link to a node: connect now, reconnect with back-off until [`Output::CloseLink`]. A changed endpoint
    /// rebuilds the link.
    OpenLink {
        /// The node this is about.
        node: NodeId,
        /// Where it listens.
        endpoint: Endpoint,
    },
    /// Keep an SSH connection to a node, as [`Output::OpenLink`] does. A changed target rebuilds it.
    OpenSsh {
        /// The node this is about.
        node: NodeId,
        /// How it is reached.
        target: Box<SshTarget>,
    },
    /// Do something on a node that is reached by SSH; its end is told by [`super::input::Input::SshEnded`].
    StartSshTask {
        /// The node this is about.
        node: NodeId,
        /// The task, as it was numbered when it was started.
        task: SshTaskId,
        /// The task, as the session is to do it.
        work: SshTask,
    },
    /// Give such a task up; its end is still told.
    AbortSshTask {
        /// The node this is about.
        node: NodeId,
        /// The task, as it was numbered when it was started.
        task: SshTaskId,
        /// The cause, as a sentence for the log and for rows.
        reason: String,
    },
    /// Drop the connection of a link and build it again at once.
    ResetLink(NodeId),
    /// Another key of a node that we connect to is right from now on; its link is built again.
    SetNodeKey {
        /// The node this is about.
        node: NodeId,
        /// RFC 7638 thumbprint of the key; `None` forgets the one that is known. For SSH it is always `None`.
        thumbprint: Option<String>,
    },
    /// Drop a link for good.
    CloseLink(NodeId),
    /// A node has come with another connection. Said before one of them is closed.
    NodeMoved {
        /// The node.
        node: NodeId,
        /// The older client, whose connection may be gone.
        before: ClientId,
        /// The newer one.
        client: ClientId,
        /// What becomes of the two.
        twice: Twice,
    },
    /// Close the WebSocket of a node that was replaced or that breaks the rules; `refusal` is its last word, if any. No
    /// [`super::input::Input::ClientGone`] follows.
    CloseClient {
        /// The client whose session this is about.
        client: ClientId,
        /// One JSON text, for instance `{"code":500,"message":"please registernodes"}`.
        refusal: Option<String>,
    },
    /// Send to our central; what cannot be sent now is dropped, it asks again.
    SendToParent {
        /// Over which transport.
        kind: ParentKind,
        /// The message, to be sealed and framed for its transport.
        outgoing: Outgoing,
    },
    /// Our central does not answer: drop the connection and dial again with a new session.
    ResetParent(ParentKind),
    /// Change the database within the commit of this turn.
    Store {
        /// The change to the database, part of the next commit.
        change: StoreChange,
        /// Where the outcome is awaited.
        receipt: Option<ReceiptId>,
    },
    /// The changes of a receipt may wait a moment for others, so that they share a commit, if the receipt's
    /// [`super::input::Input::MayBegin`] is told at once. Whoever said so does without it where it does not come.
    StoreMayWait {
        /// The receipt.
        receipt: ReceiptId,
        /// How long.
        patience: Duration,
    },
    /// Have something done by the machine below, after the commit of this turn. Answered by
    /// [`super::input::Input::Host`].
    Host(HostWork),
    /// Tell [`super::input::Input::Room`] once, as soon as little waits to be sent to a node.
    AwaitRoom {
        /// The node this is about.
        node: NodeId,
        /// The client that stands for it, where it has dialled in.
        client: Option<ClientId>,
    },
    /// Read nothing from a peer for now, or go on. What it has sent stays with the operating system.
    PauseSender {
        /// The peer.
        sender: ClientId,
        /// Whether it is paused.
        paused: bool,
    },
    /// Answer a call of the API.
    Answer {
        /// The number of the call that is answered.
        call: CallId,
        /// Status and body of the HTTP answer.
        answer: ApiAnswer,
    },
    /// Write a line to the log.
    Log(LogLine),
    /// Change the severity of the whole daemon; `None` goes back to the configured one.
    SetLogLevel(Option<Level>),
    /// All work is done or given up: the process may end.
    Stopped,
}
