//! FORGETKEY and TRUSTKEY: changes of the stored key of a node that we dial, while the daemon runs. These are our own
//! actions; the original has none like them.

use serde_json::{Value, json};

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::registration::NodeKind;
use crate::model::session::is_thumbprint;
use crate::model::ssh::SshTarget;
use crate::model::token::Token;

use super::Nodes;
use crate::node::context::Context;
use crate::node::output::Output;
use crate::node::peer::Handled;

impl Nodes {
    /// Forgets the key of a node, and that it was met sealed. The next key that the node presents is treated as that of
    /// a first contact, and so is its link.
    pub(in crate::node) fn forget_key(&self, context: &mut Context, token: &Token, data: &str) -> Handled {
        let asked = serde_json::from_str(data).unwrap_or_default();
        let done = self.named_node(&asked).and_then(may_be_known).map(|(id, kind)| {
            let text = match (kind, kind.ssh_target()) {
                (_, Some(target)) => forgotten_host(id, target),
                (NodeKind::PushZmq { .. }, _) => format!(
                    "the key of node '{id}' is forgotten, and that it was met sealed; its connection is built again; \
                     under fingerprint_mode: strict, name its new key with 'stheno keys trust'{}",
                    without_effect(context)
                ),
                _ => format!(
                    "it is forgotten that node '{id}' was met sealed; authorized_clients says which keys may connect"
                ),
            };
            (id, None, text)
        });
        key_answered(context, "forgetkey", token, done)
    }

    /// Trusts the key in the call for a node.
    pub(in crate::node) fn trust_key(&self, context: &mut Context, token: &Token, data: &str) -> Handled {
        let asked: Value = serde_json::from_str(data).unwrap_or_default();
        let named = asked.pointer("/content/thumbprint").or_else(|| asked.get("thumbprint"));
        let done = self.dialled_node(&asked).and_then(|(id, kind)| match kind.ssh_target() {
            Some(_) => Err(format!(
                "node '{id}' is reached by SSH, which has no thumbprints: add the line of its key, which the log \
                 shows, to the file of ssh_known_hosts, or forget the old key with 'stheno keys forget'"
            )),
            None => match named.and_then(Value::as_str).filter(|text| is_thumbprint(text)) {
                Some(thumbprint) => Ok((
                    id,
                    Some(thumbprint.to_owned()),
                    format!(
                        "the key of node '{id}' is {thumbprint} from now on, its connection is built again{}",
                        without_effect(context)
                    ),
                )),
                None => Err(format!(
                    "the thumbprint is {}; it has 43 letters, digits, '-' or '_' ('stheno keys thumbprint FILE' on the \
                     node prints it)",
                    named.map_or_else(|| "not given".to_owned(), |named| shortened(&named.to_string()))
                )),
            },
        });
        key_answered(context, "trustkey", token, done)
    }

    /// Returns the node that a call names.
    fn named_node(&self, asked: &Value) -> Result<(NodeId, &NodeKind), String> {
        let named = asked.pointer("/variables/0").or_else(|| asked.get("id")).unwrap_or(&Value::Null);
        let id = NodeId::from_json(named).map_err(|error| format!("{}: {error}", shortened(&named.to_string())))?;
        let node = self.get(id).ok_or_else(|| {
            format!("node '{id}' is not one of this daemon's own nodes; ask the daemon that connects to it")
        })?;
        Ok((id, &node.registration.kind))
    }

    /// Returns the node that a call names, if it is one whose key we check.
    fn dialled_node(&self, asked: &Value) -> Result<(NodeId, &NodeKind), String> {
        let (id, kind) = self.named_node(asked)?;
        if kind.dialled_by_us() { Ok((id, kind)) } else { Err(connects_to_us(id, kind)) }
    }
}

/// Refuses nodes of which nothing is remembered: those with a WebSocket.
fn may_be_known((id, kind): (NodeId, &NodeKind)) -> Result<(NodeId, &NodeKind), String> {
    if kind.is_web_socket() { Err(connects_to_us(id, kind)) } else { Ok((id, kind)) }
}

fn connects_to_us(id: NodeId, kind: &NodeKind) -> String {
    format!(
        "node '{id}' connects to us (type {}), so no key of it is remembered here; authorized_clients says which keys \
         may",
        kind.as_str()
    )
}

/// Returns the remark for a configuration in which keys are not checked.
const fn without_effect(context: &Context) -> &'static str {
    if context.options.takes_every_key {
        "; it has no effect now: under fingerprint_mode: always the key of a node is not checked, set it to first or \
         strict"
    } else {
        ""
    }
}

fn key_answered(
    context: &mut Context,
    action: &str,
    token: &Token,
    done: Result<(NodeId, Option<String>, String), String>,
) -> Handled {
    let (code, answer) = match done {
        Ok((node, thumbprint, text)) => {
            context.log(LogLine::info("proxy", text.clone()));
            context.output(Output::SetNodeKey { node, thumbprint });
            (Code::FINISHED_OK, json!({ "action": action, "message": text }))
        }
        Err(text) => (Code::FINISHED_KO, json!({ "action": action, "error": "refused", "message": text })),
    };
    context.reply_with_row(Action::Ack, token, code, answer.to_string())
}

/// Returns the answer about the forgotten key of an SSH host. A line in a known-hosts file is not changed by us.
fn forgotten_host(id: NodeId, target: &SshTarget) -> String {
    let host = target.known_as();
    let file = target.known_hosts.as_ref().map_or_else(
        || "a known-hosts file, remove it with: ssh-keygen -R".to_owned(),
        |file| format!("{0}, remove it with: ssh-keygen -f '{0}' -R", file.display()),
    );
    format!(
        "the key of node '{id}' ({host}) in the database is forgotten, the next connection accepts what \
         strict_serverkey_check allows; a line for it may also be in {file} '{host}'"
    )
}

/// Returns a foreign value, shortened for an error message.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
