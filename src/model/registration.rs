//! Registrations of nodes (docs/protocol.md section 5).

use super::connection::Endpoint;
use super::node_id::NodeId;
use super::ssh::SshTarget;

/// How a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// We connect to its external socket.
    PushZmq {
        /// Its listening address.
        endpoint: Endpoint,
    },
    /// We connect by SSH. The node needs no daemon.
    PushSsh(Box<SshTarget>),
    /// It connects to our external socket.
    Pull,
    /// It connects to our WebSocket.
    WebSocket,
}

impl NodeKind {
    /// The word in files and in the constatus map.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::PushZmq { .. } => "push_zmq",
            Self::PushSsh(_) => "push_ssh",
            Self::Pull => "pull",
            Self::WebSocket => "wss",
        }
    }
}

/// A node behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnode {
    /// Its id.
    pub id: NodeId,
    /// Score of the path; the smallest is preferred. 1 if not given.
    pub path_score: i64,
    /// Its other name.
    pub uid: Option<NodeId>,
}

/// One registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its id.
    pub id: NodeId,
    /// Its other name, by which it may call itself and be called.
    pub uid: Option<NodeId>,
    /// How it is reached.
    pub kind: NodeKind,
    /// The routing id of a pull or WebSocket node.
    pub identity: Option<String>,
    /// Whether this registration takes precedence over later ones of the same id.
    pub prevail: bool,
    /// The nodes behind it.
    pub subnodes: Vec<Subnode>,
}

/// The source of a list of nodes. Each list is applied by difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegistrationSource {
    /// The file of the module `register`.
    File,
    /// The Centreon database (module `nodes`).
    Database,
}
