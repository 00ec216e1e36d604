//! A client that registers itself as a node.

use serde_json::Value;

use crate::model::connection::ClientId;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;

/// Characters of an identity, and of a daemon's word for itself, at most.
pub(super) const IDENTITY_LEN_MAX: usize = 256;

/// See the module's page.
#[derive(Clone, Debug)]
pub(super) struct Newcomer {
    pub client: ClientId,
    /// The node that its key or token is bound to.
    pub named: Option<NodeId>,
    /// What it calls itself: its id or its uid.
    pub name: NodeId,
    pub registration: Registration,
    /// A word that its daemon made up at its start; a Perl daemon has none.
    pub instance: Option<Box<str>>,
}

impl Newcomer {
    /// `entry` is the entry of REGISTERNODES that was read.
    pub(super) fn new((client, named): (ClientId, Option<NodeId>), registration: Registration, entry: &Value) -> Self {
        let instance = entry.get("instance").and_then(Value::as_str).filter(|word| word.len() <= IDENTITY_LEN_MAX);
        let name = entry.get("id").and_then(|id| NodeId::from_json(id).ok()).unwrap_or(registration.id);
        Self { client, named, name, registration, instance: instance.map(Into::into) }
    }
}
