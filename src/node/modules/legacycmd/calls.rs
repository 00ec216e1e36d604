//! Requests whose token ends when their orders have ended: CENTREONCOMMAND and ADDIMPORTTASKWITHPARENT. They are kept
//! in memory: after a crash the tokens end with an error, but the orders continue.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::code::Code;
use crate::model::token::Token;
use crate::node::context::Context;
use crate::node::json::message;
use crate::node::phase::STOPPING_TEXT;

/// Maximum number of requests in progress.
pub(super) const CALLS_MAX: usize = 1_000;
/// Maximum number of failed orders named in the last row.
const NAMED_MAX: usize = 20;

/// A request in progress.
#[derive(Debug)]
pub(super) struct Call {
    token: Token,
    /// The message of its last row on success.
    done: String,
    /// Number of its messages that have not ended.
    open: usize,
    /// Its failed orders: name, token and message.
    failed: Vec<(String, String, String)>,
    /// Number of its orders.
    count: usize,
    is_import: bool,
}

/// A message of a request.
#[derive(Debug)]
struct Part {
    call: Token,
    name: String,
    /// Whether a failure of this message fails the request.
    counts: bool,
}

/// The requests in progress.
#[derive(Debug, Default)]
pub(super) struct Calls {
    all: BTreeMap<Token, Call>,
    parts: BTreeMap<Token, Part>,
}

impl Calls {
    /// Returns whether no more requests are taken.
    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= CALLS_MAX
    }

    /// Begins a request. [`Self::begun`] must follow.
    pub(super) fn begin(&mut self, token: &Token, done: &str, is_import: bool) {
        let (token, done) = (token.clone(), done.to_owned());
        let call = Call { token: token.clone(), done, open: 1, failed: Vec::new(), count: 0, is_import };
        self.all.insert(token, call);
    }

    /// Adds the messages of one of its orders: their tokens, and whether they count.
    pub(super) fn add(&mut self, call: &Token, name: &str, messages: &[(Token, bool)]) {
        let Some(found) = self.all.get_mut(call) else { return };
        found.count += 1;
        found.open += messages.len();
        for (token, counts) in messages {
            let part = Part { call: call.clone(), name: name.to_owned(), counts: *counts };
            self.parts.insert(token.clone(), part);
        }
    }

    /// Notes that one of its orders cannot be carried out.
    pub(super) fn refuse(&mut self, call: &Token, name: &str, text: &str) {
        if let Some(call) = self.all.get_mut(call) {
            call.count += 1;
            call.failed.push((name.to_owned(), String::new(), text.to_owned()));
        }
    }

    /// Notes that all its orders are known.
    pub(super) fn begun(&mut self, context: &mut Context, call: &Token) {
        self.part_ended(context, call, None);
    }

    /// Handles the end of a token; `error` is the data of a row with code 1. Returns whether an import task has ended
    /// with it.
    pub(super) fn token_ended(&mut self, context: &mut Context, token: &str, error: Option<&str>) -> bool {
        let Some(part) = self.parts.remove(token) else { return false };
        let failed = error.filter(|_| part.counts).map(|data| (part.name, token.to_owned(), said(data)));
        self.part_ended(context, &part.call, failed)
    }

    fn part_ended(&mut self, context: &mut Context, call: &Token, failed: Option<(String, String, String)>) -> bool {
        let Some(found) = self.all.get_mut(call) else { return false };
        found.open = found.open.saturating_sub(1);
        found.failed.extend(failed);
        if found.open > 0 {
            return false;
        }
        let Some(Call { token, done, failed, count, is_import, .. }) = self.all.remove(call) else { return false };
        if failed.is_empty() {
            let data = json!({ "message": done, "orders": count });
            context.finish(&token, Code::FINISHED_OK, data.to_string());
            return is_import;
        }
        let listed = |(name, token, text): &(String, String, String)| {
            let token = if token.is_empty() { serde_json::Value::Null } else { json!(token) };
            json!({ "order": name, "token": token, "message": text })
        };
        let first = failed.first().map(|(name, _, text)| format!("{name}: {text}")).unwrap_or_default();
        let more = if failed.len() > 1 { format!(", and {} more", failed.len() - 1) } else { String::new() };
        let data = json!({
            "message": format!("orders failed: {first}{more}"),
            "orders": count,
            "failed": failed.iter().take(NAMED_MAX).map(listed).collect::<Vec<_>>(),
        });
        context.finish(&token, Code::FINISHED_KO, data.to_string());
        is_import
    }

    /// Ends all requests because the daemon stops.
    pub(super) fn stop(&mut self, context: &mut Context) {
        self.parts.clear();
        for token in std::mem::take(&mut self.all).into_keys() {
            context.finish(&token, Code::FINISHED_KO, message(STOPPING_TEXT));
        }
    }
}

/// Returns the message of a row.
fn said(data: &str) -> String {
    let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    let message = data.get("message").and_then(serde_json::Value::as_str).unwrap_or("failed without a message");
    message.chars().take(500).collect()
}
