//! ACTIONENGINE: one command, at most `max_concurrent_engine` at a time. More are refused, as in the original.

#[cfg(test)]
mod tests;

use crate::node::context::Context;
use crate::node::modules::action::Commands;
use serde_json::Value;

use crate::model::code::Code;
use crate::model::command::{CommandEnd, CommandId, CommandOutcome, CommandSpec, Program};
use crate::model::log::LogLine;
use crate::model::token::Token;
use crate::model::work::{CommandCheck, Work};

use super::Awaiting;
use super::plugins::{Owner, Source};
use super::request::shown_line;
use super::rows;
use crate::node::json;
use crate::node::peer::Handled;

/// A request in progress. Holds a command line: no `Debug`.
pub(in crate::node) struct EngineRun {
    pub(super) token: Token,
    logging: bool,
    pub(super) line: String,
    /// When it began, in seconds since the epoch.
    pub(super) since: i64,
    /// A file that names plugins which must be installed.
    plugins: Option<String>,
    /// Why it ends, if it was killed.
    pub(super) killed: Option<String>,
    /// Whether it was killed because its token was cancelled.
    is_cancelled: bool,
}

impl EngineRun {
    /// Notes that its token is cancelled, if it is this one. Returns whether it is.
    pub(super) fn cancel(&mut self, token: &str, reason: &str) -> bool {
        let is_meant = self.token.as_str() == token;
        if is_meant {
            self.killed = Some(reason.to_owned());
            self.is_cancelled = true;
        }
        is_meant
    }
}

impl Commands {
    /// Handles an ACTIONENGINE.
    pub(in crate::node) fn action_engine(&mut self, context: &mut Context, token: &Token, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let logging = !json::is_false(data.get("logging").unwrap_or(&Value::Null));
        let content = data.get("content").filter(|content| !content.is_null() && content.as_str() != Some(""));
        let text = |name: &str| content.and_then(|content| content.get(name)).and_then(json::text);
        let max = context.options.modules.action.as_ref().map_or(1, |action| action.max_concurrent_engine.max(1));
        let (line, count) = (text("command").filter(|line| !line.contains('\0')), self.engine_runs);
        let refusal = match &line {
            _ if content.is_none() => Some("no content".to_owned()),
            None => Some("need valid command argument".to_owned()),
            Some(_) if count >= max => Some(format!("max_concurrent_engine limit reached ({count}/{max})")),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            context.log(LogLine::error("action", refusal.clone()).of_token(token));
            if logging {
                context.fail(token, &refusal);
            }
            return Handled::accepted();
        }
        let run = EngineRun {
            token: token.clone(),
            logging,
            line: line.unwrap_or_default(),
            since: context.now.wall.as_seconds(),
            plugins: text("plugins"),
            killed: None,
            is_cancelled: false,
        };
        self.engine_runs += 1;
        if logging {
            context.open_token(token, None);
        }
        if context.options.modules.action.as_ref().is_some_and(|action| action.allowed.is_some()) {
            let work = Work::CheckCommands { lines: vec![run.line.clone()], wanted: 1 };
            let id = context.start_work(work);
            self.work.insert(id, Awaiting::EngineCheck(run));
        } else {
            self.engine_allowed(context, run);
        }
        Handled::accepted()
    }

    /// Handles the result of the allow-list check.
    pub(in crate::node) fn engine_checked(&mut self, context: &mut Context, run: EngineRun, check: CommandCheck) {
        let is_refused = !check.refused.is_empty();
        self.log_complaints(context, check.complaints);
        let shown = shown_line(&run.line);
        if is_refused && self.is_audit(context) {
            let text = format!("command would not be allowed (whitelist): {shown} (token {})", run.token);
            context.log(LogLine::warning("action", text).of_token(&run.token));
        } else if is_refused {
            context.log(
                LogLine::error("action", format!("command not allowed (whitelist): {shown}")).of_token(&run.token),
            );
            // The original has no separator between the two.
            self.engine_ended(
                context,
                &run,
                Code::FINISHED_KO,
                json::message(&format!("command not allowed (whitelist){shown}")),
            );
            return;
        }
        self.engine_allowed(context, run);
    }

    fn engine_allowed(&mut self, context: &mut Context, run: EngineRun) {
        match run.plugins.clone() {
            Some(file) => self.validate_plugins(context, Owner::Engine(run), Source::File(file)),
            None => self.run_engine(context, run),
        }
    }

    /// Handles the result of the plugin check.
    pub(super) fn engine_validated(&mut self, context: &mut Context, run: EngineRun, outcome: Result<(), String>) {
        if let Some(reason) = &run.killed {
            self.engine_ended(context, &run, Code::FINISHED_KO, json::message(reason));
            return;
        }
        match outcome {
            Err(text) if self.is_paranoid(context) => {
                self.engine_ended(context, &run, Code::FINISHED_KO, json::message(&text))
            }
            _ => self.run_engine(context, run),
        }
    }

    fn run_engine(&mut self, context: &mut Context, run: EngineRun) {
        let settings = context.options.modules.action.clone().unwrap_or_default();
        let (timeout, output_limit) = (settings.command_timeout, settings.output_limit);
        let spec = CommandSpec { program: Program::Shell(run.line.clone()), timeout, output_limit, streams: false };
        let id = context.run_command(spec);
        self.engines.insert(id, run);
    }

    /// Handles the end of a command. Returns `false` if it does not belong to an ACTIONENGINE.
    pub(super) fn engine_command_ended(
        &mut self,
        context: &mut Context,
        id: CommandId,
        outcome: &CommandOutcome,
    ) -> bool {
        let Some(run) = self.engines.remove(&id) else { return false };
        if let Some(reason) = run.killed.as_deref().filter(|_| run.is_cancelled) {
            self.engine_ended(context, &run, Code::FINISHED_KO, json::message(reason));
            return true;
        }
        let failed = match (&outcome.end, &run.killed) {
            (CommandEnd::Exited(exit_code), Some(reason)) if *exit_code > 128 => Err(reason.as_str()),
            (CommandEnd::Exited(exit_code), _) => Ok(*exit_code),
            (_, Some(reason)) => Err(reason.as_str()),
            (CommandEnd::TimedOut, None) => Err("Command too long to execute (timeout)..."),
            (CommandEnd::NotStarted(reason) | CommandEnd::NoProgram(_, reason), None) => Err(reason.as_str()),
        };
        match failed {
            Ok(exit_code) => {
                let data = rows::engine_finished(&run.line, exit_code, outcome);
                self.engine_ended(context, &run, Code::FINISHED_OK, data);
            }
            Err(text) => {
                let (start, end) = (outcome.started.as_seconds(), outcome.ended.as_seconds());
                let data = rows::engine_failed(&run.line, text, start, end);
                self.engine_ended(context, &run, Code::FINISHED_KO, data);
            }
        }
        true
    }

    fn engine_ended(&mut self, context: &mut Context, run: &EngineRun, code: Code, data: String) {
        self.engine_runs = self.engine_runs.saturating_sub(1);
        if run.logging {
            context.finish(&run.token, code, data);
        }
    }

    /// Ends a request whose command does not run to its end.
    pub(in crate::node) fn give_up_engine(&mut self, context: &mut Context, run: &EngineRun, reason: &str) {
        self.engine_ended(context, run, Code::FINISHED_KO, json::message(reason));
    }
}
