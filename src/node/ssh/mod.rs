//! Requests for nodes that are reached by SSH (docs/protocol.md section 10). They have no daemon, so this one does
//! their work by commands and files. Out of scope: connections and time-outs (`session::ssh_steps`), and the library
//! (`edge::ssh`).

mod cancelling;
mod command;
mod copy;
mod engine_command;
mod rows;
#[cfg(all(test, feature = "ssh"))]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::model::action::{Action, Also};
use crate::model::code::Code;
use crate::model::copy::SourceId;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshCommand, SshEnd, SshTask, SshTaskId};
use crate::model::time::WallTime;
use crate::model::token::Token;

use super::context::Context;
use super::journal::NewRow;
use super::json;
use super::modules::action::request::CommandRequest;
use super::nodes::pathway::Route;
use super::output::Output;
use super::phase::STOPPING_TEXT;
use command::CommandJob;
use copy::CopyJob;
use engine_command::EngineJob;

/// Whether this build has SSH.
const HAS_SSH: bool = cfg!(feature = "ssh");
/// Why it does nothing for a node of kind `push_ssh`.
const NO_SSH: &str = "push_ssh needs a build with ssh";
/// Maximum number of requests in progress, for all nodes together.
const JOBS_MAX: usize = 10_000;
/// Time within which the command of a ping must end.
const PING_PATIENCE: Duration = Duration::from_secs(5);
const PING_LINE: &str = "hostname";
/// The directory in which a relay looks for relay files.
const RELAY_DIRECTORY: &str = "/var/lib/centreon/centcore";

/// The purpose of a task.
enum Job {
    Ping,
    Commands(CommandJob),
    Engine(EngineJob),
    Copy(CopyJob),
}

/// The result of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinged {
    /// The host answers, whatever the answer is.
    Answered,
    /// The host accepted the command and did not answer.
    Unanswered,
    /// The command could not be sent.
    NotSent,
}

impl Pinged {
    const fn of(end: &SshEnd) -> Self {
        match end {
            SshEnd::Ran(_) | SshEnd::Refused(_) => Self::Answered,
            SshEnd::TimedOut | SshEnd::Silent => Self::Unanswered,
            _ => Self::NotSent,
        }
    }
}

/// A task in progress.
struct Begun {
    node: NodeId,
    job: Job,
}

/// The work on nodes that are reached by SSH. Holds command lines: no `Debug`.
#[derive(Default)]
pub(super) struct SshHosts {
    begun: BTreeMap<SshTaskId, Begun>,
    next: u64,
    /// Number of relay files made so far.
    next_relay: u64,
}

/// Returns the message of the row about a task that could not begin.
fn not_connected(node: NodeId, reason: &str) -> String {
    format!("cannot connect on target node '{node}': {reason}")
}

impl SshHosts {
    /// Returns whether nothing but pings is in progress.
    pub fn is_idle(&self) -> bool {
        self.begun.values().all(|begun| matches!(begun.job, Job::Ping))
    }

    /// Returns whether copies to a target are in progress; with an id, only earlier ones count.
    pub fn is_copying_to(&self, target: NodeId, before: Option<SourceId>) -> bool {
        self.begun.values().any(|begun| match &begun.job {
            Job::Copy(job) => job.target == target && before.is_none_or(|before| job.order < before),
            _ => false,
        })
    }
}

/// Returns the word of a relay file from the metadata of a request; none if it is not a single word.
fn relay_word(metadata: Option<&Value>) -> Option<String> {
    let word = json::text(metadata?.get("centcore_cmd")?)?;
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).then_some(word)
}

/// Returns a file that a host passes on to a target behind it: `WORD:TARGET[:PARAMETER]`.
fn relay_file(count: &mut u64, now: WallTime, word: &str, target: NodeId, parameter: Option<&str>) -> SshTask {
    let parameter = parameter.map(|text| format!(":{text}")).unwrap_or_default();
    *count += 1;
    SshTask::Write {
        path: format!("{RELAY_DIRECTORY}/{}{:03}.cmd", now.as_micros(), *count % 1_000),
        content: format!("{word}:{target}{parameter}\n"),
        mode: 0o660,
    }
}

impl SshHosts {
    /// Handles a request whose route leads to a node that is reached by SSH. Every token ends with a row of ours.
    ///
    /// # Errors
    /// Returns the message of the history row that ends the token.
    pub(super) fn request(
        &mut self,
        context: &mut Context,
        route: Route,
        action: &Action,
        token: &Token,
        data: &str,
    ) -> Result<(), String> {
        if *action == Action::GetLog {
            return Err("proxy - can't get log a ssh target or through a ssh node".to_owned());
        }
        if *action == Action::Running {
            self.list_running(context, route.through, token);
            return Ok(());
        }
        if *action == Action::Cancel {
            self.cancel(context, route.through, token, data);
            return Ok(());
        }
        if !HAS_SSH {
            return Err(NO_SSH.to_owned());
        }
        self.has_room()?;
        if !action.is(Also::OverSsh) {
            return Err("unsupported action".to_owned());
        }
        match action {
            Action::RemoteCopy => self.copy(context, route, token, data),
            Action::ActionEngine => self.commands(context, route, token, CommandRequest::read_single(data)),
            Action::EngineCommand => self.engine_commands(context, route, token, data),
            _ => self.commands(context, route, token, CommandRequest::read(data)),
        }
    }

    /// Checks whether one more request may begin.
    ///
    /// # Errors
    /// Returns the message of the history row that ends the token.
    pub(super) fn has_room(&self) -> Result<(), String> {
        if !HAS_SSH {
            return Err(NO_SSH.to_owned());
        }
        if self.begun.len() >= JOBS_MAX {
            return Err("too many requests for ssh nodes wait, try again later".to_owned());
        }
        Ok(())
    }

    fn begin(&mut self, context: &mut Context, node: NodeId, work: SshTask, job: Job) {
        let task = SshTaskId(self.next);
        self.next += 1;
        self.begun.insert(task, Begun { node, job });
        context.output(Output::StartSshTask { node, task, work });
    }

    /// Starts a command that shows whether a node is alive.
    pub(super) fn ping(&mut self, context: &mut Context, node: NodeId) {
        let work = SshTask::Run(SshCommand {
            line: PING_LINE.to_owned(),
            timeout: PING_PATIENCE,
            timeout_nodata: PING_PATIENCE,
            output_limit: 1_024,
            is_urgent: true,
        });
        self.begin(context, node, work, Job::Ping);
    }

    /// Handles [`super::input::Input::SshEnded`]. Returns the result if the task was a ping.
    pub fn ended(&mut self, context: &mut Context, task: SshTaskId, end: SshEnd) -> Option<(NodeId, Pinged)> {
        if !HAS_SSH {
            return None;
        }
        let Begun { node, job } = self.begun.remove(&task)?;
        match job {
            Job::Ping => return Some((node, Pinged::of(&end))),
            Job::Commands(job) => self.command_ended(context, node, job, end),
            Job::Engine(job) => self.engine_ended(context, node, job, end),
            Job::Copy(job) => self.copy_ended(context, node, job, end),
        }
        None
    }

    /// Aborts all tasks because the daemon stops, or does not wait any longer.
    pub(super) fn abort_all(&mut self, context: &mut Context, reason: &str) {
        let all = self.begun.iter().filter(|(_, begun)| !matches!(begun.job, Job::Ping));
        let all: Vec<_> = all.map(|(task, begun)| (*task, begun.node)).collect();
        for (task, node) in all {
            context.output(Output::AbortSshTask { node, task, reason: reason.to_owned() });
        }
    }

    /// Ends the requests whose tasks have not ended when the daemon does.
    pub(super) fn give_up_all(&mut self, context: &mut Context) {
        for begun in std::mem::take(&mut self.begun).into_values() {
            let (logging, token) = match begun.job {
                Job::Ping => continue,
                Job::Commands(job) => {
                    job.series.end(context, STOPPING_TEXT);
                    continue;
                }
                Job::Engine(job) => (job.logging, job.token),
                Job::Copy(job) => (job.logging, job.token),
            };
            let row = NewRow::last(&token, Code::FINISHED_KO, json::message(STOPPING_TEXT));
            self.write(context, logging, row);
        }
    }

    fn write(&mut self, context: &mut Context, logging: bool, row: NewRow) {
        if logging {
            context.write(row);
        }
    }
}
