//! Queries of the histories of nodes.

use std::time::Duration;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::json;
use crate::node::nodes::Nodes;
use crate::node::nodes::node::{Link, Node};
use crate::node::peer::Handled;
use crate::node::timers::Timer;

/// Time after which a node that dials in is asked again, because a Perl node drops messages that arrive while it sends.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// Maximum number of repetitions.
pub(in crate::node) const REPEATS_MAX: u8 = 3;

/// Schedules the repetition of a message to a node that dials in.
pub(in crate::node) fn repeat_later(context: &mut Context, id: NodeId) {
    let at = context.now.monotonic + REPEAT_AFTER;
    context.timers.set_if_unset(Timer::Repeat(id), at);
}

/// Starts the periodic syncs, if there is a proxy.
pub(in crate::node) fn start(context: &mut Context) {
    if let Some(proxy) = &context.options.modules.proxy {
        let at = context.now.monotonic + proxy.sync_time.max(Duration::from_secs(1));
        context.timers.set(Timer::SyncAll, at);
    }
}

/// Handles [`Timer::SyncAll`].
pub(in crate::node) fn sync_due(context: &mut Context, nodes: &mut Nodes) {
    let settings = context.proxy_settings();
    // A node of ours says in each PONG whether there is something new.
    let now = context.now.monotonic;
    let period = |node: &Node| node.idle.unwrap_or(settings.ping).max(settings.sync_time) * 2;
    sync_those(context, nodes, |node| !node.sync.is_fresh(now, period(node)));
    start(context);
}

/// Handles a SYNCLOGS of a client.
pub(in crate::node) fn sync_logs(context: &mut Context, nodes: &mut Nodes, data: &str) -> Handled {
    let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
    if data.pointer("/data/id").is_none_or(Value::is_null) {
        return Handled::refused(json::action_message("synclog", "please set id for synclog"));
    }
    if context.options.modules.proxy.is_none() {
        return Handled::refused(json::action_message("synclog", "no proxy module"));
    }
    sync_all(context, nodes);
    Handled::Reply(Action::Ack, Code::BEGIN, json::action_message("synclog", "synclog launched"))
}

/// Syncs every node whose link is up.
fn sync_all(context: &mut Context, nodes: &mut Nodes) {
    sync_those(context, nodes, |_| true);
}

fn sync_those(context: &mut Context, nodes: &mut Nodes, is_wanted: impl Fn(&Node) -> bool) {
    for id in nodes.ids() {
        if nodes.get(id).is_some_and(|node| node.link == Link::Up && is_wanted(node)) {
            sync_soon(context, nodes, id);
        }
    }
}

/// Starts a sync, or remembers to start one after the current one. Returns its serial number.
pub(in crate::node) fn sync_soon(context: &mut Context, nodes: &mut Nodes, id: NodeId) -> Option<u64> {
    let node = nodes.get_mut(id)?;
    if node.sync.in_progress {
        node.sync.again = true;
        return Some(node.sync.serial + 1);
    }
    restart_sync(context, nodes, id)
}

/// Handles a GETLOG for a registered node.
///
/// # Errors
/// Returns the message of the history row that ends the token.
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
    // A daemon that asks whether the token will still end here is told so.
    token.iter().for_each(|token| context.journal.work_on(token));
    node.sync.token = token;
    restart_sync(context, nodes, id);
    Ok(())
}

/// Queries a node even if a query is open. Without a link the query waits for it. Returns the serial number.
pub(in crate::node) fn restart_sync(context: &mut Context, nodes: &mut Nodes, id: NodeId) -> Option<u64> {
    let deadline = context.now.monotonic + context.proxy_settings().sync_timeout;
    let node = nodes.get_mut(id)?;
    // A host without a daemon has no history.
    if node.link == Link::None || node.is_ssh_host() {
        return None;
    }
    node.sync.in_progress = true;
    node.sync.gathering = None;
    node.sync.repeats = 0;
    node.sync.serial += 1;
    let serial = node.sync.serial;
    // While a page is being stored the mark is uncertain, so the query follows afterwards.
    if node.link == Link::Up && !node.sync.is_storing {
        ask_for_log(context, nodes, id);
    }
    context.timers.set(Timer::SyncTimeout(id), deadline);
    Some(serial)
}

/// Syncs for a caller that waits for a token of a node that does not announce its rows. A current sync is not repeated.
pub(in crate::node) fn sync_for_waiting(context: &mut Context, nodes: &mut Nodes, id: NodeId) {
    let Some(node) = nodes.get_quietly(id).filter(|node| node.link == Link::Up && node.sync.pages != Some(true)) else {
        return;
    };
    if !node.sync.in_progress {
        restart_sync(context, nodes, id);
    } else if node.registration.kind.is_web_socket() && node.sync.gathering.is_none() {
        // A Perl node with a WebSocket does not answer if it has no rows.
        ask_for_log(context, nodes, id);
    }
}

pub(super) fn ask_for_log(context: &mut Context, nodes: &mut Nodes, id: NodeId) {
    let wall = context.now.wall;
    let Some(node) = nodes.get_quietly(id) else { return };
    let time = context.clock_watch.to_tell(context.now).filter(|_| node.sync.tells_time(context.now.monotonic));
    node.sync.is_unanswered = true;
    node.sync.open = None;
    node.sync.asked_about = node.owed.unsettled(node.sync.serial);
    let (data, dials_in) = (node.sync.question(wall, time), node.dials_in());
    let message = Message { action: Action::GetLog, token: None, target: Some("".into()), data };
    nodes.send(context, id, message);
    if dials_in {
        repeat_later(context, id);
    }
}

/// Repeats an unanswered query. Returns whether it was sent.
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

/// Asks for the log of a target without a token: by a sync, or by a GETLOG to the relay before it. Returns the node,
/// and the serial number of the sync if there is one.
pub(in crate::node) fn poll_log_of(context: &mut Context, nodes: &mut Nodes, target: &str) -> Option<(NodeId, u64)> {
    context.options.modules.proxy.as_ref()?;
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

/// Fetches rows for a caller that waits for a token of `target`, unless they are announced.
pub(in crate::node) fn look_for_rows_of(context: &mut Context, nodes: &mut Nodes, target: NodeId) {
    if context.options.modules.proxy.is_none() {
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
