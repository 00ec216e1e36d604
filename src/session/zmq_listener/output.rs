//! What the listener wants done, and the work of its handshakes.

use crate::model::connection::{ClientId, ConnectionId};
use crate::model::joining::Admitted;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::session::StoredSession;
use crate::model::token::Token;
use crate::wire::gorgone::key_exchange::{HelloJob, HelloOutcome};
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::tls_link::{Step, StepResult};

/// A step of a client's handshake, for a worker thread. No `Debug`: it holds keys.
pub enum HelloWork {
    /// The only step in the way of the original.
    Classic(HelloJob),
    /// One of the two steps of TLS, with the client's message.
    Tls(Step, Vec<u8>),
}

/// The result of a [`HelloWork`].
pub enum HelloResult {
    /// Of a handshake in the way of the original.
    Classic(HelloOutcome),
    Tls(Box<StepResult>),
}

impl HelloWork {
    /// Does the step.
    #[must_use]
    pub fn run(self, private_key: &PrivateKey) -> HelloResult {
        match self {
            Self::Classic(job) => HelloResult::Classic(job.run(private_key)),
            Self::Tls(step, message) => HelloResult::Tls(Box::new(step.run(message))),
        }
    }
}

/// Number of a handshake, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HelloId(pub u64);

/// The result of sending a message to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It was put on the client's connection.
    Sent,
    /// The client is not connected or has no session, so the message was dropped.
    NotConnected,
}

/// A side effect. No `Debug`: some hold keys.
pub enum ListenerOutput {
    /// Send a payload as one frame.
    Send {
        /// The connection to send on.
        connection: ConnectionId,
        /// The bytes of one frame.
        payload: Vec<u8>,
    },
    /// A message waits: call [`super::ZmqListener::send_gathered`] before the connection is written to.
    Gathered {
        /// Who it waits for.
        client: ClientId,
        /// The connection on which it will go.
        connection: ConnectionId,
    },
    /// Close a connection.
    Close {
        connection: ConnectionId,
        /// The reason for the log.
        reason: String,
    },
    /// A client has proved that it owns this key.
    Identified {
        client: ClientId,
        /// The thumbprint of its key.
        thumbprint: String,
    },
    /// The routing id of the connection has a session, so it may send large messages from now on. Output when a
    /// handshake succeeds and when the routing id of a known session returns, because its first message may be large.
    Authenticated(ConnectionId),
    /// A message from a client.
    Message {
        /// The client whose session it came over.
        client: ClientId,
        /// The opened message.
        message: Message,
    },
    /// An authenticated client sent something that is not a message.
    Malformed {
        /// The client whose session it came over.
        client: ClientId,
        /// The token, if one could be read.
        token: Option<Token>,
        /// The fault.
        reason: String,
    },
    /// An invited node has proved its key, which must be authorised now. Its next handshake succeeds.
    Admitted(Admitted),
    /// A session has ended for good.
    ClientGone(ClientId),
    /// Run the job on a worker and pass its result to [`ZmqListener::handle_hello`].
    OpenHello {
        /// The number of the handshake, for its result.
        hello: HelloId,
        /// The calculation for a worker thread.
        job: HelloWork,
        /// Whether its address has had a session.
        is_known: bool,
    },
    /// Remember that the client with this key was met sealed.
    Pin {
        /// Its routing id without the random suffix.
        name: String,
        /// The thumbprint of its key.
        thumbprint: String,
    },
    /// Insert or replace the row of a session, in the commit before the next flush of outputs.
    StoreSession(StoredSession),
    /// Delete the row of the session with this routing id.
    DropSession(Vec<u8>),
    /// Write to the log.
    Log(LogLine),
}
