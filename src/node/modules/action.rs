//! The module `action`: COMMAND requests (docs/protocol.md section 11). The commands of one request run one after the
//! other; many requests run at once, up to `max_concurrent_commands`; the rest waits in order, bounded.

mod action_engine;
mod checking;
pub(in crate::node) mod list;
mod plugins;
mod request;
mod rows;
pub(in crate::node) mod shell_words;
mod starting;
#[cfg(test)]
mod tests;

use crate::model::action::Action;
use crate::model::broken::{self, Fault};
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
use crate::node::json;
use crate::node::output::Output;
use crate::node::output::ReceiptId;
use crate::node::peer::{Handled, Peer};
use crate::node::phase::STOPPING_TEXT;
use action_engine::EngineRun;
use checking::CheckLoad;
use checking::Checking;
use list::Command;
use plugins::Validation;
use plugins::{Owner, Source};
use request::{Refusal, Request};
use starting::Starting;

/// Requests that wait at most, and the characters in them.
const WAITING_MAX: usize = 10_000;
const WAITING_BYTES_MAX: usize = 32 << 20;
/// No command runs longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// A request that runs one of its commands.
pub(in crate::node) struct Running {
    request: Request,
    token: Token,
    errors: bool,
    /// Why it ends after the command in hand, when it was killed.
    killed: Option<String>,
    /// Whether the command in hand has its starting row.
    announced: bool,
    /// Whether the plugins of the command in hand were looked for.
    validated: bool,
    /// Bytes of output of the command in hand that were told while it runs.
    printed: usize,
}

/// The COMMAND requests of this daemon. Holds command lines: no `Debug`.
#[derive(Default)]
pub(in crate::node) struct Commands {
    waiting: VecDeque<(Token, Request)>,
    waiting_bytes: usize,
    checking: CheckLoad,
    starting: BTreeMap<ReceiptId, Starting>,
    running: BTreeMap<CommandId, Running>,
    /// Requests whose plugins are looked for.
    validating: usize,
    validations: BTreeMap<CommandId, Validation>,
    /// ACTIONENGINE requests, and those whose command runs.
    engine_runs: usize,
    engines: BTreeMap<CommandId, EngineRun>,
    /// What waits for work elsewhere.
    work: BTreeMap<WorkId, Awaiting>,
}

/// What waits for a piece of work. Holds command lines: no `Debug`.
enum Awaiting {
    /// A request whose commands are looked for in the allow-list.
    Check(Checking),
    /// An ACTIONENGINE whose command is looked for in the allow-list.
    EngineCheck(EngineRun),
    /// A command that needs plugins.
    Plugins(Owner, Source),
}

impl Commands {
    /// Bytes that wait for their turn or are checked.
    pub(in crate::node) const fn held_bytes(&self) -> usize {
        self.waiting_bytes + self.checking.held_bytes()
    }

    /// Whether nothing runs or waits.
    pub(in crate::node) fn is_idle(&self) -> bool {
        self.busy() == 0
            && self.starting.is_empty()
            && self.waiting.is_empty()
            && self.engine_runs == 0
            && self.work.is_empty()
    }

    /// How many run or are about to.
    fn busy(&self) -> usize {
        let starting = self.starting.values().filter(|starting| starting.running.is_some());
        self.running.len() + starting.count() + self.validating
    }

    /// The receipt that the oldest request awaits before it begins.
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
            _ => context.refuse_unknown(action, token),
        }
    }

    /// COMMAND
    fn command(&mut self, context: &mut Context, peer: Peer, token: &Token, data: &str) -> Handled {
        // An ACK does not reach a central that we dial.
        let asker = peer.client().filter(|client| client.parent().is_none());
        let of_central = peer.client().is_some_and(|client| client.parent().is_some());
        let request = Request::read(data).map(|request| Request { of_central, ..request });
        if context.options.action.as_ref().is_some_and(|action| action.allowed.is_some()) {
            return self.check_request(context, asker, token, request, data.len());
        }
        self.admit(context, asker, token, request)
    }

    /// Starts a request, has it wait, or refuses it.
    fn admit(
        &mut self,
        context: &mut Context,
        asker: Option<ClientId>,
        token: &Token,
        request: Result<Request, Refusal>,
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
        let max = context.options.action.as_ref().map_or(1, |action| action.max_concurrent.max(1));
        if self.busy() < max {
            return self.start_request(context, asker, token.clone(), request);
        }
        if request.logging {
            context.open_token(token, None);
        }
        let bytes = self.waiting_bytes.saturating_add(request.len_bytes);
        if self.waiting.len() >= WAITING_MAX || bytes > WAITING_BYTES_MAX {
            self.command_end(
                context,
                token,
                &request,
                Code::FINISHED_KO,
                json::message("too many commands wait, try again later"),
            );
            return Handled::accepted();
        }
        self.waiting_bytes = bytes;
        self.waiting.push_back((token.clone(), request));
        Handled::accepted()
    }

    fn command_row(&mut self, context: &mut Context, token: &Token, request: &Request, code: Code, data: String) {
        if request.logging {
            context.row(token, code, data);
        }
    }

    /// The last row of a request.
    fn command_end(&mut self, context: &mut Context, token: &Token, request: &Request, code: Code, data: String) {
        if request.logging && !broken::is(Fault::EndRowDropped) {
            context.finish(token, code, data);
        }
    }

    /// Starts the next command of a request, or ends it.
    fn next_command(&mut self, context: &mut Context, mut running: Running) {
        while let Some(command) = running.request.commands.front() {
            if !std::mem::take(&mut running.announced) {
                let data = rows::command_started(command);
                self.command_row(context, &running.token, &running.request, Code::BEGIN, data);
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
                    let text = format!("running a command for token {}", running.token);
                    context.log(LogLine::debug("action", text));
                    let id = context.run_command(spec);
                    self.running.insert(id, running);
                    return;
                }
                Err(text) => {
                    let seconds = context.now.wall.as_seconds();
                    let data = rows::command_failed(command, &text, seconds, seconds);
                    let go_on = command.continue_on_error;
                    if !self.command_had_error(context, &mut running, data, go_on) {
                        return;
                    }
                }
            }
        }
        let (code, text) = if running.errors {
            (Code::FINISHED_KO, "commands processing has finished with errors")
        } else {
            (Code::FINISHED_OK, "commands processing has finished successfully")
        };
        self.command_end(context, &running.token, &running.request, code, json::message(text));
    }

    /// Writes the rows of a command that could not be run to its end; whether the request goes on.
    fn command_had_error(&mut self, context: &mut Context, running: &mut Running, data: String, go_on: bool) -> bool {
        self.command_row(context, &running.token, &running.request, Code::FINISHED_KO, data);
        running.errors = true;
        running.request.commands.pop_front();
        if !go_on {
            let text = "commands processing has been interrupted because of error";
            self.command_end(context, &running.token, &running.request, Code::FINISHED_KO, json::message(text));
        }
        go_on
    }

    /// A piece of work is done; nothing happens where nobody waits for it any more.
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

    /// Ends what waits for work elsewhere.
    pub(in crate::node) fn drop_command_work(&mut self, context: &mut Context, reason: &str) {
        for awaiting in std::mem::take(&mut self.work).into_values() {
            match awaiting {
                Awaiting::Check(checking) => self.drop_check(context, checking, reason),
                Awaiting::EngineCheck(run) => self.give_up_engine(context, &run, reason),
                Awaiting::Plugins(owner, _) => self.give_up_plugins(context, owner, reason),
            }
        }
    }

    /// The plugins of the command in hand are there, or not.
    fn request_validated(&mut self, context: &mut Context, mut running: Running, outcome: Result<(), String>) {
        self.validating = self.validating.saturating_sub(1);
        running.validated = true;
        running.announced = true;
        if let Some(reason) = running.killed.take() {
            self.command_end(context, &running.token, &running.request, Code::FINISHED_KO, json::message(&reason));
        } else if let (Err(text), true) = (outcome, self.is_paranoid(context)) {
            let front = running.request.commands.front();
            let failed = front.map(|command| (rows::command_not_run(command, &text), command.continue_on_error));
            if let Some((data, go_on)) = failed {
                running.validated = false;
                running.announced = false;
                if self.command_had_error(context, &mut running, data, go_on) {
                    self.next_command(context, running);
                }
            }
        } else {
            self.next_command(context, running);
        }
        self.start_waiting(context);
    }

    fn spec(&self, context: &Context, command: &Command) -> Result<CommandSpec, String> {
        let settings = context.options.action.clone().unwrap_or_default();
        let program = if command.no_shell {
            let words =
                shell_words::split(&command.line).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
            let binary = command.line.split(' ').next().unwrap_or_default();
            Program::Words(words.ok_or_else(|| {
                format!(
                    "Error executing the command {binary}, does the command require a shell, or is there too many \
                    quote ?"
                )
            })?)
        } else {
            Program::Shell(command.line.clone())
        };
        let timeout = command.timeout.unwrap_or(settings.command_timeout).min(TIMEOUT_MAX);
        Ok(CommandSpec { program, timeout, output_limit: settings.output_limit, streams: command.stream })
    }

    /// A command has printed something, and its request wants to see it at once.
    pub(in crate::node) fn command_printed(&mut self, context: &mut Context, id: CommandId, output: &[u8]) {
        let Some(running) = self.running.get_mut(&id).filter(|running| running.request.logging) else {
            return;
        };
        let data = rows::command_printed(running.printed, output);
        running.printed += output.len();
        let token = running.token.clone();
        context.write(NewRow { instant: true, ..NewRow::part(&token, Code::PROGRESS, data) });
    }

    /// A command ended.
    pub(in crate::node) fn command_ended(&mut self, context: &mut Context, id: CommandId, outcome: &CommandOutcome) {
        if self.engine_command_ended(context, id, outcome) || self.plugin_command_ended(context, id, outcome) {
            return;
        }
        let Some(mut running) = self.running.remove(&id) else { return };
        self.command_result(context, &mut running, outcome);
        self.start_waiting(context);
    }

    fn command_result(&mut self, context: &mut Context, running: &mut Running, outcome: &CommandOutcome) {
        let Some(command) = running.request.commands.front() else { return };
        let (start, end) = (outcome.started.as_seconds(), outcome.ended.as_seconds());
        let killed = running.killed.take();
        let failed = match (&outcome.end, &killed) {
            (CommandEnd::NoProgram(exit_code, _), None) => Ok(*exit_code),
            (CommandEnd::NoProgram(_, reason), Some(_)) => Err(reason.as_str()),
            (CommandEnd::TimedOut, None) => Err("Command too long to execute (timeout)..."),
            (CommandEnd::NotStarted(reason), _) => Err(reason.as_str()),
            (CommandEnd::TimedOut, Some(reason)) => Err(reason.as_str()),
            // It may have been done before the signal came.
            (CommandEnd::Exited(exit_code), Some(reason)) if *exit_code > 128 => Err(reason.as_str()),
            (CommandEnd::Exited(exit_code), _) => Ok(*exit_code),
        };
        let mut go_on = true;
        match failed {
            Ok(exit_code) => {
                let data = rows::command_finished(command, exit_code, outcome);
                if running.request.logging {
                    let instant = running.request.instant;
                    context.write(NewRow { instant, ..NewRow::part(&running.token, Code::COMMAND_RESULT, data) });
                }
                running.request.commands.pop_front();
            }
            Err(text) => {
                let data = rows::command_failed(command, text, start, end);
                go_on = command.continue_on_error || killed.is_some();
                go_on = self.command_had_error(context, running, data, go_on);
            }
        }
        if let Some(reason) = killed {
            self.command_end(context, &running.token, &running.request, Code::FINISHED_KO, json::message(&reason));
        } else if go_on {
            self.go_on(context, running);
        }
    }

    fn go_on(&mut self, context: &mut Context, running: &mut Running) {
        let request = std::mem::take(&mut running.request);
        if context.is_stopping() && !request.commands.is_empty() {
            self.command_end(context, &running.token, &request, Code::FINISHED_KO, json::message(STOPPING_TEXT));
            return;
        }
        let token = running.token.clone();
        self.next_command(
            context,
            Running {
                request,
                token,
                errors: running.errors,
                killed: None,
                announced: false,
                validated: false,
                printed: 0,
            },
        );
    }

    fn start_waiting(&mut self, context: &mut Context) {
        let max = context.options.action.as_ref().map_or(1, |action| action.max_concurrent.max(1));
        while self.busy() < max {
            let Some((token, request)) = self.waiting.pop_front() else { break };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(request.len_bytes);
            self.start_request(context, None, token, request);
        }
    }

    /// Kills what runs, and starts nothing of what is looked at or waits; each request ends with `reason`.
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

    /// The daemon ends without having heard of the end of these.
    pub(in crate::node) fn give_up_commands(&mut self, context: &mut Context) {
        let starting = std::mem::take(&mut self.starting).into_values().filter_map(|starting| starting.running);
        for running in std::mem::take(&mut self.running).into_values().chain(starting) {
            self.give_up_request(context, &running, STOPPING_TEXT);
        }
        for validation in std::mem::take(&mut self.validations).into_values() {
            self.give_up_plugins(context, validation.owner, STOPPING_TEXT);
        }
        for run in std::mem::take(&mut self.engines).into_values() {
            self.give_up_engine(context, &run, STOPPING_TEXT);
        }
    }

    fn give_up_request(&mut self, context: &mut Context, running: &Running, reason: &str) {
        self.command_end(context, &running.token, &running.request, Code::FINISHED_KO, json::message(reason));
    }

    /// What waits never starts.
    pub(in crate::node) fn drop_waiting_commands(&mut self, context: &mut Context, reason: &str) {
        self.waiting_bytes = 0;
        for (token, request) in std::mem::take(&mut self.waiting) {
            self.command_end(context, &token, &request, Code::FINISHED_KO, json::message(reason));
        }
    }
}
