//! Reads an entry of REGISTERNODES (docs/protocol.md section 5).

use serde_json::Value;

use crate::model::connection::Endpoint;
use crate::model::node_id::NodeId;
use crate::model::registration::{NodeKind, Registration, Subnode};

use super::ssh_registration;
use crate::node::json;

/// Subnodes of one node at most.
pub(in crate::node) const SUBNODES_MAX: usize = 20_000;
/// Port of a `push_zmq` node that names none.
const DEFAULT_PORT: u16 = 5_556;

/// Reads one entry of REGISTERNODES.
pub(in crate::node) fn read_registration(node: &Value) -> Result<Registration, String> {
    let member = |key: &str| node.get(key).and_then(json::text);
    let id = node.get("id").map_or(Err("it has no id".to_owned()), |id| {
        NodeId::from_json(id).map_err(|error| format!("id {}: {error}", shown(&id.to_string())))
    })?;
    let kind = match member("type").as_deref() {
        Some("push_zmq") => {
            let Some(host) = member("address") else { return Err(format!("node '{id}' has no address")) };
            let port = node.get("port").filter(|port| !port.is_null());
            let port = match port.map(json::integer) {
                None => DEFAULT_PORT,
                Some(port) => port
                    .and_then(|port| u16::try_from(port).ok())
                    .filter(|port| *port > 0)
                    .ok_or_else(|| format!("node '{id}' has an invalid port: use 1 to 65535"))?,
            };
            NodeKind::PushZmq { endpoint: Endpoint::Tcp { host, port } }
        }
        Some("push_ssh") => NodeKind::PushSsh(Box::new(ssh_registration::read(node, id)?)),
        Some("pull") => NodeKind::Pull,
        Some("wss" | "pullwss") => NodeKind::WebSocket,
        other => {
            let other = shown(other.unwrap_or("none"));
            return Err(format!("node '{id}' has the type {other}: use push_zmq, push_ssh, pull, wss or pullwss"));
        }
    };
    let subnodes = read_subnodes(node.get("nodes")).map_err(|error| format!("node '{id}' has {error}"))?;
    Ok(Registration {
        id,
        kind,
        identity: member("identity"),
        prevail: node.get("prevail").is_some_and(json::is_true),
        subnodes,
    })
}

/// Reads the nodes behind a node. One that is wrong spoils the entry: a way that is guessed would be a wrong way.
fn read_subnodes(nodes: Option<&Value>) -> Result<Vec<Subnode>, String> {
    let nodes = match nodes {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(nodes)) => nodes,
        Some(other) => return Err(format!("nodes that are no list: {}", shown(&other.to_string()))),
    };
    // One more than is taken, so that too many are seen to be too many.
    let nodes = nodes.iter().take(SUBNODES_MAX + 1);
    let read = |subnode: &Value| {
        let id = subnode.get("id").unwrap_or(&Value::Null);
        let id = NodeId::from_json(id)
            .map_err(|error| format!("a subnode with the id {}: {error}", shown(&id.to_string())))?;
        let path_score = match subnode.get("pathscore").filter(|score| !score.is_null()) {
            None => 1,
            Some(score) => json::integer(score).ok_or_else(|| {
                format!("the subnode '{id}' with the pathscore {}: use a whole number", shown(&score.to_string()))
            })?,
        };
        Ok(Subnode { id, path_score })
    };
    nodes.map(read).collect()
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
