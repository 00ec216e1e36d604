//! The commands of one request, one after the other, wherever they run: the rows about them, and how the request ends.

use crate::model::code::Code;
use crate::model::token::Token;

use super::list::Command;
use super::request::Request;
use super::rows;
use crate::node::command_rows;
use crate::node::context::Context;
use crate::node::journal::NewRow;
use crate::node::json;
use crate::node::phase::STOPPING_TEXT;

/// A request and its token. Holds command lines: no `Debug`.
pub(in crate::node) struct Series {
    token: Token,
    request: Request,
    errors: bool,
}

impl Series {
    pub fn new(token: Token, request: Request) -> Self {
        Self { token, request, errors: false }
    }

    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// Whether rows are written.
    pub const fn logging(&self) -> bool {
        self.request.logging
    }

    /// Whether it comes from the central that we dial.
    pub const fn of_central(&self) -> bool {
        self.request.of_central
    }

    /// Characters of the whole request.
    pub const fn len_bytes(&self) -> usize {
        self.request.len_bytes
    }

    /// The command in hand; `None` when all are done.
    pub fn command(&self) -> Option<&Command> {
        self.request.commands.front()
    }

    /// The data of the row that begins the request.
    pub fn processing_started(&self) -> String {
        command_rows::processing_started(&self.request.content)
    }

    /// Writes a row after which the request goes on.
    pub fn row(&self, context: &mut Context, code: Code, data: String) {
        if self.request.logging {
            context.row(&self.token, code, data);
        }
    }

    /// Writes the row that the command in hand has begun.
    pub fn begun(&self, context: &mut Context) {
        if let Some(command) = self.command() {
            self.row(context, Code::BEGIN, rows::command_started(command));
        }
    }

    /// The command in hand has a result; the next one is in hand.
    pub fn result(&mut self, context: &mut Context, data: String) {
        if self.request.logging {
            let row = NewRow::part(&self.token, Code::COMMAND_RESULT, data);
            context.write(NewRow { instant: self.request.instant, ..row });
        }
        self.request.commands.pop_front();
    }

    /// The command in hand could not be run, or not to its end; the next one is in hand. Whether the request goes on:
    /// one that was killed ends elsewhere.
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

    /// All commands are done.
    pub fn finish(&self, context: &mut Context) {
        if self.errors {
            self.end(context, "commands processing has finished with errors");
        } else if self.request.logging {
            let data = json::message("commands processing has finished successfully");
            context.finish(&self.token, Code::FINISHED_OK, data);
        }
    }

    /// Ends a request that has commands left, because the daemon stops; whether it did.
    pub fn is_cut_short(&self, context: &mut Context) -> bool {
        let is_cut_short = context.is_stopping() && self.command().is_some();
        if is_cut_short {
            self.end(context, STOPPING_TEXT);
        }
        is_cut_short
    }
}
