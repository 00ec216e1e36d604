//! The one state machine of the deciding part: inputs and time go in, side effects come out.
//!
//! ```text
//! core.handle_input(input, now);      // or handle_timeout(now)
//! while let Some(output) = core.poll_output() { … }
//! sleep until core.poll_timeout()
//! ```

mod node_messages;
mod parents;
mod passing_on;

use crate::node::peer::Peer;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::code::Code;
use crate::model::connection::{ClientId, ParentKind};
use crate::model::module::Module;
use crate::model::node_id::NodeId;
use crate::model::random::Random;
use crate::model::registration::RegistrationSource;
use crate::model::time::{Monotonic, Now};
use crate::model::token::Token;

use super::api::waits::{self, Calls};
use super::context::Context;
use super::copies::Copies;
use super::core_options::{CoreOptions, Restored};
use super::counters::Counters;
use super::dial_out::DialledOut;
use super::get_log::Questions;
use super::guard::Guard;
use super::input::Input;
use super::journal::{Awaited, NewRow};
use super::json;
use super::listeners::{Listeners, PENDING_MAX};
use super::malformed::MalformedLog;
use super::modules::action::Commands;
use super::modules::cleaner;
use super::modules::cron::Cron;
use super::modules::engine::Engine;
use super::modules::nodes::NodesModule;
use super::nodes::Nodes;
use super::output::{Output, ReceiptId};
use super::ssh::SshHosts;
use super::subscribers::Subscribers;
use super::sync::{SyncRoom, Syncs, asking};
use super::timers::Timer;

/// Everything that this daemon decides, for one daemon.
pub struct Core {
    pub(super) context: Context,
    pub(super) nodes: Nodes,
    pub(super) guard: Guard,
    syncs: Syncs,
    pub(super) counters: Counters,
    pub(super) subscribers: Subscribers,
    /// The centrals that we dial.
    pub(super) dialled_out: DialledOut,
    pub(super) listeners: Listeners,
    pub(super) questions: Questions,
    pub(super) calls: Calls,
    pub(super) commands: Commands,
    pub(super) ssh: SshHosts,
    pub(super) copies: Copies,
    pub(super) nodes_module: NodesModule,
    pub(super) cron: Cron,
    pub(super) engine: Engine,
    pub(super) malformed: MalformedLog,
    /// The clients that hear whether the row of their PUTLOG is stored.
    pub(super) put_logs: BTreeMap<ReceiptId, (ClientId, Token)>,
}

impl Core {
    /// Starts: writes the starting row, registers the nodes of the register file and asks for their links.
    #[must_use]
    pub fn new(options: CoreOptions, restored: Restored, random: Box<dyn Random>, now: Now) -> Self {
        let mut context = Context::new(options, random, now, restored.newest_ctime);
        context.own_history = restored.origins.own;
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
            copies: Copies::default(),
            nodes_module: NodesModule::default(),
            cron: Cron::default(),
            engine: Engine::default(),
            malformed: MalformedLog::default(),
            put_logs: BTreeMap::new(),
        };
        let cleaner = Module::DbCleaner;
        if !core.context.is_loaded(cleaner) {
            core.context.options.loaded.insert(cleaner.name().to_owned(), cleaner.package().to_owned());
        }
        core.context.write(NewRow::without_token(Code::STARTED, json::message("gorgoned is starting...")));
        let nodes = std::mem::take(&mut core.context.options.nodes);
        core.nodes.apply_registrations(&mut core.context, RegistrationSource::File, nodes);
        core.nodes.restore_open_tokens(&mut core.context, restored.open_tokens);
        if let Some(proxy) = &core.context.options.proxy {
            core.context.timers.set(Timer::SyncAll, now.monotonic + proxy.sync_time.max(Duration::from_secs(1)));
        }
        cleaner::start(&mut core.context);
        core.cron.start_cron(&mut core.context);
        core.nodes_module.start(&mut core.context);
        core
    }

    /// Takes an event.
    pub fn handle_input(&mut self, input: Input, now: Now) {
        self.context.set_now(now);
        match input {
            Input::ClientMessage { client, message } => self.client_message(client, message),
            Input::ClientBound { client, key } => self.guard.bind(client, key),
            Input::ClientAddress { client, address } => self.nodes.note_address(client, address),
            Input::ClientIsDaemon(client) => self.subscribers.is_daemon(client),
            Input::ClientMalformed { client, token, reason } => self.client_malformed(client, token, &reason),
            Input::ClientGone(client) => self.client_gone(client),
            Input::LinkUp(node) => self.nodes.link_up(&mut self.context, node),
            Input::LinkDown { node, reason } => self.nodes.link_down(&mut self.context, node, &reason),
            Input::NodeMessage { node, message } => self.node_message(node, &message),
            Input::SendFailed { node, token, reason } => self.send_failed(node, token.as_ref(), &reason),
            Input::Stored { receipt, stored } => self.stored(receipt, stored),
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
            Input::ApiCancelled(id) => self.cancel_call(id),
            Input::ApiCallerEnded(id) => super::api::waits::ask_history(self, id),
            Input::NodesWanted { source, nodes } => self.nodes.nodes_wanted(&mut self.context, source, nodes),
            Input::Reconfigured { action, proxy } => {
                self.context.options.action = action.map(|action| *action);
                self.context.options.proxy = proxy.map(|proxy| *proxy);
            }
            Input::Stop => self.stop(),
        }
        self.after_event();
    }

    /// The central that we dialled, and have just been connected to, is a Perl one.
    pub const fn central_is_perl(&mut self, kind: ParentKind) {
        self.dialled_out.parent_is_perl(kind);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.context.set_now(now);
        while let Some(timer) = self.context.timers.pop(now.monotonic) {
            self.timer_due(timer);
            self.tell_ended();
        }
        self.after_event();
    }

    /// The next side effect; drain it to the end after every event, and after the start.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.context.poll_output()
    }

    /// When [`Self::handle_timeout`] wants to be called; `None` when nothing is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        self.context.timers.next()
    }

    /// Our own id, once it is known.
    #[must_use]
    pub const fn own_id(&self) -> Option<NodeId> {
        self.context.own_id
    }

    fn timer_due(&mut self, timer: Timer) {
        match timer {
            Timer::Ping(id) => self.nodes.ping_due(&mut self.context, id),
            Timer::PingLink(id) => self.nodes.ping_found_no_link(&mut self.context, id),
            Timer::Pong(id) => self.nodes.ping_got_no_pong(&mut self.context, id),
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
                    self.nodes.poll_log_of(&mut self.context, &target);
                }
            }
            Timer::Copy(source) => self.copies.sender(&mut self.context, &mut self.nodes).timer_due(source),
            Timer::CopyPace(node) => self.copies.sender(&mut self.context, &mut self.nodes).pace_due(node),
            Timer::AfterCopies => self.copies.free_all(),
            Timer::Sink(token) => self.copies.receiving.timer_due(&mut self.context, &token),
            Timer::Call(call) => waits::waited(self, call),
            Timer::Poll(target) => waits::poll_due(self, target),
            Timer::SyncAll => {
                asking::sync_all(&mut self.context, &mut self.nodes);
                let period = self.context.proxy_settings().sync_time.max(Duration::from_secs(1));
                self.context.timers.set(Timer::SyncAll, self.context.now.monotonic + period);
            }
            Timer::Cron => {
                self.cron.look_at_clock(&mut self.context);
                self.run_jobs();
            }
            Timer::ReadPollers => self.nodes_module.read(&mut self.context),
            Timer::Purge => cleaner::purge(&mut self.context),
            Timer::Stop => self.stop_due(),
        }
    }

    fn after_event(&mut self) {
        self.cron.notice_clock(&mut self.context);
        self.tell_ended();
        self.run_held();
        self.run_listener_events();
        self.tell_ended();
        self.check_stopped();
    }

    /// Runs the jobs that are due.
    pub(super) fn run_jobs(&mut self) {
        while let Some(run) = self.cron.next_due() {
            let handled = self.request(Peer::Ourselves, run.action, &run.token, &run.target, run.data);
            self.cron.job_started(&mut self.context, &run.token, run.is_here, &handled);
        }
    }

    /// Runs the actions that rows have triggered. Each token ends sooner or later and its listener with it, but one
    /// event must not hold up the daemon.
    fn run_listener_events(&mut self) {
        for _ in 0..PENDING_MAX {
            let Some(event) = self.listeners.next_event(&mut self.context) else { return };
            self.request(Peer::Ourselves, event.action, &event.token, "", event.data);
        }
    }

    /// The syncs with what they work on.
    pub(super) fn sync(&mut self) -> SyncRoom<'_> {
        SyncRoom {
            context: &mut self.context,
            nodes: &mut self.nodes,
            subscribers: &mut self.subscribers,
            state: &mut self.syncs,
        }
    }

    /// Takes changed links, syncs that are over, and ended tokens, to whoever wants to know.
    fn tell_ended(&mut self) {
        self.tell_links();
        while let Some((node, serial)) = self.syncs.next_finished() {
            for call in self.calls.waiting_for_sync(node, serial) {
                waits::ask_history(self, call);
            }
        }
        while let Some(ended) = self.context.journal.next_ended() {
            self.nodes.owed_token_ended(&ended);
            if let Some(line) = self.cron.complaint(&ended) {
                self.context.log(line);
            }
            self.cron.token_ended(&ended.token);
            self.copies.sender(&mut self.context, &mut self.nodes).token_ended(&ended.token);
            waits::token_ended(self, &ended.token);
            if !ended.of_node {
                self.subscribers.tell_subscribers(&mut self.context, false);
            }
        }
    }

    fn stored(&mut self, receipt: ReceiptId, stored: bool) {
        match self.context.journal.stored(receipt) {
            Some(Awaited::PutLog) => self.put_log_stored(receipt, stored),
            Some(Awaited::Page) => self.sync().page_stored(receipt, stored),
            Some(Awaited::Begin) => {
                if let Some(token) = self.commands.command_begun(&mut self.context, receipt, stored) {
                    waits::token_not_stored(self, token.as_str());
                }
            }
            None => {}
        }
    }
}
