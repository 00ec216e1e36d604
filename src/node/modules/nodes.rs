//! The module `nodes`: pollers come from the Centreon configuration database (docs/protocol.md section 15).
//!
//! Reads it at the start, every `resync_time`, ten seconds after a failure, and on CENTREONNODESSYNC. [`plan`] says
//! what the rows mean; the difference to the last reading is applied, so a node that did not change keeps its
//! connection. As long as the database cannot be read, everything stays as it is.
//!
//! Out of scope: the database itself. [`HostWork::ReadPollers`] asks for it,
//! [`crate::model::host_work::HostDone::PollersRead`] answers.

pub mod plan;
#[cfg(test)]
mod tests;

use crate::model::host_work::HostWork;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::poller::PollerTables;
use crate::model::registration::{NodeKind, Registration, RegistrationSource};
use crate::model::token::Token;

use crate::node::core::Core;
use crate::node::core_settings;
use crate::node::json;
use crate::node::output::Output;
use crate::node::peer::Handled;
use crate::node::phase::STOPPING_TEXT;
use crate::node::timers::Timer;
use crate::node::wanted::RegistrationChanges;
use plan::PollerPlan;

/// When a failed reading is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Number of failed readings after which a lasting failure is logged again.
const TELL_AGAIN: u32 = 60;
/// Requests that wait for a reading at most.
const WAITING_MAX: usize = 1_000;
/// Ids, and complaints, that one row names at most; more are only counted or logged.
const SHOWN_MAX: usize = 1_000;
const COMPLAINTS_SHOWN_MAX: usize = 20;
/// Complaints of one reading that are logged at most.
const COMPLAINTS_LOGGED_MAX: usize = 100;

/// What the module remembers between two readings.
#[derive(Debug, Default)]
pub(in crate::node) struct NodesModule {
    /// Set while a reading is under way: the requests that it answers.
    reading: Option<Vec<Token>>,
    /// Requests that came meanwhile; the reading under way may be older than what they are about.
    waiting: Vec<Token>,
    /// Whether the database was read once.
    is_read: bool,
    /// Failures in a row, and the last one.
    failures: u32,
    failure: String,
    /// Whether the option `debug_gorgone` is on.
    debug: bool,
    /// What was registered last.
    applied: BTreeMap<NodeId, Registration>,
    /// Nodes that were taken away while they were connected to us, how, and the client that spoke for each: one that
    /// comes back need not wait until it registers itself anew.
    left: BTreeMap<NodeId, (NodeKind, ClientId)>,
    /// What was wrong at the last reading, so that it is not told each time.
    complaints: BTreeSet<String>,
}

impl Core {
    /// Begins with the module, where it is loaded.
    pub(in crate::node) fn start_reading_pollers(&mut self) {
        if self.context.options.pollers.is_some() {
            self.read_pollers();
        }
    }

    /// [`Timer::ReadPollers`]
    pub(in crate::node) fn read_pollers(&mut self) {
        if self.nodes_module.reading.is_none() {
            self.nodes_module.reading = Some(std::mem::take(&mut self.nodes_module.waiting));
            self.context.timers.cancel(&Timer::ReadPollers);
            self.context.output(Output::Host(HostWork::ReadPollers));
        }
    }

    /// CENTREONNODESSYNC
    pub(in crate::node) fn sync_pollers(&mut self, token: &Token) -> Handled {
        self.context.row(token, Code::BEGIN, json::message("action nodesresync proceed"));
        if self.nodes_module.waiting.len() >= WAITING_MAX {
            self.context.fail(token, "too many requests wait for the database, try again later");
            return Handled::accepted();
        }
        self.context.open_token(token, None);
        self.nodes_module.waiting.push(token.clone());
        self.read_pollers();
        Handled::accepted()
    }

    /// The daemon stops: nobody waits for the database any more.
    pub(in crate::node) fn end_poller_syncs(&mut self) {
        let mut tokens = std::mem::take(&mut self.nodes_module.waiting);
        tokens.extend(self.nodes_module.reading.iter_mut().flat_map(std::mem::take));
        for token in tokens {
            self.context.fail(&token, STOPPING_TEXT);
        }
    }

    /// The database was read, or not.
    pub(in crate::node) fn pollers_read(&mut self, result: Result<PollerTables, String>) {
        let Some(tokens) = self.nodes_module.reading.take() else { return };
        if self.context.is_stopping() {
            return;
        }
        let Some(resync_time) = self.context.options.pollers.as_ref().map(|pollers| pollers.resync_time) else {
            return;
        };
        let (code, data, next) = match result {
            Ok(tables) => (Code::FINISHED_OK, self.apply_tables(&tables), resync_time),
            Err(reason) => {
                self.tell_failure(&reason);
                (Code::FINISHED_KO, json::message(&format!("cannot find nodes configuration: {reason}")), RETRY)
            }
        };
        for token in tokens {
            self.context.finish(&token, code, data.clone());
        }
        self.context.timers.set(Timer::ReadPollers, self.context.now.monotonic + next);
        if !self.nodes_module.waiting.is_empty() {
            self.read_pollers();
        }
    }

    fn tell_failure(&mut self, reason: &str) {
        let module = &mut self.nodes_module;
        let is_new = module.failure != reason || module.failures.is_multiple_of(TELL_AGAIN);
        module.failures = module.failures.saturating_add(1);
        reason.clone_into(&mut module.failure);
        let text = format!("cannot find nodes configuration: {reason}");
        self.context.log(if is_new { LogLine::error("nodes", text) } else { LogLine::debug("nodes", text) });
    }

    /// Makes everything what the database says; the data of the row that ends a request.
    fn apply_tables(&mut self, tables: &PollerTables) -> String {
        if std::mem::take(&mut self.nodes_module.failures) > 0 {
            self.nodes_module.failure.clear();
            self.context.log(LogLine::info("nodes", "the Centreon database can be read again"));
        }
        self.switch_debug(tables);
        let ssh_username = self.context.options.pollers.as_ref().and_then(|pollers| pollers.ssh_username.clone());
        let mut plan = plan::plan(tables, self.context.options.id, ssh_username.as_deref());
        if let Some((id, uid)) = plan.own_id.zip(plan.own_uid) {
            self.context.names.add(id, uid);
        }
        if let Some(id) = plan.own_id.filter(|id| !self.context.is_own_id(*id)) {
            // Fixed by the configuration, it stays what it is.
            core_settings::set_core_id(&mut self.context, &json!({ "id": id.to_json() }).to_string());
        }
        self.tell_complaints(&plan);
        let mut wanted = std::mem::take(&mut plan.registrations);
        wanted.extend(plan.refused.iter().filter_map(|id| self.nodes_module.applied.get(id).cloned()));
        let applied = wanted.iter().map(|node| (node.id, node.clone())).collect();
        let before = std::mem::replace(&mut self.nodes_module.applied, applied);
        let count = wanted.len();
        let leaving: Vec<NodeId> =
            before.keys().filter(|id| !self.nodes_module.applied.contains_key(id)).copied().collect();
        let clients: Vec<_> = leaving
            .iter()
            .filter_map(|id| {
                let node = self.nodes.get(*id)?;
                Some((*id, (node.registration.kind.clone(), node.client?)))
            })
            .collect();
        for id in &leaving {
            if !self.is_wanted_elsewhere(RegistrationSource::Database, *id) {
                self.disconnect(*id);
            }
        }
        for registration in &wanted {
            self.context.names.add_all(registration);
        }
        self.name_file_nodes_anew();
        let mut changes = self.apply_registrations(RegistrationSource::Database, wanted);
        self.disconnect_unlisted();
        self.nodes_module.left.extend(clients);
        self.take_back(&changes.added);
        // That the register file wins is what `prevail` means.
        changes.refused.retain(|(id, _)| !self.prevails(*id));
        self.tell_changes(count, &changes);
        end_of_sync(count, &changes, &plan)
    }

    /// Nodes that have dialled in before the database was read, and that it does not have.
    fn disconnect_unlisted(&mut self) {
        let is_first = !std::mem::replace(&mut self.nodes_module.is_read, true);
        if !is_first || self.context.proxy_settings().only_listed == Some(false) {
            return;
        }
        let unlisted = self.nodes.iter().map(|(id, _)| id).filter(|id| self.unlisted.contains(*id));
        for id in unlisted.collect::<Vec<_>>() {
            self.context.log(LogLine::warning("nodes", format!("node '{id}' is not in the database: it has to go")));
            self.disconnect(id);
            self.unregister(id);
        }
    }

    /// A node that dialled in by a WebSocket is told that it is not known any more.
    fn disconnect(&mut self, id: NodeId) {
        let node = self.nodes.get(id).filter(|node| node.registration.kind == NodeKind::WebSocket);
        if let Some(client) = node.and_then(|node| node.client) {
            let refusal = json!({ "code": 500, "message": format!("node '{id}' is not known here") });
            self.context.output(Output::CloseClient { client, refusal: Some(refusal.to_string()) });
        }
    }

    /// Nodes that are back and whose clients never left.
    fn take_back(&mut self, added: &[NodeId]) {
        for id in added {
            if let Some((kind, client)) = self.nodes_module.left.remove(id)
                && self.nodes.get(*id).is_some_and(|node| node.registration.kind == kind)
            {
                self.bind_again(*id, client);
            }
        }
    }

    /// Whether a client that is still connected spoke for a node that is gone.
    pub(in crate::node) fn has_left(&self, client: ClientId) -> bool {
        self.nodes_module.left.values().any(|(_, left)| *left == client)
    }

    /// A session or a WebSocket has ended.
    pub(in crate::node) fn forget_left_client(&mut self, client: ClientId) {
        self.nodes_module.left.retain(|_, (_, left)| *left != client);
    }

    fn prevails(&self, id: NodeId) -> bool {
        let itself = self.nodes.get(id).is_some_and(|node| node.registration.prevail);
        itself || self.nodes.registry.is_prevailing_subnode(id)
    }

    /// The option `debug_gorgone`: told when it changes, so that a severity that was set otherwise stays.
    fn switch_debug(&mut self, tables: &PollerTables) {
        let debug = tables.debug_gorgone.as_deref().is_some_and(|value| value.trim() == "1");
        if std::mem::replace(&mut self.nodes_module.debug, debug) != debug {
            let severity = if debug { "debug" } else { "default" };
            self.context
                .log(LogLine::info("nodes", format!("the option debug_gorgone switches the log to '{severity}'")));
            core_settings::set_log_level(
                &mut self.context,
                &json!({ "content": { "severity": severity } }).to_string(),
            );
        }
    }

    fn tell_complaints(&mut self, plan: &PollerPlan) {
        let complaints: BTreeSet<String> = plan.complaints.iter().cloned().collect();
        let before = std::mem::replace(&mut self.nodes_module.complaints, complaints);
        let new: Vec<&String> = plan.complaints.iter().filter(|text| !before.contains(*text)).collect();
        for text in new.iter().take(COMPLAINTS_LOGGED_MAX) {
            self.context.log(LogLine::warning("nodes", (*text).clone()));
        }
        if new.len() > COMPLAINTS_LOGGED_MAX {
            let more = new.len() - COMPLAINTS_LOGGED_MAX;
            self.context.log(LogLine::warning("nodes", format!("{more} more rows of the database are wrong")));
        }
    }

    fn tell_changes(&mut self, count: usize, changes: &RegistrationChanges) {
        let (added, changed, removed) = (changes.added.len(), changes.changed.len(), changes.removed.len());
        let text = format!("{count} nodes from the database: {added} new, {changed} changed, {removed} gone");
        let is_silent = added + changed + removed == 0;
        self.context.log(if is_silent { LogLine::debug("nodes", text) } else { LogLine::info("nodes", text) });
    }
}

/// The data of the last row of a sync: what it has changed.
fn end_of_sync(count: usize, changes: &RegistrationChanges, plan: &PollerPlan) -> String {
    let ids = |ids: &[NodeId]| ids.iter().take(SHOWN_MAX).map(|id| id.to_json()).collect::<Vec<_>>();
    let refused = changes.refused.iter().map(|(_, reason)| reason);
    let complaints: Vec<&String> = plan.complaints.iter().chain(refused).take(COMPLAINTS_SHOWN_MAX).collect();
    json!({
        "message": "action nodesresync finished",
        "nodes": count,
        "added": ids(&changes.added),
        "changed": ids(&changes.changed),
        "removed": ids(&changes.removed),
        "refused": complaints,
    })
    .to_string()
}
