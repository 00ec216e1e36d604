//! Registrations of nodes (docs/protocol.md section 5).

use super::connection::Endpoint;
use super::link::LinkMode;
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

/// What a kind of node can do.
struct Abilities {
    word: &'static str,
    is_dialled: bool,
    has_daemon: bool,
    confirms: bool,
    is_web_socket: bool,
}

impl Abilities {
    const fn new(word: &'static str, is_dialled: bool, has_daemon: bool, confirms: bool, is_web_socket: bool) -> Self {
        Self { word, is_dialled, has_daemon, confirms, is_web_socket }
    }
}

impl NodeKind {
    /// The table of the kinds.
    const fn abilities(&self) -> Abilities {
        match self {
            Self::PushZmq { .. } => Abilities::new("push_zmq", true, true, true, false),
            Self::PushSsh(_) => Abilities::new("push_ssh", true, false, false, false),
            Self::Pull => Abilities::new("pull", false, true, false, false),
            Self::WebSocket => Abilities::new("wss", false, true, false, true),
        }
    }

    /// The word in files and in the constatus map.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        self.abilities().word
    }

    /// Whether we connect to it; else it connects to us.
    #[must_use]
    pub const fn dialled_by_us(&self) -> bool {
        self.abilities().is_dialled
    }

    /// Whether it runs a daemon, which has a history and takes requests.
    #[must_use]
    pub const fn has_history(&self) -> bool {
        self.abilities().has_daemon
    }

    /// Whether it confirms each message.
    #[must_use]
    pub const fn confirms(&self) -> bool {
        self.abilities().confirms
    }

    /// Whether it comes over our WebSocket, whose nodes may share a token, and which takes no large messages.
    #[must_use]
    pub const fn is_web_socket(&self) -> bool {
        self.abilities().is_web_socket
    }

    /// Where its daemon listens, for one that we connect to.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&Endpoint> {
        if let Self::PushZmq { endpoint } = self { Some(endpoint) } else { None }
    }

    /// How to reach it by SSH, for one that has no daemon.
    #[must_use]
    pub fn ssh_target(&self) -> Option<&SshTarget> {
        if let Self::PushSsh(target) = self { Some(target) } else { None }
    }
}

/// A node behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnode {
    pub id: NodeId,
    /// Score of the path; the smallest is preferred. 1 if not given.
    pub path_score: i64,
    /// Its other name.
    pub uid: Option<NodeId>,
}

/// One registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub id: NodeId,
    /// Its other name, by which it may call itself and be called.
    pub uid: Option<NodeId>,
    /// How it is reached.
    pub kind: NodeKind,
    /// The routing id of a pull or WebSocket node.
    pub identity: Option<String>,
    /// Whether its link may or must be sealed; `None` for what the daemon is set to.
    pub link: Option<LinkMode>,
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
    /// Nodes that were added by `stheno node add`.
    Added,
    /// The Centreon database (module `nodes`).
    Database,
}
