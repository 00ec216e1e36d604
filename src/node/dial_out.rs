//! Our central, if we dial it: modules `pull` and `pullwss` (docs/protocol.md sections 8 and 9).
//!
//! We run its messages like any request. We send back PONG, SYNCLOGS and, as SETLOGS, the answers to GETLOG. Other
//! replies are not sent; a reply that ends a token without a row becomes a row, so that the central learns of it from
//! the history.
//!
//! Out of scope: the connection and its keep-alive, and the entity encoding.

mod idle;
mod set_logs;
#[cfg(test)]
mod tests;

use crate::node::context::Context;
use crate::node::subscribers::Subscribers;
use std::time::Duration;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::{ClientId, ParentKind};
use crate::model::log::LogLine;
use crate::model::message::{Message, Outgoing};
use crate::model::time::Monotonic;

use super::json;
use super::output::Output;
use super::timers::Timer;

use idle::Idle;
pub(super) use set_logs::Position;

/// A central of our own kind gets this fraction of the registrations over a WebSocket.
const QUIET: u32 = 20;
/// The same for a metered line over ZeroMQ.
const METERED_PULL: u32 = 4;
/// Interval of those without a setting.
const QUIET_LEAST: Duration = Duration::from_secs(600);
/// Number of hexadecimal digits of the word that identifies one start of a daemon.
const INSTANCE_DIGITS: usize = 32;
/// Maximum number of characters of the central's own text in the log.
const SHOWN_CHARACTERS: usize = 200;
/// A connection that ends within this time counts as refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// Time after which the same refusal is logged again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// A central that we dial.
#[derive(Debug, Default)]
struct DialledParent {
    /// Our routing id while we are connected.
    identity: Option<String>,
    /// Time of the last connect.
    since: Monotonic,
    /// Whether it is of our own kind.
    is_ours: bool,
    /// How long the way to it may be idle.
    idle: Idle,
    /// How it takes our rows.
    taken: set_logs::PartsTaken,
    /// Text and time of the last logged refusal.
    refusal_told: Option<(String, Monotonic)>,
}

/// The centrals that we dial.
#[derive(Debug, Default)]
pub(super) struct DialledOut {
    pull: DialledParent,
    web_socket: DialledParent,
    /// A word for this start, by which our central distinguishes our reconnection from another daemon.
    instance: Option<String>,
}

impl DialledOut {
    const fn parent(&mut self, kind: ParentKind) -> &mut DialledParent {
        match kind {
            ParentKind::Pull => &mut self.pull,
            ParentKind::WebSocket => &mut self.web_socket,
        }
    }
}

impl DialledOut {
    /// Notes that we are connected to our central.
    pub(super) fn parent_up(&mut self, context: &mut Context, kind: ParentKind, identity: String) {
        let since = context.now.monotonic;
        let parent = self.parent(kind);
        (parent.identity, parent.since) = (Some(identity), since);
        context.connected_parents.insert(kind);
        context.timers.cancel(&Timer::ParentSilence(kind));
        self.register_with_parent(context, kind);
    }

    /// Returns whether the central to which we are connected is known to be of our own kind.
    pub(super) const fn is_ours(&self, kind: ParentKind) -> bool {
        match kind {
            ParentKind::Pull => self.pull.is_ours,
            ParentKind::WebSocket => self.web_socket.is_ours,
        }
    }

    /// Notes that the central to which we are connected is a Perl one.
    pub(super) const fn parent_is_perl(&mut self, kind: ParentKind) {
        self.parent(kind).taken.is_perl();
    }

    /// Notes that a central is of our own kind. Such a one remembers a registration for as long as the WebSocket lives.
    pub(super) fn is_of_our_kind(&mut self, context: &mut Context, client: ClientId) {
        let Some(kind) = client.parent() else { return };
        let is_new = !std::mem::replace(&mut self.parent(kind).is_ours, true);
        if is_new && kind == ParentKind::WebSocket {
            let period = context.options.modules.pullwss.as_ref().map_or(QUIET_LEAST, |pullwss| pullwss.ping * QUIET);
            context.timers.set(Timer::Register(kind), context.now.monotonic + period);
        }
    }

    /// Handles the loss of the connection to our central, or a failed attempt to connect.
    pub(super) fn parent_down(
        &mut self,
        context: &mut Context,
        subscribers: &mut Subscribers,
        kind: ParentKind,
        reason: &str,
    ) {
        context.connected_parents.remove(&kind);
        let parent = self.parent(kind);
        // If a central lets us in only to refuse us, the session reports it, but not at every attempt.
        let lived = context.now.monotonic.since(parent.since) >= REFUSED_WITHIN;
        let was_up = parent.identity.take().is_some() && lived;
        for timer in [Timer::Register(kind), Timer::ParentSilence(kind), Timer::Subscriber(ClientId::Parent(kind))] {
            context.timers.cancel(&timer);
        }
        subscribers.gone(ClientId::Parent(kind));
        let (now, is_metered) = (context.now.monotonic, is_metered(context, kind));
        let parent = self.parent(kind);
        parent.taken.lost();
        parent.is_ours = false;
        parent.idle.lost(now, is_metered);
        if was_up {
            context.log(LogLine::warning(word(kind), format!("connection to the central lost: {reason}")));
        } else {
            context.log(LogLine::debug(word(kind), format!("no connection to the central: {reason}")));
        }
    }

    /// Handles [`Timer::Register`].
    pub(super) fn register_with_parent(&mut self, context: &mut Context, kind: ParentKind) {
        let now = context.now.monotonic;
        let pull = context.options.modules.pull.as_ref().filter(|_| kind == ParentKind::Pull);
        let ping = match kind {
            ParentKind::Pull => context.options.modules.pull.as_ref().map(|pull| pull.ping),
            ParentKind::WebSocket => context.options.modules.pullwss.as_ref().map(|pullwss| pullwss.ping),
        };
        // The session of a WebSocket detects silence itself.
        let patience = pull.map(|pull| pull.ping_timeout.max(Duration::from_secs(1)));
        let period = ping.unwrap_or(Duration::from_secs(30)).max(Duration::from_secs(1));
        let is_metered = is_metered(context, kind);
        let period = match kind {
            _ if !self.is_ours(kind) => period,
            ParentKind::WebSocket => period * QUIET,
            ParentKind::Pull if is_metered => period * METERED_PULL,
            ParentKind::Pull => period,
        };
        let idle = self.parent(kind).idle.wanted(is_metered).map(|idle| idle.as_secs());
        let Some(identity) = self.parent(kind).identity.clone() else { return };
        context.timers.set(Timer::Register(kind), now + period);
        let Some(id) = context.own_id else {
            context.log(LogLine::error(word(kind), "our own id is not known: set gorgonecore.id to register"));
            return;
        };
        let make_instance = || context.generate_token().as_str().chars().take(INSTANCE_DIGITS).collect();
        let instance = self.instance.get_or_insert_with(make_instance).clone();
        let node = match kind {
            ParentKind::Pull => {
                serde_json::json!({ "id": id.to_json(), "type": "pull", "identity": identity, "instance": instance })
            }
            ParentKind::WebSocket => {
                serde_json::json!({ "id": id.to_json(), "type": "wss", "identity": id.to_json(), "instance": instance })
            }
        };
        let mut node = node;
        if let (Some(idle), Some(members)) = (idle, node.as_object_mut()) {
            members.insert("idle".to_owned(), idle.into());
        }
        self.say_to_parent(context, kind, Action::RegisterNodes, &serde_json::json!({ "nodes": [node] }));
        if let Some(patience) = patience {
            context.timers.set_if_unset(Timer::ParentSilence(kind), now + patience);
        }
    }

    /// Notes a message of our central. Returns whether it is an answer, such as the ACK of REGISTERNODES, which only
    /// shows that the central is alive.
    pub(super) fn is_answer(&mut self, context: &mut Context, kind: ParentKind, action: &Action, data: &str) -> bool {
        context.timers.cancel(&Timer::ParentSilence(kind));
        if self.parent(kind).idle.heard(context.now.monotonic, is_metered(context, kind)) {
            self.register_with_parent(context, kind);
        }
        if *action == Action::Ack {
            self.acknowledged(context, kind, data);
        }
        matches!(action, Action::Ack | Action::Pong | Action::SetLogs | Action::RegisterNodes | Action::UnregisterNodes)
    }

    /// Handles our central's answer to a registration. A refusal is logged once an hour.
    fn acknowledged(&mut self, context: &mut Context, kind: ParentKind, answer: &str) {
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
        if answer.get("code").and_then(json::integer) != Some(Code::FINISHED_KO.0) {
            return;
        }
        let message = answer.get("data").and_then(|data| data.get("message")).and_then(json::text).unwrap_or_default();
        let message: String = message.chars().take(SHOWN_CHARACTERS).collect();
        let now = context.now.monotonic;
        let told = &mut self.parent(kind).refusal_told;
        if told.as_ref().is_some_and(|(before, at)| *before == message && now.since(*at) < TOLD_AGAIN_AFTER) {
            return;
        }
        *told = Some((message.clone(), now));
        let text = format!("the central refuses us: {message}; check 'id' of gorgonecore here, and the central's log");
        context.log(LogLine::warning(word(kind), text));
    }

    fn say_to_parent(&mut self, context: &mut Context, kind: ParentKind, action: Action, data: &serde_json::Value) {
        let message = Message { action, token: None, target: Some("".into()), data: data.to_string() };
        context.output(Output::SendToParent { kind, outgoing: Outgoing::Request(message) });
    }

    /// Handles [`Timer::ParentSilence`].
    pub(super) fn parent_is_silent(&mut self, context: &mut Context, subscribers: &mut Subscribers, kind: ParentKind) {
        context.log(LogLine::warning(word(kind), "the central does not answer: a new session is made"));
        self.parent(kind).identity = None;
        context.timers.cancel(&Timer::Register(kind));
        subscribers.gone(ClientId::Parent(kind));
        context.output(Output::ResetParent(kind));
    }

    /// Unregisters from our centrals when the daemon ends, so that they do not have to wait for a time-out.
    pub(super) fn unregister_from_parents(&mut self, context: &mut Context) {
        for kind in [ParentKind::Pull, ParentKind::WebSocket] {
            let connected = self.parent(kind).identity.take().is_some();
            context.connected_parents.remove(&kind);
            for timer in [Timer::Register(kind), Timer::ParentSilence(kind)] {
                context.timers.cancel(&timer);
            }
            if let Some(id) = context.own_id.filter(|_| connected) {
                let data = serde_json::json!({ "nodes": [{ "id": id.to_json() }] });
                self.say_to_parent(context, kind, Action::UnregisterNodes, &data);
            }
        }
    }
}

/// Whether the line to a central is set to `metered`.
fn is_metered(context: &Context, kind: ParentKind) -> bool {
    let modules = &context.options.modules;
    match kind {
        ParentKind::Pull => modules.pull.as_ref().is_some_and(|pull| pull.is_metered),
        ParentKind::WebSocket => modules.pullwss.as_ref().is_some_and(|pullwss| pullwss.is_metered),
    }
}

const fn word(kind: ParentKind) -> &'static str {
    match kind {
        ParentKind::Pull => "pull",
        ParentKind::WebSocket => "pullwss",
    }
}
