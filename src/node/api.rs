//! Calls of the REST API (docs/protocol.md section 13): paths to actions, and the answers.

pub(super) mod endpoints;
#[cfg(test)]
mod poll_tests;
#[cfg(test)]
mod tests;
pub(super) mod waits;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::action::Action;
use crate::model::api::{ApiAnswer, ApiCall, CallId, Method};
use crate::model::code::Code;
use crate::model::history::LogFilter;
use crate::model::text;
use crate::model::token::Token;

use super::core::Core;
use super::get_log::read_filter;
use super::output::Output;
use super::peer::{Handled, Peer};
use super::{audit, json, phase};
use waits::{Lookup, WAITING_MAX};

/// `sync_wait` where it is not given, in microseconds.
const SYNC_WAIT_MICROS: u64 = 10_000;
/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

fn answer(status: u16, body: impl Into<String>) -> ApiAnswer {
    ApiAnswer { status, body: body.into(), allow: None }
}

/// A refusal as the original words it.
fn refusal(status: u16, error: &str, text: &str) -> ApiAnswer {
    answer(status, serde_json::json!({ "error": error, "message": text }).to_string())
}

fn unknown_path(allow: Option<&'static str>) -> ApiAnswer {
    ApiAnswer { allow, ..refusal(404, "method_unknown", "Method not implemented") }
}

/// A wait in microseconds. A value that is not a number counts as absent, as in the original.
fn wait_of(call: &ApiCall, name: &str) -> Option<Duration> {
    let (_, value) = call.query.iter().rev().find(|(key, value)| key == name && !value.is_empty())?;
    let micros = value.trim().parse().unwrap_or(0);
    Some(Duration::from_micros(micros).min(WAIT_MAX))
}

/// What to look for in the history once a token has ended or the wait is over.
fn lookup(call: &ApiCall, token: &str, target: Option<&str>) -> Option<Lookup> {
    let parameters = parameters(call);
    let filter = read_filter(|key| if key == "token" { None } else { parameters.get(key) })?;
    let sync_wait = wait_of(call, "sync_wait").unwrap_or(Duration::from_micros(SYNC_WAIT_MICROS));
    Some(Lookup {
        filter: LogFilter { token: Some(token.to_owned()), ..filter },
        target: target.map(str::to_owned),
        sync_wait,
    })
}

fn parameters(call: &ApiCall) -> Map<String, Value> {
    call.query.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect()
}

/// The action's data: `{"content":<body>,"parameters":<query>,"variables":[path parts]}`. `None` when the body is no
/// JSON.
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

impl Core {
    /// An authorised call below `/api`.
    pub(super) fn api_call(&mut self, id: CallId, call: &ApiCall) {
        if let Some(answer) = self.route_call(id, call) {
            self.context.output(Output::Answer { call: id, answer });
        }
    }

    /// The answer, unless it comes later.
    fn route_call(&mut self, id: CallId, call: &ApiCall) -> Option<ApiAnswer> {
        let path = call.path.iter().map(String::as_str).collect::<Vec<_>>();
        let (target, path, depth) = match path.as_slice() {
            ["nodes", target, rest @ ..] if !rest.is_empty() => (Some(*target), rest, 2),
            rest => (None, rest, 0),
        };
        let is_direct = target.is_none();
        let target = target.filter(|target| !self.context.is_own(target));
        match path {
            ["log", token @ ..] if !token.is_empty() => {
                if call.method != Method::Get {
                    return Some(unknown_path(Some("GET")));
                }
                self.log_call(id, call, &token.join("/"), target)
            }
            ["internal", ..] if is_direct => self.internal_call(call),
            ["internal", ..] => self.action_call(id, call, target, depth, 2),
            _ => self.action_call(id, call, target, depth, 3),
        }
    }

    /// `GET /api/[nodes/<id>/]log/<token>`
    fn log_call(&mut self, id: CallId, call: &ApiCall, token: &str, target: Option<&str>) -> Option<ApiAnswer> {
        if self.admit_call(call, &Action::GetLog, "").is_err() {
            return Some(forbidden());
        }
        let Some(lookup) = lookup(call, token, target) else {
            return Some(waits::no_log(token));
        };
        if self.calls.len() >= WAITING_MAX {
            return Some(busy());
        }
        waits::look_up(self, id, lookup);
        None
    }

    /// What an endpoint stands for; `depth` segments name the node, the next `len` the endpoint.
    fn find_endpoint(&mut self, call: &ApiCall, depth: usize, len: usize) -> Result<(Action, String), ApiAnswer> {
        let segments = call.path.get(depth..).unwrap_or_default();
        let (name, variables) = segments.split_at_checked(len).unwrap_or((segments, &[]));
        let name = name.join("/");
        let has = |module| self.context.has(module);
        let Some(action) = endpoints::find(call.method, &name, has) else {
            return Err(unknown_path(endpoints::allowed(&name, has)));
        };
        let Some(data) = action_data(call, variables) else {
            return Err(refusal(400, "decode_error", "POST content must be JSON-formated"));
        };
        self.admit_call(call, &action, &data).map_err(|()| forbidden())?;
        Ok((action, data))
    }

    /// Whether the caller may ask for that. Either way a line says so: in the log for a refusal, in the audit log else.
    fn admit_call(&mut self, call: &ApiCall, action: &Action, data: &str) -> Result<(), ()> {
        let caller = audit::Asker::of(&call.caller);
        let target = match call.path.as_slice() {
            [nodes, target, ..] if nodes == "nodes" => target,
            _ => "",
        };
        audit::admit(&mut self.context, &caller, action, target, data)
    }

    /// An endpoint of the core or of a module that answers with a token.
    fn action_call(
        &mut self,
        id: CallId,
        call: &ApiCall,
        target: Option<&str>,
        depth: usize,
        len: usize,
    ) -> Option<ApiAnswer> {
        match self.find_endpoint(call, depth, len) {
            Ok((action, data)) => self.start_action(id, call, action, target, data),
            Err(answer) => Some(answer),
        }
    }

    /// An endpoint of the core without a node: the reply's data is the answer.
    fn internal_call(&mut self, call: &ApiCall) -> Option<ApiAnswer> {
        let (action, data) = match self.find_endpoint(call, 0, 2) {
            Ok(found) => found,
            Err(answer) => return Some(answer),
        };
        let token = self.context.generate_token();
        Some(match self.request(Peer::Ourselves, action, &token, "", data) {
            Handled::Reply(_, Code::FINISHED_KO, data) if self.context.stopping != phase::Stopping::No => {
                answer(503, data)
            }
            Handled::Reply(_, _, data) if data == "null" => answer(204, ""),
            Handled::Reply(_, _, data) => answer(200, data),
            Handled::Later => answer(204, ""),
        })
    }

    fn start_action(
        &mut self,
        id: CallId,
        call: &ApiCall,
        action: Action,
        target: Option<&str>,
        data: String,
    ) -> Option<ApiAnswer> {
        let token = self.context.generate_token();
        let token_answer = || Some(answer(200, format!("{{\"token\":\"{token}\"}}")));
        let Some(wait) = wait_of(call, "log_wait") else {
            self.run_action(action, &token, target, data);
            return token_answer();
        };
        let lookup = lookup(call, token.as_str(), target).filter(|_| !wait.is_zero());
        let Some(lookup) = lookup else {
            // Nothing is waited for, or no row can be meant: no row is there yet.
            self.run_action(action, &token, target, data);
            return Some(waits::no_log(token.as_str()));
        };
        if self.calls.len() >= WAITING_MAX {
            return Some(busy());
        }
        // First, so that a row that ends the token at once is noticed.
        waits::wait_for_token(self, id, lookup, wait);
        self.run_action(action, &token, target, data);
        None
    }

    /// Runs an action whose end is found by its token, also where the reply of the core alone says what came of it.
    fn run_action(&mut self, action: Action, token: &Token, target: Option<&str>, data: String) {
        let is_said_by_reply = matches!(action, Action::ConStatus | Action::Routes | Action::BroadcastLogger);
        let is_here = target.is_none() && self.context.stopping == phase::Stopping::No;
        if action == Action::ConStatus && is_here {
            let (status, _) = self.nodes.constatus_text(false);
            return self.context.finish(token, Code::FINISHED_OK, status);
        }
        let handled = self.request(Peer::Ourselves, action, token, target.unwrap_or_default(), data);
        if is_here
            && is_said_by_reply
            && let Handled::Reply(_, code, data) = handled
        {
            let code = if code == Code::FINISHED_KO { code } else { Code::FINISHED_OK };
            self.context.finish(token, code, data);
        }
    }

    /// The caller went away.
    pub(super) fn cancel_call(&mut self, id: CallId) {
        waits::forget(self, id);
    }
}

fn forbidden() -> ApiAnswer {
    refusal(403, "http_error_403", "forbidden")
}

fn busy() -> ApiAnswer {
    refusal(503, "busy", "too many calls are waiting, try again")
}
