//! Whether nodes answer (docs/protocol.md section 6).
//!
//! A ping is sent as soon as a link is up, then every `ping` seconds. A ping that finds no link waits for it a few
//! seconds before it counts as failed, so that a node that is just starting shows no failure. `ping_failed` grows by at
//! most one per ping period.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::action::Action;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::registration::NodeKind;
use crate::model::time::{Monotonic, Now};

use super::core::Core;
use super::nodes::node::Link;
use super::output::Output;
use super::ssh::Pinged;
use super::sync::asking;
use super::timers::Timer;

/// How long a ping waits for a link that is down before it counts as failed.
const LINK_WAIT: Duration = Duration::from_secs(10);
/// A ping of a node that dials in is forgotten after this time.
const DIAL_IN_PATIENCE: Duration = Duration::from_secs(30);

/// The ping in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ping {
    /// None.
    #[default]
    Idle,
    /// It goes out when the link comes up.
    AwaitingLink,
    /// It was sent.
    AwaitingPong,
}

/// What is known of a node's answers. Times that are shown are in seconds since the epoch, 0 for never.
#[derive(Debug)]
pub(super) struct Liveness {
    pub ping: Ping,
    pub last_ping_sent: i64,
    pub last_ping_received: i64,
    pub next_ping: i64,
    pub ping_ok: u64,
    pub ping_failed: u64,
    /// Pings without an answer since the last answer.
    pub ping_timeout: u32,
    /// The node's own constatus map as JSON text.
    pub nodes: String,
    /// Whether that map could be read the last time.
    pub has_readable_map: bool,
    /// The last sign of life.
    pub last_pong: Option<Monotonic>,
    last_failure: Option<Monotonic>,
    next_ping_at: Monotonic,
    /// How often the ping in progress was repeated.
    repeats: u8,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            ping: Ping::Idle,
            last_ping_sent: 0,
            last_ping_received: 0,
            next_ping: 0,
            ping_ok: 0,
            ping_failed: 0,
            ping_timeout: 0,
            nodes: "{}".to_owned(),
            has_readable_map: true,
            last_pong: None,
            last_failure: None,
            next_ping_at: Monotonic::default(),
            repeats: 0,
        }
    }
}

impl Liveness {
    fn schedule(&mut self, now: Now, period: Duration) {
        self.next_ping_at = now.monotonic + period;
        self.next_ping = now.wall.as_seconds().saturating_add(i64::try_from(period.as_secs()).unwrap_or(i64::MAX));
    }

    fn count_failure(&mut self, now: Monotonic, period: Duration) {
        if self.last_failure.is_none_or(|last| now.since(last) >= period) {
            self.last_failure = Some(now);
            self.ping_failed += 1;
        }
    }
}

/// The message that asks whether a node lives.
pub(super) fn ping() -> Message {
    Message { action: Action::Ping, token: None, target: Some("".into()), data: "{}".to_owned() }
}

impl Core {
    fn ping_period(&self) -> Duration {
        // A period of nothing would spin.
        self.context
            .options
            .proxy
            .as_ref()
            .map_or(Duration::from_secs(60), |proxy| proxy.ping)
            .max(Duration::from_secs(1))
    }

    /// A push node was registered or its link is rebuilt: the first ping goes out when the link comes up.
    pub(super) fn await_first_ping(&mut self, id: NodeId) {
        let (now, period) = (self.context.now, self.ping_period());
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.liveness.schedule(now, period);
        node.liveness.ping = Ping::AwaitingLink;
        self.context.timers.set(Timer::Ping(id), now.monotonic + period);
        self.context.timers.set(Timer::PingLink(id), now.monotonic + LINK_WAIT);
    }

    /// Forgets every timer of a node.
    pub(super) fn forget_pings(&mut self, id: NodeId) {
        for timer in [Timer::Ping(id), Timer::PingLink(id), Timer::Pong(id), Timer::Repeat(id)] {
            self.context.timers.cancel(&timer);
        }
    }

    /// The link to a node is up.
    pub(super) fn link_up(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.link = Link::Up;
        node.down_since = None;
        let serial = node.sync.serial;
        node.owed.link_restored(serial);
        self.context.timers.cancel(&Timer::Unconfirmed(id));
        self.context.log(LogLine::debug("proxy", format!("connected to node '{id}'")));
        self.send_ping(id);
        asking::restart_sync(&mut self.context, &mut self.nodes, id);
        self.copies.sender(&mut self.context, &mut self.nodes).link_up(id);
    }

    /// The link to a node broke, or could not be made.
    pub(super) fn link_down(&mut self, id: NodeId, reason: &str) {
        let now = self.context.now.monotonic;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let was_up = std::mem::replace(&mut node.link, Link::Down) == Link::Up;
        node.down_since.get_or_insert(now);
        let ping_lost = node.liveness.ping == Ping::AwaitingPong;
        if ping_lost {
            node.liveness.ping = Ping::AwaitingLink;
        }
        // What was sent to a node that dials in went out at once, if only into a connection that was dead already.
        let may_have_lost = was_up || node.dials_in();
        if may_have_lost {
            node.owed.link_lost();
        }
        if ping_lost {
            self.context.timers.cancel(&Timer::Pong(id));
            self.context.timers.set(Timer::PingLink(id), now + LINK_WAIT);
        }
        self.nodes.await_unsettled(&mut self.context, id);
        // The link itself says it louder, but not at every attempt.
        self.context.log(LogLine::debug("proxy", format!("no connection to node '{id}': {reason}")));
        if may_have_lost {
            self.copies.link_down(&mut self.context, &mut self.nodes, id);
        }
    }

    fn send_ping(&mut self, id: NodeId) {
        let (now, period) = (self.context.now, self.ping_period());
        let discard = self.context.proxy_settings().pong_discard_timeout;
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.liveness.schedule(now, period);
        node.liveness.last_ping_sent = now.wall.as_seconds();
        node.liveness.ping = Ping::AwaitingPong;
        node.liveness.repeats = 0;
        self.context.timers.cancel(&Timer::PingLink(id));
        self.context.timers.set(Timer::Ping(id), now.monotonic + period);
        let dials_in = node.dials_in();
        let patience = if dials_in { DIAL_IN_PATIENCE } else { discard };
        self.context.timers.set(Timer::Pong(id), now.monotonic + patience);
        if matches!(node.registration.kind, NodeKind::PushSsh(_)) {
            return self.ssh.ping(&mut self.context, id);
        }
        self.nodes.send(&mut self.context, id, ping());
        if dials_in {
            asking::repeat_later(&mut self.context, id);
        }
    }

    /// [`Timer::Repeat`]
    pub(super) fn repeat_unanswered(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_quietly(id).filter(|node| node.dials_in() && node.link == Link::Up) else {
            return;
        };
        let liveness = &mut node.liveness;
        let is_silent = liveness.ping == Ping::AwaitingPong && liveness.repeats < asking::REPEATS_MAX;
        if is_silent {
            liveness.repeats += 1;
            self.nodes.send(&mut self.context, id, ping());
        }
        if asking::repeat_question(&mut self.context, &mut self.nodes, id) || is_silent {
            asking::repeat_later(&mut self.context, id);
        }
    }

    /// [`Timer::Ping`]
    pub(super) fn ping_due(&mut self, id: NodeId) {
        let (now, period) = (self.context.now, self.ping_period());
        let Some(node) = self.nodes.get_mut(id) else { return };
        match (node.liveness.ping, node.link) {
            // The answer, or the lack of it, sets the timer again.
            (Ping::AwaitingPong, _) | (_, Link::None) => {}
            (_, Link::Up) => self.send_ping(id),
            (_, Link::Down) => {
                node.liveness.schedule(now, period);
                node.liveness.last_ping_sent = now.wall.as_seconds();
                node.liveness.ping = Ping::AwaitingLink;
                self.context.timers.set(Timer::Ping(id), now.monotonic + period);
                // A period shorter than the wait must not put it off for ever.
                self.context.timers.set_if_unset(Timer::PingLink(id), now.monotonic + LINK_WAIT);
            }
        }
    }

    /// [`Timer::PingLink`]
    pub(super) fn ping_found_no_link(&mut self, id: NodeId) {
        let (now, period) = (self.context.now.monotonic, self.ping_period());
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.liveness.ping == Ping::AwaitingLink {
            node.liveness.ping = Ping::Idle;
            node.liveness.count_failure(now, period);
        }
    }

    /// [`Timer::Pong`]
    pub(super) fn ping_got_no_pong(&mut self, id: NodeId) {
        let (now, period) = (self.context.now.monotonic, self.ping_period());
        let max = self.context.proxy_settings().pong_max_timeout;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let dials_in = node.dials_in();
        let liveness = &mut node.liveness;
        liveness.ping = Ping::Idle;
        if dials_in {
            let next = liveness.next_ping_at.max(now);
            self.context.timers.set(Timer::Ping(id), next);
            self.context.log(LogLine::info("proxy", format!("ping timeout from node '{id}'")));
            return;
        }
        liveness.ping_timeout = liveness.ping_timeout.saturating_add(1);
        liveness.count_failure(now, period);
        let reset = liveness.ping_timeout.checked_rem(max) == Some(0);
        let next = liveness.next_ping_at.max(now);
        self.context.timers.set(Timer::Ping(id), next);
        self.context.log(LogLine::warning("proxy", format!("ping timeout from node '{id}'")));
        if reset {
            self.context
                .log(LogLine::warning("proxy", format!("node '{id}' stays silent: its connection is built again")));
            self.context.output(Output::ResetLink(id));
        }
    }

    /// A ping could not be sent.
    pub(super) fn ping_not_sent(&mut self, id: NodeId) {
        let (now, period) = (self.context.now.monotonic, self.ping_period());
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.liveness.ping == Ping::AwaitingPong {
            node.liveness.ping = Ping::Idle;
            node.liveness.count_failure(now, period);
            let next = node.liveness.next_ping_at.max(now);
            self.context.timers.cancel(&Timer::Pong(id));
            self.context.timers.set(Timer::Ping(id), next);
        }
    }

    /// The ping of a host by SSH is over.
    pub(super) fn ssh_pinged(&mut self, id: NodeId, pinged: Pinged) {
        match pinged {
            Pinged::Answered => {
                self.node_is_alive(id);
                if let Some(node) = self.nodes.get_mut(id) {
                    node.liveness.ping_ok += 1;
                }
            }
            Pinged::Unanswered => {
                self.ping_not_sent(id);
                self.context.output(Output::ResetLink(id));
            }
            // With the link its pings are looked after.
            Pinged::NotSent if self.nodes.get(id).is_some_and(|node| node.link == Link::Up) => {
                self.ping_not_sent(id);
            }
            Pinged::NotSent => {}
        }
    }

    /// A node gave a sign of life that answers a ping.
    pub(super) fn node_is_alive(&mut self, id: NodeId) {
        let now = self.context.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let liveness = &mut node.liveness;
        liveness.ping_timeout = 0;
        liveness.last_ping_received = now.wall.as_seconds();
        liveness.last_pong = Some(now.monotonic);
        let next = liveness.next_ping_at.max(now.monotonic);
        if !node.sync.is_unanswered {
            self.context.timers.cancel(&Timer::Repeat(id));
        }
        if liveness.ping == Ping::AwaitingPong {
            liveness.ping = Ping::Idle;
            self.context.timers.cancel(&Timer::Pong(id));
            self.context.timers.set_if_unset(Timer::Ping(id), next);
        }
    }
}
