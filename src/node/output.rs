//! Everything that the deciding part of a daemon can want done. Each value is one side effect.

use crate::model::api::{ApiAnswer, CallId};
use crate::model::command::{CommandId, CommandSpec};
use crate::model::connection::{ClientId, Endpoint, ParentKind};
use crate::model::copy::{SinkId, SinkStep, SourceId, SourceStep};
use crate::model::history::{LogFilter, PageLimit, StoreChange};
use crate::model::log::{Level, LogLine};
use crate::model::message::Outgoing;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshTarget, SshTask, SshTaskId};
use crate::model::work::{Work, WorkId};

/// One question to the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// One change of the database whose outcome is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptId(pub u64);

/// One side effect.
#[derive(Clone, PartialEq)]
pub enum Output {
    /// Send to a client of the external socket; dropped when it is not connected.
    SendToClient {
        /// To whom.
        client: ClientId,
        /// What.
        outgoing: Outgoing,
    },
    /// Send over the link to a node; waits in the link's bounded queue until it is up.
    SendToNode {
        /// To whom.
        node: NodeId,
        /// What.
        outgoing: Outgoing,
    },
    /// Keep a link to a node: connect now, reconnect with back-off until [`Output::CloseLink`]. A changed endpoint
    /// rebuilds the link.
    OpenLink {
        /// Which node.
        node: NodeId,
        /// Where it listens.
        endpoint: Endpoint,
    },
    /// Keep an SSH connection to a node, as [`Output::OpenLink`] does. A changed target rebuilds it.
    OpenSsh {
        /// Which node.
        node: NodeId,
        /// How it is reached.
        target: Box<SshTarget>,
    },
    /// Do something on a node that is reached by SSH; its end is told by [`super::input::Input::SshEnded`].
    StartSshTask {
        /// Which node.
        node: NodeId,
        /// Which task.
        task: SshTaskId,
        /// What.
        work: SshTask,
    },
    /// Give such a task up; its end is still told.
    AbortSshTask {
        /// Which node.
        node: NodeId,
        /// Which task.
        task: SshTaskId,
        /// Why.
        reason: String,
    },
    /// Drop the connection of a link and build it again at once.
    ResetLink(NodeId),
    /// Drop a link for good.
    CloseLink(NodeId),
    /// Close the WebSocket of a node that was replaced or that breaks the rules; `refusal` is its last word, if any. No
    /// [`super::input::Input::ClientGone`] follows.
    CloseClient {
        /// Which.
        client: ClientId,
        /// One JSON text, for instance `{"code":500,"message":"please registernodes"}`.
        refusal: Option<String>,
    },
    /// Send to our central; what cannot be sent now is dropped, it asks again.
    SendToParent {
        /// Over which transport.
        kind: ParentKind,
        /// What.
        outgoing: Outgoing,
    },
    /// Our central does not answer: drop the connection and dial again with a new session.
    ResetParent(ParentKind),
    /// Change the database within the commit of this turn.
    Store {
        /// What.
        change: StoreChange,
        /// Where the outcome is awaited.
        receipt: Option<ReceiptId>,
    },
    /// Ask the history, after this turn's commit.
    Query {
        /// Which question.
        query: QueryId,
        /// What is wanted.
        filter: LogFilter,
        /// How much at once.
        limit: PageLimit,
    },
    /// Run a command.
    RunCommand {
        /// Which run.
        command: CommandId,
        /// What.
        spec: CommandSpec,
    },
    /// Do what would block, elsewhere; answered by [`super::input::Input::WorkDone`].
    Work {
        /// Which.
        id: WorkId,
        /// What.
        work: Work,
    },
    /// Kill a running command's process group; its end is still reported.
    KillCommand(CommandId),
    /// A step of a copy that we send; answered by [`super::input::Input::SourceDone`], but not [`SourceStep::Close`].
    ReadSource {
        /// Which copy.
        source: SourceId,
        /// What to do.
        step: SourceStep,
    },
    /// Steps of a copy that we receive; answered by [`super::input::Input::SinkDone`].
    WriteSink {
        /// Which copy.
        sink: SinkId,
        /// What to do, in this order.
        steps: Vec<SinkStep>,
    },
    /// Tell [`super::input::Input::Room`] once, as soon as little waits to be sent to a node.
    AwaitRoom {
        /// Which node.
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
    /// Read the pollers from the Centreon database; one reading at a time.
    ReadPollers,
    /// Answer a call of the API.
    Answer {
        /// Which call.
        call: CallId,
        /// What.
        answer: ApiAnswer,
    },
    /// Write a line to the log.
    Log(LogLine),
    /// Change the severity of the whole daemon; `None` goes back to the configured one.
    SetLogLevel(Option<Level>),
    /// All work is done or given up: the process may end.
    Stopped,
}
