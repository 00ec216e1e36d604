//! REGISTERNODES and UNREGISTERNODES of clients (docs/protocol.md section 5). A request with a token of its own ends
//! with one row; a node's keep-alive has no token and writes no row.

use serde_json::Value;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;
use crate::model::token::Token;

use super::Nodes;
use super::newcomer::Newcomer;
use super::registration::read_registration;
use super::registry::NODES_MAX;
use crate::node::context::Context;
use crate::node::json;
use crate::node::peer::{Handled, Peer};

/// Maximum number of reasons in a row; more are only logged.
const REASONS_MAX: usize = 10;

impl Nodes {
    /// Handles REGISTERNODES.
    pub(in crate::node) fn register_nodes(
        &mut self,
        context: &mut Context,
        (peer, named): (Peer, Option<NodeId>),
        token: &Token,
        data: &str,
    ) -> Handled {
        let Some(nodes) = entries(data) else { return registering_ends(context, peer, token, "", &undecodable()) };
        if nodes.len() > NODES_MAX {
            let text = format!(
                "{} nodes in one request, and none of them is registered: at most {NODES_MAX} can be known; send a \
                    shorter list",
                nodes.len()
            );
            context.log(LogLine::error("proxy", text.clone()));
            return registering_ends(context, peer, token, "", &[text]);
        }
        let is_one = nodes.len() == 1;
        let mut reasons = Vec::new();
        for node in &nodes {
            let done = match read_registration(node) {
                Ok(said) => match peer.client().filter(|_| is_one && dials_in_as_pull(&said)) {
                    Some(client) => self.pull_node_dialled_in(context, Newcomer::new((client, named), said, node)),
                    None => {
                        let registration = context.names.by_ids(said);
                        self.unlisted.remove(registration.id);
                        self.register(context, registration)
                    }
                },
                Err(text) => {
                    let text = format!("cannot register a node: {text}");
                    context.log(LogLine::error("proxy", text.clone()));
                    Err(text)
                }
            };
            reasons.extend(done.err());
        }
        registering_ends(context, peer, token, "nodes registered", &reasons)
    }

    /// Handles UNREGISTERNODES.
    pub(in crate::node) fn unregister_nodes(
        &mut self,
        context: &mut Context,
        peer: Peer,
        token: &Token,
        data: &str,
    ) -> Handled {
        let Some(nodes) = entries(data) else { return registering_ends(context, peer, token, "", &undecodable()) };
        let mut reasons = Vec::new();
        for node in &nodes {
            let names = &context.names;
            match node.get("id").map(|id| NodeId::from_json(id).map(|id| names.id_of(id))) {
                Some(Ok(id)) if peer.client().is_some() && self.is_configured_and_dialled(id) => {
                    reasons.push(format!("node '{id}' is configured here, so it is not unregistered from elsewhere"));
                }
                Some(Ok(id)) => self.unregister(context, id),
                Some(Err(error)) => reasons.push(format!("cannot unregister a node: {error}")),
                None => reasons.push("cannot unregister a node: it has no id".to_owned()),
            }
        }
        registering_ends(context, peer, token, "nodes unregistered", &reasons)
    }

    /// Returns whether the configuration names a node that we dial. A node that dials in unregisters itself when it
    /// leaves.
    fn is_configured_and_dialled(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|node| node.registration.prevail && node.is_dialled())
    }
}

fn registering_ends(context: &mut Context, peer: Peer, token: &Token, done: &str, reasons: &[String]) -> Handled {
    if matches!(peer, Peer::ClientWithoutToken(_)) {
        return Handled::accepted();
    }
    let (code, text) = match reasons {
        [] => (Code::FINISHED_OK, done.to_owned()),
        [first, ..] if reasons.len() <= REASONS_MAX => {
            let text = if reasons.len() == 1 { first.clone() } else { reasons.join("; ") };
            (Code::FINISHED_KO, format!("proxy - {text}"))
        }
        _ => {
            let text = reasons.iter().take(REASONS_MAX).cloned().collect::<Vec<_>>().join("; ");
            (Code::FINISHED_KO, format!("proxy - {text}; and {} more", reasons.len() - REASONS_MAX))
        }
    };
    let data = json::message(&text);
    context.finish(token, code, data.clone());
    Handled::Reply(Action::Ack, code, data)
}

/// Returns the entries of a request; `None` if it cannot be read.
fn entries(data: &str) -> Option<Vec<Value>> {
    let mut data = serde_json::from_str::<Value>(data).ok()?;
    match data.get_mut("nodes").map(Value::take) {
        Some(Value::Array(nodes)) => Some(nodes),
        _ => Some(Vec::new()),
    }
}

fn undecodable() -> [String; 1] {
    ["cannot decode json".to_owned()]
}

/// Returns whether a pull node registers itself.
fn dials_in_as_pull(registration: &Registration) -> bool {
    let named = registration.identity.as_deref().is_some_and(|identity| identity.starts_with("gorgone-"));
    !registration.kind.dialled_by_us() && !registration.kind.is_web_socket() && named
}
