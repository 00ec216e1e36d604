//! The tasks that [`super::Dispatch`] gives to its driver: the event loop performs them, the simulator imitates them.

use crate::config::web_api::WebAccount;
use crate::model::connection::{ConnectionId, Endpoint};
use crate::model::host_work::HostWork;
use crate::model::joining::Admitted;
use crate::model::log::{Level, LogLine};
use crate::model::node_id::NodeId;
use crate::model::ssh::SshOrder;
use crate::model::time::WallTime;
use crate::session::api_client::access::LoginCheck;
use crate::session::zmq_dialer::{DialOutcome, DialTicket};
use crate::session::zmq_listener::{HelloId, HelloResult, HelloWork};
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::http::password_hash;

use super::dialled::PeerKey;
use super::rotation::KeyWork;

/// One task. Effects are performed in order, after the commit of the turn.
pub enum Effect {
    /// Open a connection; answered by `connected` or `closed`.
    Connect {
        /// The id of the new connection.
        connection: ConnectionId,
        /// The address to connect to.
        endpoint: Endpoint,
    },
    /// Begin TLS on a connection that we opened and that is `connected`: everything queued and received from now on is
    /// inside TLS. A failure is reported by `closed`.
    StartTls {
        connection: ConnectionId,
        /// The server's host name or address, against which its certificate is checked.
        server_name: String,
    },
    /// Close a connection now; `closed` is not called for it.
    Close(ConnectionId),
    /// Shut down the sending direction of a connection; it is still read.
    Shutdown(ConnectionId),
    /// Once the send queue of a connection is empty, shut down its sending direction, discard what the peer still sends
    /// and call `closed` when the peer has ended; [`Effect::Close`] follows if that takes too long.
    CloseAfterFlush(ConnectionId),
    /// Run an RSA job on a worker; answered by `crypto_done`.
    Crypto(CryptoJob),
    /// Do some work on this machine; answered by `host_done`.
    Host(HostWork),
    /// Query the web API for the token of a name; answered by `web_api_answered`.
    AskWebApi {
        /// The account to use, with its URL; `None` if it was removed from the configuration.
        account: Option<WebAccount>,
        /// Name of the token.
        name: String,
    },
    /// Work on the SSH session of a connection, whose every report names it. Answered by `ssh_connected`, `ssh_closed`
    /// and `ssh_news`.
    Ssh { node: NodeId, connection: ConnectionId, work: SshWork },
    /// An invited node has joined: note what it is known by, and read the configuration again.
    Admit(Admitted),
    /// Work on the files of keys. A switch is answered by `key_switched`.
    Keys(KeyWork),
    /// Write a line to the log.
    Log(LogLine),
    /// Change the severity of the log; `None` restores the configured one.
    SetLogLevel(Option<Level>),
    /// A central has told this time: it has passed.
    LearnTime(WallTime),
    /// The work is done and the process may end.
    Stopped,
}

/// Work on an SSH session.
pub enum SshWork {
    /// Begin the session on an established connection, which it takes over.
    TakeOver,
    /// Pass an order to the session.
    Order(SshOrder),
    /// Close the connection; nothing more is reported about it.
    Close,
}

/// RSA and password work for a worker thread: a pure function of its data and our private key.
pub enum CryptoJob {
    /// A client's hello on the external socket.
    Hello {
        /// Identifies the handshake.
        hello: HelloId,
        /// The calculation for a worker thread.
        job: HelloWork,
        /// Whether the client's address has had a session before; the work of strangers comes last.
        is_known: bool,
    },
    /// A step of our own handshake with a node.
    Dial(PeerKey, DialTicket),
    /// The password of an API call is to be hashed and compared.
    Login {
        /// The connection of the caller.
        connection: ConnectionId,
        check: LoginCheck,
    },
}

/// The result of a [`CryptoJob`].
pub enum CryptoOutcome {
    /// Result of [`CryptoJob::Hello`].
    Hello(HelloId, HelloResult),
    /// Result of [`CryptoJob::Dial`].
    Dial(PeerKey, DialOutcome),
    /// Result of [`CryptoJob::Login`]: whether the password is correct.
    Login(ConnectionId, bool),
}

impl CryptoJob {
    /// Does the work, which takes milliseconds.
    #[must_use]
    pub fn run(self, key: &PrivateKey) -> CryptoOutcome {
        match self {
            Self::Hello { hello, job, .. } => CryptoOutcome::Hello(hello, job.run(key)),
            Self::Login { connection, check } => {
                let (password, hash) = check.parts();
                CryptoOutcome::Login(connection, password_hash::matches(password, hash))
            }
            Self::Dial(link, ticket) => CryptoOutcome::Dial(link, ticket.run(key)),
        }
    }
}
