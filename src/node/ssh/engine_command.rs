//! ENGINECOMMAND on a host without a daemon: lines for the engine's command pipe, written over SFTP (docs/protocol.md
//! sections 10 and 11). For a target behind the host each line becomes a relay file.

use crate::model::code::Code;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshEnd, SshTask};
use crate::model::token::Token;

use super::{Job, SshHosts, not_connected, relay_file};
use crate::node::command_rows;
use crate::node::context::Context;
use crate::node::journal::NewRow;
use crate::node::json;
use crate::node::modules::engine::{EngineContent, submitted};
use crate::node::nodes::pathway::Route;

/// A request in progress.
pub(super) struct EngineJob {
    pub token: Token,
    pub logging: bool,
    /// The lines being written: all for a pipe, one for a relay file.
    lines: Vec<String>,
    /// For relay files: the target and the remaining lines.
    relay: Option<(NodeId, Vec<String>)>,
}

/// Returns a line for the pipe without the line break that some senders add.
fn read_line(line: &str) -> Result<String, String> {
    let line = line.trim_end_matches('\n');
    if line.is_empty() || line.contains(['\n', '\0']) {
        return Err("each command must be one line".to_owned());
    }
    Ok(line.to_owned())
}

impl SshHosts {
    pub(super) fn engine_commands(
        &mut self,
        context: &mut Context,
        route: Route,
        token: &Token,
        data: &str,
    ) -> Result<(), String> {
        let mut single = String::new();
        let EngineContent { logging, text, command_file, lines, .. } = EngineContent::read(data, &mut single)?;
        let lines = lines?.iter().map(|line| read_line(line)).collect::<Result<Vec<_>, _>>()?;
        if lines.is_empty() {
            return Err("need commands argument".to_owned());
        }
        let is_relayed = route.through != route.target;
        let pipe = command_file.filter(|file| !file.contains('\0'));
        if pipe.is_none() && !is_relayed {
            return Err("need command_file argument".to_owned());
        }
        if logging {
            context.open_token(token, None);
        }
        let started = command_rows::processing_started(text);
        self.write(context, logging, NewRow::part(token, Code::BEGIN, started));
        if is_relayed {
            let job =
                EngineJob { token: token.clone(), logging, lines: Vec::new(), relay: Some((route.target, lines)) };
            self.next_relayed_line(context, route.through, job);
            return Ok(());
        }
        let work = SshTask::Submit { pipe: pipe.unwrap_or_default(), lines: lines.clone() };
        let job = EngineJob { token: token.clone(), logging, lines, relay: None };
        self.begin(context, route.through, work, Job::Engine(job));
        Ok(())
    }

    fn next_relayed_line(&mut self, context: &mut Context, node: NodeId, mut job: EngineJob) {
        let next =
            job.relay.as_mut().filter(|(_, lines)| !lines.is_empty()).map(|(target, lines)| (*target, lines.remove(0)));
        let Some((target, line)) = next else {
            let row = NewRow::last(&job.token, Code::FINISHED_OK, json::message("commands processing has finished"));
            return self.write(context, job.logging, row);
        };
        let work = relay_file(&mut self.next_relay, context.now.wall, "EXTERNALCMD", target, Some(&line));
        job.lines = vec![line];
        self.begin(context, node, work, Job::Engine(job));
    }

    pub(super) fn engine_ended(&mut self, context: &mut Context, node: NodeId, job: EngineJob, end: SshEnd) {
        let (done, failed) = match end {
            SshEnd::Done => (job.lines.len(), None),
            SshEnd::SubmittedInPart(lines, reason) => (lines, Some(reason)),
            SshEnd::NotConnected(reason) => {
                if job.logging {
                    context.fail(&job.token, &not_connected(node, &reason));
                }
                return;
            }
            SshEnd::Failed(reason) | SshEnd::Refused(reason) => (0, Some(reason)),
            SshEnd::TimedOut | SshEnd::Silent => (0, Some("it took too long".to_owned())),
            SshEnd::Ran(_) | SshEnd::Copied(..) => (0, None),
        };
        for line in job.lines.iter().take(done) {
            self.write(context, job.logging, NewRow::part(&job.token, Code::FINISHED_OK, submitted(line)));
        }
        if let Some(reason) = failed {
            let row = NewRow::last(&job.token, Code::FINISHED_KO, json::message(&reason));
            return self.write(context, job.logging, row);
        }
        self.next_relayed_line(context, node, job);
    }
}
