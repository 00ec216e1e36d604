//! Sends messages to the nodes that can be reached, in their order.

use std::time::Duration;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::legacy::StoredOrder;
use crate::model::log::LogLine;
use crate::model::token::Token;
use crate::node::context::Context;
use crate::node::nodes::Nodes;
use crate::node::nodes::node::{Link, Node};
use crate::node::peer::{Handled, OwnRequest};
use crate::node::taken_tokens::TakenTokens;
use crate::node::timers::Timer;

use super::{LegacyCmd, PASSWORD, queue, requests};

/// Maximum number of messages that one event sends; the next event sends more.
const SEND_MAX: usize = 32;
/// Interval between checks whether a node can be reached now.
const RETRY: Duration = Duration::from_millis(500);

impl LegacyCmd {
    /// Sets [`Timer::Orders`] to run right after the current event.
    pub(super) fn send_later(&mut self, context: &mut Context) {
        if self.queue.ready().is_some() {
            context.timers.set(Timer::Orders, context.now.monotonic);
        } else if self.queue.has_blocked() {
            context.timers.set_if_unset(Timer::Orders, context.now.monotonic + RETRY);
        }
    }

    /// Handles [`Timer::Orders`]: checks again the nodes that could not be reached. [`Self::next_due`] then has the
    /// messages to send.
    pub(in crate::node) fn look_again(&mut self, context: &mut Context) {
        for (token, name) in self.queue.expired(context.now.monotonic) {
            let text = format!("{name} is given up: its node could not be reached in time");
            context.log(LogLine::warning("legacycmd", format!("{text} (token {token})")).of_token(&token));
            context.fail(&token, &text);
        }
        self.queue.unblock_all();
        self.left_to_send = SEND_MAX;
    }

    /// Returns the next message to send; `None` if no node can take one now, or this event has sent enough.
    pub(in crate::node) fn next_due(
        &mut self,
        context: &mut Context,
        nodes: &Nodes,
        taken: &TakenTokens,
    ) -> Option<OwnRequest> {
        while self.left_to_send > 0
            && !context.is_stopping()
            && let Some(target) = self.queue.ready().map(str::to_owned)
        {
            self.left_to_send -= 1;
            if !can_take(context, nodes, &target) {
                self.queue.block(&target);
                continue;
            }
            let Some(queue::Next { order, is_unsure }) = self.queue.next(&target) else { continue };
            let request = request_of(context, order);
            if is_unsure && may_have_begun(context, nodes, taken, &request) {
                let text = "the daemon was restarted while this was being done: it may have been done";
                context.fail(&request.token, text);
                continue;
            }
            return Some(request);
        }
        self.send_later(context);
        None
    }

    /// Handles the result of handing over a message. A message that was not accepted and has no row ends here.
    pub(in crate::node) fn handed_over(&mut self, context: &mut Context, token: &Token, handled: &Handled) {
        if let Handled::Reply(_, Code::FINISHED_KO, data) = handled
            && !context.journal.has_just_ended(token)
            && self.queue.has(token)
        {
            context.finish(token, Code::FINISHED_KO, data.clone());
        }
    }
}

fn request_of(context: &mut Context, order: StoredOrder) -> OwnRequest {
    let StoredOrder { token, target, action, data, name, .. } = order;
    let secret = context.options.modules.legacycmd.as_ref().and_then(requests::secret);
    let data = match secret.filter(|_| data.contains(PASSWORD)) {
        Some(secret) => {
            let data = data.replace(PASSWORD, &secret);
            context.journal.mask(&token, secret);
            data
        }
        None => data,
    };
    context.log(LogLine::info("legacycmd", format!("{name} (token {token})")).of_token(&token));
    OwnRequest { action: Action::parse(&action), token, target, data }
}

/// Returns whether a node can be reached now and no lost messages to it are being looked for.
fn can_take(context: &Context, nodes: &Nodes, target: &str) -> bool {
    if target.is_empty() || context.is_own(target) {
        return true;
    }
    let Ok(route) = nodes.route_to(context, target) else { return false };
    nodes.get(route.through).is_some_and(|node| {
        let is_up = node.is_ssh_host() || node.link == Link::Up;
        is_up && node.reachable().is_ok() && !node.owed.has_unsettled()
    })
}

/// Returns whether an earlier run may have begun with a message that was not handed to a node, but run here or on a
/// host by SSH. A copy may be repeated.
fn may_have_begun(context: &Context, nodes: &Nodes, taken: &TakenTokens, request: &OwnRequest) -> bool {
    if request.target.is_empty() || context.is_own(&request.target) {
        return taken.has(&request.token);
    }
    let node = request.target.parse().ok().and_then(|id| nodes.get(id));
    node.is_some_and(Node::is_ssh_host) && request.action != Action::RemoteCopy
}
