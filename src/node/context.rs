//! What every room gets in addition to its own state: the time of the event, timers, randomness, settings, the journal
//! and the outputs.
//!
//! Out of scope: anything that belongs to one room or to the nodes.

use std::collections::{BTreeSet, VecDeque};

use crate::config::modules::proxy::ProxySettings;
use crate::config::settings::ClientTls;
use crate::model::action::{Action, Module};
use crate::model::broken::{self, Fault};
use crate::model::code::Code;
use crate::model::command::{CommandId, CommandSpec};
use crate::model::connection::{ClientId, ParentKind};
use crate::model::copy::SourceId;
use crate::model::history::{RowOrigin, StoreChange, SyncMark};
use crate::model::host_work::HostWork;
use crate::model::log::LogLine;
use crate::model::message::{Outgoing, Reply};
use crate::model::node_id::NodeId;
use crate::model::queue::RowTells;
use crate::model::random::Random;
use crate::model::time::{Now, WallTime};
use crate::model::token::Token;
use crate::model::work::{Work, WorkId};

use super::clock_watch::ClockWatch;
use super::core_options::CoreOptions;
use super::delegate::Delegate;
use super::flow::{Flow, Why};
use super::journal::{Awaited, Journal, NewRow};
use super::json;
use super::late_tokens::LateTokens;
use super::names::Names;
use super::output::{Output, ReceiptId};
use super::peer::Handled;
use super::phase::Stopping;
use super::timers::Timers;

/// The common state of all rooms.
pub(super) struct Context {
    /// The time of the current event.
    pub now: Now,
    pub clock_watch: ClockWatch,
    pub timers: Timers,
    pub random: Box<dyn Random>,
    /// Our own id, if it is known.
    pub own_id: Option<NodeId>,
    /// The requests that a daemon of the original (the 'delegate') answers.
    pub delegate: Delegate,
    /// The second names of nodes.
    pub names: Names,
    pub stopping: Stopping,
    pub options: CoreOptions,
    /// Whether received messages become log lines.
    pub debug: bool,
    /// The number of our own history; 0 if there is none.
    pub own_history: i64,
    pub journal: Journal,
    pub late: LateTokens,
    /// Number of rows written since the start.
    pub rows_written: u64,
    /// Whether the last commit was stored.
    pub stores: bool,
    /// The centrals that we dial and are connected to.
    pub connected_parents: BTreeSet<ParentKind>,
    flow: Flow,
    outputs: VecDeque<Output>,
    next_work: u64,
    next_command: u64,
    next_copy: u64,
}

impl Context {
    /// Returns the state of a daemon that starts now.
    pub fn new(options: CoreOptions, random: Box<dyn Random>, now: Now, newest_ctime: f64) -> Self {
        let (clock_watch, line) = ClockWatch::new(now, newest_ctime);
        Self {
            now,
            clock_watch,
            timers: Timers::default(),
            random,
            own_id: options.id,
            delegate: Delegate::new(options.delegate.clone()),
            names: Names::default(),
            stopping: Stopping::No,
            debug: options.debug,
            options,
            own_history: 0,
            journal: Journal::default(),
            late: LateTokens::default(),
            rows_written: 0,
            stores: true,
            connected_parents: BTreeSet::new(),
            flow: Flow::default(),
            outputs: line.into_iter().map(Output::Log).collect(),
            next_work: 0,
            next_command: 0,
            next_copy: 0,
        }
    }

    /// Sets the time of an event.
    pub fn set_now(&mut self, now: Now) {
        if now == self.now {
            return;
        }
        self.now = now;
        if let Some(line) = self.clock_watch.look(now) {
            self.log(line);
        }
    }

    /// Takes the time in seconds that a client tells, if it is a central whose key or certificate was checked.
    pub fn hear_time(&mut self, client: ClientId, told: i64) {
        let is_checked = match client {
            ClientId::Zmq(_) | ClientId::Parent(ParentKind::Pull) => true,
            ClientId::WebSocket(_) => false,
            ClientId::Parent(ParentKind::WebSocket) => {
                let tls = self.options.modules.pullwss.as_ref().and_then(|pullwss| pullwss.tls.as_ref());
                matches!(tls, Some(ClientTls::Verify { .. } | ClientTls::Pinned(_)))
            }
        };
        if !is_checked {
            return;
        }
        let (is_new, line) = self.clock_watch.compare(self.now, told);
        self.outputs.extend(line.map(Output::Log));
        if is_new {
            self.output(Output::LearnTime(WallTime::from_seconds(told)));
        }
    }

    /// Returns whether the clock is trusted for deletion.
    pub fn is_clock_settled(&self) -> bool {
        self.clock_watch.is_settled(self.now)
    }

    /// Returns the next side effect.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    pub fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub fn log(&mut self, line: LogLine) {
        self.outputs.push_back(Output::Log(line));
    }

    pub fn store(&mut self, change: StoreChange) {
        self.outputs.push_back(Output::Store { change, receipt: None });
    }

    /// Answers a client, or a central that we dial, which gets PONG and SYNCLOGS only.
    pub fn reply(&mut self, client: ClientId, reply: Reply) {
        match client.parent() {
            None => self.output(Output::SendToClient { client, outgoing: Outgoing::Reply(reply) }),
            Some(kind) if matches!(reply.kind, Action::Pong | Action::SyncLogs) => {
                if self.connected_parents.contains(&kind) {
                    self.output(Output::SendToParent { kind, outgoing: Outgoing::Reply(reply) });
                }
            }
            Some(_) => {}
        }
    }

    /// Stops reading from a client until it is released for the same reason.
    pub fn hold(&mut self, why: Why, client: ClientId) {
        let output = self.flow.hold(why, client);
        self.outputs.extend(output);
    }

    /// Removes a reason not to read from a client.
    pub fn release(&mut self, why: Why, client: ClientId) {
        let output = self.flow.release(why, client);
        self.outputs.extend(output);
    }

    /// Removes a reason not to read from clients for all of them.
    pub fn release_all(&mut self, why: Why) {
        for client in self.flow.held_for(why) {
            self.release(why, client);
        }
    }

    /// Starts work that may block on another thread. The caller keeps the number to recognise the result.
    pub fn start_work(&mut self, work: Work) -> WorkId {
        let id = WorkId(self.next_work);
        self.next_work += 1;
        self.output(Output::Host(HostWork::Work { id, work }));
        id
    }

    /// Runs a command. The caller keeps the number to recognise the result.
    pub fn run_command(&mut self, spec: CommandSpec) -> CommandId {
        let command = CommandId(self.next_command);
        self.next_command += 1;
        self.output(Output::Host(HostWork::RunCommand { command, spec }));
        command
    }

    /// Returns the number of a new copy that we send. Numbers follow the order of the requests.
    pub const fn begin_copy(&mut self) -> SourceId {
        let source = SourceId(self.next_copy);
        self.next_copy += 1;
        source
    }

    /// Returns the number of the next copy.
    pub const fn next_copy(&self) -> SourceId {
        SourceId(self.next_copy)
    }

    pub fn generate_token(&mut self) -> Token {
        Token::generate(&mut *self.random)
    }

    /// Returns our id as JSON.
    pub fn id_json(&self) -> String {
        self.own_id.map_or_else(|| "null".to_owned(), |id| id.json_text().to_string())
    }

    /// Adds the number of our own history to an answer, if there is one, and that we remember the tokens that we take.
    pub fn write_history(&self, out: &mut String) {
        if self.own_history != 0 {
            out.push_str(",\"history\":");
            out.push_str(&self.own_history.to_string());
            out.push_str(",\"once\":true");
        }
    }

    /// Returns whether this daemon handles `action` itself.
    pub fn is_known(&self, action: &Action) -> bool {
        let known = action.spec();
        known.is_some_and(|spec| spec.module.is_none_or(|module| self.has(module)))
    }

    /// Returns whether the daemon takes no new work.
    pub fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Returns whether a target is this daemon, by either of its names.
    pub fn is_own(&self, target: &str) -> bool {
        self.own_id.is_some_and(|id| self.names.target(target) == Some(self.names.id_of(id)))
    }

    /// Returns whether a node's id is ours, by either of our names.
    pub fn is_own_id(&self, id: NodeId) -> bool {
        self.own_id.is_some_and(|own| self.names.id_of(own) == self.names.id_of(id))
    }

    pub fn is_loaded(&self, module: Module) -> bool {
        self.options.modules.loaded.values().any(|loaded| loaded == module.package())
    }

    /// Returns whether the configuration has a module, loaded or not.
    pub fn is_configured(&self, module: Module) -> bool {
        module == Module::DbCleaner || self.options.modules.has(module)
    }

    /// Returns whether a module is configured and not unloaded.
    pub fn has(&self, module: Module) -> bool {
        self.is_configured(module) && (!module.can_be_unloaded() || self.is_loaded(module))
    }

    /// Returns the settings of the proxy, or its defaults.
    pub fn proxy_settings(&self) -> ProxySettings {
        self.options.modules.proxy.clone().unwrap_or_default()
    }

    /// Writes a row that does not end its token, whatever its code.
    pub fn row(&mut self, token: &Token, code: Code, data: String) {
        self.write(NewRow::part(token, code, data));
    }

    /// Writes the last row of a token.
    pub fn finish(&mut self, token: &Token, code: Code, data: String) {
        if !broken::is(Fault::EndRowDropped) {
            self.write(NewRow::last(token, code, data));
        }
    }

    /// Ends a token with an error.
    pub fn fail(&mut self, token: &Token, text: &str) {
        self.finish(token, Code::FINISHED_KO, json::message(text));
    }

    /// Ends a token with a row that has the data of its reply.
    pub fn reply_with_row(&mut self, kind: Action, token: &Token, code: Code, data: String) -> Handled {
        self.finish(token, code, data.clone());
        Handled::Reply(kind, code, data)
    }

    /// Ends the token of an unknown action.
    pub fn refuse_unknown(&mut self, action: &Action, token: &Token) -> Handled {
        let word: String = action.as_str().chars().take(64).collect();
        let data = serde_json::json!({ "error": "unknown_action", "message": format!("action '{word}' is unknown") });
        let data = data.to_string();
        self.finish(token, Code::FINISHED_KO, data.clone());
        Handled::refused(data)
    }

    pub fn write(&mut self, row: NewRow) {
        self.write_with(row, None, None);
    }

    /// Writes a row that is stored together with the other changes of its receipt, or not at all.
    pub fn write_with(&mut self, row: NewRow, origin: Option<RowOrigin>, receipt: Option<ReceiptId>) {
        self.rows_written += 1;
        let (change, closed) = self.journal.take(row, origin, self.now.wall);
        self.output(Output::Store { change, receipt });
        closed.into_iter().for_each(|change| self.store(change));
    }

    /// Writes a row that ends no token and that no room is told of.
    pub fn store_unseen(&mut self, row: NewRow, origin: Option<RowOrigin>, receipt: Option<ReceiptId>) {
        self.rows_written += 1;
        let change = row.into_change(origin, self.now.wall);
        self.output(Output::Store { change, receipt });
    }

    /// Returns the number of the next receipt, for rows that are stored together with the changes of that receipt or
    /// not at all.
    pub const fn next_receipt(&self) -> ReceiptId {
        self.journal.next_receipt()
    }

    /// Returns a receipt for `awaited`; `None` if too many are open.
    pub fn await_receipt(&mut self, awaited: Awaited) -> Option<ReceiptId> {
        self.journal.await_receipt(awaited)
    }

    /// Stores a node's mark together with the rows before it.
    pub fn store_mark(&mut self, id: NodeId, mark: SyncMark) -> ReceiptId {
        let receipt = self.journal.await_page();
        self.output(Output::Store { change: StoreChange::PutSyncMark(id, mark), receipt: Some(receipt) });
        receipt
    }

    /// Opens a token: for work of our own, or for a node that has not confirmed it yet. A token that was held back here
    /// and then sent to a node belongs to that node from then on.
    pub fn open_token(&mut self, token: &Token, node: Option<NodeId>) {
        if let Some(change) = self.journal.open(token, node) {
            self.store(change);
        }
    }

    /// Does the same together with the rows of a receipt, or not at all. Returns whether it was not open before.
    pub fn open_token_with(&mut self, token: &Token, receipt: ReceiptId) -> bool {
        let change = self.journal.open_first(token);
        let is_new = change.is_some();
        if let Some(change) = change {
            self.output(Output::Store { change, receipt: Some(receipt) });
        }
        is_new
    }

    /// Notes that a token that ends here now may be ended by its node later.
    pub fn may_end_late(&mut self, token: &Token) {
        let hash = token.digest();
        if self.late.insert(hash) {
            self.store(StoreChange::PutLate { hash, at: self.now.wall.as_seconds() });
        }
    }

    /// Gives back a request that was taken from the queue of another daemon and not begun: a row says so, and it is
    /// sent again.
    pub fn give_back(&mut self, token: &Token) {
        if !broken::is(Fault::GivenBackSilently) {
            self.row(token, Code::CONTINUE, RowTells::Back.data().to_owned());
        }
        self.close_token(token.as_str());
        self.store(StoreChange::GiveBackToken(token.digest()));
    }

    /// Closes a token that has ended elsewhere, or whose end its node owes from now on.
    pub fn close_token(&mut self, token: &str) {
        if let Some(change) = self.journal.close(token) {
            self.store(change);
        }
    }
}
