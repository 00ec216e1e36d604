//! The module `statistics` (docs/protocol.md section 17): has nodes print the statistics of their engines and brokers,
//! and passes them to a worker that writes them.
//!
//! A request reads the database, sends each node one COMMAND under a token of its own, and ends when all have answered
//! and everything is written. An error of a node or of its row affects only that node. The answers are written in
//! batches, one batch at a time.
//!
//! Out of scope: access to files and databases ([`StatisticsWork`]), and the connections to nodes.

mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::statistics::{Collected, StatisticsDone, StatisticsTables, StatisticsWork};
use crate::model::token::Token;
use crate::model::work::{Work, WorkId};
use crate::node::context::Context;
use crate::node::journal::Seen;
use crate::node::json as read;
use crate::node::listeners::Listeners;
use crate::node::peer::{Handled, OwnRequest};
use crate::node::phase::STOPPING_TEXT;
use plan::{Kind, Wanted};

/// Maximum number of requests in progress.
const COLLECTIONS_MAX: usize = 100;
/// Maximum number of answers in a batch.
const BATCH_MAX: usize = 100;
/// Maximum number of failures listed in one history row.
const FAILURES_SHOWN: usize = 100;
/// Maximum number of nodes whose failures are remembered.
const FAILING_MAX: usize = 40_000;
/// Time to wait for a node's answer beyond the time limit of its command.
const PATIENCE: Duration = Duration::from_secs(8);
/// Time to wait for a node's answer if the request has no time limit for the command.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(600);

/// A request in progress.
struct Collection {
    token: Token,
    kind: Kind,
    wanted: Wanted,
    /// Number of awaited answers and writes.
    open: usize,
    nodes: usize,
    failed: Vec<String>,
}

/// An awaited answer of a node.
struct Awaited {
    collection: u64,
    node: NodeId,
    has_failed: bool,
}

/// The state of the module.
#[derive(Default)]
pub(in crate::node) struct Statistics {
    collections: BTreeMap<u64, Collection>,
    next_collection: u64,
    /// Readings of the database in progress.
    reading: BTreeMap<WorkId, u64>,
    /// Awaited answers by the token of the command.
    awaited: BTreeMap<String, Awaited>,
    due: VecDeque<OwnRequest>,
    pending: VecDeque<(u64, Collected)>,
    /// The write in progress: collection and node of each of its parts.
    writing: Option<(WorkId, Vec<(u64, NodeId)>)>,
    /// The last failure of each node.
    failing: BTreeMap<(Kind, NodeId), String>,
}

impl Statistics {
    /// Handles BROKERSTATS and ENGINESTATS.
    pub(in crate::node) fn request(
        &mut self,
        context: &mut Context,
        action: &Action,
        token: &Token,
        data: &str,
    ) -> Handled {
        let kind = match action {
            Action::BrokerStats => Kind::Broker,
            Action::EngineStats => Kind::Engine,
            _ => return context.refuse_unknown(action, token),
        };
        let wanted = match Wanted::read(data, &context.names) {
            Ok(wanted) => wanted,
            Err(text) => {
                context.fail(token, &text);
                return Handled::accepted();
            }
        };
        context.row(token, Code::BEGIN, read::message(&format!("action {} starting", kind.word())));
        if self.collections.len() >= COLLECTIONS_MAX {
            context.fail(token, "too many collections of statistics are under way, try again later");
            return Handled::accepted();
        }
        context.open_token(token, None);
        let id = self.next_collection;
        self.next_collection = id.wrapping_add(1);
        let collection = Collection { token: token.clone(), kind, wanted, open: 0, nodes: 0, failed: Vec::new() };
        self.collections.insert(id, collection);
        let work = context.start_work(Work::Statistics(StatisticsWork::ReadTables));
        self.reading.insert(work, id);
        Handled::accepted()
    }

    /// Handles the result of work on another thread.
    pub(in crate::node) fn work_done(
        &mut self,
        context: &mut Context,
        listeners: &mut Listeners,
        work: WorkId,
        done: StatisticsDone,
    ) {
        match done {
            StatisticsDone::Tables(tables) => {
                if let Some(id) = self.reading.remove(&work) {
                    self.tables_read(context, listeners, id, tables);
                }
            }
            StatisticsDone::Written(complaints) => self.written(context, work, complaints),
        }
    }

    fn tables_read(
        &mut self,
        context: &mut Context,
        listeners: &mut Listeners,
        id: u64,
        tables: Result<StatisticsTables, String>,
    ) {
        let Some(collection) = self.collections.get_mut(&id) else { return };
        let (kind, token) = (collection.kind, collection.token.clone());
        let tables = match tables {
            Ok(tables) => tables,
            Err(reason) => {
                let text = format!("cannot find configuration: {reason}");
                context.log(LogLine::error("statistics", text.clone()));
                self.collections.remove(&id);
                return context.fail(&token, &text);
            }
        };
        if kind == Kind::Broker && !plan::are_brokers_enabled(&tables) {
            self.collections.remove(&id);
            return context.finish(&token, Code::FINISHED_OK, read::message("no collection configured"));
        }
        let plan = plan::plan(kind, &tables, &collection.wanted);
        collection.nodes = plan.len();
        let patience =
            collection.wanted.timeout_s.map_or(PATIENCE_DEFAULT, |seconds| Duration::from_secs(seconds) + PATIENCE);
        let mut failures = Vec::new();
        for (node, commands) in plan {
            let commands = match commands {
                Ok(commands) => commands,
                Err(text) => {
                    failures.push((node, text));
                    continue;
                }
            };
            let Ok(own) = Token::parse(&format!("{token}-{node}")) else {
                failures.push((node, "the token of the request is too long".to_owned()));
                continue;
            };
            collection.open = collection.open.saturating_add(1);
            let awaited = Awaited { collection: id, node, has_failed: false };
            self.awaited.insert(own.as_str().to_owned(), awaited);
            listeners.watch(context, &own, node, patience);
            let data = json!({ "content": commands, "instant": 1 }).to_string();
            self.due.push_back(OwnRequest { action: Action::Command, token: own, target: node.to_string(), data });
        }
        for (node, text) in failures {
            self.failed(context, id, node, text);
        }
        self.finish_if_done(context, id);
    }

    /// Returns the next command to send.
    pub(in crate::node) fn next_due(&mut self) -> Option<OwnRequest> {
        self.due.pop_front()
    }

    /// Handles a row of a watched token.
    pub(in crate::node) fn row_seen(&mut self, context: &mut Context, seen: &Seen) {
        let Some(awaited) = self.awaited.get_mut(&seen.token) else { return };
        let (id, node) = (awaited.collection, awaited.node);
        let data: Value = serde_json::from_str(&seen.data).unwrap_or_default();
        let message = data.get("message").and_then(Value::as_str).unwrap_or("no message");
        let failure = match seen.code {
            Code::COMMAND_RESULT => match plan::result(&data) {
                Ok((broker, text)) => {
                    self.pending.push_back((id, Collected { node, broker, text }));
                    if let Some(collection) = self.collections.get_mut(&id) {
                        collection.open = collection.open.saturating_add(1);
                    }
                    None
                }
                Err(text) => Some(text),
            },
            Code::FINISHED_KO if !awaited.has_failed => Some(message.to_owned()),
            _ => None,
        };
        awaited.has_failed |= failure.is_some();
        if seen.is_last {
            self.awaited.remove(&seen.token);
        }
        if let Some(text) = failure {
            self.failed(context, id, node, text);
        }
        self.write_next(context);
        if seen.is_last {
            self.closed(context, id);
        }
    }

    fn write_next(&mut self, context: &mut Context) {
        if self.writing.is_some() || self.pending.is_empty() {
            return;
        }
        let count = self.pending.len().min(BATCH_MAX);
        let (of, batch) = self.pending.drain(..count).map(|(id, one)| ((id, one.node), one)).unzip();
        let work = context.start_work(Work::Statistics(StatisticsWork::Write(batch)));
        self.writing = Some((work, of));
    }

    fn written(&mut self, context: &mut Context, work: WorkId, complaints: Vec<Vec<String>>) {
        let Some((_, of)) = self.writing.take_if(|(id, _)| *id == work) else { return };
        let mut complaints = complaints.into_iter();
        for (id, node) in of {
            let own = complaints.next().unwrap_or_default();
            if own.is_empty() {
                self.succeeded(context, id, node);
            } else {
                self.failed(context, id, node, own.join("; "));
            }
            self.closed(context, id);
        }
        self.write_next(context);
    }

    fn succeeded(&mut self, context: &mut Context, id: u64, node: NodeId) {
        let Some(kind) = self.collections.get(&id).map(|collection| collection.kind) else { return };
        if self.failing.remove(&(kind, node)).is_some() {
            let text = format!("statistics of the {} of node '{node}' are written again", kind.name());
            context.log(LogLine::info("statistics", text).of_node(node));
        }
    }

    /// Notes a failure of a node: logs it if it is new, and adds it to the row of the request.
    fn failed(&mut self, context: &mut Context, id: u64, node: NodeId, text: String) {
        let Some(collection) = self.collections.get_mut(&id) else { return };
        let key = (collection.kind, node);
        if self.failing.get(&key) != Some(&text) {
            let name = collection.kind.name();
            context.log(
                LogLine::warning("statistics", format!("no statistics of the {name} of node '{node}': {text}"))
                    .of_node(node),
            );
            if self.failing.len() < FAILING_MAX || self.failing.contains_key(&key) {
                self.failing.insert(key, text.clone());
            }
        }
        collection.failed.push(format!("node '{node}': {text}"));
    }

    fn closed(&mut self, context: &mut Context, id: u64) {
        if let Some(collection) = self.collections.get_mut(&id) {
            collection.open = collection.open.saturating_sub(1);
        }
        self.finish_if_done(context, id);
    }

    fn finish_if_done(&mut self, context: &mut Context, id: u64) {
        let Some(collection) = self.collections.get(&id).filter(|collection| collection.open == 0) else { return };
        let mut data = json!({
            "message": format!("action {} finished", collection.kind.word()),
            "nodes": collection.nodes,
        });
        if let Some(members) = data.as_object_mut().filter(|_| !collection.failed.is_empty()) {
            let shown: Vec<&String> = collection.failed.iter().take(FAILURES_SHOWN).collect();
            members.insert("failed".to_owned(), json!(shown));
        }
        let token = collection.token.clone();
        self.collections.remove(&id);
        context.finish(&token, Code::FINISHED_OK, data.to_string());
    }

    /// Stops the module because the daemon stops.
    pub(in crate::node) fn stop(&mut self, context: &mut Context) {
        self.awaited.clear();
        self.pending.clear();
        self.due.clear();
        for collection in std::mem::take(&mut self.collections).into_values() {
            context.fail(&collection.token, STOPPING_TEXT);
        }
    }
}
