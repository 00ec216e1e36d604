//! Everything that can happen to the deciding part of a daemon.

use std::sync::Arc;

use crate::config::settings::{ActionSettings, ProxySettings};
use crate::model::api::{ApiCall, CallId};
use crate::model::connection::{ClientId, ParentKind, PeerAddress};
use crate::model::host_work::HostDone;
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
    /// The configuration was read again: these options are in effect from now on.
    Reconfigured {
        /// The module `action`, where it is loaded.
        action: Option<Box<ActionSettings>>,
        /// The module `proxy`, where it is loaded.
        proxy: Option<Box<ProxySettings>>,
    },
    /// Where a client is that is about to register a node.
    ClientAddress {
        /// Who.
        client: ClientId,
        /// Its address.
        address: PeerAddress,
    },
    /// A client of the external socket is another daemon's proxy, as its routing id tells. May be said more than once.
    ClientIsDaemon(ClientId),
    /// An authenticated client sent something that is no message (no brackets, an invalid token, …).
    ClientMalformed {
        /// The client whose session it came over.
        client: ClientId,
        /// The token, where one could be read.
        token: Option<Token>,
        /// What is wrong with it, for the log.
        reason: String,
    },
    /// A session of the external socket has ended for good, or a WebSocket connection is closed.
    ClientGone(ClientId),
    /// A message came over the WebSocket of a node that dialled in. Its first one registers it.
    WebSocketMessage {
        /// The client whose session it came over.
        client: ClientId,
        /// The opened message.
        message: Message,
    },
    /// What was sent to a client did not leave: it is not connected now.
    ClientNotReached {
        /// The client that gets it.
        client: ClientId,
        /// The token of the message.
        token: Option<Token>,
    },
    /// We dialled our central (modules `pull` and `pullwss`) and are connected and sealed.
    ParentUp {
        /// Over which transport.
        kind: ParentKind,
        /// Our routing id on it (`pull`), to be told with REGISTERNODES.
        identity: String,
    },
    /// The connection to our central broke or could not be made. Attempts go on by themselves.
    ParentDown {
        /// Over which transport.
        kind: ParentKind,
        /// Why, as a sentence for the log.
        reason: String,
    },
    /// Our central sent a message.
    ParentMessage {
        /// Over which transport.
        kind: ParentKind,
        /// The opened message.
        message: Message,
    },
    /// The link to a node is connected and sealed.
    LinkUp(NodeId),
    /// The link to a node broke, or an attempt to connect it failed. Attempts go on by themselves.
    LinkDown {
        /// The node this is about.
        node: NodeId,
        /// Why, as a sentence for the log.
        reason: String,
    },
    /// A message came over the link to a node.
    NodeMessage {
        /// The node whose connection it came over.
        node: NodeId,
        /// The opened message.
        message: Message,
    },
    /// A message for a node left the link's queue unsent: it waited too long or the queue was full.
    SendFailed {
        /// For whom.
        node: NodeId,
        /// Its token.
        token: Option<Token>,
        /// The cause, as a sentence for the log and for rows.
        reason: String,
    },
    /// Whether the history can be written has changed.
    Stores(bool),
    /// What awaits this receipt may begin, although its changes are not stored yet: the database takes changes, and
    /// nothing that depends on them leaves this daemon before they are stored.
    MayBegin(ReceiptId),
    /// The outcome of an [`super::output::Output::Store`] that asked for a receipt.
    Stored {
        /// The receipt that the change was given.
        receipt: ReceiptId,
        /// Whether it is in the database.
        stored: bool,
    },
    /// An [`super::output::Output::Host`] is answered.
    Host(HostDone),
    /// A step of cleaning left something that another would take.
    PurgeLeft,
    /// A task on a node that is reached by SSH is over.
    SshEnded {
        /// The task, as it was numbered when it was started.
        task: SshTaskId,
        /// The result of the task.
        end: SshEnd,
    },
    /// Little waits to be sent to a node now, see [`super::output::Output::AwaitRoom`].
    Room(NodeId),
    /// A client of the external socket has a key that is bound to something.
    ClientBound {
        /// Who.
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
    /// The caller went away; no answer is wanted any more.
    ApiCancelled(CallId),
    /// The caller sends no more, and may be gone: nothing is waited for any longer, and the call is answered with what
    /// is there.
    ApiCallerEnded(CallId),
    /// A source of registrations was read again: every node that it wants. A list that could not be read is no event.
    NodesWanted {
        /// Who lists them.
        source: RegistrationSource,
        /// The whole list.
        nodes: Vec<Registration>,
    },
    /// Something has happened to the command files of Centreon Web.
    CommandFilesTouched,
    /// The daemon was asked to stop.
    Stop,
}
