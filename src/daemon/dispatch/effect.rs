//! What [`super::Dispatch`] wants the driver to do: the event loop for real, the simulator in its own way.

use crate::config::web_api::WebAccount;
use crate::model::connection::{ConnectionId, Endpoint};
use crate::model::host_work::HostWork;
use crate::model::log::{Level, LogLine};
use crate::model::node_id::NodeId;
use crate::model::ssh::SshOrder;
use crate::session::api_client::access::LoginCheck;
use crate::session::zmq_dialer::{DialOutcome, DialTicket};
use crate::session::zmq_listener::HelloId;
use crate::wire::gorgone::key_exchange::{HelloJob, HelloOutcome};
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::http::password_hash;

use super::dialled::PeerKey;

/// One thing to do. Effects are done after the commit of the turn, in their order.
pub enum Effect {
    /// Open a connection; answered by `connected` or `closed`.
    Connect {
        /// Its name from now on.
        connection: ConnectionId,
        /// The address to connect to.
        endpoint: Endpoint,
    },
    /// Begin TLS on a connection that we opened and that is `connected`: what is queued and received from now on is
    /// inside TLS. A failure is told by `closed`.
    StartTls {
        /// The connection this is about.
        connection: ConnectionId,
        /// The server's host name or address, against which its certificate is checked.
        server_name: String,
    },
    /// Close a connection now; `closed` is not called for it.
    Close(ConnectionId),
    /// End the sending direction of a connection; it is still read.
    Shutdown(ConnectionId),
    /// Once the send queue of a connection is empty, end its sending direction, drop what the peer still sends and call
    /// `closed` when it has ended; [`Effect::Close`] follows where that takes too long.
    CloseAfterFlush(ConnectionId),
    /// Run an RSA job on a worker; answered by `crypto_done`.
    Crypto(CryptoJob),
    /// Have something done by this machine; answered by `host_done`.
    Host(HostWork),
    /// Ask the web API, by an account, for the token of a name; answered by `web_api_answered`.
    AskWebApi {
        /// Who asks where; `None` where the configuration has none any more.
        account: Option<WebAccount>,
        /// The token's name.
        name: String,
    },
    /// Work on the SSH connection to a node; `attempt` names the connection and is handed back with everything that is
    /// told of it. Answered by `ssh_connected`, `ssh_closed` and `ssh_news`.
    Ssh {
        /// The node this is about.
        node: NodeId,
        /// Which of its connections.
        attempt: u64,
        /// The task, as the session is to do it.
        work: SshWork,
    },
    /// Write a line to the log.
    Log(LogLine),
    /// Change the severity; `None` goes back to the configured one.
    SetLogLevel(Option<Level>),
    /// The process may end.
    Stopped,
}

/// What is to be done with an SSH connection.
pub enum SshWork {
    /// Make it.
    Connect {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Hand an order to its session.
    Order(SshOrder),
    /// Drop it; nothing more is told of it.
    Close,
}

/// RSA and password work for a worker thread: a pure function of its data and our private key.
pub enum CryptoJob {
    /// A client's hello on the external socket.
    Hello {
        /// The handshake.
        hello: HelloId,
        /// The calculation for a worker thread.
        job: HelloJob,
        /// Whether its address had a session before; the work of strangers comes last.
        is_known: bool,
    },
    /// A step of our own handshake with a node.
    Dial(PeerKey, DialTicket),
    /// A password of a call to be hashed.
    Login {
        /// Who called.
        connection: ConnectionId,
        /// The work.
        check: LoginCheck,
    },
}

/// The result of a [`CryptoJob`].
pub enum CryptoOutcome {
    /// Of [`CryptoJob::Hello`].
    Hello(HelloId, HelloOutcome),
    /// Of [`CryptoJob::Dial`].
    Dial(PeerKey, DialOutcome),
    /// Of [`CryptoJob::Login`]: whether the password is right.
    Login(ConnectionId, bool),
}

impl CryptoJob {
    /// Does the work; takes milliseconds.
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
