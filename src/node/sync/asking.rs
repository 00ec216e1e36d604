//! Asking nodes for their history.

use std::time::Duration;

use crate::model::action::Action;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::nodes::Nodes;
use crate::node::nodes::node::Link;
use crate::node::timers::Timer;

/// A node that dials in is asked again after this time: a Perl node drops what comes while it sends.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// So often.
pub(in crate::node) const REPEATS_MAX: u8 = 3;

/// What a node that dials in does not answer is said again.
pub(in crate::node) fn repeat_later(context: &mut Context, id: NodeId) {
    let at = context.now.monotonic + REPEAT_AFTER;
    context.timers.set_if_unset(Timer::Repeat(id), at);
}

/// [`Timer::SyncAll`], or a SYNCLOGS of a client: every node with a link that is up.
pub(in crate::node) fn sync_all(context: &mut Context, nodes: &mut Nodes) {
    for id in nodes.ids() {
        if nodes.get(id).is_some_and(|node| node.link == Link::Up) {
            sync_soon(context, nodes, id);
        }
    }
}

/// Starts a sync, or remembers to start one after the one in progress. Returns its serial number.
pub(in crate::node) fn sync_soon(context: &mut Context, nodes: &mut Nodes, id: NodeId) -> Option<u64> {
    let node = nodes.get_mut(id)?;
    if node.sync.in_progress {
        node.sync.again = true;
        return Some(node.sync.serial + 1);
    }
    restart_sync(context, nodes, id)
}

/// A GETLOG whose target is a registered node.
///
/// # Errors
/// The message of the history row that ends the token.
pub(in crate::node) fn sync_for(
    context: &mut Context,
    nodes: &mut Nodes,
    id: NodeId,
    token: Option<Token>,
) -> Result<(), String> {
    let Some(node) = nodes.get_mut(id) else { return Err(format!("proxy - unknown target {id}")) };
    if node.is_ssh_host() {
        return Err("proxy - can't get log a ssh target or through a ssh node".to_owned());
    }
    node.reachable()?;
    if node.sync.in_progress {
        return Err("proxy - getlog already in progress".to_owned());
    }
    node.sync.token = token;
    restart_sync(context, nodes, id);
    Ok(())
}

/// Asks a node, whatever was asked before; without a link the question waits for it. Returns the serial number.
pub(in crate::node) fn restart_sync(context: &mut Context, nodes: &mut Nodes, id: NodeId) -> Option<u64> {
    let deadline = context.now.monotonic + context.proxy_settings().sync_timeout;
    let node = nodes.get_mut(id)?;
    // On a host without a daemon there is no history.
    if node.link == Link::None || node.is_ssh_host() {
        return None;
    }
    node.sync.in_progress = true;
    node.sync.gathering = None;
    node.sync.repeats = 0;
    node.sync.serial += 1;
    let serial = node.sync.serial;
    // While a page is stored the mark is not certain; what begins then is asked after it.
    if node.link == Link::Up && !node.sync.is_storing {
        ask_for_log(context, nodes, id);
    }
    context.timers.set(Timer::SyncTimeout(id), deadline);
    Some(serial)
}

/// A token of a node that does not announce its rows is waited for. A sync that is under way is not doubled.
pub(in crate::node) fn sync_for_waiting(context: &mut Context, nodes: &mut Nodes, id: NodeId) {
    let Some(node) = nodes.get_quietly(id).filter(|node| node.link == Link::Up && node.sync.pages != Some(true)) else {
        return;
    };
    if !node.sync.in_progress {
        restart_sync(context, nodes, id);
    } else if node.registration.kind.is_web_socket() && node.sync.gathering.is_none() {
        // A Perl node with a WebSocket left the question without an answer if it had no rows then.
        ask_for_log(context, nodes, id);
    }
}

pub(super) fn ask_for_log(context: &mut Context, nodes: &mut Nodes, id: NodeId) {
    let wall = context.now.wall;
    let Some(node) = nodes.get_quietly(id) else { return };
    node.sync.is_unanswered = true;
    let (data, dials_in) = (node.sync.question(wall), node.dials_in());
    let message = Message { action: Action::GetLog, token: None, target: Some("".into()), data };
    nodes.send(context, id, message);
    if dials_in {
        repeat_later(context, id);
    }
}

/// The question once more, where no answer came; whether it was sent.
pub(in crate::node) fn repeat_question(context: &mut Context, nodes: &mut Nodes, id: NodeId) -> bool {
    let now = context.now.monotonic;
    let Some(sync) = nodes.get_quietly(id).map(|node| &mut node.sync) else { return false };
    let is_due = sync.in_progress && sync.is_unanswered && sync.repeats < REPEATS_MAX;
    if is_due {
        sync.repeats += 1;
        sync.repeated_at = Some(now);
        ask_for_log(context, nodes, id);
    }
    is_due
}

/// Asks for the log of a target without a token: a sync, or a GETLOG to the relay before it. Returns the node and
/// the serial number of the sync, when it is one.
pub(in crate::node) fn poll_log_of(context: &mut Context, nodes: &mut Nodes, target: &str) -> Option<(NodeId, u64)> {
    context.options.proxy.as_ref()?;
    let route = nodes.route_to(context, target).ok()?;
    if route.through == route.target {
        return Some((route.target, sync_soon(context, nodes, route.target)?));
    }
    nodes.get(route.through).filter(|node| node.link != Link::None)?;
    let target = Some(route.target_field());
    let message = Message { action: Action::GetLog, token: None, target, data: "{}".to_owned() };
    nodes.send(context, route.through, message);
    None
}

/// A token of `target` is waited for: its rows are fetched, as far as nobody brings them unasked.
pub(in crate::node) fn look_for_rows_of(context: &mut Context, nodes: &mut Nodes, target: NodeId) {
    if context.options.proxy.is_none() {
        return;
    }
    let Ok(route) = nodes.route_to(context, &target.to_string()) else { return };
    if route.through != route.target && nodes.get(route.through).is_some_and(|node| node.link == Link::Up) {
        let target = Some(route.target_field());
        let message = Message { action: Action::GetLog, token: None, target, data: "{}".to_owned() };
        nodes.send(context, route.through, message);
    }
    sync_for_waiting(context, nodes, route.through);
}
