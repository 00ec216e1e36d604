//! Calls of the REST API (docs/protocol.md section 13): paths to actions, and the answers.

mod callers;
pub(super) mod endpoints;
#[cfg(test)]
mod poll_tests;
mod running;
mod search;
#[cfg(test)]
mod tests;
pub(super) mod waits;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::action::Action;
use crate::model::api::{ApiAnswer, ApiCall, CallId, Method};
use crate::model::code::Code;
use crate::model::history::LogFilter;
use crate::model::status::ReportForm;
use crate::model::text;
use crate::model::token::{Token, digest_of};

use super::context::Context;
use super::delegate::Endpoint;
use super::get_log::{Questions, read_filter};
use super::nodes::Nodes;
use super::peer::Handled;
use super::queue::options::QueueOptions;
use super::queue::{LISTED_MAX, QueueCall};
use super::{audit, json};
use running::Form;
use waits::{Calls, Lookup, WAITING_MAX};

/// Default of `sync_wait` in microseconds.
const SYNC_WAIT_MICROS: u64 = 10_000;
/// Maximum duration of a wait.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

fn answer(status: u16, body: impl Into<String>) -> ApiAnswer {
    ApiAnswer::json(status, body)
}

/// Answer while the history takes no rows, because the result of an action could not be reported.
pub(super) const CANNOT_STORE: &str =
    "the history of this daemon cannot be written; its log says why, for instance a full disk";

/// Returns the answer to a call for which the database cannot be read.
fn cannot_read() -> ApiAnswer {
    refusal(500, "database_error", "the history cannot be read, see the log")
}

/// Returns the answer to a call whose action cannot be stored.
pub(super) fn cannot_store() -> ApiAnswer {
    refusal(503, "database_error", CANNOT_STORE)
}

/// Answer to a path that the daemon named by 'delegate' has not announced yet.
const NOT_TOLD: &str = "the node of 'delegate' has no such path, or is not connected";

/// Returns a refusal in the words of the original.
fn refusal(status: u16, error: &str, text: &str) -> ApiAnswer {
    answer(status, serde_json::json!({ "error": error, "message": text }).to_string())
}

fn unknown_path(allow: Option<&'static str>) -> ApiAnswer {
    ApiAnswer { allow, ..refusal(404, "method_unknown", "Method not implemented") }
}

/// Reads a wait in microseconds. A value that is not a number counts as absent, as in the original.
fn wait_of(call: &ApiCall, name: &str) -> Option<Duration> {
    let (_, value) = call.query.iter().rev().find(|(key, value)| key == name && !value.is_empty())?;
    let micros = value.trim().parse().unwrap_or(0);
    Some(Duration::from_micros(micros).min(WAIT_MAX))
}

/// Returns what to look up in the history when a token has ended or the wait is over.
fn lookup(call: &ApiCall, token: &str, target: Option<&str>) -> Option<Lookup> {
    let parameters = parameters(call);
    let filter = read_filter(|key| if key == "token" { None } else { parameters.get(key) })?;
    let sync_wait = wait_of(call, "sync_wait").unwrap_or(Duration::from_micros(SYNC_WAIT_MICROS));
    Some(Lookup {
        filter: LogFilter { token: Some(token.to_owned()), ..filter },
        target: target.map(str::to_owned),
        sync_wait,
        form: Form::Rows,
    })
}

fn parameters(call: &ApiCall) -> Map<String, Value> {
    call.query.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect()
}

/// Returns the data of the action: `{"content":<body>,"parameters":<query>,"variables":[path parts]}`. `None` if the
/// body is not JSON.
fn action_data(call: &ApiCall, variables: &[String]) -> Option<String> {
    let body = text::from_bytes(&call.body);
    let has_body = matches!(call.method, Method::Post | Method::Patch | Method::Put);
    let content = if has_body { body.trim() } else { "null" };
    json::is_valid(content).then(|| {
        let parameters = Value::Object(parameters(call));
        let variables = Value::from(variables);
        format!("{{\"content\":{content},\"parameters\":{parameters},\"variables\":{variables}}}")
    })
}

/// How a call is handled.
#[derive(Debug)]
pub(super) enum Plan {
    /// It is answered at once.
    Answer(ApiAnswer),
    Wait,
    /// An action of the core is run, and its reply is the answer, see [`answer_of`].
    Reply(Action, String),
    /// An action is run, and its rows report the end.
    Start(Started),
    /// The queue answers it.
    Queue(QueueCall),
    /// A report is made.
    Report(ReportForm),
}

/// An action that a call starts.
#[derive(Debug)]
pub(super) struct Started {
    pub token: Token,
    pub action: Action,
    /// The target node; `None` for this daemon.
    pub target: Option<String>,
    pub data: String,
    /// Digest of the request, if the caller brought the token.
    pub asked_for: Option<i64>,
    /// The answer, if the call does not wait.
    pub answer: Option<ApiAnswer>,
}

/// The handling of calls, with references to the state that it uses.
pub(super) struct ApiRoom<'a> {
    context: &'a mut Context,
    nodes: &'a mut Nodes,
    questions: &'a mut Questions,
    calls: &'a mut Calls,
}

/// Returns the answer to a call whose action was handled by the core.
pub(super) fn answer_of(handled: Handled, is_stopping: bool) -> ApiAnswer {
    match handled {
        Handled::Reply(_, Code::FINISHED_KO, data) if is_stopping => answer(503, data),
        Handled::Reply(_, _, data) if data != "null" => answer(200, data),
        Handled::Reply(..) | Handled::Later => answer(204, ""),
    }
}

impl ApiRoom<'_> {
    /// Handles an authorised call below `/api`.
    pub fn call(&mut self, id: CallId, call: &ApiCall) -> Plan {
        self.plan(id, call).unwrap_or_else(Plan::Answer)
    }

    fn plan(&mut self, id: CallId, call: &ApiCall) -> Result<Plan, ApiAnswer> {
        let path = call.path.iter().map(String::as_str).collect::<Vec<_>>();
        if !call.below_api {
            return self.plan_beside_api(call, &path);
        }
        let (target, path, depth) = match path.as_slice() {
            ["nodes", target, rest @ ..] if !rest.is_empty() => (Some(*target), rest, 2),
            rest => (None, rest, 0),
        };
        let is_direct = target.is_none();
        let target = target.filter(|target| !self.context.is_own(target));
        let named = target.and_then(|target| self.context.names.target(target)).map(|id| id.to_string());
        let target = named.as_deref().or(target);
        match path {
            ["log"] if is_direct => {
                if call.method != Method::Get {
                    return Err(unknown_path(Some("GET")));
                }
                self.search_call(id, call)
            }
            ["log", token @ ..] if !token.is_empty() => {
                if call.method != Method::Get {
                    return Err(unknown_path(Some("GET")));
                }
                self.log_call(id, call, &token.join("/"), target)
            }
            ["queue", rest @ ..] => self.queue_call(call, is_direct, target, rest),
            ["status"] if is_direct && cfg!(feature = "status") => {
                if call.method != Method::Get {
                    return Err(unknown_path(Some("GET")));
                }
                self.admit_call(call, &Action::ConStatus, "").map_err(|()| forbidden())?;
                Ok(Plan::Report(ReportForm::Json))
            }
            ["running", rest @ ..] => self.running_call(id, call, (is_direct, target), rest),
            ["internal", ..] if is_direct => {
                self.find_endpoint(call, depth, 2).map(|(action, data)| Plan::Reply(action, data))
            }
            rest => {
                let len = if rest.first() == Some(&"internal") { 2 } else { 3 };
                let (action, data) = self.find_endpoint(call, depth, len)?;
                let is_foreign = target.is_none() && !self.context.is_known(&action);
                let delegate = self.context.delegate.node().filter(|_| is_foreign).map(|node| node.to_string());
                self.start(id, call, action, target.or(delegate.as_deref()), data)
            }
        }
    }

    /// Handles a call of a path that is not below `/api`. Those of probes need no rights.
    fn plan_beside_api(&mut self, call: &ApiCall, path: &[&str]) -> Result<Plan, ApiAnswer> {
        let form = match path {
            ["healthz"] => return Err(answer(200, r#"{"status":"ok"}"#)),
            ["readyz"] => return Ok(Plan::Report(ReportForm::Ready)),
            ["metrics"] if call.wishes.open_metrics => ReportForm::OpenMetrics,
            ["metrics"] => ReportForm::Metrics,
            [] => {
                let from = call.query.iter().find(|(key, _)| key == "from").and_then(|(_, from)| from.parse().ok());
                ReportForm::Page { from: from.unwrap_or(0) }
            }
            _ => return Err(unknown_path(None)),
        };
        self.admit_call(call, &Action::ConStatus, "").map_err(|()| forbidden())?;
        Ok(Plan::Report(form))
    }

    /// Handles `GET /api/[nodes/<id>/]log/<token>`.
    fn log_call(&mut self, id: CallId, call: &ApiCall, token: &str, target: Option<&str>) -> Result<Plan, ApiAnswer> {
        self.admit_call(call, &Action::GetLog, "").map_err(|()| forbidden())?;
        // The rows of actions that were passed to the daemon named by 'delegate' are in its history.
        let delegate = self.context.delegate.node().filter(|node| self.nodes.is_sent_to(token, *node));
        let delegate = delegate.map(|node| node.to_string());
        let lookup = lookup(call, token, target.or(delegate.as_deref())).ok_or_else(|| waits::no_log(token))?;
        if self.calls.len() >= WAITING_MAX {
            return Err(busy());
        }
        self.look_up(id, lookup);
        Ok(Plan::Wait)
    }

    /// Handles `GET /api/queue`, and `/api/nodes/<id>/queue` with `DELETE …/<token>`.
    fn queue_call(
        &mut self,
        call: &ApiCall,
        is_direct: bool,
        target: Option<&str>,
        rest: &[&str],
    ) -> Result<Plan, ApiAnswer> {
        let own = self.context.own_id.filter(|_| !is_direct);
        let target = match target {
            Some(target) => Some(target.parse().map_err(|_| unknown_path(None))?),
            None => own,
        };
        match (rest, target) {
            ([], _) if call.method == Method::Get => {
                self.admit_call(call, &Action::GetLog, "").map_err(|()| forbidden())?;
                let parameters = parameters(call);
                let number = |name: &str| parameters.get(name).and_then(json::integer);
                let limit = number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LISTED_MAX);
                let (after, limit) = (number("from").unwrap_or(0), limit.clamp(1, LISTED_MAX));
                Ok(Plan::Queue(QueueCall::List { target, after, limit }))
            }
            ([], _) => Err(unknown_path(Some("GET"))),
            ([token], target) if call.method == Method::Delete => {
                self.admit_call(call, &Action::Cancel, token).map_err(|()| forbidden())?;
                let token = Token::parse(token).map_err(|error| refusal(400, "invalid_token", &error.to_string()))?;
                Ok(Plan::Queue(QueueCall::Cancel { target, token }))
            }
            ([_], _) => Err(unknown_path(Some("DELETE"))),
            _ => Err(unknown_path(None)),
        }
    }

    /// Finds the action of an endpoint; the first `depth` segments name the node, the next `len` the endpoint.
    fn find_endpoint(&mut self, call: &ApiCall, depth: usize, len: usize) -> Result<(Action, String), ApiAnswer> {
        let segments = call.path.get(depth..).unwrap_or_default();
        let (name, variables) = segments.split_at_checked(len).unwrap_or((segments, &[]));
        let name = name.join("/");
        let has = |module| self.context.has(module);
        let action = match endpoints::find(call.method, &name, has) {
            Some(action) => action,
            None => match self.context.delegate.of_path(call.method, &name) {
                Some(Endpoint::Action(action)) => action,
                Some(Endpoint::Unknown) => return Err(refusal(503, "delegate_unknown", NOT_TOLD)),
                None => return Err(unknown_path(endpoints::allowed(&name, has))),
            },
        };
        let Some(data) = action_data(call, variables) else {
            return Err(refusal(400, "decode_error", "POST content must be JSON-formated"));
        };
        self.admit_call(call, &action, &data).map_err(|()| forbidden())?;
        Ok((action, data))
    }

    /// Checks whether the caller may ask for this action. A refusal is logged, an accepted call is written to the audit
    /// log.
    fn admit_call(&mut self, call: &ApiCall, action: &Action, data: &str) -> Result<(), ()> {
        let caller = audit::Asker::of(&call.caller);
        let target = match call.path.as_slice() {
            [nodes, target, ..] if nodes == "nodes" => target,
            _ => "",
        };
        audit::admit(self.context, &caller, action, target, data)
    }

    /// Starts the action of an endpoint of the core or of a module that answers with a token.
    fn start(
        &mut self,
        id: CallId,
        call: &ApiCall,
        action: Action,
        target: Option<&str>,
        data: String,
    ) -> Result<Plan, ApiAnswer> {
        let options = queue_options(call, self.context.now.wall.as_seconds())?;
        let asked = asked_token(call)?;
        let asked_for = asked.as_ref().map(|_| digest_of_request(&action, target, &data));
        let data = options.add_to(data);
        let token = asked.unwrap_or_else(|| self.context.generate_token());
        self.calls.starters.note(&call.caller, &action, &token);
        if !self.context.stores {
            // Writing this row tries the database again. A token of the caller may be that of an earlier request.
            let token = if asked_for.is_none() { token } else { self.context.generate_token() };
            self.context.fail(&token, "database issue");
            return Err(cannot_store());
        }
        let answer = match wait_of(call, "log_wait") {
            None => Some(answer(200, format!("{{\"token\":\"{token}\"}}"))),
            Some(wait) => match lookup(call, token.as_str(), target).filter(|_| !wait.is_zero()) {
                // The call does not wait, or no token can be meant: there is no row yet.
                None => Some(waits::no_log(token.as_str())),
                Some(_) if self.calls.len() >= WAITING_MAX => return Err(busy()),
                Some(lookup) => {
                    // This comes first, so that a row that ends the token at once is noticed.
                    self.wait_for_token(id, lookup, wait);
                    None
                }
            },
        };
        Ok(Plan::Start(Started { token, action, target: target.map(str::to_owned), data, asked_for, answer }))
    }
}

/// Query parameters that are no part of what is asked for.
const NOT_ASKED_FOR: [&str; 5] = ["token", "ttl", "not_before", "log_wait", "sync_wait"];

/// Reads the token that a caller brings.
fn asked_token(call: &ApiCall) -> Result<Option<Token>, ApiAnswer> {
    let Some((_, token)) = call.query.iter().rev().find(|(key, _)| key == "token") else { return Ok(None) };
    let refuse = |error: crate::model::token::InvalidToken| refusal(400, "invalid_token", &error.to_string());
    Token::parse(token).map(Some).map_err(refuse)
}

/// Returns a digest of a request: equal for equal action, target and data as JSON values.
fn digest_of_request(action: &Action, target: Option<&str>, data: &str) -> i64 {
    let mut data: Value = serde_json::from_str(data).unwrap_or_default();
    if let Some(parameters) = data.get_mut("parameters").and_then(Value::as_object_mut) {
        parameters.retain(|name, _| !NOT_ASKED_FOR.contains(&name.as_str()));
    }
    let text = serde_json::json!([action.as_str(), target, json::with_plain_numbers(data)]).to_string();
    digest_of(&text)
}

/// Returns the answer to a call whose token was used for something else.
fn token_in_use(token: &Token) -> ApiAnswer {
    let text = "another request has this token: action, target or data differ";
    let body = serde_json::json!({ "error": "token_in_use", "message": text, "token": token.as_str() });
    answer(409, body.to_string())
}

/// Reads the query parameters that concern the queue.
fn queue_options(call: &ApiCall, wall: i64) -> Result<QueueOptions, ApiAnswer> {
    let parameter = |name: &str| {
        let found = call.query.iter().rev().find(|(key, _)| key == name);
        found.map_or(Value::Null, |(_, value)| Value::String(value.clone()))
    };
    QueueOptions::of(&parameter("ttl"), &parameter("not_before"), wall)
        .map_err(|text| refusal(400, "invalid_option", &text))
}

fn forbidden() -> ApiAnswer {
    refusal(403, "http_error_403", "forbidden")
}

pub(super) fn busy() -> ApiAnswer {
    refusal(503, "busy", "too many calls are waiting, try again")
}
