//! Requests whose commands are checked against the allow-list. Matching can be slow, so a worker does it; until the
//! result the request has no reply and no row.

use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::message::Reply;
use crate::model::token::Token;
use crate::model::work::{CommandCheck, Work};
use crate::node::context::Context;
use crate::node::modules::action::Commands;

use super::Awaiting;
use super::request::{CommandRequest, Refusal, shown_line};
use crate::node::peer::Handled;

/// Maximum number of refused commands of one request that the log names in audit mode.
const AUDITED_MAX: usize = 20;
/// Maximum number of requests being checked, and of their characters.
const CHECKING_MAX: usize = 10_000;
const CHECKING_BYTES_MAX: usize = 32 << 20;

/// A request being checked. Holds command lines: no `Debug`.
pub(in crate::node) struct Checking {
    /// The client that is told whether the request is accepted; `None` if replies are not read.
    asker: Option<ClientId>,
    pub(super) token: Token,
    request: Result<CommandRequest, Refusal>,
    /// The checked command lines.
    shown: Vec<String>,
    len_bytes: usize,
}

/// The amount of checking in progress.
#[derive(Clone, Copy, Default)]
pub(super) struct CheckLoad {
    requests: usize,
    bytes: usize,
}

impl CheckLoad {
    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes
    }
}

impl Commands {
    /// Has the commands of a request checked. Commands after the first invalid one are never run, so they are not
    /// checked.
    pub(super) fn check_request(
        &mut self,
        context: &mut Context,
        asker: Option<ClientId>,
        token: &Token,
        request: Result<CommandRequest, Refusal>,
        len_bytes: usize,
    ) -> Handled {
        let lines: Vec<String> = match &request {
            Ok(request) => request.commands.iter().map(|command| command.line.clone()).collect(),
            Err(refusal) => refusal.before.clone(),
        };
        if lines.is_empty() {
            return self.admit(context, asker, token, request);
        }
        let load = self.checking;
        let bytes = load.bytes.saturating_add(len_bytes);
        if load.requests >= CHECKING_MAX || bytes > CHECKING_BYTES_MAX {
            let logging = request.as_ref().map_or_else(|refusal| refusal.logging, |request| request.logging);
            let text = "too many commands wait, try again later".to_owned();
            return self.admit(context, asker, token, Err(Refusal { text, logging, before: Vec::new() }));
        }
        self.checking = CheckLoad { requests: load.requests + 1, bytes };
        let wanted = if self.is_audit(context) { AUDITED_MAX } else { 1 };
        let shown = lines.iter().map(|line| shown_line(line)).collect();
        let checking = Checking { asker, token: token.clone(), request, shown, len_bytes };
        let id = context.start_work(Work::CheckCommands { lines, wanted });
        self.work.insert(id, Awaiting::Check(checking));
        Handled::Later
    }

    pub(super) fn log_complaints(&mut self, context: &mut Context, complaints: Vec<String>) {
        for complaint in complaints {
            context.log(LogLine::warning("action", complaint));
        }
    }

    pub(super) fn is_audit(&self, context: &Context) -> bool {
        context
            .options
            .modules
            .action
            .as_ref()
            .and_then(|action| action.allowed.as_ref())
            .is_some_and(|allowed| allowed.is_audit)
    }

    /// Handles the result of the allow-list check.
    pub(in crate::node) fn commands_checked(&mut self, context: &mut Context, checking: Checking, check: CommandCheck) {
        let Checking { asker, token, request, shown, len_bytes } = checking;
        let load = self.checking;
        let (requests, bytes) = (load.requests.saturating_sub(1), load.bytes.saturating_sub(len_bytes));
        self.checking = CheckLoad { requests, bytes };
        self.log_complaints(context, check.complaints);
        let is_audit = self.is_audit(context);
        let mut refusal = None;
        for index in check.refused {
            let line = shown.get(index).map(String::as_str).unwrap_or_default();
            if is_audit {
                let text =
                    format!("command would not be allowed (whitelist): {line} (token {token}, array index '{index}')");
                context.log(LogLine::warning("action", text).of_token(&token));
            } else {
                context
                    .log(LogLine::error("action", format!("command not allowed (whitelist): {line}")).of_token(&token));
                let logging = request.as_ref().map_or_else(|refusal| refusal.logging, |request| request.logging);
                let text = format!("command not allowed (whitelist) at array index '{index}' : {line}");
                refusal = Some(Refusal { text, logging, before: Vec::new() });
                break;
            }
        }
        let request = refusal.map_or(request, Err);
        if let (Handled::Reply(kind, code, data), Some(client)) = (self.admit(context, asker, &token, request), asker) {
            context.reply(client, Reply { kind, token: Some(token), code, data });
        }
    }

    /// Drops a request that waits for the allow-list.
    pub(in crate::node) fn drop_check(&mut self, context: &mut Context, checking: Checking, reason: &str) {
        let Checking { asker, token, request, len_bytes, .. } = checking;
        let load = self.checking;
        let (requests, bytes) = (load.requests.saturating_sub(1), load.bytes.saturating_sub(len_bytes));
        self.checking = CheckLoad { requests, bytes };
        if context.is_stopping() && request.as_ref().is_ok_and(|request| request.is_queued) {
            return context.give_back(&token);
        }
        let logging = request.as_ref().map_or_else(|refusal| refusal.logging, |request| request.logging);
        let refusal = Refusal { text: reason.to_owned(), logging, before: Vec::new() };
        if let (Handled::Reply(kind, code, data), Some(client)) =
            (self.admit(context, asker, &token, Err(refusal)), asker)
        {
            context.reply(client, Reply { kind, token: Some(token), code, data });
        }
    }
}

#[cfg(test)]
mod tests;
