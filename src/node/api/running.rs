//! `GET /api/nodes/<id>/running` and `DELETE /api/nodes/<id>/running/<token>`: what runs on a node, and its end before
//! its time. The node is asked by RUNNING and CANCEL, and the row that ends their token becomes the answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::action::Action;
use crate::model::api::{ApiAnswer, ApiCall, CallId, Caller, Method};
use crate::model::code::Code;
use crate::model::history::{HistoryRow, LogFilter, LogPage, is_last_row};
use crate::model::rights::May;
use crate::model::token::Token;

use super::waits::{Lookup, WAITING_MAX, found};
use super::{ApiRoom, Plan, Started, answer, busy, forbidden, refusal, unknown_path};
use crate::node::audit;
use crate::node::modules::action::cancelling::{CancelRequest, UNABLE};

/// How long a node has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the log of a node is waited for after that.
const SYNC_WAIT: Duration = Duration::from_millis(200);
/// Maximum number of tokens whose starters are known.
const STARTED_MAX: usize = 10_000;

/// What the rows of a token are made into.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// The answer of `/log/TOKEN`.
    Rows,
    /// The answer of `/log`.
    History,
    /// The answer to a question for running commands.
    Running,
    /// The answer to a request to cancel a token.
    Cancelled { of: String },
    /// The same, for a token that does not run, from the rows of that token.
    NotRunning,
}

/// An answer, or what else has to be looked up for it.
pub(super) enum Formed {
    Answer(ApiAnswer),
    LookUp(LogFilter, Form),
}

impl Form {
    /// Returns what becomes of the rows of a token.
    pub(super) fn answer(self, token: &str, page: &LogPage) -> Formed {
        let answer = match self {
            Self::Rows => found(token, page),
            Self::History => history(page),
            Self::NotRunning => not_running(token, page),
            Self::Running | Self::Cancelled { .. } => match (page.rows.iter().find(|row| is_last(row)), self) {
                (None, _) => refusal(504, "no_answer", "the node has not answered in time; it may do so later"),
                (Some(row), _) if row.code == Code::FINISHED_OK => answer(200, row.data.clone()),
                (Some(row), Self::Cancelled { of }) if says(row, "error") == "not_running" => {
                    let filter = LogFilter { token: Some(of), ..LogFilter::default() };
                    return Formed::LookUp(filter, Self::NotRunning);
                }
                (Some(row), _) => failed(row),
            },
        };
        Formed::Answer(answer)
    }
}

/// Returns rows of any token, each with the node that it came from.
fn history(page: &LogPage) -> ApiAnswer {
    let row = |row: &HistoryRow| {
        json!({
            "id": row.id,
            "token": row.token,
            "code": row.code.0,
            "etime": row.etime,
            "ctime": row.ctime,
            "node": row.origin.map(|origin| origin.history.node.to_json()),
            "data": row.data,
        })
    };
    let rows: Vec<Value> = page.rows.iter().map(row).collect();
    answer(200, json!({ "message": "Logs found", "data": rows, "more": page.more }).to_string())
}

fn is_last(row: &HistoryRow) -> bool {
    is_last_row(row.code, &row.data)
}

/// Returns a member of the data of a row.
fn says(row: &HistoryRow, member: &str) -> String {
    let data: Value = serde_json::from_str(&row.data).unwrap_or_default();
    data.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Returns the answer if the node does not do what it was asked for.
fn failed(row: &HistoryRow) -> ApiAnswer {
    let (error, message) = (says(row, "error"), says(row, "message"));
    if error == "unknown_action" || message.starts_with(UNABLE) || message == "unsupported action" {
        let text = if message.starts_with(UNABLE) { message } else { format!("{UNABLE}: the node does not know how") };
        return refusal(501, "not_supported", &text);
    }
    refusal(502, "node_failed", if message.is_empty() { "the node refuses" } else { &message })
}

fn not_running(token: &str, page: &LogPage) -> ApiAnswer {
    if page.rows.iter().any(is_last) {
        return refusal(409, "ended", &format!("the token {token} has ended already"));
    }
    refusal(404, "unknown_token", &format!("no command with the token {token} runs there"))
}

/// Who has started commands: users that may do no more than that may cancel their own. The oldest are forgotten, and
/// all of them at the end of the process.
#[derive(Debug, Default)]
pub(super) struct Starters {
    users: BTreeMap<Token, Arc<str>>,
    order: VecDeque<Token>,
}

impl Starters {
    /// Notes the starter of a token.
    pub(super) fn note(&mut self, caller: &Caller, action: &Action, token: &Token) {
        let Some(user) = caller.user.clone().filter(|_| matches!(action, Action::Command | Action::ActionEngine))
        else {
            return;
        };
        if may_cancel_all(caller) {
            return;
        }
        if self.users.insert(token.clone(), user).is_none() {
            self.order.push_back(token.clone());
        }
        if self.order.len() > STARTED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.users.remove(&oldest);
        }
    }

    fn is_own(&self, caller: &Caller, token: &str) -> bool {
        self.users.get(token).is_some_and(|user| caller.user.as_ref() == Some(user))
    }
}

fn may_cancel_all(caller: &Caller) -> bool {
    caller.rights.allow(May::Central, &Action::Cancel, "{}")
}

impl ApiRoom<'_> {
    /// Handles `/api/[nodes/<id>/]running[/<token>]`. Without a node, a token is looked for where it was sent to.
    pub(super) fn running_call(
        &mut self,
        id: CallId,
        call: &ApiCall,
        (is_direct, target): (bool, Option<&str>),
        rest: &[&str],
    ) -> Result<Plan, ApiAnswer> {
        let sent_to = rest.first().filter(|_| is_direct).and_then(|token| self.nodes.target_of(token));
        let sent_to = sent_to.map(|node| node.to_string());
        let target = target.or(sent_to.as_deref());
        let (action, data, form) = match (rest, call.method) {
            ([], Method::Get) if !is_direct => {
                self.admit_call(call, &Action::Running, "").map_err(|()| forbidden())?;
                (Action::Running, "{}".to_owned(), Form::Running)
            }
            ([token], Method::Delete) => {
                let by = audit::Asker::of(&call.caller).to_string();
                let data = CancelRequest::data(token, &by);
                if !self.calls.starters.is_own(&call.caller, token) || may_cancel_all(&call.caller) {
                    self.admit_call(call, &Action::Cancel, &data).map_err(|()| forbidden())?;
                }
                (Action::Cancel, data, Form::Cancelled { of: (*token).to_owned() })
            }
            ([], _) if !is_direct => return Err(unknown_path(Some("GET"))),
            ([_], _) => return Err(unknown_path(Some("DELETE"))),
            _ => return Err(unknown_path(None)),
        };
        if self.calls.len() >= WAITING_MAX {
            return Err(busy());
        }
        if !self.context.stores {
            return Err(refusal(503, "database_error", super::CANNOT_STORE));
        }
        let token = self.context.generate_token();
        let target = target.map(str::to_owned);
        let filter = LogFilter { token: Some(token.as_str().to_owned()), ..LogFilter::default() };
        // This comes first, so that a row that ends the token at once is noticed.
        self.wait_for_token(id, Lookup { filter, target: target.clone(), sync_wait: SYNC_WAIT, form }, PATIENCE);
        Ok(Plan::Start(Started { token, action, target, data, asked_for: None, answer: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rights::Rights;

    fn caller(user: &str, right: &str) -> Caller {
        let mut rights = Rights::default();
        assert!(rights.add(right));
        Caller { user: Some(user.into()), rights: Arc::new(rights), ..Caller::default() }
    }

    #[test]
    fn who_may_only_run_commands_may_cancel_their_own_ones_and_what_is_remembered_is_bounded() {
        let mut starters = Starters::default();
        let (ops, other) = (caller("ops", "command:uptime"), caller("other", "command:uptime"));
        let token = |number: usize| Token::parse(&format!("t{number}")).unwrap();
        for number in 0..=STARTED_MAX {
            starters.note(&ops, &Action::Command, &token(number));
        }
        starters.note(&caller("boss", "central"), &Action::Command, &token(0));
        assert!(starters.is_own(&ops, "t1") && !starters.is_own(&other, "t1"));
        assert!(!starters.is_own(&ops, "t0"), "the oldest is forgotten");
        assert_eq!((starters.users.len(), starters.order.len()), (STARTED_MAX, STARTED_MAX));
    }
}
