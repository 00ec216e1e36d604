//! The one state machine of the deciding part: inputs and time go in, side effects come out.
//!
//! ```text
//! core.handle_input(input, now);      // or handle_timeout(now)
//! while let Some(output) = core.poll_output() { … }
//! sleep until core.poll_timeout()
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::history::{HistoryRow, RowOrigin, StoreChange, SyncMark};
use crate::model::log::LogLine;
use crate::model::message::{Outgoing, Reply};
use crate::model::node_id::NodeId;
use crate::model::random::Random;
use crate::model::registration::RegistrationSource;
use crate::model::time::{Monotonic, Now};
use crate::model::token::Token;

use super::after_copies::AfterCopies;
use super::api::waits::{self, Calls};
use super::core_options::{CoreOptions, Restored};
use super::counters::Counters;
use super::dial_in::DialledIn;
use super::dial_out::DialledOut;
use super::get_log::Questions;
use super::history_sync::{OriginMarks, StoredPage};
use super::input::Input;
use super::listeners::Listeners;
use super::malformed::MalformedLog;
use super::modules::action::CommandQueue;
use super::modules::cron::Cron;
use super::modules::engine::EngineQueue;
use super::modules::nodes::NodesModule;
use super::modules::process_copy::Sinks;
use super::outbox::Outbox;
use super::output::{Output, ReceiptId};
use super::parents::Parents;
use super::passed_on::PassedOn;
use super::registry::Registry;
use super::relayed_copy::RelayedCopies;
use super::remote_copy::Copies;
use super::ssh::SshTasks;
use super::stopping::Stopping;
use super::timers::{Timer, Timers};
use super::wanted::Wanted;
use super::work::WorkTable;
use super::{json, modules};

/// Rows whose storing is awaited at most.
const RECEIPTS_MAX: usize = 100_000;

/// Everything that this daemon decides, for one daemon.
pub struct Core {
    pub(super) options: CoreOptions,
    pub(super) own_id: Option<NodeId>,
    /// Whether received messages become log lines.
    pub(super) debug: bool,
    /// The time of the event in hand.
    pub(super) now: Now,
    pub(super) random: Box<dyn Random>,
    pub(super) timers: Timers,
    pub(super) registry: Registry,
    pub(super) wanted: Wanted,
    pub(super) passed_on: PassedOn,
    pub(super) marks: BTreeMap<NodeId, SyncMark>,
    pub(super) origins: OriginMarks,
    pub(super) counters: Counters,
    pub(super) parents: Parents,
    /// The nodes that have dialled in.
    pub(super) dialled_in: DialledIn,
    /// The centrals that we dial.
    pub(super) dialled_out: DialledOut,
    pub(super) listeners: Listeners,
    pub(super) questions: Questions,
    pub(super) calls: Calls,
    pub(super) commands: CommandQueue,
    pub(super) after_copies: AfterCopies,
    pub(super) ssh: SshTasks,
    pub(super) copies: Copies,
    pub(super) relayed_copies: RelayedCopies,
    pub(super) sinks: Sinks,
    pub(super) nodes_module: NodesModule,
    pub(super) work: WorkTable,
    pub(super) cron: Cron,
    pub(super) engine: EngineQueue,
    pub(super) stopping: Stopping,
    pub(super) malformed: MalformedLog,
    outputs: VecDeque<Output>,
    receipts: BTreeMap<ReceiptId, Awaited>,
    next_receipt: u64,
    pong: PongText,
    constatus: ConStatusText,
    /// Tokens without an end, and the node that has not confirmed them.
    pub(super) open_tokens: BTreeMap<Token, Option<NodeId>>,
    /// What nodes owe that are not registered now; each has its [`Timer::Unconfirmed`].
    pub(super) absent_outboxes: BTreeMap<NodeId, Outbox>,
}

/// The `data` of our PONG, built again only when something in it has changed.
#[derive(Debug, Default)]
struct PongText {
    version: u64,
    text: String,
}

/// The `data` of our CONSTATUS, built again only when something in it has changed.
#[derive(Debug, Default)]
struct ConStatusText {
    version: u64,
    text: String,
    /// A call of the API has left a row with this text.
    has_row: bool,
}

/// What goes on once the database has spoken.
#[derive(Debug)]
enum Awaited {
    /// A PUTLOG is answered.
    Row { client: ClientId, token: Token },
    /// A sync goes on.
    Page(StoredPage),
    /// A COMMAND begins.
    Begin,
}

/// A row to be written.
#[derive(Clone, Debug)]
pub(super) struct NewRow {
    pub token: Option<String>,
    pub code: Code,
    /// Seconds since the epoch; `None` for now.
    pub etime: Option<i64>,
    pub instant: bool,
    /// JSON text.
    pub data: String,
    /// Whether it was taken over from a node.
    pub of_node: bool,
}

impl NewRow {
    /// A row of our own about something that happens now.
    pub(super) fn now(token: Option<&Token>, code: Code, data: String) -> Self {
        Self {
            token: token.map(|token| token.as_str().to_owned()),
            code,
            etime: None,
            instant: false,
            data,
            of_node: false,
        }
    }
}

/// Whether a row ends its token. One command of several leaves a row with code 1 or 2, too, but the request goes on or
/// says so.
pub(super) fn ends_token(code: Code, data: &str) -> bool {
    let is_part = |text| data.contains(text);
    code.is_terminal()
        // That of an ACTIONENGINE is its last row; it has no metadata.
        && !(code == Code::FINISHED_KO && is_part(r#""message":"command execution issue""#) && is_part(r#""metadata":"#))
        && !(code == Code::FINISHED_OK && is_part(r#""message":"command has been submitted""#))
}

impl Core {
    /// Starts: writes the starting row, registers the nodes of the register file and asks for their links.
    #[must_use]
    pub fn new(options: CoreOptions, restored: Restored, random: Box<dyn Random>, now: Now) -> Self {
        let mut core = Self {
            own_id: options.id,
            debug: options.debug,
            now,
            random,
            timers: Timers::default(),
            registry: Registry::default(),
            wanted: Wanted::default(),
            passed_on: PassedOn::default(),
            marks: restored.marks.into_iter().collect(),
            origins: OriginMarks::new(restored.origins),
            counters: Counters::default(),
            parents: Parents::default(),
            dialled_in: DialledIn::default(),
            dialled_out: DialledOut::default(),
            listeners: Listeners::default(),
            questions: Questions::default(),
            calls: Calls::default(),
            commands: CommandQueue::default(),
            after_copies: AfterCopies::default(),
            ssh: SshTasks::default(),
            copies: Copies::default(),
            relayed_copies: RelayedCopies::default(),
            sinks: Sinks::default(),
            nodes_module: NodesModule::default(),
            work: WorkTable::default(),
            cron: Cron::default(),
            engine: EngineQueue::default(),
            stopping: Stopping::No,
            malformed: MalformedLog::default(),
            outputs: VecDeque::new(),
            receipts: BTreeMap::new(),
            next_receipt: 0,
            pong: PongText::default(),
            constatus: ConStatusText::default(),
            open_tokens: BTreeMap::new(),
            absent_outboxes: BTreeMap::new(),
            options,
        };
        if !core.is_loaded(modules::CLEANER_PACKAGE) {
            core.options.loaded.insert("dbcleaner".to_owned(), modules::CLEANER_PACKAGE.to_owned());
        }
        core.add_row(NewRow::now(None, Code::STARTED, json::message("gorgoned is starting...")));
        let nodes = std::mem::take(&mut core.options.nodes);
        core.apply_registrations(RegistrationSource::File, nodes);
        core.restore_open_tokens(restored.open_tokens);
        if let Some(proxy) = &core.options.proxy {
            core.timers.set(Timer::SyncAll, now.monotonic + proxy.sync_time.max(Duration::from_secs(1)));
        }
        core.schedule_first_purge();
        core.start_cron();
        core.start_reading_pollers();
        core
    }

    /// Takes an event.
    pub fn handle_input(&mut self, input: Input, now: Now) {
        self.now = now;
        match input {
            Input::ClientMessage { client, message } => self.client_message(client, message),
            Input::ClientIsDaemon(client) => self.parents.is_daemon(client),
            Input::ClientMalformed { client, token, reason } => self.client_malformed(client, token, &reason),
            Input::ClientGone(client) => self.client_gone(client),
            Input::LinkUp(node) => self.link_up(node),
            Input::LinkDown { node, reason } => self.link_down(node, &reason),
            Input::NodeMessage { node, message } => self.node_message(node, &message),
            Input::SendFailed { node, token, reason } => self.send_failed(node, token.as_ref(), &reason),
            Input::Stored { receipt, stored } => self.stored(receipt, stored),
            Input::PurgeLeft => self.purge_left(),
            Input::Host(done) => self.host_done(done),
            Input::WebSocketMessage { client, message } => self.web_socket_message(client, &message),
            Input::ClientNotReached { client, token } => self.client_not_reached(client, token.as_ref()),
            Input::ParentUp { kind, identity } => self.parent_up(kind, identity),
            Input::ParentDown { kind, reason } => self.parent_down(kind, &reason),
            Input::ParentMessage { kind, message } => self.parent_message(kind, message),
            Input::SshEnded { task, end } => self.ssh_ended(task, end),
            Input::Room(node) => self.room_for(node),
            Input::ApiCall { id, call } => self.api_call(id, &call),
            Input::ApiCancelled(id) => self.cancel_call(id),
            Input::NodesWanted { source, nodes } => self.nodes_wanted(source, nodes),
            Input::Stop => self.stop(),
        }
        self.after_event();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        while let Some(timer) = self.timers.pop(now.monotonic) {
            self.timer_due(timer);
        }
        self.after_event();
    }

    /// The next side effect; drain it to the end after every event, and after the start.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called; `None` when nothing is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    /// Our own id, once it is known.
    #[must_use]
    pub const fn own_id(&self) -> Option<NodeId> {
        self.own_id
    }

    fn timer_due(&mut self, timer: Timer) {
        match timer {
            Timer::Ping(id) => self.ping_due(id),
            Timer::PingLink(id) => self.ping_found_no_link(id),
            Timer::Pong(id) => self.ping_got_no_pong(id),
            Timer::SyncTimeout(id) => self.sync_timed_out(id),
            Timer::Unconfirmed(id) => self.give_up_unconfirmed(id),
            Timer::Register(kind) => self.register_with_parent(kind),
            Timer::ParentSilence(kind) => self.parent_is_silent(kind),
            Timer::Parent(client) => self.tell_parent(client),
            Timer::Listener(token) => self.listener_due(&token),
            Timer::Copy(source) => self.copy_timer_due(source),
            Timer::CopyPace(node) => self.copy_pace_due(node),
            Timer::AfterCopies => self.wait_for_copies_no_longer(),
            Timer::Sink(token) => self.sink_is_idle(&token),
            Timer::Call(call) => waits::waited(self, call),
            Timer::Poll(target) => waits::poll_due(self, target),
            Timer::SyncAll => {
                self.sync_all();
                let period = self.proxy_settings().sync_time.max(Duration::from_secs(1));
                self.timers.set(Timer::SyncAll, self.now.monotonic + period);
            }
            Timer::Cron => self.cron_due(),
            Timer::ReadPollers => self.read_pollers(),
            Timer::Purge => self.purge(),
            Timer::Stop => self.stop_due(),
        }
    }

    fn after_event(&mut self) {
        self.run_after_copies();
        self.run_listener_events();
        self.check_stopped();
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn log(&mut self, line: LogLine) {
        self.outputs.push_back(Output::Log(line));
    }

    pub(super) fn store(&mut self, change: StoreChange) {
        self.outputs.push_back(Output::Store { change, receipt: None });
    }

    pub(super) fn reply(&mut self, client: ClientId, reply: Reply) {
        match client.parent() {
            Some(kind) => self.reply_to_parent(kind, reply),
            None => self.output(Output::SendToClient { client, outgoing: Outgoing::Reply(reply) }),
        }
    }

    pub(super) fn generate_token(&mut self) -> Token {
        Token::generate(&mut *self.random)
    }

    /// Our id as JSON.
    pub(super) fn id_json(&self) -> String {
        self.own_id.map_or_else(|| "null".to_owned(), |id| id.to_string())
    }

    /// Writes a row, and wakes whoever waits for it.
    pub(super) fn add_row(&mut self, row: NewRow) {
        self.write_row(row, None, None);
    }

    /// Ends a token with an error.
    pub(super) fn end_with_error(&mut self, token: &Token, text: &str) {
        self.add_row(NewRow::now(Some(token), Code::FINISHED_KO, json::message(text)));
    }

    /// Writes a row of a client and tells it when it is stored; `false` when too many rows are awaited.
    pub(super) fn add_row_for(&mut self, client: ClientId, token: Token, row: NewRow) -> bool {
        if self.receipts.len() >= RECEIPTS_MAX {
            return false;
        }
        let receipt = self.next_receipt();
        self.next_receipt += 1;
        self.receipts.insert(receipt, Awaited::Row { client, token });
        self.write_row(row, None, Some(receipt));
        true
    }

    /// Moves a node's mark together with the rows before it; the sync goes on when all of them are stored.
    pub(super) fn store_mark(&mut self, id: NodeId, mark: SyncMark, page: StoredPage) {
        let receipt = self.next_receipt();
        self.next_receipt += 1;
        self.receipts.insert(receipt, Awaited::Page(page));
        self.output(Output::Store { change: StoreChange::PutSyncMark(id, mark), receipt: Some(receipt) });
    }

    /// A receipt for the first rows of a COMMAND; `None` when too many rows are awaited.
    pub(super) fn await_begin(&mut self) -> Option<ReceiptId> {
        if self.receipts.len() >= RECEIPTS_MAX {
            return None;
        }
        let receipt = self.next_receipt();
        self.next_receipt += 1;
        self.receipts.insert(receipt, Awaited::Begin);
        Some(receipt)
    }

    /// The number of the next receipt: for rows that are to be stored together with what takes it, or lost with it.
    pub(super) const fn next_receipt(&self) -> ReceiptId {
        ReceiptId(self.next_receipt)
    }

    /// Writes a row that is given up when the mark behind it cannot be stored.
    pub(super) fn add_row_of_page(&mut self, row: NewRow, receipt: Option<ReceiptId>) {
        self.write_row(row, None, receipt);
    }

    /// The same for a row of a node, written first elsewhere.
    pub(super) fn add_row_of_node(&mut self, row: NewRow, origin: Option<RowOrigin>, receipt: Option<ReceiptId>) {
        self.write_row(row, origin, receipt);
    }

    fn write_row(&mut self, row: NewRow, origin: Option<RowOrigin>, receipt: Option<ReceiptId>) {
        if let Some(token) = &row.token {
            self.listeners.row_added(token, row.code, &row.data);
        }
        let ended = row.token.clone().filter(|_| ends_token(row.code, &row.data));
        let of_node = row.of_node;
        let row = HistoryRow {
            id: 0,
            token: row.token,
            code: row.code,
            etime: row.etime.unwrap_or_else(|| self.now.wall.as_seconds()),
            ctime: 0.0,
            instant: row.instant,
            data: row.data,
            origin,
        };
        self.outputs.push_back(Output::Store { change: StoreChange::InsertRow(row), receipt });
        if let Some(token) = ended {
            self.token_ended(&token);
            self.dialled_out.token_ended(&token);
            self.cron.token_ended(&token);
            self.copy_token_ended(&token);
            waits::token_ended(self, &token);
            if !of_node {
                self.tell_parents(false);
            }
        }
    }

    /// Whether nothing is handed to the database that it has not answered for.
    pub(super) fn all_stored(&self) -> bool {
        self.receipts.is_empty()
    }

    fn stored(&mut self, receipt: ReceiptId, stored: bool) {
        match self.receipts.remove(&receipt) {
            Some(Awaited::Row { client, token }) => {
                let (code, data) = if stored {
                    (Code::BEGIN, r#"{"message":"message inserted"}"#)
                } else {
                    (Code::FINISHED_KO, r#"{"message":"database issue"}"#)
                };
                self.reply(client, Reply { kind: Action::Ack, token: Some(token), code, data: data.to_owned() });
            }
            Some(Awaited::Page(page)) => self.page_stored(&page, stored),
            Some(Awaited::Begin) => self.command_begun(receipt, stored),
            None => {}
        }
    }

    /// The `data` of a PONG.
    pub(super) fn pong_text(&mut self) -> String {
        let version = self.registry.version() + 1;
        if self.pong.version != version {
            let mut text =
                format!("{{\"action\":\"ping\",\"message\":\"ping ok\",\"id\":{},\"hostname\":", self.id_json());
            json::push_string(&mut text, &self.options.hostname);
            text.push_str(",\"data\":");
            text.push_str(&super::constatus::write_map(&self.registry));
            text.push('}');
            self.pong = PongText { version, text };
        }
        self.pong.text.clone()
    }

    /// The `data` of a CONSTATUS, and whether an answer to the API leaves a row: the first of those that say the same.
    pub(super) fn constatus_text(&mut self, is_api: bool) -> (String, bool) {
        let version = self.registry.version() + 1;
        if self.constatus.version != version {
            let map = super::constatus::write_map(&self.registry);
            let text = format!("{{\"action\":\"constatus\",\"message\":\"ok\",\"data\":{map}}}");
            self.constatus = ConStatusText { version, text, has_row: false };
        }
        let is_new = is_api && !std::mem::replace(&mut self.constatus.has_row, true);
        (self.constatus.text.clone(), is_new)
    }

    /// Our id changed.
    pub(super) fn forget_pong_text(&mut self) {
        self.pong.version = 0;
    }

    /// Whether a package is loaded.
    pub(super) fn is_loaded(&self, package: &str) -> bool {
        self.options.loaded.values().any(|loaded| loaded == package)
    }

    fn schedule_first_purge(&mut self) {
        self.timers.set(Timer::Purge, self.now.monotonic + modules::cleaner::PERIOD);
    }
}
