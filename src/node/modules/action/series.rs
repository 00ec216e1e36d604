//! The commands of one request, run one after the other here or by SSH: the rows about them, and the end of the
//! request.

use crate::model::code::Code;
use crate::model::token::Token;

use super::list::Command;
use super::request::CommandRequest;
use super::rows;
use crate::node::command_rows;
use crate::node::context::Context;
use crate::node::journal::NewRow;
use crate::node::json;
use crate::node::phase::STOPPING_TEXT;

/// A request and its token. Holds command lines: no `Debug`.
pub(in crate::node) struct Series {
    token: Token,
    request: CommandRequest,
    errors: bool,
}

impl Series {
    pub fn new(token: Token, request: CommandRequest) -> Self {
        Self { token, request, errors: false }
    }

    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// Returns whether rows are written.
    pub const fn logging(&self) -> bool {
        self.request.logging
    }

    /// Returns whether it comes from a central that we dial.
    pub const fn of_central(&self) -> bool {
        self.request.of_central
    }

    /// Returns whether it stays in the queue of the daemon that sent it.
    pub const fn is_queued(&self) -> bool {
        self.request.is_queued
    }

    /// Returns whether it waits for the one before it from such a queue.
    pub const fn in_order(&self) -> bool {
        self.request.in_order
    }

    /// Returns the number of characters of the whole request.
    pub const fn len_bytes(&self) -> usize {
        self.request.len_bytes
    }

    /// Returns the current command; `None` if all are done.
    pub fn command(&self) -> Option<&Command> {
        self.request.commands.front()
    }

    /// Returns the data of the row that begins the request.
    pub fn processing_started(&self) -> String {
        command_rows::processing_started(&self.request.content)
    }

    /// Writes a row that does not end the request.
    pub fn row(&self, context: &mut Context, code: Code, data: String) {
        if self.request.logging {
            context.row(&self.token, code, data);
        }
    }

    /// Writes the row that the current command has begun.
    pub fn begun(&self, context: &mut Context) {
        if let Some(command) = self.command() {
            self.row(context, Code::BEGIN, rows::command_started(command));
        }
    }

    /// Writes the result of the current command and moves on to the next.
    pub fn result(&mut self, context: &mut Context, data: String) {
        if self.request.logging {
            let row = NewRow::part(&self.token, Code::COMMAND_RESULT, data);
            context.write(NewRow { instant: self.request.instant, ..row });
        }
        self.request.commands.pop_front();
    }

    /// Notes that the current command could not be run, or not to its end, and moves on to the next. Returns whether
    /// the request continues; a killed one is ended elsewhere.
    pub fn failed(&mut self, context: &mut Context, data: String, is_killed: bool) -> bool {
        self.row(context, Code::FINISHED_KO, data);
        self.errors = true;
        let goes_on = self.request.commands.pop_front().is_some_and(|command| command.continue_on_error) || is_killed;
        if !goes_on {
            self.end(context, "commands processing has been interrupted because of error");
        }
        goes_on
    }

    /// Ends the request with an error.
    pub fn end(&self, context: &mut Context, text: &str) {
        if self.request.logging {
            context.fail(&self.token, text);
        }
    }

    /// Ends the request after all its commands.
    pub fn finish(&self, context: &mut Context) {
        if self.errors {
            self.end(context, "commands processing has finished with errors");
        } else if self.request.logging {
            let data = json::message("commands processing has finished successfully");
            context.finish(&self.token, Code::FINISHED_OK, data);
        }
    }

    /// Ends a request with commands left because the daemon stops. Returns whether it did.
    pub fn is_cut_short(&self, context: &mut Context) -> bool {
        let is_cut_short = context.is_stopping() && self.command().is_some();
        if is_cut_short {
            self.end(context, STOPPING_TEXT);
        }
        is_cut_short
    }
}
