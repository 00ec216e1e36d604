//! The inputs of the deciding part of a daemon.

use std::sync::Arc;

use crate::config::modules::action::ActionSettings;
use crate::config::modules::proxy::ProxySettings;
use crate::model::api::{ApiCall, CallId};
use crate::model::connection::{ClientId, ParentKind, PeerAddress};
use crate::model::host_work::HostDone;
use crate::model::link::LinkKind;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::registration::{Registration, RegistrationSource};
use crate::model::rights::BoundKey;
use crate::model::ssh::{SshEnd, SshTaskId};
use crate::model::token::Token;

use super::output::ReceiptId;

/// One event.
#[derive(Clone, PartialEq)]
pub enum Input {
    /// An authenticated client of the external socket sent a message.
    ClientMessage {
        /// The client whose session it came over.
        client: ClientId,
        /// The opened message.
        message: Message,
    },
    /// The configuration was reloaded: these options are in effect from now on.
    Reconfigured {
        /// The module `action`, if it is loaded.
        action: Option<Box<ActionSettings>>,
        /// The module `proxy`, if it is loaded.
        proxy: Option<Box<ProxySettings>>,
    },
    /// Our own key was replaced: its thumbprint.
    OwnKey(String),
    /// Whether received messages become log lines from now on.
    SetDebug(bool),
    /// The address of a client that is about to register a node.
    ClientAddress { client: ClientId, address: PeerAddress },
    /// A client of the external socket is another daemon's proxy, as its routing id shows. May be repeated.
    ClientIsDaemon(ClientId),
    /// An authenticated client sent a malformed message (no brackets, an invalid token, …).
    ClientMalformed {
        /// The client whose session it came over.
        client: ClientId,
        /// The token, if it could be read.
        token: Option<Token>,
        /// The error, for the log.
        reason: String,
    },
    /// A session of the external socket has ended for good, or a WebSocket connection is closed.
    ClientGone(ClientId),
    /// A message arrived over the WebSocket of a node that dialled in. The first one registers the node.
    WebSocketMessage {
        /// The client whose session it came over.
        client: ClientId,
        /// The opened message.
        message: Message,
    },
    /// A message for a client was not sent, because the client is not connected now.
    ClientNotReached {
        /// The receiver of the message.
        client: ClientId,
        /// The token of the message.
        token: Option<Token>,
    },
    /// We have dialled our central (modules `pull` and `pullwss`), and the encrypted session is established.
    ParentUp {
        /// The transport.
        kind: ParentKind,
        /// Our routing id (`pull`), to be sent with REGISTERNODES.
        identity: String,
    },
    /// The connection to our central broke or could not be made. New attempts follow automatically.
    ParentDown {
        /// The transport.
        kind: ParentKind,
        /// The cause, as a sentence for the log.
        reason: String,
    },
    /// Our central sent a message.
    ParentMessage {
        /// The transport.
        kind: ParentKind,
        /// The opened message.
        message: Message,
    },
    /// How the link to a node is protected. Comes before [`Input::LinkUp`].
    NodeLink(NodeId, LinkKind),
    /// How the session of a client of the external socket is protected.
    ClientLink(ClientId, LinkKind),
    /// The link to a node is connected, and its encrypted session established.
    LinkUp(NodeId),
    /// The link to a node broke, or an attempt to connect it failed. New attempts follow automatically.
    LinkDown {
        node: NodeId,
        /// The cause, as a sentence for the log.
        reason: String,
    },
    /// A message arrived over the link to a node.
    NodeMessage {
        /// The node at the other end of the link.
        node: NodeId,
        /// The opened message.
        message: Message,
    },
    /// A message for a node left the queue of the link unsent: it waited too long, or the queue was full.
    SendFailed {
        /// The receiver of the message.
        node: NodeId,
        token: Option<Token>,
        /// The cause, as a sentence for the log and for rows.
        reason: String,
    },
    /// Whether the history can be written; sent when that changes.
    Stores(bool),
    /// The work for this receipt may begin before its changes are stored: the database takes changes, and no output
    /// that depends on them leaves this daemon before they are stored.
    MayBegin(ReceiptId),
    /// The result of an [`super::output::Output::Store`] with a receipt.
    Stored {
        /// The receipt of the change.
        receipt: ReceiptId,
        /// Whether it is in the database.
        stored: bool,
    },
    /// The queued request with this receipt was left out, because one with its token is queued already.
    LeftOut(ReceiptId),
    /// The result of an [`super::output::Output::Host`].
    Host(HostDone),
    /// A cleaning step left rows for a further step.
    PurgeLeft,
    /// A task on a node that is reached by SSH has ended.
    SshEnded {
        /// The number given to the task at its start.
        task: SshTaskId,
        /// The result of the task.
        end: SshEnd,
    },
    /// The send queue to a node has room, see [`super::output::Output::AwaitRoom`].
    Room(NodeId),
    /// A client of the external socket has a bound key.
    ClientBound {
        client: ClientId,
        /// What its key is bound to.
        key: Arc<BoundKey>,
    },
    /// A call of the REST API, already authorised.
    ApiCall {
        /// The number of the call, for its answer.
        id: CallId,
        /// The request, with path, query and body.
        call: ApiCall,
    },
    /// The caller has gone, and no answer is needed.
    ApiCancelled(CallId),
    /// The caller sends nothing more and may have gone. The call waits no longer and is answered with the rows that are
    /// available.
    ApiCallerEnded(CallId),
    /// A source of registrations was read: the nodes that it wants. If a list cannot be read, there is no input.
    NodesWanted {
        source: RegistrationSource,
        /// The whole list.
        nodes: Vec<Registration>,
    },
    /// Whether the machine's clock can be right. Before the first such input nothing depends on it.
    ClockIsRight(bool),
    /// The command files of Centreon Web may have changed.
    CommandFilesTouched,
    /// The daemon was asked to stop.
    Stop,
}
