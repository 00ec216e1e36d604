//! The module `nodes`: takes the pollers from the Centreon configuration database (docs/protocol.md section 15).
//!
//! It reads the database at the start, every `resync_time`, ten seconds after a failure, and on CENTREONNODESSYNC.
//! [`plan`] interprets the rows; only the difference to the last reading is applied, so an unchanged node keeps its
//! connection. While the database cannot be read, nothing changes.
//!
//! Out of scope: access to the database. It is read by [`HostWork::ReadPollers`], and the result is
//! [`crate::model::host_work::HostDone::PollersRead`].

pub mod plan;
#[cfg(test)]
mod tests;

use crate::model::host_work::HostWork;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::model::code::Code;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::poller::PollerTables;
use crate::model::registration::{Registration, RegistrationSource};
use crate::model::token::Token;

use crate::node::context::Context;
use crate::node::core_settings;
use crate::node::json;
use crate::node::nodes::Nodes;
use crate::node::nodes::wanted::RegistrationChanges;
use crate::node::output::Output;
use crate::node::peer::Handled;
use crate::node::phase::STOPPING_TEXT;
use crate::node::timers::Timer;
use plan::PollerPlan;

/// Time after which a failed reading is repeated.
const RETRY: Duration = Duration::from_secs(10);
/// Number of failed readings after which a lasting failure is logged again.
const TELL_AGAIN: u32 = 60;
/// Maximum number of requests that wait for a reading.
const WAITING_MAX: usize = 1_000;
/// Maximum number of ids, and of complaints, in one row; more are only counted or logged.
const SHOWN_MAX: usize = 1_000;
const COMPLAINTS_SHOWN_MAX: usize = 20;
/// Maximum number of logged complaints about one reading.
const COMPLAINTS_LOGGED_MAX: usize = 100;

/// The state of the module between two readings.
#[derive(Debug, Default)]
pub(in crate::node) struct NodesModule {
    /// Set during a reading: the requests that it answers.
    reading: Option<Vec<Token>>,
    /// Requests that arrived during the reading. It may be older than the change that they are about, so they wait for
    /// the next one.
    waiting: Vec<Token>,
    /// Whether the database has been read.
    is_read: bool,
    /// Number of consecutive failures, and the last one.
    failures: u32,
    failure: String,
    /// Whether the option `debug_gorgone` is on.
    debug: bool,
    /// The last registrations.
    applied: BTreeMap<NodeId, Registration>,
    /// The complaints about the last reading, so that they are not logged every time.
    complaints: BTreeSet<String>,
}

impl NodesModule {
    /// Reads the database if the module is loaded.
    pub(in crate::node) fn start(&mut self, context: &mut Context) {
        if context.options.modules.nodes.is_some() {
            self.read(context);
        }
    }

    /// Handles [`Timer::ReadPollers`].
    pub(in crate::node) fn read(&mut self, context: &mut Context) {
        if self.reading.is_none() {
            self.reading = Some(std::mem::take(&mut self.waiting));
            context.timers.cancel(&Timer::ReadPollers);
            context.output(Output::Host(HostWork::ReadPollers));
        }
    }

    /// Handles CENTREONNODESSYNC.
    pub(in crate::node) fn request(&mut self, context: &mut Context, token: &Token) -> Handled {
        context.row(token, Code::BEGIN, json::message("action nodesresync proceed"));
        if self.waiting.len() >= WAITING_MAX {
            context.fail(token, "too many requests wait for the database, try again later");
            return Handled::accepted();
        }
        context.open_token(token, None);
        self.waiting.push(token.clone());
        self.read(context);
        Handled::accepted()
    }

    /// Ends the waiting requests because the daemon stops.
    pub(in crate::node) fn stop(&mut self, context: &mut Context) {
        let mut tokens = std::mem::take(&mut self.waiting);
        tokens.extend(self.reading.iter_mut().flat_map(std::mem::take));
        for token in tokens {
            context.fail(&token, STOPPING_TEXT);
        }
    }

    /// Handles the result of a reading.
    pub(in crate::node) fn read_done(
        &mut self,
        context: &mut Context,
        nodes: &mut Nodes,
        result: Result<PollerTables, String>,
    ) {
        let Some(tokens) = self.reading.take() else { return };
        if context.is_stopping() {
            return;
        }
        let Some(resync_time) = context.options.modules.nodes.as_ref().map(|pollers| pollers.resync_time) else {
            return;
        };
        let (code, data, next) = match result {
            Ok(tables) => (Code::FINISHED_OK, self.apply_tables(context, nodes, &tables), resync_time),
            Err(reason) => {
                self.tell_failure(context, &reason);
                (Code::FINISHED_KO, json::message(&format!("cannot find nodes configuration: {reason}")), RETRY)
            }
        };
        for token in tokens {
            context.finish(&token, code, data.clone());
        }
        context.timers.set(Timer::ReadPollers, context.now.monotonic + next);
        if !self.waiting.is_empty() {
            self.read(context);
        }
    }

    fn tell_failure(&mut self, context: &mut Context, reason: &str) {
        let module = &mut *self;
        let is_new = module.failure != reason || module.failures.is_multiple_of(TELL_AGAIN);
        module.failures = module.failures.saturating_add(1);
        reason.clone_into(&mut module.failure);
        let text = format!("cannot find nodes configuration: {reason}");
        context.log(if is_new { LogLine::error("nodes", text) } else { LogLine::debug("nodes", text) });
    }

    /// Applies the content of the database. Returns the data of the row that ends a request.
    fn apply_tables(&mut self, context: &mut Context, nodes: &mut Nodes, tables: &PollerTables) -> String {
        if std::mem::take(&mut self.failures) > 0 {
            self.failure.clear();
            context.log(LogLine::info("nodes", "the Centreon database can be read again"));
        }
        self.switch_debug(context, tables);
        let ssh_username = context.options.modules.nodes.as_ref().and_then(|pollers| pollers.ssh_username.clone());
        let mut plan = plan::plan(tables, context.options.id, ssh_username.as_deref());
        if let Some((id, uid)) = plan.own_id.zip(plan.own_uid) {
            context.names.add(id, uid);
        }
        if let Some(id) = plan.own_id.filter(|id| !context.is_own_id(*id)) {
            // An id that the configuration sets does not change.
            core_settings::set_core_id(context, &json!({ "id": id.to_json() }).to_string());
        }
        self.tell_complaints(context, &plan);
        let mut wanted = std::mem::take(&mut plan.registrations);
        wanted.extend(plan.refused.iter().filter_map(|id| self.applied.get(id).cloned()));
        let applied = wanted.iter().map(|node| (node.id, node.clone())).collect();
        let before = std::mem::replace(&mut self.applied, applied);
        let count = wanted.len();
        let leaving: Vec<NodeId> = before.keys().filter(|id| !self.applied.contains_key(id)).copied().collect();
        let clients = nodes.clients_of(&leaving);
        for id in &leaving {
            if !nodes.is_wanted_elsewhere(RegistrationSource::Database, *id) {
                nodes.disconnect(context, *id);
            }
        }
        for registration in &wanted {
            context.names.add_all(registration);
        }
        nodes.name_file_nodes_anew(context);
        let mut changes = nodes.apply_registrations(context, RegistrationSource::Database, wanted);
        if !std::mem::replace(&mut self.is_read, true) && context.proxy_settings().only_listed != Some(false) {
            nodes.drop_unlisted(context);
        }
        nodes.remember_left(clients);
        nodes.take_back(context, &changes.added);
        // `prevail` means that the register file has precedence, so this is no refusal.
        changes.refused.retain(|(id, _)| !nodes.prevails(*id));
        self.tell_changes(context, count, &changes);
        end_of_sync(count, &changes, &plan)
    }

    /// Applies the option `debug_gorgone` when it changes, so that a severity set in another way stays.
    fn switch_debug(&mut self, context: &mut Context, tables: &PollerTables) {
        let debug = tables.debug_gorgone.as_deref().is_some_and(|value| value.trim() == "1");
        if std::mem::replace(&mut self.debug, debug) != debug {
            let severity = if debug { "debug" } else { "default" };
            context.log(LogLine::info("nodes", format!("the option debug_gorgone switches the log to '{severity}'")));
            core_settings::set_log_level(context, &json!({ "content": { "severity": severity } }).to_string());
        }
    }

    fn tell_complaints(&mut self, context: &mut Context, plan: &PollerPlan) {
        let complaints: BTreeSet<String> = plan.complaints.iter().cloned().collect();
        let before = std::mem::replace(&mut self.complaints, complaints);
        let new: Vec<&String> = plan.complaints.iter().filter(|text| !before.contains(*text)).collect();
        for text in new.iter().take(COMPLAINTS_LOGGED_MAX) {
            context.log(LogLine::warning("nodes", (*text).clone()));
        }
        if new.len() > COMPLAINTS_LOGGED_MAX {
            let more = new.len() - COMPLAINTS_LOGGED_MAX;
            context.log(LogLine::warning("nodes", format!("{more} more rows of the database are wrong")));
        }
    }

    fn tell_changes(&mut self, context: &mut Context, count: usize, changes: &RegistrationChanges) {
        let (added, changed, removed) = (changes.added.len(), changes.changed.len(), changes.removed.len());
        let text = format!("{count} nodes from the database: {added} new, {changed} changed, {removed} gone");
        let is_silent = added + changed + removed == 0;
        context.log(if is_silent { LogLine::debug("nodes", text) } else { LogLine::info("nodes", text) });
    }
}

/// Returns the data of the last row of a sync, with its changes.
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
