//! Our central when we dial it: modules `pull` and `pullwss` (docs/protocol.md sections 8 and 9).
//!
//! We run what it sends as any request. Back go PONG, SYNCLOGS and answers to GETLOG, as SETLOGS; other replies stay
//! here, and a reply that ends a token without a row becomes one, so that the history tells the central.
//!
//! Absent on purpose: the connection and its keep-alive, the entity encoding.

mod set_logs;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::action::Action;
use crate::model::connection::{ClientId, ParentKind};
use crate::model::log::LogLine;
use crate::model::message::{Message, Outgoing, Reply};

use super::core::Core;
use super::output::Output;
use super::peer::{Handled, Peer};
use super::timers::Timer;

/// One central that we dial.
#[derive(Debug, Default)]
struct DialledParent {
    /// Our routing id on it while we are connected.
    identity: Option<String>,
}

/// The centrals that we dial.
#[derive(Debug, Default)]
pub(super) struct DialledOut {
    pull: DialledParent,
    web_socket: DialledParent,
}

impl DialledOut {
    const fn parent(&mut self, kind: ParentKind) -> &mut DialledParent {
        match kind {
            ParentKind::Pull => &mut self.pull,
            ParentKind::WebSocket => &mut self.web_socket,
        }
    }
}

impl Core {
    /// We are connected to our central.
    pub(super) fn parent_up(&mut self, kind: ParentKind, identity: String) {
        self.dialled_out.parent(kind).identity = Some(identity);
        self.context.connected_parents.insert(kind);
        self.context.timers.cancel(&Timer::ParentSilence(kind));
        self.register_with_parent(kind);
    }

    /// The connection to our central is lost or could not be made.
    pub(super) fn parent_down(&mut self, kind: ParentKind, reason: &str) {
        self.context.connected_parents.remove(&kind);
        let was_up = self.dialled_out.parent(kind).identity.take().is_some();
        for timer in [Timer::Register(kind), Timer::ParentSilence(kind), Timer::Parent(ClientId::Parent(kind))] {
            self.context.timers.cancel(&timer);
        }
        self.parents.gone(ClientId::Parent(kind));
        if was_up {
            self.context.log(LogLine::warning(word(kind), format!("connection to the central lost: {reason}")));
        } else {
            self.context.log(LogLine::debug(word(kind), format!("no connection to the central: {reason}")));
        }
    }

    /// [`Timer::Register`]
    pub(super) fn register_with_parent(&mut self, kind: ParentKind) {
        let now = self.context.now.monotonic;
        let pull = self.context.options.pull.as_ref().filter(|_| kind == ParentKind::Pull);
        let ping = match kind {
            ParentKind::Pull => self.context.options.pull.as_ref().map(|pull| pull.ping),
            ParentKind::WebSocket => self.context.options.pullwss.as_ref().map(|pullwss| pullwss.ping),
        };
        // The session of a WebSocket watches over its silence itself.
        let patience = pull.map(|pull| pull.ping_timeout.max(Duration::from_secs(1)));
        let period = ping.unwrap_or(Duration::from_secs(30)).max(Duration::from_secs(1));
        let Some(identity) = self.dialled_out.parent(kind).identity.clone() else { return };
        self.context.timers.set(Timer::Register(kind), now + period);
        let Some(id) = self.context.own_id else {
            self.context.log(LogLine::error(word(kind), "our own id is not known: set gorgonecore.id to register"));
            return;
        };
        let node = match kind {
            ParentKind::Pull => serde_json::json!({ "id": id.get(), "type": "pull", "identity": identity }),
            ParentKind::WebSocket => serde_json::json!({ "id": id.get(), "type": "wss", "identity": id.get() }),
        };
        self.say_to_parent(kind, Action::RegisterNodes, &serde_json::json!({ "nodes": [node] }));
        if let Some(patience) = patience {
            self.context.timers.set_if_unset(Timer::ParentSilence(kind), now + patience);
        }
    }

    fn say_to_parent(&mut self, kind: ParentKind, action: Action, data: &serde_json::Value) {
        let message = Message { action, token: None, target: Some("".into()), data: data.to_string() };
        self.context.output(Output::SendToParent { kind, outgoing: Outgoing::Request(message) });
    }

    /// [`Timer::ParentSilence`]
    pub(super) fn parent_is_silent(&mut self, kind: ParentKind) {
        self.context.log(LogLine::warning(word(kind), "the central does not answer: a new session is made"));
        self.dialled_out.parent(kind).identity = None;
        self.context.timers.cancel(&Timer::Register(kind));
        self.parents.gone(ClientId::Parent(kind));
        self.context.output(Output::ResetParent(kind));
    }

    /// Our central sent something.
    pub(super) fn parent_message(&mut self, kind: ParentKind, message: Message) {
        self.context.timers.cancel(&Timer::ParentSilence(kind));
        let Message { action, token, target, data } = message;
        // Replies, such as the ACK of REGISTERNODES, show that it is there.
        if matches!(
            action,
            Action::Ack | Action::Pong | Action::SetLogs | Action::RegisterNodes | Action::UnregisterNodes
        ) {
            return;
        }
        let client = ClientId::Parent(kind);
        let peer = if token.is_some() { Peer::Client(client) } else { Peer::ClientWithoutToken(client) };
        let has_token = token.is_some();
        let token = token.unwrap_or_else(|| self.context.generate_token());
        let handled = self.request(peer, action, &token, &target.unwrap_or_default(), data);
        let Handled::Reply(reply_kind, code, data) = handled else { return };
        if code.is_terminal() && has_token && !self.context.journal.has_just_ended(&token) {
            self.context.finish(&token, code, data.clone());
        }
        self.context.reply(client, Reply { kind: reply_kind, token: Some(token), code, data });
    }

    /// The daemon ends: our centrals need not wait for a timeout to know.
    pub(super) fn unregister_from_parents(&mut self) {
        for kind in [ParentKind::Pull, ParentKind::WebSocket] {
            let connected = self.dialled_out.parent(kind).identity.take().is_some();
            self.context.connected_parents.remove(&kind);
            for timer in [Timer::Register(kind), Timer::ParentSilence(kind)] {
                self.context.timers.cancel(&timer);
            }
            if let Some(id) = self.context.own_id.filter(|_| connected) {
                let data = serde_json::json!({ "nodes": [{ "id": id.get() }] });
                self.say_to_parent(kind, Action::UnregisterNodes, &data);
            }
        }
    }
}

const fn word(kind: ParentKind) -> &'static str {
    match kind {
        ParentKind::Pull => "pull",
        ParentKind::WebSocket => "pullwss",
    }
}
