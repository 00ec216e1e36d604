//! Copies from a node whose connection breaks or that is silent: they are interrupted, and the source is opened again
//! when the connection is back.

use std::time::Duration;

use super::{ASK_AGAIN, Fetch, Fetcher, State};
use crate::model::code::Code;
use crate::model::copy::SourceId;
use crate::model::node_id::NodeId;
use crate::model::token::Token;
use crate::node::copies::fetch::wire::Step;
use crate::node::json;
use crate::node::nodes::node::Link;
use crate::node::timers::Timer;

/// Minimum time that a node has for an answer.
const PATIENCE_MIN: Duration = Duration::from_secs(30);

impl Fetcher<'_> {
    /// Interrupts a copy. It goes on when its source is opened again.
    pub(super) fn interrupt(&mut self, id: SourceId) {
        let Some(fetch) = self.fetching.all.get_mut(&id) else { return };
        if fetch.state != State::Ending {
            fetch.state = State::Interrupted;
            fetch.reads.clear();
            self.context.timers.set(Timer::Fetch(id), self.context.now.monotonic + ASK_AGAIN);
            self.start_queued();
        }
    }

    /// Handles [`Timer::Fetch`].
    pub(in crate::node) fn timer_due(&mut self, id: SourceId) {
        let now = self.context.now.monotonic;
        let patience = self.context.proxy_settings().pong_discard_timeout.max(PATIENCE_MIN);
        let Some(fetch) = self.fetching.all.get(&id) else { return };
        let through = fetch.route.through;
        let is_up = self.nodes.get(through).is_some_and(|node| node.link == Link::Up);
        match fetch.state {
            State::AwaitingKind => return self.find_out_kind(id),
            State::Queued => return,
            // Our own disk is at work, or slower than the node.
            State::Looking { .. } | State::Ending => {}
            State::Reading if fetch.reads.is_empty() => self.read_on(id),
            _ if now.since(fetch.heard) >= patience => {
                return self
                    .fail(id, format!("proxy - node '{}' did not continue the copy in time", fetch.route.target));
            }
            State::Interrupted if is_up => self.open(id),
            State::Interrupted => {}
            State::Reading if now.since(fetch.heard) < ASK_AGAIN => self.read_on(id),
            _ => self.ask(id, Step::Alive),
        }
        self.context.timers.set_if_unset(Timer::Fetch(id), now + ASK_AGAIN);
    }

    /// Handles the loss of a link.
    pub(in crate::node) fn link_down(&mut self, through: NodeId) {
        for id in self.fetching.of_node(through) {
            let state = self.fetching.all.get(&id).map(|fetch| fetch.state.clone());
            if !matches!(state, None | Some(State::Queued | State::AwaitingKind)) {
                self.interrupt(id);
            }
        }
    }

    /// Goes on with the copies of a link that is up.
    pub(in crate::node) fn link_up(&mut self, through: NodeId) {
        for id in self.fetching.of_node(through) {
            if self.fetching.all.get(&id).is_some_and(|fetch| fetch.state == State::Interrupted) {
                self.open(id);
            }
        }
    }

    /// Handles the unregistration of a node.
    pub(in crate::node) fn node_gone(&mut self, through: NodeId) {
        for id in self.fetching.of_node(through) {
            self.fail(id, format!("proxy - node '{through}' was unregistered during the copy"));
        }
    }

    /// Handles a step that left the queue of the link unsent. Returns whether the token belongs to a copy.
    pub(in crate::node) fn not_sent(&mut self, token: &Token) -> bool {
        let Some(id) = self.fetching.by_token.get(token).copied() else { return false };
        self.interrupt(id);
        true
    }

    /// Ends the copies, because the daemon stops. What has come is kept for another request. One that has come whole is
    /// being put in place, and the receiving end writes its last row.
    pub(in crate::node::copies) fn stop(&mut self, text: &str) {
        let is_open = |fetch: &Fetch| fetch.state != State::Ending;
        let open = self.fetching.all.iter().filter(|(_, fetch)| is_open(fetch)).map(|(id, _)| *id);
        for id in open.collect::<Vec<_>>() {
            if let Some(fetch) = self.forget(id) {
                self.context.finish(&fetch.token, Code::FINISHED_KO, json::message(text));
            }
        }
    }
}
