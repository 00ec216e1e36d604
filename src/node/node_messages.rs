//! What comes over the link to a node: replies, and the hint that its history has grown. A node asks nothing of us this
//! way.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::core::Core;
use super::json;
use super::nodes::constatus::{self, NodeMap};
use super::nodes::node::Announced;
use super::sync::{Answer, asking};

/// The row of a PING that went on to a node; its constatus map is of no use there.
const PONG_ROW: &str = r#"{"action":"ping","message":"ping ok"}"#;

#[derive(Deserialize)]
struct ReplyText<'a> {
    #[serde(default)]
    code: Value,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PongText<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Core {
    /// A daemon speaks in the name of another node than the one that it is known as here. Said once for each change.
    fn calls_itself(&mut self, id: NodeId, named: NodeId, action: &Action) {
        let Some(node) = self.nodes.get_quietly(id) else { return };
        let is_new = node.calls_itself != Some(named);
        // A PONG says who is there; rows may be those of a node that was taken for another.
        if *action == Action::Pong {
            node.calls_itself = Some(named);
        }
        let text = format!("node '{id}' sends {} of node '{named}': ignored", action.as_str());
        self.context.log(match action {
            Action::Pong if is_new => {
                let advice = "nothing is sent to it; compare its address and port here with 'gorgonecore.id' there";
                LogLine::error("proxy", format!("{text}, and {advice}"))
            }
            Action::SetLogs => LogLine::warning("proxy", text),
            _ => LogLine::debug("proxy", text),
        });
    }

    /// A message came over the link to a node.
    pub(super) fn node_message(&mut self, id: NodeId, message: &Message) {
        if self.nodes.get(id).is_none() {
            return;
        }
        if self.context.debug {
            let text = format!("message received from node '{id}' - [{}] {}", message.action.as_str(), message.data);
            self.context.log(LogLine::debug("proxy", text));
        }
        let named = named_id(&message.data).map(|named| self.context.names.id_of(named));
        if let Some(named) = named.filter(|named| *named != id) {
            return self.calls_itself(id, named, &message.action);
        }
        if let Some(node) = self.nodes.get_quietly(id).filter(|node| named.is_some() && node.calls_itself.is_some()) {
            node.calls_itself = None;
            self.context.log(LogLine::info("proxy", format!("node '{id}' has the right id now")));
        }
        let reply: Option<ReplyText<'_>> = serde_json::from_str(&message.data).ok();
        let Some(reply) = reply else {
            let text = format!("node '{id}' sent {} with data that is not JSON: ignored", message.action.as_str());
            self.context.log(LogLine::warning("proxy", text));
            return;
        };
        let mut data = reply.data.map_or("null", RawValue::get);
        match message.action {
            Action::Pong => {
                self.pong(id, data);
                data = PONG_ROW;
            }
            Action::SyncLogs => {
                asking::sync_soon(&mut self.context, &mut self.nodes, id);
                return;
            }
            Action::Ack | Action::SetLogs => {
                if let Some(answer) = Answer::read(data) {
                    if answer.left_out > 0 {
                        let text = format!(
                            "{} history rows of node '{id}' have an invalid ctime: they are left out",
                            answer.left_out
                        );
                        self.context.log(LogLine::warning("proxy", text));
                    }
                    if let Some(node) = self.nodes.get_quietly(id) {
                        node.sync.is_unanswered = false;
                    }
                    self.node_is_alive(id);
                    self.sync().log_answered(id, message.token.as_ref(), answer);
                    self.copies.sender(&mut self.context, &mut self.nodes).kind_known(id);
                }
            }
            Action::ConStatus
            | Action::Information
            | Action::GetThumbprint
            | Action::LoadModule
            | Action::UnloadModule => {}
            _ => {
                let text = format!("node '{id}' sent {}, which is not a reply: ignored", message.action.as_str());
                self.context.log(LogLine::warning("proxy", text));
                return;
            }
        }
        if let Some(token) = &message.token {
            self.node_replied(id, token, Code(json::integer(&reply.code).unwrap_or(0)), data);
        }
    }

    fn pong(&mut self, id: NodeId, data: &str) {
        self.node_is_alive(id);
        let map =
            serde_json::from_str::<PongText<'_>>(data).ok().and_then(|pong| pong.data).map_or("{}", RawValue::get);
        let names = &self.context.names;
        let own = self.context.own_id.map(|own| names.id_of(own));
        let read = constatus::read_map(map, own.into_iter().chain([id]), names);
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.liveness.ping_ok += 1;
        let was_readable = std::mem::replace(&mut node.liveness.has_readable_map, read.is_some());
        if was_readable && read.is_none() {
            let text = format!(
                "node '{id}' announces the nodes behind it in a map that is invalid, larger than 1 MiB or too deep: \
                 no node is reached by it"
            );
            self.context.log(LogLine::warning("proxy", text));
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        let empty = || NodeMap { text: "{}".to_owned(), ids: Announced::new(), names: BTreeMap::new() };
        let NodeMap { text, ids, names } = read.unwrap_or_else(empty);
        node.liveness.nodes = text;
        node.calls_others(names);
        self.nodes.registry.announce(id, ids);
    }

    fn node_replied(&mut self, id: NodeId, token: &Token, code: Code, data: &str) {
        if self.copies.confirmed(&mut self.context, &mut self.nodes, (id, token), code, data) {
            return;
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        let (ending, sync) = node.owed.replied(token, code, data, node.sync.serial);
        let confirmed = !code.is_terminal();
        if confirmed {
            self.context.close_token(token.as_str());
            self.api().token_confirmed(token.as_str());
        }
        if let Some(ending) = ending {
            ending.write(&mut self.context, id, token);
        }
        if sync {
            asking::sync_soon(&mut self.context, &mut self.nodes, id);
        }
    }

    /// A message for a node left the link's queue unsent.
    pub(super) fn send_failed(&mut self, id: NodeId, token: Option<&Token>, reason: &str) {
        self.context.log(LogLine::error("proxy", format!("send message problem for '{id}': {reason}")));
        let Some(token) = token else { return };
        if self.copies.sender(&mut self.context, &mut self.nodes).not_sent(id, token, reason) {
            return;
        }
        let text = format!("Send message problem for '{id}': {reason}");
        let owed = self.nodes.get_mut(id).is_some_and(|node| node.owed.ended(token));
        let relayed = self.copies.relay(&mut self.context, &mut self.nodes).not_sent(id, token, &text);
        if relayed.unwrap_or(owed) {
            self.context.finish(token, Code::FINISHED_KO, json::message(&text));
        }
    }
}

/// The id in the data of a PONG, a SETLOGS or a SYNCLOGS, without building the rest.
fn named_id(data: &str) -> Option<NodeId> {
    #[derive(serde::Deserialize)]
    struct Outer {
        #[serde(default)]
        data: Option<Inner>,
    }
    #[derive(serde::Deserialize)]
    struct Inner {
        #[serde(default)]
        id: Value,
    }
    let outer: Outer = serde_json::from_str(data).ok()?;
    NodeId::from_json(&outer.data?.id).ok()
}
