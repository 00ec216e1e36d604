//! The start of a request: after its first rows are stored, or are certain to be stored
//! ([`Commands::command_may_begin`]). Otherwise a command could run without a row, so that it would be unknown after a
//! lost connection and its token would end twice.
//!
//! Most commands end within milliseconds. Their first and last rows share one commit, which spares the disk a second
//! one. Nobody is told of the request before that, and a query of the history stores the rows first. After a power
//! failure in between there is no trace of the request here: its sender detects that and ends the token.

use std::time::Duration;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::host_work::HostWork;
use crate::model::message::Reply;
use crate::model::token::Token;
use crate::node::context::Context;
use crate::node::journal::Awaited;
use crate::node::modules::action::Commands;

use super::series::Series;
use super::{Running, rows};
use crate::node::journal::NewRow;
use crate::node::json;
use crate::node::output::{Output, ReceiptId};
use crate::node::peer::Handled;
use crate::node::phase::STOPPING_TEXT;

/// The message if the rows cannot be stored.
const DATABASE_ISSUE: &str = "database issue";

/// How long the first rows of a request may wait for its last ones, if a client waits for the reply.
const PATIENCE: Duration = Duration::from_millis(10);
/// The same for a request of a central that we dial, which gets no reply.
const PATIENCE_WITH_CENTRAL: Duration = Duration::from_millis(100);

/// A request whose first rows are being stored. Holds command lines: no `Debug`.
pub(super) struct Starting {
    token: Token,
    /// `None` once it has begun before its rows are stored.
    pub(super) running: Option<Running>,
    /// The client that is told whether it begins; `None` if it was accepted before, or if replies are not read.
    asker: Option<ClientId>,
    /// Whether its token is stored with the same receipt.
    opened: bool,
}

impl Commands {
    /// Writes the first rows of a request, or runs one without rows at once.
    pub(super) fn start_request(&mut self, context: &mut Context, asker: Option<ClientId>, series: Series) -> Handled {
        self.in_order.begin(context, &series);
        let mut running = Running::new(series, context.now.wall.as_seconds());
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
        let needs_plugins = running.series.command().is_some_and(|command| command.plugins().is_some());
        // A request without a row is given back to the queue it came from, so it must not begin without one.
        if !needs_plugins && !running.series.is_queued() {
            let patience = if running.series.of_central() { PATIENCE_WITH_CENTRAL } else { PATIENCE };
            context.output(Output::StoreMayWait { receipt, patience });
        }
        let token = running.series.token().clone();
        self.starting.insert(receipt, Starting { token, running: Some(running), asker, opened });
        Handled::Later
    }

    /// Begins a request whose first rows wait for others while the database takes changes.
    pub(in crate::node) fn command_may_begin(&mut self, context: &mut Context, receipt: ReceiptId) {
        let Some(starting) = self.starting.get_mut(&receipt).filter(|_| !context.is_stopping()) else { return };
        if let Some(running) = starting.running.take_if(|running| running.killed.is_none()) {
            self.next_command(context, running);
            self.start_waiting(context);
        }
    }

    /// Handles the failure to store the first rows of a request that has begun. Returns whether its command was still
    /// running; it is then killed and forgotten. If it has ended, its last rows are kept until they can be stored.
    fn is_stopped_in_time(&mut self, context: &mut Context, token: &Token) -> bool {
        let found = self.running.iter().find(|(_, running)| running.series.token() == token).map(|(id, _)| *id);
        if let Some(id) = found {
            self.running.remove(&id);
            context.output(Output::Host(HostWork::KillCommand(id)));
        }
        found.is_some()
    }

    /// Handles the storing of the first rows of a request. Returns the token of a request that was accepted before and
    /// has not begun.
    pub(in crate::node) fn command_begun(
        &mut self,
        context: &mut Context,
        receipt: ReceiptId,
        stored: bool,
    ) -> Option<Token> {
        let Starting { token, running, asker, opened } = self.starting.remove(&receipt)?;
        let has_begun = running.is_none();
        if has_begun && !stored && !self.is_stopped_in_time(context, &token) {
            return None;
        }
        if !stored && opened {
            context.journal.forget(&token);
        }
        let (code, data) = if !stored {
            (Code::FINISHED_KO, json::message(DATABASE_ISSUE))
        } else {
            if let Some(mut running) = running {
                match running.killed.take() {
                    Some(reason) if reason != STOPPING_TEXT => context.fail(&token, &reason),
                    _ if !context.is_stopping() => self.next_command(context, running),
                    _ if running.series.is_queued() => context.give_back(&token),
                    _ => context.fail(&token, STOPPING_TEXT),
                }
            }
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
