//! COMMAND on a host without a daemon: the commands of one request run one after the other, each with its rows
//! (docs/protocol.md sections 10 and 11).

use crate::model::code::Code;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshCommand, SshEnd, SshTask};
use crate::model::token::Token;

use super::request::Request;
use super::{Job, SshHosts, relay_file, rows};
use crate::node::command_rows;
use crate::node::context::Context;
use crate::node::journal::NewRow;
use crate::node::json;
use crate::node::nodes::pathway::Route;
use crate::node::phase::STOPPING_TEXT;

/// A request of which one command is under way.
pub(super) struct CommandJob {
    pub token: Token,
    pub request: Request,
    errors: bool,
    /// When the command in hand was begun, seconds since the epoch.
    started: i64,
    /// The target behind the host, for which commands become relay files.
    relay: Option<NodeId>,
}

impl SshHosts {
    pub(super) fn commands(
        &mut self,
        context: &mut Context,
        route: Route,
        token: &Token,
        data: &str,
    ) -> Result<(), String> {
        let request = Request::read(data);
        self.begin_commands(context, route, token, request)
    }

    /// ACTIONENGINE
    pub(super) fn action_engine(
        &mut self,
        context: &mut Context,
        route: Route,
        token: &Token,
        data: &str,
    ) -> Result<(), String> {
        let request = Request::read_action_engine(data);
        self.begin_commands(context, route, token, request)
    }

    fn begin_commands(
        &mut self,
        context: &mut Context,
        route: Route,
        token: &Token,
        request: Result<Request, (String, bool)>,
    ) -> Result<(), String> {
        let request = match request {
            Ok(request) => request,
            Err((text, true)) => return Err(text),
            Err((_, false)) => return Ok(()),
        };
        if request.logging {
            context.open_token(token, None);
        }
        let row = NewRow::part(token, Code::BEGIN, command_rows::processing_started(&request.content));
        self.write(context, request.logging, row);
        let relay = (route.through != route.target).then_some(route.target);
        let job = CommandJob { token: token.clone(), request, errors: false, started: 0, relay };
        self.next_command(context, route.through, job);
        Ok(())
    }

    /// Begins the next command of a request, or ends it.
    fn next_command(&mut self, context: &mut Context, node: NodeId, mut job: CommandJob) {
        let Some(command) = job.request.commands.front() else {
            let (code, text) = if job.errors {
                (Code::FINISHED_KO, "commands processing has finished with errors")
            } else {
                (Code::FINISHED_OK, "commands processing has finished successfully")
            };
            return self.end_commands(context, &job, code, text);
        };
        let started = rows::command_started(command);
        let work = match (job.relay, &command.relay_word) {
            (None, _) => SshTask::Run(SshCommand {
                line: command.remote_line.clone(),
                timeout: command.timeout,
                timeout_nodata: command.timeout_nodata,
                output_limit: context.options.action.clone().unwrap_or_default().output_limit,
                is_urgent: false,
            }),
            (Some(target), Some(word)) => relay_file(&mut self.next_relay, context.now.wall, word, target, None),
            (Some(target), None) => {
                self.command_row(context, &job, Code::BEGIN, started);
                let text =
                    format!("node '{target}' is behind an ssh relay: only commands with a centcore_cmd go there");
                return self.command_ended(context, node, job, SshEnd::Failed(text));
            }
        };
        self.command_row(context, &job, Code::BEGIN, started);
        job.started = context.now.wall.as_seconds();
        self.begin(context, node, work, Job::Commands(job));
    }

    pub(super) fn command_ended(&mut self, context: &mut Context, node: NodeId, mut job: CommandJob, end: SshEnd) {
        let Some(command) = job.request.commands.pop_front() else { return };
        let now = context.now.wall.as_seconds();
        let failed = match end {
            SshEnd::Ran(run) => {
                let data = rows::command_finished(&command, &run, job.started, now);
                let row = NewRow::part(&job.token, Code::COMMAND_RESULT, data);
                self.write(context, job.request.logging, NewRow { instant: job.request.instant, ..row });
                None
            }
            SshEnd::NotConnected(reason) => {
                if job.request.logging {
                    self.not_connected(context, node, &job.token, &reason);
                }
                return;
            }
            SshEnd::TimedOut => Some("Command too long to execute (timeout)...".to_owned()),
            SshEnd::Silent => {
                let seconds = command.timeout_nodata.as_secs_f64();
                Some(format!("Command without output for {seconds} s (timeout_nodata)..."))
            }
            SshEnd::Failed(reason) | SshEnd::Refused(reason) | SshEnd::SubmittedInPart(_, reason) => Some(reason),
            SshEnd::Copied(..) => None,
            SshEnd::Done => {
                self.command_row(context, &job, Code::COMMAND_RESULT, rows::command_relayed(&command));
                None
            }
        };
        if let Some(text) = failed {
            let data = rows::command_failed(&command, &text, job.started, now);
            self.command_row(context, &job, Code::FINISHED_KO, data);
            job.errors = true;
            if !command.given.continue_on_error {
                let text = "commands processing has been interrupted because of error";
                return self.end_commands(context, &job, Code::FINISHED_KO, text);
            }
        }
        if context.is_stopping() && !job.request.commands.is_empty() {
            return self.end_commands(context, &job, Code::FINISHED_KO, STOPPING_TEXT);
        }
        self.next_command(context, node, job);
    }

    fn command_row(&mut self, context: &mut Context, job: &CommandJob, code: Code, data: String) {
        self.write(context, job.request.logging, NewRow::part(&job.token, code, data));
    }

    fn end_commands(&mut self, context: &mut Context, job: &CommandJob, code: Code, text: &str) {
        self.write(context, job.request.logging, NewRow::last(&job.token, code, json::message(text)));
    }
}
