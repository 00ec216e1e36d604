//! `GET /api/log`: a search of the whole history.

use std::time::Duration;

use serde_json::Value;

use super::running::Form;
use super::waits::{Lookup, WAITING_MAX};
use super::{ApiRoom, Plan, busy, forbidden, parameters, refusal};
use crate::model::action::Action;
use crate::model::api::{ApiAnswer, ApiCall, CallId};
use crate::model::history::LogFilter;
use crate::model::node_id::NodeId;
use crate::node::get_log::read_filter;

/// Number of rows of an answer by default, and the maximum.
const ROWS: u64 = 100;
const ROWS_MAX: u64 = 1_000;

impl ApiRoom<'_> {
    /// Handles `GET /api/log`, which searches the whole history.
    pub(super) fn search_call(&mut self, id: CallId, call: &ApiCall) -> Result<Plan, ApiAnswer> {
        // Who may only run some commands may read their rows by token, and no others.
        self.admit_call(call, &Action::ConStatus, "").map_err(|()| forbidden())?;
        let parameters = parameters(call);
        let wrong =
            |name: &str, allowed: &str| refusal(400, "invalid_parameter", &format!("'{name}' must be {allowed}"));
        let given = |name: &str| parameters.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
        let filter = read_filter(|key| parameters.get(key));
        let filter = filter.ok_or_else(|| wrong("id, code, etime, ctime and limit", "numbers"))?;
        let node = given("node").map(|word| word.parse::<NodeId>()).transpose();
        let node = node.map_err(|_| wrong("node", "the id of a node"))?.map(|node| self.context.names.id_of(node));
        let since = given("since").map(|word| word.parse::<f64>()).transpose();
        let since = since.map_err(|_| wrong("since", "a time in seconds since 1970"))?;
        let from = given("from").map(|word| word.parse::<i64>()).transpose();
        let from = from.map_err(|_| wrong("from", "the id of a row"))?;
        let filter = LogFilter {
            after_id: from.or(filter.after_id),
            node: node.map(|node| (!self.context.is_own_id(node)).then_some(node)),
            text: given("grep").map(Into::into),
            after_etime: since.or(filter.after_etime),
            newest: from.is_none().then(|| filter.newest.unwrap_or(ROWS).min(ROWS_MAX)),
            ..filter
        };
        if self.calls.len() >= WAITING_MAX {
            return Err(busy());
        }
        self.look_up(id, Lookup { filter, target: None, sync_wait: Duration::ZERO, form: Form::History });
        Ok(Plan::Wait)
    }
}
