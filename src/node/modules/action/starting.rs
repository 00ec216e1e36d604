//! A request begins once its first rows are stored: what ran without a row could not be answered for after a broken
//! connection, and its token would end twice.

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::Reply;
use crate::model::token::Token;
use crate::node::context::Context;
use crate::node::journal::Awaited;
use crate::node::modules::action::Commands;

use super::series::Series;
use super::{Running, rows};
use crate::node::journal::NewRow;
use crate::node::json;
use crate::node::output::ReceiptId;
use crate::node::peer::Handled;
use crate::node::phase::STOPPING_TEXT;

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

impl Commands {
    /// Writes the first rows of a request, or runs one that has none at once.
    pub(super) fn start_request(&mut self, context: &mut Context, asker: Option<ClientId>, series: Series) -> Handled {
        let mut running = Running::new(series);
        if !running.series.logging() {
            self.next_command(context, running);
            return Handled::accepted();
        }
        let Some(receipt) = context.await_receipt(Awaited::Begin) else {
            if asker.is_none() {
                running.series.end(context, DATABASE_ISSUE);
            }
            return Handled::refused(json::message(DATABASE_ISSUE));
        };
        let first = running.series.command().map(rows::command_started);
        running.announced = first.is_some();
        let opened = context.open_token_with(running.series.token(), receipt);
        for data in [running.series.processing_started()].into_iter().chain(first) {
            context.write_with(NewRow::part(running.series.token(), Code::BEGIN, data), None, Some(receipt));
        }
        self.starting.insert(receipt, Starting { running, asker, opened });
        Handled::Later
    }

    /// The database has spoken about the first rows of a request. Returns the token of one that was accepted before and
    /// has not begun.
    pub(in crate::node) fn command_begun(
        &mut self,
        context: &mut Context,
        receipt: ReceiptId,
        stored: bool,
    ) -> Option<Token> {
        let Starting { mut running, asker, opened } = self.starting.remove(&receipt)?;
        let token = running.series.token().clone();
        if !stored && opened {
            context.journal.forget(&token);
        }
        let stopping = || (context.is_stopping()).then(|| STOPPING_TEXT.to_owned());
        let (code, data) = if !stored {
            (Code::FINISHED_KO, json::message(DATABASE_ISSUE))
        } else if let Some(reason) = running.killed.take().or_else(stopping) {
            context.fail(&token, &reason);
            (Code::BEGIN, "null".to_owned())
        } else {
            self.next_command(context, running);
            (Code::BEGIN, "null".to_owned())
        };
        let is_lost = asker.is_none() && !stored;
        if is_lost {
            context.fail(&token, DATABASE_ISSUE);
        }
        if let Some(client) = asker {
            context.reply(client, Reply { kind: Action::Ack, token: Some(token.clone()), code, data });
        }
        self.start_waiting(context);
        is_lost.then_some(token)
    }
}
