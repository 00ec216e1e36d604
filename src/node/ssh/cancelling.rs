//! RUNNING and CANCEL of commands on hosts without a daemon: a command is aborted, which kills it where the host's
//! server passes signals on.

use crate::model::node_id::NodeId;
use crate::model::ssh::SshTaskId;
use crate::model::token::Token;

use super::{Begun, Job, SshHosts};
use crate::node::context::Context;
use crate::node::modules::action::cancelling::{self, CancelRequest, Listed};
use crate::node::output::Output;

impl Begun {
    /// Returns its entry in the list of running commands; `None` if it is none.
    fn listed(&self) -> Option<Listed<'_>> {
        let Job::Commands(job) = &self.job else { return None };
        let line = job.series.command().map(|command| command.line.as_str());
        let token = job.series.token();
        Some(Listed { token, action: "COMMAND", state: "running", line, since: Some(job.started) })
    }
}

impl SshHosts {
    /// Handles a RUNNING.
    pub(super) fn list_running(&mut self, context: &mut Context, node: NodeId, token: &Token) {
        let here = self.begun.values().filter(|begun| begun.node == node);
        let listed: Vec<Listed<'_>> = here.filter_map(Begun::listed).collect();
        cancelling::answer_running(context, token, &listed);
    }

    /// Handles a CANCEL.
    pub(super) fn cancel(&mut self, context: &mut Context, node: NodeId, token: &Token, data: &str) {
        let Some(request) = CancelRequest::read(data) else {
            cancelling::refuse(context, token);
            return;
        };
        let CancelRequest { token: of, reason } = &request;
        let mut meant: Vec<SshTaskId> = Vec::new();
        for (task, begun) in self.begun.iter_mut().filter(|(_, begun)| begun.node == node) {
            if let Job::Commands(job) = &mut begun.job
                && job.series.token().as_str() == of
            {
                job.killed = Some(reason.clone());
                meant.push(*task);
            }
        }
        cancelling::answer_cancel(context, token, &request, !meant.is_empty());
        for task in meant {
            context.output(Output::AbortSshTask { node, task, reason: reason.clone() });
        }
    }
}
