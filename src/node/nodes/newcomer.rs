//! A client that registers itself as a node.

use serde_json::Value;

use crate::model::connection::ClientId;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;

/// Maximum number of characters of an identity, and of the word of a daemon's start.
pub(super) const IDENTITY_LEN_MAX: usize = 256;

/// The registering client and its data.
#[derive(Clone, Debug)]
pub(super) struct Newcomer {
    pub client: ClientId,
    /// The node that the client's key or token is bound to.
    pub named: Option<NodeId>,
    /// The node's own name for itself: its id or its uid.
    pub name: NodeId,
    pub registration: Registration,
    /// A random word that its daemon made at its start; a Perl daemon has none.
    pub instance: Option<Box<str>>,
    /// Whether it only asks whether it may register.
    pub is_probe: bool,
}

impl Newcomer {
    /// Reads `entry`, the entry of REGISTERNODES.
    pub(super) fn new((client, named): (ClientId, Option<NodeId>), registration: Registration, entry: &Value) -> Self {
        let instance = entry.get("instance").and_then(Value::as_str).filter(|word| word.len() <= IDENTITY_LEN_MAX);
        let is_probe = entry.get("probe") == Some(&Value::Bool(true));
        let name = entry.get("id").and_then(|id| NodeId::from_json(id).ok()).unwrap_or(registration.id);
        Self { client, named, name, registration, instance: instance.map(Into::into), is_probe }
    }
}
