//! Actions that calls start. A caller may bring the token of its action: the same request with the same token is run
//! once.

use std::collections::{BTreeMap, VecDeque};

use crate::model::action::Action;
use crate::model::api::CallId;
use crate::model::code::Code;
use crate::model::history::StoreChange;
use crate::model::queue::QueueChange;
use crate::model::token::Token;
use crate::model::work::WorkId;

use super::{ApiRoom, Started, cannot_read, token_in_use};
use crate::node::output::Output;
use crate::node::peer::Handled;
use crate::node::queue::{KnownOfCaller, Queue};

/// Number of new tokens that are remembered until the database has them for certain.
const RECENT_MAX: usize = 10_000;

/// The calls with a token of their own.
#[derive(Debug, Default)]
pub(super) struct CallersTokens {
    /// Calls that wait for what the database knows of their tokens.
    waiting: BTreeMap<WorkId, (CallId, Started)>,
    /// Digests of the newest tokens and their requests.
    recent: VecDeque<(i64, i64)>,
}

impl CallersTokens {
    /// Returns the digest of the request that a new token is for.
    fn request_of(&self, hash: i64) -> Option<i64> {
        self.recent.iter().find(|(recent, _)| *recent == hash).map(|(_, request)| *request)
    }

    fn remember(&mut self, hash: i64, request: i64) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((hash, request));
    }
}

impl ApiRoom<'_> {
    /// Returns an action that may start now. One whose token the caller brought waits for what the database knows.
    pub(in crate::node) fn may_start(&mut self, queue: &mut Queue, id: CallId, started: Started) -> Option<Started> {
        if started.asked_for.is_none() {
            return Some(started);
        }
        let work = queue.ask_for_caller(self.context, &started.token);
        self.calls.callers.waiting.insert(work, (id, started));
        None
    }

    /// Handles what the database knows of the token of a call. Returns the action if it may start now.
    pub(in crate::node) fn token_is_known(&mut self, (work, known): KnownOfCaller) -> Option<(CallId, Started)> {
        let (id, started) = self.calls.callers.waiting.remove(&work)?;
        let (hash, request) = (started.token.digest(), started.asked_for.unwrap_or_default());
        let answer = match (self.calls.callers.request_of(hash), known) {
            (None, None) => {
                self.forget(id);
                Some(cannot_read())
            }
            (None, Some(known)) if known.asked.is_none() && known.queued.is_none() && !known.has_rows => {
                self.calls.callers.remember(hash, request);
                let at = self.context.now.wall.as_seconds();
                self.context.store(StoreChange::Queue(QueueChange::PutAsked { hash, request, at }));
                return Some((id, started));
            }
            (recent, known) if recent.or(known.as_ref().and_then(|known| known.asked)) == Some(request) => {
                // Whoever waits gets the rows that there are by the end of the wait, or of the token.
                if started.answer.is_none() {
                    self.ask_history(id);
                }
                started.answer
            }
            _ => {
                self.forget(id);
                Some(token_in_use(&started.token))
            }
        };
        self.answer(id, answer);
        None
    }

    /// Ends the token of an action of this daemon whose reply is its result: the end is looked for by the token.
    pub(in crate::node) fn replied(&mut self, token: &Token, is_said_by_reply: bool, handled: Handled) {
        if let Handled::Reply(_, code, data) = handled
            && is_said_by_reply
            && !self.context.journal.has_just_ended(token)
        {
            let code = if code == Code::FINISHED_KO { code } else { Code::FINISHED_OK };
            self.context.finish(token, code, data);
        }
    }

    pub(in crate::node) fn answer(&mut self, call: CallId, answer: Option<super::ApiAnswer>) {
        if let Some(answer) = answer {
            self.context.output(Output::Answer { call, answer });
        }
    }
}

impl Started {
    /// Returns whether only the reply has the result.
    pub(in crate::node) const fn is_said_by_reply(&self) -> bool {
        matches!(self.action, Action::ConStatus | Action::Routes | Action::BroadcastLogger)
    }
}
