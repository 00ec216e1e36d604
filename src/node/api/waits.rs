//! Calls that wait: for the end of a token, for the log of a node, or for the history. A call is answered as soon as
//! its answer is known; a wait only sets the limit.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::api::{ApiAnswer, CallId};
use crate::model::history::{LogFilter, LogPage};
use crate::model::node_id::NodeId;

use super::callers::CallersTokens;
use super::running::{Form, Formed, Starters};
use super::{ApiRoom, answer, refusal};
use crate::node::context::Context;
use crate::node::get_log::{Questions, rows_json};
use crate::node::json;
use crate::node::nodes::Nodes;
use crate::node::output::Output;
use crate::node::sync::asking;
use crate::node::timers::Timer;

/// A Perl node does not announce its rows. So a node whose token is awaited is asked for its log after this time, and
/// then after intervals that double each time.
const POLL_FIRST: Duration = Duration::from_millis(150);
/// Maximum interval.
const POLL_MAX: Duration = Duration::from_secs(2);

/// Maximum number of waiting calls.
pub(super) const WAITING_MAX: usize = 1_000;

/// What is looked up when the wait is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lookup {
    pub filter: LogFilter,
    /// The node that is asked for its log first.
    pub target: Option<String>,
    /// Maximum duration of that.
    pub sync_wait: Duration,
    /// What the rows are made into.
    pub form: Form,
}

#[derive(Debug)]
enum Waiting {
    /// It waits for a terminal row.
    Token(Lookup),
    /// It waits for the log of a node, with the number of the sync if the node is ours.
    Log { lookup: Lookup, sync: Option<(NodeId, u64)> },
    /// It waits for the history.
    History { token: String, form: Form },
}

/// The waiting calls.
#[derive(Debug, Default)]
pub(in crate::node) struct Calls {
    waiting: BTreeMap<CallId, Waiting>,
    by_token: BTreeMap<String, BTreeSet<CallId>>,
    /// Targets whose tokens are awaited.
    polled: BTreeMap<NodeId, Polled>,
    /// Who has started commands without a right to more.
    pub(super) starters: Starters,
    pub(super) callers: CallersTokens,
}

/// How the log of a target is polled.
#[derive(Debug)]
struct Polled {
    /// Number of calls that wait for one of its tokens.
    calls: usize,
    /// The interval after the next question.
    distance: Duration,
}

impl Lookup {
    fn node(&self) -> Option<NodeId> {
        self.target.as_deref()?.parse().ok()
    }
}

impl Calls {
    /// Returns the handling of calls.
    pub(in crate::node) fn room<'a>(
        &'a mut self,
        context: &'a mut Context,
        nodes: &'a mut Nodes,
        questions: &'a mut Questions,
    ) -> ApiRoom<'a> {
        ApiRoom { context, nodes, questions, calls: self }
    }

    /// Returns the number of waiting calls.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the calls that wait for the sync `serial` of a node, or an earlier one.
    fn waiting_for_sync(&self, id: NodeId, serial: u64) -> Vec<CallId> {
        let is_due = |waiting: &Waiting| match waiting {
            Waiting::Log { sync: Some((node, wanted)), .. } => *node == id && *wanted <= serial,
            _ => false,
        };
        self.waiting.iter().filter(|(_, waiting)| is_due(waiting)).map(|(call, _)| *call).collect()
    }

    /// Returns the calls that do not wait for the history yet.
    fn waiting(&self) -> Vec<CallId> {
        let waits = |waiting: &Waiting| !matches!(waiting, Waiting::History { .. });
        self.waiting.iter().filter(|(_, waiting)| waits(waiting)).map(|(call, _)| *call).collect()
    }

    /// Returns whether any call waits for a token of this target.
    fn is_polled(&self, target: NodeId) -> bool {
        self.polled.contains_key(&target)
    }

    fn remove(&mut self, call: CallId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&call)?;
        if let Waiting::Token(lookup) = &waiting {
            let token = lookup.filter.token.as_deref().unwrap_or_default();
            if let Some(calls) = self.by_token.get_mut(token) {
                calls.remove(&call);
                if calls.is_empty() {
                    self.by_token.remove(token);
                }
            }
            if let Some(target) = lookup.node()
                && let Some(polled) = self.polled.get_mut(&target)
            {
                polled.calls = polled.calls.saturating_sub(1);
                if polled.calls == 0 {
                    self.polled.remove(&target);
                }
            }
        }
        Some(waiting)
    }
}

impl ApiRoom<'_> {
    /// Waits until the token of `lookup` ends, at most `wait`.
    pub(super) fn wait_for_token(&mut self, call: CallId, lookup: Lookup, wait: Duration) {
        let token = lookup.filter.token.clone().unwrap_or_default();
        self.calls.by_token.entry(token).or_default().insert(call);
        if let Some(target) = lookup.node() {
            self.calls.polled.entry(target).or_insert(Polled { calls: 0, distance: POLL_FIRST }).calls += 1;
            self.poll_from_now(target);
        }
        self.calls.waiting.insert(call, Waiting::Token(lookup));
        self.context.timers.set(Timer::Call(call), self.context.now.monotonic + wait);
    }

    /// Restarts the intervals because there is something new to wait for.
    fn poll_from_now(&mut self, target: NodeId) {
        let Some(polled) = self.calls.polled.get_mut(&target) else { return };
        polled.distance = POLL_FIRST.saturating_mul(2);
        self.context.timers.set(Timer::Poll(target), self.context.now.monotonic + POLL_FIRST);
    }

    /// Notes that a node, or the relay before it, has confirmed a token.
    pub(in crate::node) fn token_confirmed(&mut self, token: &str) {
        let call = self.calls.by_token.get(token).and_then(BTreeSet::first);
        let target = match call.and_then(|call| self.calls.waiting.get(call)) {
            Some(Waiting::Token(lookup)) => lookup.node(),
            _ => None,
        };
        if let Some(target) = target {
            self.poll_from_now(target);
        }
    }

    /// Handles [`Timer::Poll`].
    pub(in crate::node) fn poll_due(&mut self, target: NodeId) {
        let Some(polled) = self.calls.polled.get_mut(&target) else { return };
        let next = self.context.now.monotonic + polled.distance;
        polled.distance = polled.distance.saturating_mul(2).min(POLL_MAX);
        self.context.timers.set(Timer::Poll(target), next);
        asking::look_for_rows_of(self.context, self.nodes, target);
    }

    /// Ends the wait of a call: removes its timers, and stops polling its target if no other call waits for it.
    fn stop_waiting(&mut self, call: CallId) -> Option<Waiting> {
        self.context.timers.cancel(&Timer::Call(call));
        let waiting = self.calls.remove(call);
        if let Some(Waiting::Token(lookup)) = &waiting
            && let Some(target) = lookup.node().filter(|target| !self.calls.is_polled(*target))
        {
            self.context.timers.cancel(&Timer::Poll(target));
        }
        waiting
    }

    /// Asks the node, if there is one, for its log, and then the history.
    pub(super) fn look_up(&mut self, call: CallId, lookup: Lookup) {
        let Some(target) = lookup.target.clone() else {
            self.calls.waiting.insert(call, Waiting::Log { lookup, sync: None });
            self.ask_history(call);
            return;
        };
        self.context.timers.set(Timer::Call(call), self.context.now.monotonic + lookup.sync_wait);
        let sync = asking::poll_log_of(self.context, self.nodes, &target);
        self.calls.waiting.insert(call, Waiting::Log { lookup, sync });
    }

    /// Notes that a terminal row of a token is written.
    pub(in crate::node) fn token_ended(&mut self, token: &str) {
        for call in self.calls.by_token.get(token).cloned().unwrap_or_default() {
            self.ask_history(call);
        }
    }

    /// Answers the calls that wait for a token whose rows cannot be stored.
    pub(in crate::node) fn token_not_stored(&mut self, token: &str) {
        for call in self.calls.by_token.get(token).cloned().unwrap_or_default() {
            self.stop_waiting(call);
            let answer =
                refusal(503, "database_error", "the history cannot take rows now, so nothing was run; see the log");
            self.context.output(Output::Answer { call, answer });
        }
    }

    /// Handles [`Timer::Call`]: the wait is over.
    pub(in crate::node) fn waited(&mut self, call: CallId) {
        match self.stop_waiting(call) {
            Some(Waiting::Token(lookup)) => self.look_up(call, lookup),
            Some(waiting @ Waiting::Log { .. }) => {
                self.calls.waiting.insert(call, waiting);
                self.ask_history(call);
            }
            Some(waiting @ Waiting::History { .. }) => {
                self.calls.waiting.insert(call, waiting);
            }
            None => {}
        }
    }

    /// Stops waiting for anything but the history.
    pub(in crate::node) fn ask_history(&mut self, call: CallId) {
        let lookup = match self.stop_waiting(call) {
            Some(Waiting::Token(lookup) | Waiting::Log { lookup, .. }) => lookup,
            Some(waiting @ Waiting::History { .. }) => {
                self.calls.waiting.insert(call, waiting);
                return;
            }
            None => return,
        };
        self.ask_history_for(call, lookup.filter, lookup.form);
    }

    /// Asks the history for a call that waits for nothing else.
    fn ask_history_for(&mut self, call: CallId, filter: LogFilter, form: Form) {
        let token = filter.token.clone().unwrap_or_default();
        let as_json = matches!(form, Form::Rows);
        if self.questions.ask_for_call(self.context, call, filter, as_json) {
            self.calls.waiting.insert(call, Waiting::History { token, form });
        } else {
            self.context.output(Output::Answer { call, answer: super::busy() });
        }
    }

    /// Notes that the syncs of a node up to this serial number are complete.
    pub(in crate::node) fn synced(&mut self, node: NodeId, serial: u64) {
        for call in self.calls.waiting_for_sync(node, serial) {
            self.ask_history(call);
        }
    }

    /// Answers all calls with the rows that are available, because the daemon stops.
    pub(in crate::node) fn stop(&mut self) {
        for call in self.calls.waiting() {
            self.ask_history(call);
        }
    }

    /// Handles an answer of the history.
    pub(in crate::node) fn history_answered(&mut self, call: CallId, result: Result<LogPage, String>) {
        let Some(Waiting::History { token, form }) = self.calls.remove(call) else { return };
        let answer = match result {
            Ok(page) => match form.answer(&token, &page) {
                Formed::Answer(answer) => answer,
                Formed::LookUp(filter, form) => return self.ask_history_for(call, filter, form),
            },
            Err(_) => refusal(500, "database_error", "the history cannot be read, see the log"),
        };
        self.context.output(Output::Answer { call, answer });
    }

    /// Forgets a call whose caller has gone.
    pub(in crate::node) fn forget(&mut self, call: CallId) {
        self.stop_waiting(call);
    }
}

/// Returns the answer if no row of the token matches.
pub(super) fn no_log(token: &str) -> ApiAnswer {
    if token.is_empty() {
        return answer(200, r#"{"message":"no row fits","data":[]}"#);
    }
    let mut body = String::from(r#"{"error":"no_log","message":"No log found for token","data":[],"token":"#);
    json::push_string(&mut body, token);
    body.push('}');
    answer(200, body)
}

pub(super) fn found(token: &str, page: &LogPage) -> ApiAnswer {
    if page.rows.is_empty() {
        return no_log(token);
    }
    let mut of = String::with_capacity(token.len() + 11);
    // A search of the whole history is for no token.
    if !token.is_empty() {
        of.push_str("\"token\":");
        json::push_string(&mut of, token);
        of.push(',');
    }
    let rows = page.json.as_ref().map_or_else(|| Cow::Owned(rows_json(&page.rows)), Cow::Borrowed);
    let more = if page.more { ",\"more\":true" } else { "" };
    answer(200, format!("{{\"message\":\"Logs found\",{of}\"data\":{rows}{more}}}"))
}
