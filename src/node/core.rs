//! The single state machine of the deciding part: its inputs are events and the time, its outputs are side effects.
//!
//! ```text
//! core.handle_input(input, now);      // or handle_timeout(now)
//! while let Some(output) = core.poll_output() { … }
//! sleep until core.poll_timeout()
//! ```

mod host;
mod node_messages;
mod parents;
mod passing_on;
mod requests;
mod stopping;

use crate::model::code::Code;
use crate::model::connection::{ClientId, ParentKind};
use crate::model::node_id::NodeId;
use crate::model::random::Random;
use crate::model::registration::RegistrationSource;
use crate::model::stored::Restored;
use crate::model::time::{Monotonic, Now};

use super::api::ApiRoom;
use super::api::waits::Calls;
use super::context::Context;
use super::copies::Copies;
use super::core_options::CoreOptions;
use super::counters::Counters;
use super::dial_out::DialledOut;
use super::get_log::Questions;
use super::guard::Guard;
use super::input::Input;
use super::journal::{Awaited, NewRow};
use super::json;
use super::late_tokens::LateTokens;
use super::listeners::{Listeners, PENDING_MAX};
use super::malformed::MalformedLog;
use super::modules::action::Commands;
use super::modules::{Modules, cleaner};
use super::nodes::Nodes;
use super::output::{Output, ReceiptId};
use super::peer::{Handled, OwnRequest, Peer};
use super::put_logs::PutLogs;
use super::queue::{HandedOver, Queue, Sending};
use super::ssh::SshHosts;
use super::status::Status;
use super::subscribers::Subscribers;
use super::sync::{SyncRoom, Syncs, asking};
use super::taken_tokens::TakenTokens;
use super::timers::Timer;

/// All decisions of one daemon.
pub struct Core {
    pub(super) context: Context,
    pub(super) nodes: Nodes,
    guard: Guard,
    syncs: Syncs,
    counters: Counters,
    subscribers: Subscribers,
    /// The centrals that we dial.
    dialled_out: DialledOut,
    listeners: Listeners,
    questions: Questions,
    calls: Calls,
    pub(super) commands: Commands,
    ssh: SshHosts,
    copies: Copies,
    pub(super) modules: Modules,
    taken_tokens: TakenTokens,
    malformed: MalformedLog,
    put_logs: PutLogs,
    queue: Queue,
    status: Status,
}

impl Core {
    /// Writes the starting row, registers the nodes of the register file and requests their links.
    #[must_use]
    pub fn new(options: CoreOptions, restored: Restored, random: Box<dyn Random>, now: Now) -> Self {
        let mut context = Context::new(options, random, now, restored.newest_ctime);
        context.own_history = restored.origins.own;
        context.late = LateTokens::restored(restored.late_tokens);
        let status = Status::new(&context);
        let mut core = Self {
            context,
            nodes: Nodes::new(restored.marks, now.wall),
            guard: Guard::default(),
            syncs: Syncs::new(restored.origins),
            counters: Counters::default(),
            subscribers: Subscribers::default(),
            dialled_out: DialledOut::default(),
            listeners: Listeners::default(),
            questions: Questions::default(),
            calls: Calls::default(),
            commands: Commands::default(),
            ssh: SshHosts::default(),
            copies: Copies::new(restored.ended_copies),
            modules: Modules::default(),
            taken_tokens: TakenTokens::restored(restored.taken_tokens),
            malformed: MalformedLog::default(),
            put_logs: PutLogs::default(),
            queue: Queue::default(),
            status,
        };
        core.context.write(NewRow::without_token(Code::STARTED, json::message("gorgoned is starting...")));
        let nodes = std::mem::take(&mut core.context.options.nodes);
        core.nodes.apply_registrations(&mut core.context, RegistrationSource::File, nodes);
        core.modules.legacycmd.start(&mut core.context, restored.legacy, &restored.open_tokens);
        core.queue.start(&mut core.context, restored.queue);
        core.nodes.restore_open_tokens(&mut core.context, restored.open_tokens, |token| {
            core.modules.legacycmd.keeps(token) || core.queue.keeps(token) || restored.not_begun.contains(token)
        });
        core.taken_tokens.give_back(&mut core.context, &restored.not_begun);
        asking::start(&mut core.context);
        cleaner::start(&mut core.context);
        core.modules.cron.start(&mut core.context);
        core.modules.nodes.start(&mut core.context);
        core
    }

    /// Handles an event.
    pub fn handle_input(&mut self, input: Input, now: Now) {
        self.context.set_now(now);
        match input {
            Input::ClientMessage { client, message } => self.client_message(client, message),
            Input::ClientBound { client, key } => self.guard.bind(client, key),
            Input::ClientAddress { client, address } => self.nodes.note_address(client, address),
            Input::ClientIsDaemon(client) => self.subscribers.is_daemon(client),
            Input::ClientMalformed { client, token, reason } => self.client_malformed(client, token, &reason),
            Input::ClientGone(client) => self.client_gone(client),
            Input::NodeLink(node, link) => self.nodes.links().note_node(node, link),
            Input::ClientLink(client, link) => self.nodes.links().note_client(client, link),
            Input::LinkUp(node) => self.nodes.link_up(&mut self.context, node),
            Input::LinkDown { node, reason } => self.nodes.link_down(&mut self.context, node, &reason),
            Input::NodeMessage { node, message } => self.node_message(node, &message),
            Input::SendFailed { node, token, reason } => self.send_failed(node, token.as_ref(), &reason),
            Input::Stores(stores) => {
                self.context.stores = stores;
                self.queue_may_store();
            }
            Input::MayBegin(receipt) => self.commands.command_may_begin(&mut self.context, receipt),
            Input::Stored { receipt, stored } => self.stored(receipt, stored),
            Input::LeftOut(receipt) => {
                if matches!(self.context.journal.stored(receipt), Some(Awaited::Queue)) {
                    self.queue.left_out(&mut self.context, receipt);
                }
            }
            Input::PurgeLeft => cleaner::purge_left(&mut self.context),
            Input::Host(done) => self.host_done(done),
            Input::WebSocketMessage { client, message } => self.web_socket_message(client, &message),
            Input::ClientNotReached { client, token } => self.client_not_reached(client, token.as_ref()),
            Input::ParentUp { kind, identity } => self.dialled_out.parent_up(&mut self.context, kind, identity),
            Input::ParentDown { kind, reason } => {
                self.dialled_out.parent_down(&mut self.context, &mut self.subscribers, kind, &reason)
            }
            Input::ParentMessage { kind, message } => self.parent_message(kind, message),
            Input::SshEnded { task, end } => {
                if let Some((node, ping)) = self.ssh.ended(&mut self.context, task, end) {
                    self.nodes.ssh_pinged(&mut self.context, node, ping);
                }
            }
            Input::Room(node) => self.copies.room(&mut self.context, &mut self.nodes, node),
            Input::ApiCall { id, call } => self.api_call(id, &call),
            Input::ApiCancelled(id) => self.api().forget(id),
            Input::ApiCallerEnded(id) => self.api().ask_history(id),
            Input::NodesWanted { source, nodes } => self.nodes.nodes_wanted(&mut self.context, source, nodes),
            Input::Reconfigured { action, proxy } => {
                self.context.options.modules.action = action.map(|action| *action);
                self.context.options.modules.proxy = proxy.map(|proxy| *proxy);
            }
            Input::OwnKey(thumbprint) => self.context.options.thumbprint = thumbprint,
            Input::SetDebug(debug) => (self.context.options.debug, self.context.debug) = (debug, debug),
            Input::CommandFilesTouched => self.modules.legacycmd.look_for_files(&mut self.context),
            Input::ClockIsRight(is_right) => self.context.clock_watch.machine_is_right(is_right),
            Input::Stop => self.stop(),
        }
        self.after_event();
    }

    /// Notes that the central to which we have just connected is a Perl one.
    pub const fn central_is_perl(&mut self, kind: ParentKind) {
        self.dialled_out.parent_is_perl(kind);
    }

    /// Whether a client or node is a daemon of our own kind, as far as it has shown.
    #[must_use]
    pub fn is_ours_at(&self, client: Option<ClientId>, node: Option<NodeId>) -> Option<bool> {
        let node = node.or_else(|| self.nodes.spoken_for_by(client?));
        let pages = node.and_then(|node| self.nodes.get(node)).and_then(|node| node.sync.peer_pages());
        pages.or_else(|| self.subscribers.pages_of(client?))
    }

    /// Handles all timers that are due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.context.set_now(now);
        while let Some(timer) = self.context.timers.pop(now.monotonic) {
            self.timer_due(timer);
            self.tell_ended();
        }
        self.after_event();
    }

    /// Returns the next side effect. Call this until it returns `None` after every event and after the start.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.context.poll_output()
    }

    /// Returns whether [`Self::poll_output`] has a side effect.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.context.has_output()
    }

    /// Returns when to call [`Self::handle_timeout`]; `None` if no timer is set.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        self.context.timers.next()
    }

    /// Returns our own id, if it is known.
    #[must_use]
    pub const fn own_id(&self) -> Option<NodeId> {
        self.context.own_id
    }

    /// Returns the number of bytes of requests and chunks that wait in the rooms.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let rooms = self.copies.held_bytes() + self.commands.held_bytes() + self.modules.engine.held_bytes();
        rooms + self.syncs.held_bytes(&self.nodes)
    }

    fn timer_due(&mut self, timer: Timer) {
        match timer {
            Timer::Ping(id) => self.nodes.ping_due(&mut self.context, id),
            Timer::PingLink(id) => self.nodes.ping_found_no_link(&mut self.context, id),
            Timer::Pong(id) => self.nodes.ping_got_no_pong(&mut self.context, id),
            Timer::Rival(id) => self.nodes.older_is_silent(&mut self.context, id),
            Timer::Repeat(id) => self.nodes.repeat_unanswered(&mut self.context, id),
            Timer::SyncTimeout(id) => self.sync().sync_timed_out(id),
            Timer::Unconfirmed(id) => self.nodes.give_up_unconfirmed(&mut self.context, id),
            Timer::Unlisted(id) => self.nodes.unlisted_stays_away(&mut self.context, id),
            Timer::Register(kind) => self.dialled_out.register_with_parent(&mut self.context, kind),
            Timer::ParentSilence(kind) => {
                self.dialled_out.parent_is_silent(&mut self.context, &mut self.subscribers, kind)
            }
            Timer::Subscriber(client) => self.subscribers.tell_subscriber(&mut self.context, client),
            Timer::Listener(token) => {
                if let Some(target) = self.listeners.listener_due(&mut self.context, &token) {
                    asking::poll_log_of(&mut self.context, &mut self.nodes, &target);
                }
            }
            Timer::Copy(source) => self.copies.sender(&mut self.context, &mut self.nodes).timer_due(source),
            Timer::CopyPace(node) => self.copies.sender(&mut self.context, &mut self.nodes).pace_due(node),
            Timer::Fetch(id) => self.copies.fetcher(&mut self.context, &mut self.nodes).timer_due(id),
            Timer::Served(source) => self.copies.serving.timer_due(&mut self.context, source),
            Timer::AfterCopies => self.copies.free_all(),
            Timer::Sink(token) => self.copies.receiving.timer_due(&mut self.context, &token),
            Timer::Call(call) => self.api().waited(call),
            Timer::Poll(target) => self.api().poll_due(target),
            Timer::SyncAll => asking::sync_due(&mut self.context, &mut self.nodes),
            Timer::Cron => {
                self.modules.cron.look_at_clock(&mut self.context);
                self.run_jobs();
            }
            Timer::ReadPollers => self.modules.nodes.read(&mut self.context),
            Timer::CommandFiles => self.modules.legacycmd.look_for_files(&mut self.context),
            Timer::CommandTables => self.modules.legacycmd.read_tables(&mut self.context),
            Timer::Orders => self.run_orders(),
            Timer::InOrder => self.commands.next_in_order(&mut self.context),
            Timer::Queue(target) => self.queue.try_again(target),
            Timer::QueueDue => self.queue.look_for_due(&mut self.context),
            Timer::Purge => {
                if cleaner::purge(&mut self.context) {
                    self.nodes.forget_old_marks(&mut self.context);
                }
            }
            Timer::Stop => self.stop_due(),
        }
    }

    fn after_event(&mut self) {
        self.modules.cron.notice_clock(&mut self.context);
        self.queue.look_at_clock(&mut self.context);
        self.tell_ended();
        self.run_held();
        self.run_listener_events();
        self.collect_statistics();
        self.tell_ended();
        self.check_stopped();
    }

    /// Runs a request of one of the rooms.
    fn run(&mut self, OwnRequest { action, token, target, data }: OwnRequest) -> Handled {
        self.request(Peer::Ourselves, action, &token, &target, data)
    }

    /// Runs the jobs of `cron` that are due.
    fn run_jobs(&mut self) {
        while let Some(job) = self.modules.cron.next_due() {
            let token = job.token.clone();
            let handled = self.run(job);
            self.modules.cron.job_started(&mut self.context, &token, &handled);
        }
    }

    /// Runs the actions that rows have triggered. They end, because each token ends and its listener with it, but their
    /// number per event is limited so that the daemon is not held up.
    fn run_listener_events(&mut self) {
        for _ in 0..PENDING_MAX {
            let Some(event) = self.listeners.next_event(&mut self.context, &mut self.modules.statistics) else {
                return;
            };
            self.run(event);
        }
    }

    /// Sends nodes the commands that print their statistics.
    fn collect_statistics(&mut self) {
        while let Some(command) = self.modules.statistics.next_due() {
            self.run(command);
        }
    }

    /// Returns the handling of API calls with references to its state.
    fn api(&mut self) -> ApiRoom<'_> {
        self.calls.room(&mut self.context, &mut self.nodes, &mut self.questions)
    }

    /// Returns the sending of queued requests with references to its state.
    fn queue_sending(&mut self) -> Sending<'_> {
        self.queue.sending(&mut self.context, &mut self.nodes, (&self.copies, &self.ssh, &self.syncs))
    }

    /// Returns the syncs with references to their state.
    fn sync(&mut self) -> SyncRoom<'_> {
        self.syncs.room(&mut self.context, &mut self.nodes, &mut self.subscribers)
    }

    /// Tells the rooms about changed links, completed syncs and ended tokens, and sends what waited for them.
    fn tell_ended(&mut self) {
        self.tell_rooms();
        while self.queue.has_to_send() {
            self.send_queued();
            self.tell_rooms();
        }
    }

    /// Sends what is queued for nodes that can be reached. What is handed over is handled as any request.
    fn send_queued(&mut self) {
        while let Some(HandedOver { token, action, data, route }) = self.queue_sending().next() {
            let handled = match route {
                Some(route) => self.hand_on(Peer::Ourselves, action, &token, route, data),
                None => Ok(self.request(Peer::Ourselves, action, &token, "", data)),
            };
            self.queue_sending().handed_over(&token, handled);
        }
    }

    fn tell_rooms(&mut self) {
        self.tell_links();
        while let Some((node, serial)) = self.syncs.next_finished() {
            self.api().synced(node, serial);
            self.copies.sender(&mut self.context, &mut self.nodes).synced(node);
        }
        while let Some(ended) = self.context.journal.next_ended() {
            self.status.ended(&ended, self.nodes.target_of(&ended.token), self.context.now);
            self.nodes.owed_token_ended(&ended);
            self.modules.cron.token_ended(&mut self.context, &ended);
            self.modules.legacycmd.token_ended(&mut self.context, &ended);
            self.copies.token_ended(&mut self.context, &mut self.nodes, &ended.token);
            self.api().token_ended(&ended.token);
            self.queue.forget(&mut self.context, &ended.token);
            self.commands.token_ended(&mut self.context, &ended.token);
            if !ended.of_node {
                self.subscribers.tell_subscribers(&mut self.context, false);
            }
        }
        while let Some((token, tells)) = self.context.journal.next_token_of_node() {
            self.queue.row_tells(&mut self.context, &token, tells);
        }
        while let Some(token) = self.context.journal.next_lost() {
            self.modules.legacycmd.send_again(&mut self.context, &token);
        }
        while let Some(token) = self.context.journal.next_confirmed() {
            self.modules.legacycmd.confirmed(&mut self.context, token.as_str());
        }
        if self.modules.legacycmd.take_imported() {
            self.modules.nodes.start(&mut self.context);
        }
    }

    /// Handles [`Timer::Orders`]: sends the orders of Centreon Web to the nodes that can be reached.
    fn run_orders(&mut self) {
        self.modules.legacycmd.look_again(&mut self.context);
        while let Some(order) = self.modules.legacycmd.next_due(&mut self.context, &self.nodes, &self.taken_tokens) {
            let token = order.token.clone();
            let handled = self.run(order);
            self.modules.legacycmd.handed_over(&mut self.context, &token, &handled);
        }
    }

    fn stored(&mut self, receipt: ReceiptId, stored: bool) {
        match self.context.journal.stored(receipt) {
            Some(Awaited::PutLog) => self.put_logs.stored(&mut self.context, receipt, stored),
            Some(Awaited::Page) => self.sync().page_stored(receipt, stored),
            Some(Awaited::Begin) => {
                if let Some(token) = self.commands.command_begun(&mut self.context, receipt, stored) {
                    self.api().token_not_stored(token.as_str());
                }
            }
            Some(Awaited::Queue) => {
                if let Some(token) = self.queue.stored(&mut self.context, receipt, stored) {
                    self.api().token_not_stored(token.as_str());
                }
            }
            Some(Awaited::Pipe) => self.modules.engine.begun(&mut self.context, receipt, stored),
            Some(Awaited::Orders) => self.modules.legacycmd.stored(&mut self.context, receipt, stored),
            None => {}
        }
    }
}
