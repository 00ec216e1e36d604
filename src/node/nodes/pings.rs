//! Pings of nodes (docs/protocol.md section 6).
//!
//! A ping is sent as soon as a link is up, then every `ping` seconds. A ping without a link waits a few seconds for it
//! before it counts as failed, so that a node that is just starting shows no failure. `ping_failed` grows by at most
//! one per ping period.

#[cfg(test)]
#[path = "pings_tests.rs"]
mod tests;

use std::time::Duration;

use crate::model::action::Action;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;

use super::Nodes;
use super::liveness::Ping;
use super::node::{Link, LinkChange};
use crate::node::context::Context;
use crate::node::output::Output;
use crate::node::ssh::Pinged;
use crate::node::sync::asking;
use crate::node::timers::Timer;

/// How long a ping waits for a link that is down before it counts as failed.
pub(super) const LINK_WAIT: Duration = Duration::from_secs(10);
/// Time after which a ping of a node that dials in is given up.
const DIAL_IN_PATIENCE: Duration = Duration::from_secs(30);

/// Returns the message that pings a node.
pub(super) fn ping() -> Message {
    Message { action: Action::Ping, token: None, target: Some("".into()), data: "{}".to_owned() }
}

impl Nodes {
    fn ping_period(&self, context: &Context, id: NodeId) -> Duration {
        let idle = self.get(id).and_then(|node| node.idle);
        // A period of zero would loop without a pause.
        idle.unwrap_or_else(|| context.proxy_settings().ping).max(Duration::from_secs(1))
    }

    /// Prepares the first ping of a push node that was registered, or whose link is rebuilt: it is sent when the link
    /// comes up.
    pub(in crate::node) fn await_first_ping(&mut self, context: &mut Context, id: NodeId) {
        let (now, period) = (context.now, self.ping_period(context, id));
        let Some(node) = self.get_mut(id) else { return };
        node.liveness.schedule(now, period);
        node.liveness.ping = Ping::AwaitingLink;
        context.timers.set(Timer::Ping(id), now.monotonic + period);
        context.timers.set(Timer::PingLink(id), now.monotonic + LINK_WAIT);
    }

    /// Cancels all ping timers of a node.
    pub(in crate::node) fn forget_pings(&mut self, context: &mut Context, id: NodeId) {
        for timer in [Timer::Ping(id), Timer::PingLink(id), Timer::Pong(id), Timer::Repeat(id)] {
            context.timers.cancel(&timer);
        }
    }

    pub(super) fn send_ping(&mut self, context: &mut Context, id: NodeId) {
        let (now, period) = (context.now, self.ping_period(context, id));
        let discard = context.proxy_settings().pong_discard_timeout;
        let Some(node) = self.get_mut(id) else { return };
        node.liveness.schedule(now, period);
        node.liveness.last_ping_sent = now.wall.as_seconds();
        node.liveness.ping = Ping::AwaitingPong;
        node.liveness.sent_at = now.monotonic;
        node.liveness.repeats = 0;
        context.timers.cancel(&Timer::PingLink(id));
        context.timers.set(Timer::Ping(id), now.monotonic + period);
        let dials_in = node.dials_in();
        let patience = if dials_in { DIAL_IN_PATIENCE } else { discard };
        context.timers.set(Timer::Pong(id), now.monotonic + patience);
        if node.is_ssh_host() {
            return self.changes.push_back(LinkChange::SshPing(id));
        }
        self.send(context, id, ping());
        if dials_in {
            asking::repeat_later(context, id);
        }
    }

    /// Handles [`Timer::Repeat`].
    pub(in crate::node) fn repeat_unanswered(&mut self, context: &mut Context, id: NodeId) {
        let Some(node) = self.get_quietly(id).filter(|node| node.dials_in() && node.link == Link::Up) else {
            return;
        };
        let liveness = &mut node.liveness;
        let is_silent = liveness.ping == Ping::AwaitingPong && liveness.repeats < asking::REPEATS_MAX;
        if is_silent {
            liveness.repeats += 1;
            self.send(context, id, ping());
        }
        if asking::repeat_question(context, self, id) || is_silent {
            asking::repeat_later(context, id);
        }
    }

    /// Handles [`Timer::Ping`].
    pub(in crate::node) fn ping_due(&mut self, context: &mut Context, id: NodeId) {
        let (now, period) = (context.now, self.ping_period(context, id));
        let Some(node) = self.get_mut(id) else { return };
        match (node.liveness.ping, node.link) {
            // The answer, or its absence, sets the timer again.
            (Ping::AwaitingPong, _) | (_, Link::None) => {}
            (_, Link::Up) => self.send_ping(context, id),
            (_, Link::Down) => {
                node.liveness.schedule(now, period);
                node.liveness.last_ping_sent = now.wall.as_seconds();
                node.liveness.ping = Ping::AwaitingLink;
                context.timers.set(Timer::Ping(id), now.monotonic + period);
                // A period shorter than the wait must not postpone it for ever.
                context.timers.set_if_unset(Timer::PingLink(id), now.monotonic + LINK_WAIT);
            }
        }
    }

    /// Handles [`Timer::PingLink`].
    pub(in crate::node) fn ping_found_no_link(&mut self, context: &mut Context, id: NodeId) {
        let (now, period) = (context.now.monotonic, self.ping_period(context, id));
        let Some(node) = self.get_mut(id) else { return };
        if node.liveness.ping == Ping::AwaitingLink {
            node.liveness.ping = Ping::Idle;
            node.liveness.count_failure(now, period);
        }
    }

    /// Handles [`Timer::Pong`].
    pub(in crate::node) fn ping_got_no_pong(&mut self, context: &mut Context, id: NodeId) {
        let (now, period) = (context.now.monotonic, self.ping_period(context, id));
        let max = context.proxy_settings().pong_max_timeout;
        let Some(node) = self.get_mut(id) else { return };
        let dials_in = node.dials_in();
        let liveness = &mut node.liveness;
        liveness.ping = Ping::Idle;
        if dials_in {
            let next = liveness.next_ping_at.max(now);
            context.timers.set(Timer::Ping(id), next);
            context.log(LogLine::info("proxy", format!("ping timeout from node '{id}'")).of_node(id));
            return;
        }
        liveness.ping_timeout = liveness.ping_timeout.saturating_add(1);
        liveness.count_failure(now, period);
        let reset = liveness.ping_timeout.checked_rem(max) == Some(0);
        let next = liveness.next_ping_at.max(now);
        context.timers.set(Timer::Ping(id), next);
        context.log(LogLine::warning("proxy", format!("ping timeout from node '{id}'")).of_node(id));
        if reset {
            context.log(
                LogLine::warning("proxy", format!("node '{id}' stays silent: its connection is built again"))
                    .of_node(id),
            );
            context.output(Output::ResetLink(id));
        }
    }

    /// Handles a ping that could not be sent.
    pub(in crate::node) fn ping_not_sent(&mut self, context: &mut Context, id: NodeId) {
        let (now, period) = (context.now.monotonic, self.ping_period(context, id));
        let Some(node) = self.get_mut(id) else { return };
        if node.liveness.ping == Ping::AwaitingPong {
            node.liveness.ping = Ping::Idle;
            node.liveness.count_failure(now, period);
            let next = node.liveness.next_ping_at.max(now);
            context.timers.cancel(&Timer::Pong(id));
            context.timers.set(Timer::Ping(id), next);
        }
    }

    /// Handles the result of a ping of an SSH host.
    pub(in crate::node) fn ssh_pinged(&mut self, context: &mut Context, id: NodeId, pinged: Pinged) {
        match pinged {
            Pinged::Answered => {
                self.node_is_alive(context, id);
                if let Some(node) = self.get_mut(id) {
                    node.liveness.ping_ok += 1;
                }
            }
            Pinged::Unanswered => {
                self.ping_not_sent(context, id);
                context.output(Output::ResetLink(id));
            }
            // The pings are handled when the link comes up.
            Pinged::NotSent if self.get(id).is_some_and(|node| node.link == Link::Up) => {
                self.ping_not_sent(context, id);
            }
            Pinged::NotSent => {}
        }
    }

    /// Handles a sign of life of a node that answers a ping.
    pub(in crate::node) fn node_is_alive(&mut self, context: &mut Context, id: NodeId) {
        let now = context.now;
        let Some(node) = self.get_mut(id) else { return };
        let liveness = &mut node.liveness;
        liveness.ping_timeout = 0;
        liveness.last_ping_received = now.wall.as_seconds();
        liveness.last_pong = Some(now.monotonic);
        let next = liveness.next_ping_at.max(now.monotonic);
        if !node.sync.is_unanswered {
            context.timers.cancel(&Timer::Repeat(id));
        }
        if liveness.ping == Ping::AwaitingPong {
            liveness.ping = Ping::Idle;
            liveness.round_trip = Some(now.monotonic.since(liveness.sent_at));
            context.timers.cancel(&Timer::Pong(id));
            context.timers.set_if_unset(Timer::Ping(id), next);
        }
    }
}
