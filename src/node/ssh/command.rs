//! COMMAND on a host without a daemon: the commands of one request run one after the other, each with its rows
//! (docs/protocol.md sections 10 and 11).

use std::time::Duration;

use crate::model::code::Code;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshCommand, SshEnd, SshTask};
use crate::model::token::Token;

use super::{Job, SshHosts, not_connected, relay_file, relay_word, rows};
use crate::node::context::Context;
use crate::node::modules::action::TIMEOUT_MAX;
use crate::node::modules::action::list::Command;
use crate::node::modules::action::request::{CommandRequest, Refusal};
use crate::node::modules::action::series::Series;
use crate::node::modules::action::shell_words::quoted;
use crate::node::nodes::pathway::Route;

/// Maximum duration of a command that sets none (docs/protocol.md section 10).
const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_NODATA: Duration = Duration::from_secs(30);

/// A request with a command in progress.
pub(super) struct CommandJob {
    pub series: Series,
    /// Why it ends after the current command, if it was cancelled.
    pub killed: Option<String>,
    /// Start of the current command in seconds since the epoch.
    pub started: i64,
    /// The target behind the host, for which commands are written as relay files.
    relay: Option<NodeId>,
}

/// Returns the task for a command in the shell of a host, or why it cannot be run.
fn task(command: &Command, output_limit: usize) -> Result<SshTask, String> {
    let line = match command.words() {
        Some(words) => words?.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        None => command.line.clone(),
    };
    let timeout = command.timeout.unwrap_or(TIMEOUT).min(TIMEOUT_MAX);
    let timeout_nodata = command.timeout_nodata.unwrap_or(TIMEOUT_NODATA).min(TIMEOUT_MAX);
    Ok(SshTask::Run(SshCommand { line, timeout, timeout_nodata, output_limit, is_urgent: false }))
}

impl SshHosts {
    /// Handles COMMAND, and ACTIONENGINE, which has a single command.
    pub(super) fn commands(
        &mut self,
        context: &mut Context,
        route: Route,
        token: &Token,
        request: Result<CommandRequest, Refusal>,
    ) -> Result<(), String> {
        let request = match request {
            Ok(request) => request,
            Err(Refusal { text, logging: true, .. }) => return Err(text),
            Err(_) => return Ok(()),
        };
        if request.logging {
            context.open_token(token, None);
        }
        let series = Series::new(token.clone(), request);
        series.row(context, Code::BEGIN, series.processing_started());
        let relay = (route.through != route.target).then_some(route.target);
        self.next_command(context, route.through, CommandJob { series, killed: None, started: 0, relay });
        Ok(())
    }

    /// Starts the next command of a request, or ends the request.
    fn next_command(&mut self, context: &mut Context, node: NodeId, mut job: CommandJob) {
        let Some(command) = job.series.command() else { return job.series.finish(context) };
        let work = match job.relay {
            None => task(command, context.options.modules.action.clone().unwrap_or_default().output_limit),
            Some(target) => {
                let metadata = serde_json::from_str(&command.metadata).ok();
                let word = relay_word(metadata.as_ref());
                let work = word.map(|word| relay_file(&mut self.next_relay, context.now.wall, &word, target, None));
                work.ok_or_else(|| {
                    format!("node '{target}' is behind an ssh relay, which takes only commands with a centcore_cmd")
                })
            }
        };
        job.series.begun(context);
        match work {
            Ok(work) => {
                job.started = context.now.wall.as_seconds();
                self.begin(context, node, work, Job::Commands(job));
            }
            Err(text) => self.command_ended(context, node, job, SshEnd::Failed(text)),
        }
    }

    pub(super) fn command_ended(&mut self, context: &mut Context, node: NodeId, mut job: CommandJob, end: SshEnd) {
        let Some(command) = job.series.command() else { return };
        let now = context.now.wall.as_seconds();
        let result = match end {
            SshEnd::Ran(run) => Ok(rows::command_finished(command, &run, job.started, now)),
            SshEnd::Done | SshEnd::Copied(..) => Ok(rows::command_relayed(command)),
            SshEnd::NotConnected(reason) => {
                return job.series.end(context, &not_connected(node, &reason));
            }
            SshEnd::TimedOut => Err("Command too long to execute (timeout)...".to_owned()),
            SshEnd::Silent => {
                let seconds = command.timeout_nodata.unwrap_or(TIMEOUT_NODATA).as_secs_f64();
                Err(format!("Command without output for {seconds} s (timeout_nodata)..."))
            }
            SshEnd::Failed(reason) | SshEnd::Refused(reason) | SshEnd::SubmittedInPart(_, reason) => Err(reason),
        };
        let goes_on = match result {
            Ok(data) => {
                job.series.result(context, data);
                true
            }
            Err(text) => {
                let data = rows::command_failed(command, &text, job.started, now);
                job.series.failed(context, data, job.killed.is_some())
            }
        };
        if let Some(reason) = job.killed {
            return job.series.end(context, &reason);
        }
        if goes_on && !job.series.is_cut_short(context) {
            self.next_command(context, node, job);
        }
    }
}
