//! The module `legacycmd`: orders of Centreon Web, from command files and over the API (docs/protocol.md section 16).
//!
//! Each line becomes messages ([`pieces`], [`orders`]). Messages and the position in the file are stored together, and
//! only then sent ([`queue`]), so a crash loses none. A message is kept until its node has confirmed it. The history of
//! a node is read before a message is sent to it again, and a node of our own kind takes no token twice.
//!
//! Nothing is read before the pollers are known, or while the database cannot be read.
//!
//! Out of scope: access to files and to the database ([`crate::model::legacy::LegacyWork`]), and the connections to
//! nodes.

mod calls;
mod files;
mod gather;
mod lines;
mod orders;
mod pieces;
mod queue;
mod requests;
mod sending;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::config::modules::legacycmd::LegacySettings;
use crate::model::history::StoreChange;
use crate::model::legacy::{LegacyChange, LegacyDone, LegacyStored, LegacyWork, StoredOrder};
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::token::Token;
use crate::model::work::{Work, WorkId};
use crate::node::context::Context;
use crate::node::journal::Ended;
use crate::node::output::{Output, ReceiptId};
use crate::node::timers::Timer;

use calls::Calls;
use files::Files;
use lines::Pollers;
use orders::Worker;
use pieces::Order;
use queue::Queue;
use told::Told;

/// Interval between two readings of the database, and after a failed one.
const TABLES_PERIOD: Duration = Duration::from_secs(60);
const TABLES_RETRY: Duration = Duration::from_secs(10);
/// Replaces the password of the worker command in stored messages; the real one is inserted when the message is sent.
const PASSWORD: &str = "-p (password of tpapi)";

/// The state of the module. Holds command lines: no `Debug`.
#[derive(Default)]
pub(in crate::node) struct LegacyCmd {
    /// `None` until the database has been read, and while it cannot be read.
    pollers: Option<Pollers>,
    /// The reading in progress.
    reading: Option<WorkId>,
    files: Files,
    queue: Queue,
    /// Orders that are being stored.
    storing: BTreeMap<ReceiptId, Vec<StoredOrder>>,
    calls: Calls,
    /// Import tasks that are being inserted.
    imports: BTreeMap<WorkId, requests::Import>,
    told: Told,
    /// Whether an import has changed the nodes in the database.
    has_imported: bool,
    /// Number of messages that the current event may still send.
    left_to_send: usize,
}

impl LegacyCmd {
    /// Takes over the unfinished orders of an earlier run, and starts the module. `open` says which node has not
    /// confirmed a token, `None` if it was not sent.
    pub(in crate::node) fn start(
        &mut self,
        context: &mut Context,
        stored: LegacyStored,
        open: &[(Token, Option<NodeId>)],
    ) {
        if context.options.modules.legacycmd.is_none() {
            return;
        }
        let open: BTreeMap<&Token, Option<NodeId>> = open.iter().map(|(token, node)| (token, *node)).collect();
        for order in stored.orders {
            let opened = open.get(&order.token).copied();
            context.journal.track(&order.token);
            let is_sent = matches!(opened, Some(Some(_)));
            self.queue.restore(order, is_sent, opened == Some(None), context.now.monotonic);
        }
        self.files.restore(stored.mark);
        self.read_tables(context);
        self.send_later(context);
    }

    /// Returns whether a message is stored here, so that its token does not end with the daemon.
    pub(in crate::node) fn keeps(&self, token: &Token) -> bool {
        self.queue.has(token)
    }

    /// Handles [`Timer::CommandTables`].
    pub(in crate::node) fn read_tables(&mut self, context: &mut Context) {
        if self.reading.is_none() {
            self.reading = Some(context.start_work(Work::Legacy(LegacyWork::ReadTables)));
        }
    }

    /// Handles [`Timer::CommandFiles`], or a change in the directories of command files.
    pub(in crate::node) fn look_for_files(&mut self, context: &mut Context) {
        if self.pollers.is_some() && !context.is_stopping() && context.options.modules.legacycmd.is_some() {
            self.files.look(context, self.queue.is_full());
        }
    }

    /// Handles the result of work on another thread.
    pub(in crate::node) fn work_done(&mut self, context: &mut Context, id: WorkId, done: LegacyDone) {
        match done {
            LegacyDone::Tables(result) if self.reading == Some(id) => {
                self.reading = None;
                self.tables_read(context, result);
            }
            LegacyDone::Files(outcome) => self.files_done(context, id, outcome),
            LegacyDone::ImportTask(result) => self.import_task_added(context, id, result),
            LegacyDone::Tables(_) => {}
        }
    }

    fn tables_read(&mut self, context: &mut Context, result: Result<crate::model::legacy::CommandTables, String>) {
        const FAILED: &str = "cannot get configuration for pollers";
        let next = match result {
            Ok(tables) => {
                self.told.forget(|text| text.starts_with(FAILED));
                if self.pollers.replace(Pollers::new(tables)).is_none() {
                    let text = "the pollers of the Centreon database are known: command files are read";
                    context.log(LogLine::info("legacycmd", text));
                    self.look_for_files(context);
                }
                TABLES_PERIOD
            }
            Err(reason) => {
                self.pollers = None;
                let text = format!("{FAILED}, so command files wait: {reason}");
                if self.told.is_new(&text, context.now.monotonic) {
                    context.log(LogLine::error("legacycmd", text));
                }
                TABLES_RETRY
            }
        };
        context.timers.set(Timer::CommandTables, context.now.monotonic + next);
    }

    /// Logs that something is not carried out. Returns `false` if that was logged within the hour.
    fn complain(&mut self, context: &mut Context, text: &str) -> bool {
        let is_new = self.told.is_new(text, context.now.monotonic);
        if is_new {
            context.log(LogLine::error("legacycmd", text.to_owned()));
        }
        is_new
    }

    /// Stores messages together with the other changes of the receipt. They are sent when they are stored.
    fn store(&mut self, context: &mut Context, receipt: ReceiptId, orders: Vec<Order>, settings: &LegacySettings) {
        let secret = requests::secret(settings);
        let mut stored = Vec::with_capacity(orders.len());
        for Order { token, name, message } in orders {
            let sequence = self.queue.next_sequence();
            let data = json!({ "content": message.content, "once": true }).to_string();
            let data = match secret.as_ref().filter(|_| message.target.is_empty()) {
                Some(secret) => data.replace(secret, PASSWORD),
                None => data,
            };
            let action = message.action.as_str().to_owned();
            let order = StoredOrder { sequence, token, target: message.target, action, data, name };
            let change = StoreChange::Legacy(LegacyChange::PutOrder(order.clone()));
            context.output(Output::Store { change, receipt: Some(receipt) });
            stored.push(order);
        }
        self.storing.insert(receipt, stored);
    }

    /// Handles the storing of messages, and possibly of a piece of a file.
    pub(in crate::node) fn stored(&mut self, context: &mut Context, receipt: ReceiptId, is_stored: bool) {
        let orders = self.storing.remove(&receipt).unwrap_or_default();
        for order in orders {
            if is_stored {
                self.take(context, order);
            } else {
                context.fail(&order.token, "database issue");
            }
        }
        if self.files.stored(context, receipt, is_stored) {
            self.look_for_files(context);
        }
        self.send_later(context);
    }

    fn take(&mut self, context: &mut Context, order: StoredOrder) {
        if self.queue.is_full_for(&order.target) {
            let change = StoreChange::Legacy(LegacyChange::DeleteOrder(order.sequence));
            context.store(change);
            let text = format!("the queue of node '{}' is full: {} is not carried out", order.target, order.name);
            self.complain(context, &text);
            context.fail(&order.token, &text);
            return;
        }
        context.journal.track(&order.token);
        self.queue.push(order, context.now.monotonic);
    }

    /// Removes a message that its node has confirmed. The node owes the end from then on.
    pub(in crate::node) fn confirmed(&mut self, context: &mut Context, token: &str) {
        if let Some(sequence) = self.queue.remove(token) {
            context.store(StoreChange::Legacy(LegacyChange::DeleteOrder(sequence)));
            self.send_later(context);
            self.read_on(context);
        }
    }

    /// Handles the end of a token.
    pub(in crate::node) fn token_ended(&mut self, context: &mut Context, ended: &Ended) {
        self.confirmed(context, &ended.token);
        context.journal.untrack(&ended.token);
        if self.calls.token_ended(context, &ended.token, ended.error.as_deref()) {
            self.has_imported = true;
            self.read_tables(context);
        }
    }

    /// Returns whether an import has changed the nodes in the database since the last call.
    pub(in crate::node) fn take_imported(&mut self) -> bool {
        std::mem::take(&mut self.has_imported)
    }

    /// Sends a message again that a node has not got, as its history shows.
    pub(in crate::node) fn send_again(&mut self, context: &mut Context, token: &Token) {
        if self.queue.send_again(token.as_str()) {
            context.log(
                LogLine::info("legacycmd", format!("a node has not got token {token}: it is sent again"))
                    .of_token(token),
            );
            self.send_later(context);
        }
    }

    /// Resumes reading of a file when less waits.
    fn read_on(&mut self, context: &mut Context) {
        if self.files.is_held_up() && !self.queue.is_full() {
            self.look_for_files(context);
        }
    }

    /// Stops the module because the daemon stops.
    pub(in crate::node) fn stop(&mut self, context: &mut Context) {
        self.calls.stop(context);
        for timer in [Timer::CommandFiles, Timer::CommandTables, Timer::Orders] {
            context.timers.cancel(&timer);
        }
    }
}

/// Calls `act` with the settings and the data for the worker command.
fn with_worker<T>(context: &Context, act: impl FnOnce(&LegacySettings, Worker<'_>) -> T) -> Option<T> {
    let settings = context.options.modules.legacycmd.as_ref()?;
    let action = context.options.modules.action.as_ref();
    let allowed = action.and_then(|action| action.allowed.as_ref());
    let allows = |line: &str| {
        allowed.is_none_or(|allowed| allowed.list.check(&[line.to_owned()], 1, || false).refused.is_empty())
    };
    // The original's own default, if the module `action` is not loaded.
    let timeout = action.map_or(60, |action| action.command_timeout.as_secs().max(1));
    Some(act(settings, Worker { settings, allows: &allows, timeout }))
}
