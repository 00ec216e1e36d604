//! RUNNING and CANCEL: which commands run or wait on this daemon, and their end before their time. These actions are
//! our own (docs/protocol.md section 20).
//!
//! Out of scope: who may cancel (`node::api`, `node::guard`), and hosts by SSH (`node::ssh`).

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::json;

use crate::model::code::Code;
use crate::model::command::CommandId;
use crate::model::host_work::HostWork;
use crate::model::token::Token;

use super::list::Command;
use super::plugins::{Owner, Validation};
use super::series::Series;
use super::{Awaiting, Commands, Running};
use crate::node::context::Context;
use crate::node::journal::NewRow;
use crate::node::output::Output;
use crate::node::peer::Handled;

/// Maximum number of commands in a list.
const LISTED_MAX: usize = 300;
/// Maximum number of characters of a command line in a list.
const LINE_MAX: usize = 200;
/// Maximum number of characters of who cancels.
const BY_MAX: usize = 120;

/// Begins the message about a node that knows neither action.
pub(in crate::node) const UNABLE: &str = "running commands can be neither listed nor cancelled";

/// The data of a CANCEL.
#[derive(Deserialize)]
struct CancelText {
    content: CancelContent,
}

#[derive(Deserialize)]
struct CancelContent {
    token: String,
    #[serde(default)]
    by: String,
}

/// A request to cancel a token.
pub(in crate::node) struct CancelRequest {
    pub token: String,
    /// The message of its end.
    pub reason: String,
}

impl CancelRequest {
    /// Reads the data of a CANCEL; `None` if it names no token.
    pub fn read(data: &str) -> Option<Self> {
        let CancelContent { token, by } = serde_json::from_str::<CancelText>(data).ok()?.content;
        let by: String = by.chars().filter(|letter| !letter.is_control()).take(BY_MAX).collect();
        let reason = if by.is_empty() { "cancelled".to_owned() } else { format!("cancelled by {by}") };
        Some(Self { token, reason })
    }

    /// Returns the data of a CANCEL.
    pub fn data(token: &str, by: &str) -> String {
        json!({ "content": { "token": token, "by": by } }).to_string()
    }
}

/// A command in a list.
pub(in crate::node) struct Listed<'a> {
    pub token: &'a Token,
    pub action: &'static str,
    /// `running`, `starting` or `waiting`.
    pub state: &'static str,
    /// The command line; `None` if it is not known yet.
    pub line: Option<&'a str>,
    /// When it began, in seconds since the epoch.
    pub since: Option<i64>,
}

/// Ends the token of a RUNNING with a list.
pub(in crate::node) fn answer_running(context: &mut Context, token: &Token, listed: &[Listed<'_>]) -> Handled {
    let shown = listed.iter().take(LISTED_MAX).map(|one| {
        let line: Option<String> = one.line.map(|line| line.chars().take(LINE_MAX).collect());
        let line = line.map(|line| context.journal.masked(one.token, line.into()).into_owned());
        json!({
            "token": one.token.as_str(),
            "action": one.action,
            "state": one.state,
            "command": line,
            "since": one.since,
        })
    });
    let running: Vec<serde_json::Value> = shown.collect();
    let data = json!({ "action": "running", "running": running, "more": listed.len() > LISTED_MAX });
    end_shortly(context, token, Code::FINISHED_OK, data.to_string())
}

/// Ends the token of a CANCEL: of a token that is being cancelled, or that does not run here.
pub(in crate::node) fn answer_cancel(
    context: &mut Context,
    token: &Token,
    request: &CancelRequest,
    found: bool,
) -> Handled {
    let (code, data) = if found {
        (Code::FINISHED_OK, json!({ "action": "cancel", "token": request.token, "message": request.reason }))
    } else {
        let message = "no command with this token runs here";
        (Code::FINISHED_KO, json!({ "error": "not_running", "token": request.token, "message": message }))
    };
    end_shortly(context, token, code, data.to_string())
}

/// Ends the token of a CANCEL that names no token.
pub(in crate::node) fn refuse(context: &mut Context, token: &Token) -> Handled {
    context.fail(token, "please set a token to cancel");
    Handled::accepted()
}

/// Ends a token with a row that need not be kept for long.
fn end_shortly(context: &mut Context, token: &Token, code: Code, data: String) -> Handled {
    context.write(NewRow { instant: true, ..NewRow::last(token, code, data) });
    Handled::accepted()
}

impl Running {
    fn listed(&self, state: &'static str) -> Listed<'_> {
        let line = self.series.command().map(|command: &Command| command.line.as_str());
        Listed { token: self.series.token(), action: "COMMAND", state, line, since: Some(self.since) }
    }
}

impl Commands {
    pub(super) fn list_running(&mut self, context: &mut Context, token: &Token) -> Handled {
        let running = self.running.values().map(|running| running.listed("running"));
        let engines = self.engines.values().map(|run| Listed {
            token: &run.token,
            action: "ACTIONENGINE",
            state: "running",
            line: Some(&run.line),
            since: Some(run.since),
        });
        let starting = self.starting.values().filter_map(|starting| starting.running.as_ref());
        let validated = self.validations.values().filter_map(|validation| match &validation.owner {
            Owner::Request(running) => Some(running),
            Owner::Engine(_) => None,
        });
        let starting = starting.chain(validated).map(|running| running.listed("starting"));
        let waiting = self.waiting.iter().map(|series| Listed {
            token: series.token(),
            action: "COMMAND",
            state: "waiting",
            line: series.command().map(|command| command.line.as_str()),
            since: None,
        });
        let listed: Vec<Listed<'_>> = running.chain(engines).chain(starting).chain(waiting).collect();
        answer_running(context, token, &listed)
    }

    /// Ends the requests of a token before their time: what runs is asked to end and then killed, what waits does not
    /// begin. Returns whether there were any.
    pub(in crate::node) fn cancel(&mut self, context: &mut Context, token: &str, reason: &str) -> bool {
        let waiting = self.cancel_waiting(context, token, reason);
        let work = self.cancel_work(context, token, reason);
        let mut commands: Vec<CommandId> = Vec::new();
        for (id, running) in &mut self.running {
            if running.cancel(token, reason) {
                commands.push(*id);
            }
        }
        for (id, run) in &mut self.engines {
            if run.cancel(token, reason) {
                commands.push(*id);
            }
        }
        for (id, Validation { owner, .. }) in &mut self.validations {
            let is_cancelled = match owner {
                Owner::Request(running) => running.cancel(token, reason),
                Owner::Engine(run) => run.cancel(token, reason),
            };
            if is_cancelled {
                commands.push(*id);
            }
        }
        // These end when their first rows are stored.
        let starting = self.starting.values_mut().filter_map(|starting| starting.running.as_mut());
        let starting = starting.filter_map(|running| running.cancel(token, reason).then_some(())).count();
        let found = waiting || work || starting > 0 || !commands.is_empty();
        for id in commands {
            context.output(Output::Host(HostWork::EndCommand(id)));
        }
        found
    }

    /// Takes the requests of a token out of those that wait for their turn.
    fn cancel_waiting(&mut self, context: &mut Context, token: &str, reason: &str) -> bool {
        let is_meant = |series: &Series| series.token().as_str() == token;
        let count = self.waiting.len();
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (cancelled, rest): (VecDeque<Series>, VecDeque<Series>) = all.partition(is_meant);
        self.waiting = rest;
        for series in cancelled {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(series.len_bytes());
            series.end(context, reason);
        }
        self.waiting.len() < count
    }

    /// Drops the requests of a token that wait for work on another thread.
    fn cancel_work(&mut self, context: &mut Context, token: &str, reason: &str) -> bool {
        let is_meant = |awaiting: &Awaiting| match awaiting {
            Awaiting::Check(checking) => checking.token.as_str() == token,
            Awaiting::EngineCheck(run) | Awaiting::Plugins(Owner::Engine(run), _) => run.token.as_str() == token,
            Awaiting::Plugins(Owner::Request(running), _) => running.series.token().as_str() == token,
        };
        let meant: Vec<_> = self.work.iter().filter(|(_, work)| is_meant(work)).map(|(id, _)| *id).collect();
        for awaiting in meant.iter().filter_map(|id| self.work.remove(id)).collect::<Vec<_>>() {
            self.drop_awaiting(context, awaiting, reason);
        }
        !meant.is_empty()
    }
}

impl Running {
    /// Notes that its token is cancelled, if it is this one. Returns whether it is.
    fn cancel(&mut self, token: &str, reason: &str) -> bool {
        let is_meant = self.series.token().as_str() == token;
        if is_meant {
            self.killed = Some(reason.to_owned());
        }
        is_meant
    }
}
