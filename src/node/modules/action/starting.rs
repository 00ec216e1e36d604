//! A request begins once its first rows are stored: what ran without a row could not be answered for after a broken
//! connection, and its token would end twice.

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::Reply;
use crate::model::token::Token;
use crate::node::journal::Awaited;

use super::request::Request;
use super::{Running, rows};
use crate::node::api::waits;
use crate::node::command_rows;
use crate::node::core::Core;
use crate::node::journal::NewRow;
use crate::node::json;
use crate::node::output::ReceiptId;
use crate::node::peer::Handled;
use crate::node::stopping::STOPPING_TEXT;

/// What is said where the rows cannot be stored.
const DATABASE_ISSUE: &str = "database issue";

/// A request whose first rows are on their way into the database. Holds command lines: no `Debug`.
pub(super) struct Starting {
    pub(super) running: Running,
    /// Who hears whether it begins; `None` where it was accepted before, or where replies are not read.
    asker: Option<ClientId>,
    /// Whether its token is remembered with the same receipt.
    opened: bool,
}

impl Core {
    /// Writes the first rows of a request, or runs one that has none at once.
    pub(super) fn start_request(&mut self, asker: Option<ClientId>, token: Token, request: Request) -> Handled {
        let mut running =
            Running { request, token, errors: false, killed: None, announced: false, validated: false, printed: 0 };
        if !running.request.logging {
            self.next_command(running);
            return Handled::accepted();
        }
        let Some(receipt) = self.context.await_receipt(Awaited::Begin) else {
            if asker.is_none() {
                self.context.fail(&running.token, DATABASE_ISSUE);
            }
            return Handled::refused(json::message(DATABASE_ISSUE));
        };
        let first = running.request.commands.front().map(rows::command_started);
        running.announced = first.is_some();
        let opened = self.context.open_token_with(&running.token, receipt);
        for data in [command_rows::processing_started(&running.request.content)].into_iter().chain(first) {
            self.context.write_with(NewRow::part(&running.token, Code::BEGIN, data), None, Some(receipt));
        }
        self.commands.starting.insert(receipt, Starting { running, asker, opened });
        Handled::Later
    }

    /// The database has spoken about the first rows of a request.
    pub(in super::super::super) fn command_begun(&mut self, receipt: ReceiptId, stored: bool) {
        let Some(Starting { mut running, asker, opened }) = self.commands.starting.remove(&receipt) else { return };
        let token = running.token.clone();
        if !stored && opened {
            self.context.journal.forget(&token);
        }
        let stopping = || (self.context.is_stopping()).then(|| STOPPING_TEXT.to_owned());
        let (code, data) = if !stored {
            (Code::FINISHED_KO, json::message(DATABASE_ISSUE))
        } else if let Some(reason) = running.killed.take().or_else(stopping) {
            self.context.fail(&token, &reason);
            (Code::BEGIN, "null".to_owned())
        } else {
            self.next_command(running);
            (Code::BEGIN, "null".to_owned())
        };
        match asker {
            Some(client) => self.context.reply(client, Reply { kind: Action::Ack, token: Some(token), code, data }),
            None if !stored => {
                waits::token_not_stored(self, token.as_str());
                self.context.fail(&token, DATABASE_ISSUE);
            }
            None => {}
        }
        self.start_waiting();
    }
}
