//! Sending queued requests: which nodes can be reached, what each gets now, and what their replies mean.

use crate::model::action::{Action, Ends};
use crate::model::code::Code;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::queue::QueuedHead;
use crate::model::token::Token;

use super::rows::has_new_database;
use super::{Queue, SaidOfPlace};
use crate::node::context::Context;
use crate::node::copies::Copies;
use crate::node::nodes::Nodes;
use crate::node::nodes::node::{Link, Node};
use crate::node::nodes::pathway::Route;
use crate::node::peer::Handled;
use crate::node::ssh::SshHosts;
use crate::node::sync::Syncs;

/// Maximum number of requests that a node of another kind has not confirmed.
const UNCONFIRMED_MAX: u64 = 1_000;

/// How a queued request reaches its node now.
pub(super) enum Reach {
    /// It is for this daemon.
    Here,
    /// The node, or the relay before it, remembers what it has taken: the request stays queued. With the number of the
    /// history of that neighbour.
    Kept(Route, i64),
    /// It is handed over for good.
    Once(Route),
    /// It does not.
    Away,
}

/// Returns whether this daemon itself works on an action, message by message, until its end.
const fn is_copy(action: &Action) -> bool {
    matches!(action, Action::RemoteCopy | Action::Fetch)
}

impl Reach {
    /// Returns how a queued request for a node would be sent.
    pub(super) fn of(context: &Context, nodes: &Nodes, target: NodeId) -> Self {
        if context.is_own_id(target) {
            return Self::Here;
        }
        let Ok(route) = nodes.route_to(context, &target.to_string()) else { return Self::Away };
        let Some(node) = nodes.get(route.through) else { return Self::Away };
        if node.link != Link::Up || node.reachable().is_err() {
            return Self::Away;
        }
        if node.is_ssh_host() {
            return Self::Once(route);
        }
        // Before the first answer over this link it is not known who is there.
        if !node.sync.is_current {
            return Self::Away;
        }
        if node.sync.runs_once {
            return Self::Kept(route, node.sync.mark.history);
        }
        let is_busy = node.owed.has_unsettled() || node.owed.count() >= UNCONFIRMED_MAX;
        if is_busy { Self::Away } else { Self::Once(route) }
    }
}

/// A request that leaves the queue and is handled like any other.
pub(in crate::node) struct HandedOver {
    /// The token of the request.
    pub token: Token,
    pub action: Action,
    pub data: String,
    /// The way to its node; `None` for this daemon.
    pub route: Option<Route>,
}

/// The sending of queued requests, with references to the rooms that it looks at.
pub(in crate::node) struct Sending<'a> {
    queue: &'a mut Queue,
    context: &'a mut Context,
    nodes: &'a mut Nodes,
    copies: &'a Copies,
    ssh: &'a SshHosts,
    syncs: &'a Syncs,
}

impl Queue {
    /// Returns the sending of requests.
    pub(in crate::node) fn sending<'a>(
        &'a mut self,
        context: &'a mut Context,
        nodes: &'a mut Nodes,
        (copies, ssh, syncs): (&'a Copies, &'a SshHosts, &'a Syncs),
    ) -> Sending<'a> {
        Sending { queue: self, context, nodes, copies, ssh, syncs }
    }
}

impl Sending<'_> {
    /// Notes that a node can be reached, and with it those behind it. `begins` says that what is in flight may be lost.
    pub(in crate::node) fn is_reached(&mut self, node: NodeId, begins: bool) {
        if self.queue.is_empty() {
            return;
        }
        let is_relay = self.nodes.get(node).is_some_and(Node::is_relay);
        let targets = if is_relay { self.queue.targets() } else { vec![node] };
        for target in targets.into_iter().filter(|target| self.queue.has(*target)).collect::<Vec<_>>() {
            let route = self.nodes.route_to(self.context, &target.to_string());
            if route.is_ok_and(|route| route.through == node) {
                if begins {
                    self.queue.rewind(target);
                }
                self.queue.may_send(target);
            }
        }
    }

    /// Sends what can be sent now, and returns the next request that is handed over; `None` if there is no more.
    pub(in crate::node) fn next(&mut self) -> Option<HandedOver> {
        while let Some(target) = self.queue.to_send.first().copied() {
            match self.next_for(target) {
                Some(request) => return Some(request),
                None => _ = self.queue.to_send.remove(&target),
            }
        }
        None
    }

    fn next_for(&mut self, target: NodeId) -> Option<HandedOver> {
        while !self.context.is_stopping() && self.context.stores && self.queue.wants_to_send(target) {
            let reach = Reach::of(self.context, self.nodes, target);
            if matches!(reach, Reach::Away) {
                self.queue.block(self.context, target);
                return None;
            }
            let action = self.queue.next(self.context, target).map(|head| head.action.clone())?;
            let is_own = self.context.is_own_id(target);
            if self.copies.must_wait(self.ssh, &action, (!is_own).then_some(target)) {
                self.queue.block(self.context, target);
                return None;
            }
            let route = match reach {
                Reach::Kept(route, history) if action.ends() == Ends::Row && !is_copy(&action) => {
                    self.send_kept(target, route, history);
                    continue;
                }
                Reach::Kept(route, _) | Reach::Once(route) => Some(route),
                Reach::Here | Reach::Away => None,
            };
            return self.hand_over(target, route);
        }
        self.context.journal.wants_tokens_of_nodes = !self.queue.is_empty();
        self.queue.await_sign(self.context, target);
        None
    }

    /// Sends the next request to a node of our kind. It stays queued until its token ends.
    fn send_kept(&mut self, target: NodeId, route: Route, history: i64) {
        let is_direct = route.through == target;
        let known = if is_direct { Some(history) } else { self.syncs.newest_history_of(target) };
        let history = known.unwrap_or(0).max(1);
        let Some((head, data)) = self.queue.send_next(self.context, target, history) else { return };
        if head.sent > 1 && history > 1 && head.sent != history && is_direct {
            return self.queue.end(self.context, &head, &has_new_database(target));
        }
        self.nodes.note_sent(&head.token, route);
        let (token, field) = (Some(head.token), Some(route.target_field()));
        self.nodes.send(self.context, route.through, Message { action: head.action, token, target: field, data });
    }

    /// Takes out the next request. A copy stays queued until its end: it continues where it was.
    fn hand_over(&mut self, target: NodeId, route: Option<Route>) -> Option<HandedOver> {
        let stays = self.queue.next(self.context, target).is_some_and(|head| is_copy(&head.action));
        let request = self.queue.hand_over_next(self.context, target, stays)?;
        let QueuedHead { token, action, .. } = request.head;
        if let Some(route) = route {
            self.nodes.note_sent(&token, route);
        }
        Some(HandedOver { token, action, data: request.data, route })
    }

    /// Handles a reply of a node to a queued request. Returns whether nothing else is to be done with it.
    pub(in crate::node) fn replied(&mut self, node: NodeId, token: &Token, code: Code, data: &str) -> bool {
        let Some(target) = self.queue.target_of(token.as_str()) else { return false };
        match SaidOfPlace::read(data) {
            Some(SaidOfPlace::Gap) => self.queue.retry_soon(self.context, target),
            // It is tried again when its time comes.
            Some(SaidOfPlace::Away) => {}
            Some(SaidOfPlace::Ended) => self.queue.ask_for_end(self.context, token),
            None if node != target => {}
            None if code.is_terminal() => {
                // It gets the row that the node has written, or its reply, as for any request.
                self.queue.forget(self.context, token.as_str());
                if let Some(known) = self.nodes.get_mut(node) {
                    known.owed.refused(token.clone(), known.sync.serial);
                    self.context.open_token(token, Some(node));
                }
                return false;
            }
            Some(SaidOfPlace::Taken) | None => self.queue.is_taken(token),
        }
        true
    }

    /// Ends a request that was handed over and got no further. `handled` is what became of it.
    pub(in crate::node) fn handed_over(&mut self, token: &Token, handled: Result<Handled, String>) {
        match handled {
            Ok(Handled::Reply(_, Code::FINISHED_KO, data)) if !self.context.journal.has_just_ended(token) => {
                self.context.finish(token, Code::FINISHED_KO, data);
            }
            Ok(Handled::Reply(..) | Handled::Later) => {}
            Err(text) => self.context.fail(token, &text),
        }
    }
}
