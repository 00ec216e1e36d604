//! The registration of the node of a WebSocket, and the messages that the node may send.

use std::rc::Rc;

use super::{
    MODULE, NOT_REGISTERED, Phase, TAKEN_OUT, UNREADABLE, WebSocketAccess, WebSocketServer, WebSocketServerOutput,
};
use crate::model::action::Action;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::text;
use crate::model::time::Now;
use crate::wire::gorgone::envelope;
use crate::wire::websocket::entities;

impl WebSocketServer {
    /// Replaces the accepted tokens. The connection is closed if its token is no longer among them.
    pub fn renew_access(&mut self, access: &Rc<WebSocketAccess>, now: Now) {
        let is_open = matches!(self.phase, Phase::Open { .. });
        let still_holds = match self.claim() {
            Some(claim) => access.asks_for(&claim.name),
            None => access.still_admits(&self.access, self.token.as_deref()),
        };
        let is_let_in = !is_open || still_holds;
        self.access.account(self.backlog_bytes, 0);
        self.backlog_bytes = 0;
        self.access = Rc::clone(access);
        if !is_let_in {
            self.refuse(TAKEN_OUT, now);
        }
        self.advance(now);
    }

    pub(super) fn handle_text(&mut self, bytes: &[u8], now: Now) {
        let text = text::from_bytes(bytes);
        let parsed = envelope::parse(entities::decode_message(&text).into_owned());
        if self.node().is_none() {
            return self.register(parsed.ok(), now);
        }
        let message = match parsed {
            Ok(message) => message,
            Err(error) => {
                let reason = error.to_string();
                let output = WebSocketServerOutput::Malformed { token: error.token, reason };
                return self.outputs.push_back(output);
            }
        };
        if let Some(reason) = self.foreign_registration(&message) {
            return self.refuse(&reason, now);
        }
        match message.action {
            // Only another Stheno sends an ACK, and only if it was requested.
            Action::Ack
            | Action::Pong
            | Action::RegisterNodes
            | Action::UnregisterNodes
            | Action::SyncLogs
            | Action::SetLogs => self.outputs.push_back(WebSocketServerOutput::Message(message)),
            action => {
                let word: String = action.as_str().chars().take(32).flat_map(char::escape_debug).collect();
                self.log_refusal(&format!("a WebSocket node may not send {word}, ignored"), now);
            }
        }
    }

    /// Returns why a later REGISTERNODES is not allowed with the token of this connection.
    fn foreign_registration(&self, message: &Message) -> Option<String> {
        let token =
            self.token.as_deref().filter(|token| token.node.is_some() && message.action == Action::RegisterNodes)?;
        self.access.refusal_of(Some(token), only_node(&serde_json::from_str(&message.data).ok()?)?)
    }

    /// Handles the first message, which must register the node.
    fn register(&mut self, message: Option<Message>, now: Now) {
        let Some(message) = message.filter(|message| message.action == Action::RegisterNodes) else {
            return self.refuse(NOT_REGISTERED, now);
        };
        let Ok(data) = serde_json::from_str::<serde_json::Value>(&message.data) else {
            return self.refuse(UNREADABLE, now);
        };
        let Some(id) = only_node(&data) else { return self.refuse(NOT_REGISTERED, now) };
        if let Some(reason) = self.access.refusal_of(self.token.as_deref(), id) {
            return self.refuse(&reason, now);
        }
        if let Phase::Open { node, socket } = &mut self.phase {
            *node = Some(id);
            socket.set_max_message_bytes(self.access.settings().max_backlog_bytes);
        }
        self.deadline = now.monotonic + self.access.settings().silence_timeout;
        let line = LogLine::debug(MODULE, format!("{}: WebSocket of node {id} is connected", self.peer)).of_node(id);
        self.outputs.push_back(WebSocketServerOutput::Log(line));
        self.outputs.push_back(WebSocketServerOutput::Message(message));
    }
}

/// The id of the WebSocket node in a REGISTERNODES that names exactly one.
fn only_node(data: &serde_json::Value) -> Option<NodeId> {
    let [node] = data.get("nodes")?.as_array()?.as_slice() else { return None };
    let is_ours = match node.get("type") {
        Some(kind) => matches!(kind.as_str(), Some("wss" | "pullwss")),
        None => true,
    };
    if is_ours { NodeId::from_json(node.get("id")?).ok() } else { None }
}
