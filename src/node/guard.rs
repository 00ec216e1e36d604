//! Clients of the external socket whose key is bound to a node or to rights.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::rights::BoundKey;

use super::audit::{self, Asker};
use super::context::Context;
use super::names::Names;

/// The bindings of client keys. Clients with an unbound key are not here.
#[derive(Debug, Default)]
pub(super) struct Guard {
    bound: BTreeMap<ClientId, Arc<BoundKey>>,
}

impl Guard {
    /// Binds a client by its key.
    pub(super) fn bind(&mut self, client: ClientId, key: Arc<BoundKey>) {
        self.bound.insert(client, key);
    }

    /// Forgets a client that is gone.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.bound.remove(&client);
    }

    /// Returns the node that a client's key is bound to.
    pub(super) fn node_of(&self, client: ClientId) -> Option<NodeId> {
        self.bound.get(&client).and_then(|key| key.node)
    }

    /// Checks whether a client may send a message.
    ///
    /// # Errors
    /// Returns the text for the client.
    pub(super) fn admit(&self, context: &mut Context, client: ClientId, message: &Message) -> Result<(), String> {
        let Some(key) = self.bound.get(&client) else { return Ok(()) };
        let Message { action, target, data, .. } = message;
        let word = || action.as_str().chars().take(64).collect::<String>();
        let asker = Asker::named(&key.name, &key.rights);
        if audit::admit(context, &asker, action, target.as_deref().unwrap_or_default(), data).is_err() {
            return Err(format!("{} may not ask for {}", key.name, word()));
        }
        match key.node {
            Some(node) if !speaks_for(node, &context.names, action, data) => {
                let text = format!("{} may not ask for {} of another node than {node}", key.name, word());
                let line = format!("{text}: refused; if it should, change 'node' of its entry in authorized_clients");
                context.log(LogLine::warning("core", line).of_node(node));
                Err(text)
            }
            _ => Ok(()),
        }
    }
}

/// Returns whether a registration names this node and no other. No other request speaks for a node.
fn speaks_for(node: NodeId, names: &Names, action: &Action, data: &str) -> bool {
    if !matches!(action, Action::RegisterNodes | Action::UnregisterNodes) {
        return true;
    }
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let nodes = data.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let id = |entry: &Value| NodeId::from_json(entry.get("id")?).ok().map(|id| names.id_of(id));
    let node = Some(names.id_of(node));
    !nodes.is_empty() && nodes.iter().all(|entry| id(entry) == node && dials_in(action, entry))
}

/// Returns whether an entry is of a node that dials in. A client that is bound to its id must not make us dial another
/// address.
fn dials_in(action: &Action, entry: &Value) -> bool {
    *action == Action::UnregisterNodes || entry.get("type").and_then(Value::as_str) == Some("pull")
}
