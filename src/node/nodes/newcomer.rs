//! A client that registers itself as a node.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use crate::model::connection::ClientId;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;

/// Maximum number of characters of an identity, and of the word of a daemon's start.
pub(super) const IDENTITY_LEN_MAX: usize = 256;

/// How long a node may say that its way may be idle, in seconds. A node that is not heard for longer counts as silent.
const IDLE_SECONDS: RangeInclusive<u64> = 15..=240;

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
    /// How long its way may be idle, if it says so.
    pub idle: Option<Duration>,
    /// Whether it only asks whether it may register.
    pub is_probe: bool,
}

impl Newcomer {
    /// Reads `entry`, the entry of REGISTERNODES.
    pub(super) fn new((client, named): (ClientId, Option<NodeId>), registration: Registration, entry: &Value) -> Self {
        let instance = entry.get("instance").and_then(Value::as_str).filter(|word| word.len() <= IDENTITY_LEN_MAX);
        let is_probe = entry.get("probe") == Some(&Value::Bool(true));
        let name = entry.get("id").and_then(|id| NodeId::from_json(id).ok()).unwrap_or(registration.id);
        let idle = entry.get("idle").and_then(Value::as_u64).filter(|idle| IDLE_SECONDS.contains(idle));
        let (instance, idle) = (instance.map(Into::into), idle.map(Duration::from_secs));
        Self { client, named, name, registration, instance, idle, is_probe }
    }
}
