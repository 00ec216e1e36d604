//! Calls of the API about the queue: what waits, and cancelling it.

use serde_json::{Value, json};

use crate::model::api::{ApiAnswer, CallId};
use crate::model::node_id::NodeId;
use crate::model::queue::{Known, QueueAnswer, QueueQuery, QueuedHead};
use crate::model::token::Token;
use crate::model::work::Work;

use super::{Asked, Queue, number};
use crate::node::api::cannot_store;
use crate::node::context::Context;
use crate::node::output::Output;

/// Maximum number of requests in one answer.
pub(in crate::node) const LISTED_MAX: usize = 1_000;
/// Maximum number of open calls.
const CALLS_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) enum QueueCall {
    /// What waits, for one node or for all, behind a place.
    List { target: Option<NodeId>, after: i64, limit: usize },
    /// Take a request out.
    Cancel { target: Option<NodeId>, token: Token },
}

fn answer(status: u16, body: &Value) -> ApiAnswer {
    ApiAnswer::json(status, body.to_string())
}

fn refusal(status: u16, error: &str, text: &str) -> ApiAnswer {
    answer(status, &json!({ "error": error, "message": text }))
}

impl Queue {
    /// Handles a call; the answer follows.
    pub(in crate::node) fn call(&mut self, context: &mut Context, call: CallId, what: QueueCall) {
        if self.asked.len() >= CALLS_MAX || !context.stores {
            let answer = match context.stores {
                true => refusal(503, "busy", "too many calls are waiting, try again"),
                false => cannot_store(),
            };
            context.output(Output::Answer { call, answer });
            return;
        }
        let query = match &what {
            QueueCall::List { target, after, limit } => {
                QueueQuery::List { target: *target, after: *after, limit: *limit }
            }
            QueueCall::Cancel { token, .. } => QueueQuery::Find(token.clone()),
        };
        let work = context.start_work(Work::Queue(query));
        self.asked.insert(work, Asked::Call(call, what));
    }

    pub(super) fn call_answered(
        &mut self,
        context: &mut Context,
        (call, what): (CallId, QueueCall),
        found: QueueAnswer,
    ) {
        let answer = match (what, found) {
            (QueueCall::List { target, .. }, QueueAnswer::List(heads, more)) => {
                self.list(context, target, &heads, more)
            }
            (QueueCall::Cancel { target, token }, QueueAnswer::Found(known)) => {
                self.cancel(context, target, &token, known)
            }
            _ => refusal(500, "database_error", "the queue cannot be read, see the log"),
        };
        context.output(Output::Answer { call, answer });
    }

    fn list(&self, context: &Context, target: Option<NodeId>, heads: &[QueuedHead], more: bool) -> ApiAnswer {
        let ahead = self.clock.ahead(context.now);
        let shown = heads.iter().map(|head| {
            let mut entry = json!({
                "token": head.token.as_str(),
                "node": head.target.to_json(),
                "action": head.action.as_str(),
                "state": self.state(head),
                "created": head.created.saturating_add(ahead),
                "expires": head.expires.saturating_add(ahead),
                "bytes": head.len_bytes,
                "place": head.sequence,
            });
            if let Some(entry) = entry.as_object_mut().filter(|_| head.not_before > 0) {
                entry.insert("not_before".to_owned(), head.not_before.into());
            }
            entry
        });
        let shown: Vec<Value> = shown.collect();
        let (messages, bytes) = match target {
            Some(target) => self.ways.get(&target).map_or((0, 0), |way| (number(way.len()), way.bytes)),
            None => (self.numbers.depth, self.numbers.bytes),
        };
        answer(200, &json!({ "messages": messages, "bytes": bytes, "queue": shown, "more": more }))
    }

    /// Returns what is known of a queued request, in a word.
    fn state(&self, head: &QueuedHead) -> &'static str {
        match self.sent.get(&head.token.digest()) {
            Some(sent) if sent.is_taken => "taken",
            Some(_) => "sent",
            None if head.not_before > 0 => "scheduled",
            None => "waiting",
        }
    }

    fn cancel(&mut self, context: &mut Context, target: Option<NodeId>, token: &Token, known: Known) -> ApiAnswer {
        let head = known.queued.filter(|head| target.is_none_or(|target| head.target == target));
        let is_gone = head.as_ref().is_some_and(|head| self.gone.contains(&head.sequence));
        let Some(head) = head.filter(|_| !is_gone) else {
            return if known.has_ended || is_gone {
                refusal(409, "ended", "the token has ended already")
            } else if known.has_rows {
                refusal(409, "not_queued", "the request does not wait any more: it was sent")
            } else {
                refusal(404, "unknown_token", "no request with this token waits")
            };
        };
        let target = head.target;
        let text = match self.state(&head) {
            "taken" => {
                let text = format!("node '{target}' has taken it: cancel it under /api/nodes/{target}/running/");
                return refusal(409, "running", &text);
            }
            "sent" => {
                format!("cancelled, but it was sent to node '{target}', which has not confirmed it: it may have run")
            }
            _ => format!("cancelled before it was sent to node '{target}'"),
        };
        self.numbers.cancelled += 1;
        self.end(context, &head, &text);
        answer(200, &json!({ "token": token.as_str(), "message": text }))
    }
}
