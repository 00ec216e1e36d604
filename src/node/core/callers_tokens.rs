//! Tokens that callers of the API bring: the same request with the same token is run once.

use std::collections::{BTreeMap, VecDeque};

use crate::model::api::{ApiAnswer, CallId};
use crate::model::history::StoreChange;
use crate::model::queue::{Known, QueueChange};
use crate::model::work::WorkId;

use super::Core;
use crate::node::api::{self, Started};
use crate::node::output::Output;

/// Number of new tokens that are remembered until the database has them for certain.
const RECENT_MAX: usize = 10_000;

/// The calls with a token of their own.
#[derive(Default)]
pub(super) struct CallersTokens {
    /// Calls that wait for what the database knows of their tokens.
    waiting: BTreeMap<WorkId, (CallId, Started)>,
    /// Digests of the newest tokens and their requests.
    recent: VecDeque<(i64, i64)>,
}

impl Core {
    /// Runs an action for a call, unless the caller has asked for it before.
    pub(super) fn start_once_for_call(&mut self, id: CallId, started: Started) -> Option<ApiAnswer> {
        if started.asked_for.is_none() {
            return self.start_for_call(id, started);
        }
        let work = self.queue.ask_for_caller(&mut self.context, &started.token);
        self.callers.waiting.insert(work, (id, started));
        None
    }

    /// Handles what the database knows of the token of a call; `None` if it cannot be read.
    pub(super) fn token_of_caller_known(&mut self, work: WorkId, known: Option<Known>) {
        let Some((id, started)) = self.callers.waiting.remove(&work) else { return };
        let (hash, request) = (started.token.digest(), started.asked_for.unwrap_or_default());
        let recent = self.callers.recent.iter().find(|(recent, _)| *recent == hash).map(|(_, request)| *request);
        let answer = match (recent, known) {
            (None, None) => {
                self.api().forget(id);
                Some(api::cannot_read())
            }
            (None, Some(known)) if known.asked.is_none() && known.queued.is_none() && !known.has_rows => {
                if self.callers.recent.len() >= RECENT_MAX {
                    self.callers.recent.pop_front();
                }
                self.callers.recent.push_back((hash, request));
                let at = self.context.now.wall.as_seconds();
                self.context.store(StoreChange::Queue(QueueChange::PutAsked { hash, request, at }));
                self.start_for_call(id, started)
            }
            (_, known) if recent.or(known.as_ref().and_then(|known| known.asked)) == Some(request) => {
                // Whoever waits gets the rows that there are by the end of the wait, or of the token.
                if started.answer.is_none() {
                    self.api().ask_history(id);
                }
                started.answer
            }
            _ => {
                self.api().forget(id);
                Some(api::token_in_use(&started.token))
            }
        };
        if let Some(answer) = answer {
            self.context.output(Output::Answer { call: id, answer });
        }
    }
}
