//! Changes of links to nodes, whoever established them.

use crate::model::log::LogLine;
use crate::model::node_id::NodeId;

use super::Nodes;
use super::link_kinds::LinkKinds;
use super::liveness::Ping;
use super::node::{Link, LinkChange};
use super::pings::LINK_WAIT;
use crate::node::context::Context;
use crate::node::output::Output;
use crate::node::sync::asking;
use crate::node::timers::Timer;

impl Nodes {
    /// Returns the next changed link with its state.
    pub(in crate::node) fn next_change(&mut self) -> Option<LinkChange> {
        self.changes.pop_front()
    }

    /// Notes a change for other rooms.
    pub(in crate::node) fn note_change(&mut self, change: LinkChange) {
        self.changes.push_back(change);
    }

    /// Returns the kinds of links, to note one.
    pub(in crate::node) const fn links(&mut self) -> &mut LinkKinds {
        self.registry.links()
    }

    /// Handles a link that is up.
    pub(in crate::node) fn link_up(&mut self, context: &mut Context, id: NodeId) {
        let Some(node) = self.get_mut(id) else { return };
        if node.link != Link::Up {
            node.link_since = context.now.wall.as_seconds();
        }
        node.link = Link::Up;
        node.down_since = None;
        node.sync.is_current = false;
        node.sync.time_told = None;
        node.sync.fresh_at = None;
        let serial = node.sync.serial;
        node.owed.link_restored(serial);
        context.timers.cancel(&Timer::Unconfirmed(id));
        context.log(LogLine::debug("proxy", format!("connected to node '{id}'")).of_node(id));
        self.send_ping(context, id);
        if let Some(question) = context.delegate.question(id) {
            self.send(context, id, question);
        }
        asking::restart_sync(context, self, id);
        self.changes.push_back(LinkChange::Up(id));
    }

    /// Handles a link that broke or could not be made.
    pub(in crate::node) fn link_down(&mut self, context: &mut Context, id: NodeId, reason: &str) {
        let now = context.now.monotonic;
        let Some(node) = self.get_mut(id) else { return };
        let was_up = std::mem::replace(&mut node.link, Link::Down) == Link::Up;
        node.down_since.get_or_insert(now);
        if was_up || node.link_since == 0 {
            node.link_since = context.now.wall.as_seconds();
        }
        let ping_lost = node.liveness.ping == Ping::AwaitingPong;
        if ping_lost {
            node.liveness.ping = Ping::AwaitingLink;
        }
        // A message to a node that dials in was written at once, possibly into a connection that was already dead.
        let may_have_lost = was_up || node.dials_in();
        if may_have_lost {
            node.owed.link_lost();
        }
        if ping_lost {
            context.timers.cancel(&Timer::Pong(id));
            context.timers.set(Timer::PingLink(id), now + LINK_WAIT);
        }
        self.await_unsettled(context, id);
        // The link itself logs it at a higher severity, but not at every attempt.
        context.log(LogLine::debug("proxy", format!("no connection to node '{id}': {reason}")).of_node(id));
        if may_have_lost {
            self.changes.push_back(LinkChange::Down(id));
        }
    }

    /// Closes the link to a node that we dial, because it is not needed any more.
    pub(super) fn close_link(&mut self, context: &mut Context, id: NodeId) {
        self.forget_pings(context, id);
        self.links().forget_node(id);
        for timer in [Timer::SyncTimeout(id), Timer::Unconfirmed(id)] {
            context.timers.cancel(&timer);
        }
        context.output(Output::CloseLink(id));
    }
}
