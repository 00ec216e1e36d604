//! The module `action`: COMMAND requests (docs/protocol.md section 11). The commands of one request run one after the
//! other. Up to `max_concurrent_commands` requests run at once; a limited number of others waits in order.

mod action_engine;
pub(in crate::node) mod cancelling;
mod checking;
mod in_order;
pub(in crate::node) mod list;
mod plugins;
pub(in crate::node) mod request;
mod rows;
pub(in crate::node) mod series;
pub(in crate::node) mod shell_words;
mod starting;
#[cfg(test)]
mod tests;

use crate::model::action::Action;
use crate::model::host_work::HostWork;
use crate::node::context::Context;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::code::Code;
use crate::model::command::{CommandEnd, CommandId, CommandOutcome, CommandSpec, Program};
use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::token::Token;
use crate::model::work::{WorkId, WorkOutcome};

use crate::node::journal::NewRow;
use crate::node::output::Output;
use crate::node::output::ReceiptId;
use crate::node::peer::{Handled, Peer};
use crate::node::phase::STOPPING_TEXT;
use crate::node::queue::options::place_of;
use crate::node::status::Load;
use action_engine::EngineRun;
use checking::CheckLoad;
use checking::Checking;
use in_order::InOrder;
use list::Command;
use plugins::Validation;
use plugins::{Owner, Source};
use request::{CommandRequest, Refusal};
use series::Series;
use starting::Starting;

/// Maximum number of waiting requests, and of their characters.
const WAITING_MAX: usize = 10_000;
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Maximum duration of a command.
pub(in crate::node) const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// A request with a command in progress.
pub(in crate::node) struct Running {
    series: Series,
    /// When it began, in seconds since the epoch.
    since: i64,
    /// Why it ends after the current command, if it was killed.
    killed: Option<String>,
    /// Whether the current command has its starting row.
    announced: bool,
    /// Whether the plugins of the current command have been checked.
    validated: bool,
    /// Number of bytes of output that were reported while the current command runs.
    printed: usize,
}

/// The COMMAND requests of this daemon. Holds command lines: no `Debug`.
#[derive(Default)]
pub(in crate::node) struct Commands {
    waiting: VecDeque<Series>,
    waiting_bytes: usize,
    in_order: InOrder,
    checking: CheckLoad,
    starting: BTreeMap<ReceiptId, Starting>,
    running: BTreeMap<CommandId, Running>,
    /// Number of requests whose plugins are being checked.
    validating: usize,
    validations: BTreeMap<CommandId, Validation>,
    /// ACTIONENGINE requests, including those whose command runs.
    engine_runs: usize,
    engines: BTreeMap<CommandId, EngineRun>,
    /// Requests that wait for work on another thread.
    work: BTreeMap<WorkId, Awaiting>,
}

/// A request that waits for a piece of work. Holds command lines: no `Debug`.
enum Awaiting {
    /// A request whose commands are checked against the allow-list.
    Check(Checking),
    /// An ACTIONENGINE whose command is checked against the allow-list.
    EngineCheck(EngineRun),
    /// A command that needs plugins.
    Plugins(Owner, Source),
}

impl Running {
    const fn new(series: Series, since: i64) -> Self {
        Self { series, since, killed: None, announced: false, validated: false, printed: 0 }
    }
}

impl Commands {
    /// Returns the number of bytes that wait for their turn or are being checked.
    pub(in crate::node) const fn held_bytes(&self) -> usize {
        self.waiting_bytes + self.checking.held_bytes()
    }

    /// Returns the number of requests that run and that wait.
    pub(in crate::node) fn load(&self) -> Load {
        Load { running: self.busy() + self.engine_runs, waiting: self.waiting.len() }
    }

    /// Returns whether nothing runs or waits.
    pub(in crate::node) fn is_idle(&self) -> bool {
        self.busy() == 0
            && self.starting.is_empty()
            && self.waiting.is_empty()
            && self.engine_runs == 0
            && self.work.is_empty()
    }

    /// Returns the number of requests that run or are about to.
    fn busy(&self) -> usize {
        let starting = self.starting.values().filter(|starting| starting.running.is_some());
        self.running.len() + starting.count() + self.validating
    }

    /// Returns the receipt that the oldest request awaits before it begins.
    #[cfg(test)]
    pub(in crate::node) fn awaited_receipt(&self) -> Option<ReceiptId> {
        self.starting.first_key_value().map(|(receipt, _)| *receipt)
    }
}

impl Commands {
    pub(in crate::node) fn command_request(
        &mut self,
        context: &mut Context,
        peer: Peer,
        action: &Action,
        token: &Token,
        data: &str,
    ) -> Handled {
        match action {
            Action::ActionEngine => self.action_engine(context, token, data),
            Action::Command => self.command(context, peer, token, data),
            Action::Running => self.list_running(context, token),
            _ => context.refuse_unknown(action, token),
        }
    }

    fn command(&mut self, context: &mut Context, peer: Peer, token: &Token, data: &str) -> Handled {
        // A central that we dial gets no ACK.
        let asker = peer.client().filter(|client| client.parent().is_none());
        let of_central = peer.client().is_some_and(|client| client.parent().is_some());
        let place = place_of(data);
        let (is_queued, in_order) = (place.is_some(), place.is_some_and(|place| place.waited));
        let request =
            CommandRequest::read(data).map(|request| CommandRequest { of_central, is_queued, in_order, ..request });
        if context.options.modules.action.as_ref().is_some_and(|action| action.allowed.is_some()) {
            return self.check_request(context, asker, token, request, data.len());
        }
        self.admit(context, asker, token, request)
    }

    /// Starts a request, lets it wait, or refuses it.
    fn admit(
        &mut self,
        context: &mut Context,
        asker: Option<ClientId>,
        token: &Token,
        request: Result<CommandRequest, Refusal>,
    ) -> Handled {
        let request = match request {
            Ok(request) => request,
            Err(refusal) => {
                if refusal.logging {
                    context.fail(token, &refusal.text);
                }
                return Handled::accepted();
            }
        };
        let max = context.options.modules.action.as_ref().map_or(1, |action| action.max_concurrent.max(1));
        let is_held = request.in_order && self.in_order.is_busy()
            || request.is_queued && self.waiting.iter().any(Series::is_queued);
        if self.busy() < max && !is_held {
            return self.start_request(context, asker, Series::new(token.clone(), request));
        }
        if request.logging {
            context.open_token(token, None);
        }
        let series = Series::new(token.clone(), request);
        let bytes = self.waiting_bytes.saturating_add(series.len_bytes());
        if self.waiting.len() >= WAITING_MAX || bytes > WAITING_BYTES_MAX {
            series.end(context, "too many commands wait, try again later");
            return Handled::accepted();
        }
        self.waiting_bytes = bytes;
        self.waiting.push_back(series);
        Handled::accepted()
    }

    /// Starts the next command of a request, or ends the request.
    fn next_command(&mut self, context: &mut Context, mut running: Running) {
        while let Some(command) = running.series.command() {
            if !std::mem::take(&mut running.announced) {
                running.series.begun(context);
            }
            let plugins = if running.validated { None } else { command.plugins() };
            if let Some(plugins) = plugins {
                self.validating += 1;
                self.validate_plugins(context, Owner::Request(running), Source::Inline(plugins));
                return;
            }
            running.validated = false;
            match self.spec(context, command) {
                Ok(spec) => {
                    let text = format!("running a command for token {}", running.series.token());
                    context.log(LogLine::debug("action", text));
                    let id = context.run_command(spec);
                    self.running.insert(id, running);
                    return;
                }
                Err(text) => {
                    let seconds = context.now.wall.as_seconds();
                    let data = rows::command_failed(command, &text, seconds, seconds);
                    if !running.series.failed(context, data, false) {
                        return;
                    }
                }
            }
        }
        running.series.finish(context);
    }

    /// Handles the result of a piece of work. Ignores it if no request waits for it any more.
    pub(in crate::node) fn command_work_done(&mut self, context: &mut Context, id: WorkId, outcome: WorkOutcome) {
        match (self.work.remove(&id), outcome) {
            (Some(Awaiting::Check(checking)), WorkOutcome::Checked(check)) => {
                self.commands_checked(context, checking, check)
            }
            (Some(Awaiting::EngineCheck(run)), WorkOutcome::Checked(check)) => self.engine_checked(context, run, check),
            (Some(Awaiting::Plugins(owner, source)), WorkOutcome::PluginsRead(read)) => {
                self.plugins_read(context, owner, source, read);
            }
            _ => {}
        }
    }

    /// Ends the requests that wait for work on other threads.
    pub(in crate::node) fn drop_command_work(&mut self, context: &mut Context, reason: &str) {
        for awaiting in std::mem::take(&mut self.work).into_values() {
            self.drop_awaiting(context, awaiting, reason);
        }
    }

    fn drop_awaiting(&mut self, context: &mut Context, awaiting: Awaiting, reason: &str) {
        match awaiting {
            Awaiting::Check(checking) => self.drop_check(context, checking, reason),
            Awaiting::EngineCheck(run) => self.give_up_engine(context, &run, reason),
            Awaiting::Plugins(owner, _) => self.give_up_plugins(context, owner, reason),
        }
    }

    /// Handles the result of the plugin check for the current command.
    fn request_validated(&mut self, context: &mut Context, mut running: Running, outcome: Result<(), String>) {
        self.validating = self.validating.saturating_sub(1);
        running.validated = true;
        running.announced = true;
        if let Some(reason) = running.killed.take() {
            running.series.end(context, &reason);
        } else if let (Err(text), true) = (outcome, self.is_paranoid(context)) {
            let failed = running.series.command().map(|command| rows::command_not_run(command, &text));
            if let Some(data) = failed {
                running.validated = false;
                running.announced = false;
                if running.series.failed(context, data, false) {
                    self.next_command(context, running);
                }
            }
        } else {
            self.next_command(context, running);
        }
        self.start_waiting(context);
    }

    fn spec(&self, context: &Context, command: &Command) -> Result<CommandSpec, String> {
        let settings = context.options.modules.action.clone().unwrap_or_default();
        let program = match command.words() {
            Some(words) => Program::Words(words?),
            None => Program::Shell(command.line.clone()),
        };
        let timeout = command.timeout.unwrap_or(settings.command_timeout).min(TIMEOUT_MAX);
        Ok(CommandSpec { program, timeout, output_limit: settings.output_limit, streams: command.stream })
    }

    /// Handles output of a command whose request wants it at once.
    pub(in crate::node) fn command_printed(&mut self, context: &mut Context, id: CommandId, output: &[u8]) {
        let Some(running) = self.running.get_mut(&id).filter(|running| running.series.logging()) else {
            return;
        };
        let data = rows::command_printed(running.printed, output);
        running.printed += output.len();
        context.write(NewRow { instant: true, ..NewRow::part(running.series.token(), Code::PROGRESS, data) });
    }

    /// Handles the end of a command.
    pub(in crate::node) fn command_ended(&mut self, context: &mut Context, id: CommandId, outcome: &CommandOutcome) {
        if self.engine_command_ended(context, id, outcome) || self.plugin_command_ended(context, id, outcome) {
            return;
        }
        let Some(running) = self.running.remove(&id) else { return };
        self.command_result(context, running, outcome);
        self.start_waiting(context);
    }

    fn command_result(&mut self, context: &mut Context, mut running: Running, outcome: &CommandOutcome) {
        let Some(command) = running.series.command() else { return };
        let (start, end) = (outcome.started.as_seconds(), outcome.ended.as_seconds());
        let killed = running.killed.take();
        let failed = match (&outcome.end, &killed) {
            (CommandEnd::NoProgram(exit_code, _), None) => Ok(*exit_code),
            (CommandEnd::NoProgram(_, reason), Some(_)) => Err(reason.as_str()),
            (CommandEnd::TimedOut, None) => Err("Command too long to execute (timeout)..."),
            (CommandEnd::NotStarted(reason), _) => Err(reason.as_str()),
            (CommandEnd::TimedOut, Some(reason)) => Err(reason.as_str()),
            // It may have been done before the signal arrived.
            (CommandEnd::Exited(exit_code), Some(reason)) if *exit_code > 128 => Err(reason.as_str()),
            (CommandEnd::Exited(exit_code), _) => Ok(*exit_code),
        };
        let go_on = match failed {
            Ok(exit_code) => {
                let data = rows::command_finished(command, exit_code, outcome);
                running.series.result(context, data);
                true
            }
            Err(text) => {
                let data = rows::command_failed(command, text, start, end);
                running.series.failed(context, data, killed.is_some())
            }
        };
        if let Some(reason) = killed {
            running.series.end(context, &reason);
        } else if go_on && !running.series.is_cut_short(context) {
            self.next_command(context, Running::new(running.series, running.since));
        }
    }

    /// Returns the place of the next request that may start. Those from queues start in their order.
    fn next_to_start(&self) -> Option<usize> {
        let mut is_held = false;
        self.waiting.iter().position(|series| {
            is_held |= series.in_order() && self.in_order.is_busy();
            !(is_held && series.is_queued())
        })
    }

    fn start_waiting(&mut self, context: &mut Context) {
        let max = context.options.modules.action.as_ref().map_or(1, |action| action.max_concurrent.max(1));
        while self.busy() < max {
            let Some(series) = self.next_to_start().and_then(|next| self.waiting.remove(next)) else { break };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(series.len_bytes());
            self.start_request(context, None, series);
        }
    }

    /// Kills what runs, and starts nothing that is being checked or waits. Each request ends with `reason`.
    pub(in crate::node) fn kill_commands(&mut self, context: &mut Context, reason: &str) {
        self.drop_command_work(context, reason);
        self.drop_waiting_commands(context, reason);
        let queue = self;
        let ids = queue.running.keys().chain(queue.validations.keys()).chain(queue.engines.keys());
        let ids: Vec<CommandId> = ids.copied().collect();
        let killed = || Some(reason.to_owned());
        let starting = queue.starting.values_mut().filter_map(|starting| starting.running.as_mut());
        for running in queue.running.values_mut().chain(starting) {
            running.killed = killed();
        }
        for validation in queue.validations.values_mut() {
            match &mut validation.owner {
                Owner::Request(running) => running.killed = killed(),
                Owner::Engine(run) => run.killed = killed(),
            }
        }
        for run in queue.engines.values_mut() {
            run.killed = killed();
        }
        for id in ids {
            context.output(Output::Host(HostWork::KillCommand(id)));
        }
    }

    /// Ends the requests whose commands have not ended when the daemon does.
    pub(in crate::node) fn give_up_commands(&mut self, context: &mut Context) {
        let starting = std::mem::take(&mut self.starting).into_values().filter_map(|starting| starting.running);
        let (back, starting): (Vec<_>, Vec<_>) = starting.partition(|running| running.series.is_queued());
        back.iter().for_each(|running| context.give_back(running.series.token()));
        for running in std::mem::take(&mut self.running).into_values().chain(starting) {
            running.series.end(context, STOPPING_TEXT);
        }
        for validation in std::mem::take(&mut self.validations).into_values() {
            self.give_up_plugins(context, validation.owner, STOPPING_TEXT);
        }
        for run in std::mem::take(&mut self.engines).into_values() {
            self.give_up_engine(context, &run, STOPPING_TEXT);
        }
    }

    /// Drops the waiting requests.
    pub(in crate::node) fn drop_waiting_commands(&mut self, context: &mut Context, reason: &str) {
        self.waiting_bytes = 0;
        for series in std::mem::take(&mut self.waiting) {
            if series.is_queued() && context.is_stopping() {
                context.give_back(series.token());
            } else {
                series.end(context, reason);
            }
        }
    }
}
