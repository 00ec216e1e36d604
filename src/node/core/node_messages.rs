//! Messages of nodes, passed to the rooms that they concern.

use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::Core;
use crate::node::counters::Way;
use crate::node::json;
use crate::node::nodes::dial_in::is_answer;
use crate::node::nodes::node::{LinkChange, Node};
use crate::node::timers::Timer;

impl Core {
    /// Handles a message that arrived over the link to a node.
    pub(super) fn node_message(&mut self, id: NodeId, message: &Message) {
        let said = self.nodes.said(&mut self.context, id, message);
        if let Some(answer) = said.answer {
            self.sync().log_answered(id, message.token.as_ref(), answer);
            self.copies.kind_known(&mut self.context, &mut self.nodes, id);
        }
        let Some((token, code, data)) = said.reply else { return };
        if self.copies.confirmed(&mut self.context, &mut self.nodes, (id, token), code, data) {
            return;
        }
        if self.queue_sending().replied(id, token, code, data) {
            return;
        }
        self.nodes.replied(&mut self.context, id, (token, code), data);
        if !code.is_terminal() {
            self.api().token_confirmed(token.as_str());
        }
    }

    /// Handles a message of a client of the external socket. Returns `true` if it was a node's answer, which is then
    /// complete.
    pub(in crate::node) fn said_by_pull_node(&mut self, client: ClientId, message: &Message) -> bool {
        let Some(id) = self.nodes.spoken_for_by(client) else { return false };
        self.nodes.is_heard(&mut self.context, id);
        if !is_answer(&message.action) {
            return false;
        }
        self.counters.count(Way::External, &message.action);
        self.node_message(id, message);
        self.nodes.older_answers(&mut self.context, id);
        true
    }

    /// Handles a message that arrived over a WebSocket.
    pub(super) fn web_socket_message(&mut self, client: ClientId, message: &Message) {
        self.counters.count(Way::External, &message.action);
        let named = self.guard.node_of(client);
        if let Some(id) = self.nodes.web_socket_message(&mut self.context, (client, named), message) {
            self.node_message(id, message);
        }
    }

    /// Handles a message for a node that left the queue of the link unsent.
    pub(super) fn send_failed(&mut self, id: NodeId, token: Option<&Token>, reason: &str) {
        let line = LogLine::error("proxy", format!("send message problem for '{id}': {reason}")).of_node(id);
        self.context.log(LogLine { token: token.cloned(), ..line });
        let Some(token) = token else { return };
        if self.copies.not_sent(&mut self.context, &mut self.nodes, (id, token), reason) {
            return;
        }
        let text = format!("Send message problem for '{id}': {reason}");
        let owed = self.nodes.not_sent(id, token);
        let relayed = self.copies.relay(&mut self.context, &mut self.nodes).not_sent(id, token, &text);
        if relayed.unwrap_or(owed) {
            self.context.finish(token, Code::FINISHED_KO, json::message(&text));
        }
    }

    /// Handles a message for a client that was not sent, or the loss of its connection while the session continues.
    pub(super) fn client_not_reached(&mut self, client: ClientId, token: Option<&Token>) {
        let Some(id) = self.nodes.spoken_for_by(client) else { return };
        if token.is_some() {
            self.send_failed(id, token, "it is not connected");
        }
        self.nodes.not_reached(&mut self.context, id);
    }

    /// Handles the end of a session or a WebSocket.
    pub(super) fn client_gone(&mut self, client: ClientId) {
        self.subscribers.gone(client);
        self.malformed.forget(client);
        self.guard.forget(client);
        self.context.timers.cancel(&Timer::Subscriber(client));
        self.nodes.client_gone(&mut self.context, client);
    }

    /// Tells the rooms that have something in progress about changes of links.
    pub(super) fn tell_links(&mut self) {
        while let Some(change) = self.nodes.next_change() {
            let (context, nodes) = (&mut self.context, &mut self.nodes);
            match change {
                LinkChange::Up(id) => {
                    self.copies.link_up(context, nodes, id);
                    if self.nodes.get(id).is_some_and(Node::is_ssh_host) {
                        self.queue_sending().is_reached(id, false);
                    }
                }
                LinkChange::Down(id) => self.copies.link_down(context, nodes, id),
                LinkChange::Gone(id) => self.copies.node_gone(context, nodes, id),
                LinkChange::SshPing(id) => self.ssh.ping(context, id),
                LinkChange::Current(id) => self.queue_sending().is_reached(id, true),
                LinkChange::NewHistory(id) => self.queue.node_is_new(id),
            }
        }
    }
}
