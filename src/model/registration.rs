//! What is registered about a node (docs/protocol.md section 5).

use super::connection::Endpoint;
use super::node_id::NodeId;
use super::ssh::SshTarget;

/// How a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// We connect to its external socket.
    PushZmq {
        /// Where it listens.
        endpoint: Endpoint,
    },
    /// We connect by SSH; it needs no daemon.
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
    /// Smaller is preferred; 1 where it is not given.
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
    /// The routing id it brought (pull and WebSocket nodes).
    pub identity: Option<String>,
    /// Whether this registration beats later ones of the same id.
    pub prevail: bool,
    /// The nodes behind it.
    pub subnodes: Vec<Subnode>,
}

/// Who lists nodes to be registered; each list is applied by difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegistrationSource {
    /// The file of the module `register`.
    File,
    /// The Centreon database (module `nodes`).
    Database,
}
