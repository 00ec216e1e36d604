//! Calls that wait: for a token to end, for a node's log, for the history. An answer goes out as soon as it is known; a
//! wait only bounds it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::api::{ApiAnswer, CallId};
use crate::model::history::{LogFilter, LogPage};
use crate::model::node_id::NodeId;

use super::{ApiRoom, answer, refusal};
use crate::node::get_log::rows_json;
use crate::node::json;
use crate::node::output::Output;
use crate::node::sync::asking;
use crate::node::timers::Timer;

/// A node whose token is waited for is asked for its log so long after it was told, then at twice the distance each
/// time: a Perl node does not announce its rows.
const POLL_FIRST: Duration = Duration::from_millis(150);
/// No distance is longer.
const POLL_MAX: Duration = Duration::from_secs(2);

/// Calls that wait at most.
pub(super) const WAITING_MAX: usize = 1_000;

/// What is looked for when the wait is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lookup {
    /// Always with a token.
    pub filter: LogFilter,
    /// The node whose log is asked for before.
    pub target: Option<String>,
    /// How long that may take.
    pub sync_wait: Duration,
}

#[derive(Debug)]
enum Waiting {
    /// For a terminal row.
    Token(Lookup),
    /// For the log of a node; with the number of the sync, where it is a node of ours.
    Log { lookup: Lookup, sync: Option<(NodeId, u64)> },
    /// For the history.
    History { token: String },
}

/// The calls that wait.
#[derive(Debug, Default)]
pub(in crate::node) struct Calls {
    waiting: BTreeMap<CallId, Waiting>,
    by_token: BTreeMap<String, BTreeSet<CallId>>,
    /// Targets whose tokens are waited for.
    polled: BTreeMap<NodeId, Polled>,
}

/// How a target is asked for its log.
#[derive(Debug)]
struct Polled {
    /// Calls that wait for one of its tokens.
    calls: usize,
    /// The distance to the next question but one.
    distance: Duration,
}

impl Lookup {
    fn node(&self) -> Option<NodeId> {
        self.target.as_deref()?.parse().ok()
    }
}

impl Calls {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Those that wait for the sync `serial` of a node, or an earlier one.
    fn waiting_for_sync(&self, id: NodeId, serial: u64) -> Vec<CallId> {
        let is_due = |waiting: &Waiting| match waiting {
            Waiting::Log { sync: Some((node, wanted)), .. } => *node == id && *wanted <= serial,
            _ => false,
        };
        self.waiting.iter().filter(|(_, waiting)| is_due(waiting)).map(|(call, _)| *call).collect()
    }

    /// Those that do not wait for the history yet.
    fn waiting(&self) -> Vec<CallId> {
        let waits = |waiting: &Waiting| !matches!(waiting, Waiting::History { .. });
        self.waiting.iter().filter(|(_, waiting)| waits(waiting)).map(|(call, _)| *call).collect()
    }

    /// Whether any call waits for a token of this target.
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

    /// There is something new to wait for: the distances start over.
    fn poll_from_now(&mut self, target: NodeId) {
        let Some(polled) = self.calls.polled.get_mut(&target) else { return };
        polled.distance = POLL_FIRST.saturating_mul(2);
        self.context.timers.set(Timer::Poll(target), self.context.now.monotonic + POLL_FIRST);
    }

    /// A node, or the relay before it, has confirmed a token.
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

    /// [`Timer::Poll`]
    pub(in crate::node) fn poll_due(&mut self, target: NodeId) {
        let Some(polled) = self.calls.polled.get_mut(&target) else { return };
        let next = self.context.now.monotonic + polled.distance;
        polled.distance = polled.distance.saturating_mul(2).min(POLL_MAX);
        self.context.timers.set(Timer::Poll(target), next);
        asking::look_for_rows_of(self.context, self.nodes, target);
    }

    /// A call waits no more: its timers go, and the target is left alone once nobody waits for it.
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

    /// Asks the node for its log where there is one, then the history.
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

    /// A terminal row of a token is written.
    pub(in crate::node) fn token_ended(&mut self, token: &str) {
        for call in self.calls.by_token.get(token).cloned().unwrap_or_default() {
            self.ask_history(call);
        }
    }

    /// The rows of a token cannot be stored: whoever waits for them is told, for there will be none to read.
    pub(in crate::node) fn token_not_stored(&mut self, token: &str) {
        for call in self.calls.by_token.get(token).cloned().unwrap_or_default() {
            self.stop_waiting(call);
            let answer =
                refusal(503, "database_error", "the history cannot take rows now, so nothing was run; see the log");
            self.context.output(Output::Answer { call, answer });
        }
    }

    /// [`Timer::Call`]: the wait is over.
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

    /// Waits no longer for anything but the history.
    pub(in crate::node) fn ask_history(&mut self, call: CallId) {
        let lookup = match self.stop_waiting(call) {
            Some(Waiting::Token(lookup) | Waiting::Log { lookup, .. }) => lookup,
            Some(waiting @ Waiting::History { .. }) => {
                self.calls.waiting.insert(call, waiting);
                return;
            }
            None => return,
        };
        let token = lookup.filter.token.clone().unwrap_or_default();
        if self.questions.ask_for_call(self.context, call, lookup.filter) {
            self.calls.waiting.insert(call, Waiting::History { token });
        } else {
            self.context.output(Output::Answer { call, answer: super::busy() });
        }
    }

    /// A node's syncs up to this serial number are over.
    pub(in crate::node) fn synced(&mut self, node: NodeId, serial: u64) {
        for call in self.calls.waiting_for_sync(node, serial) {
            self.ask_history(call);
        }
    }

    /// The daemon stops: calls are answered with what is there.
    pub(in crate::node) fn stop(&mut self) {
        for call in self.calls.waiting() {
            self.ask_history(call);
        }
    }

    /// The history answered.
    pub(in crate::node) fn history_answered(&mut self, call: CallId, result: Result<LogPage, String>) {
        let Some(Waiting::History { token }) = self.calls.remove(call) else { return };
        let answer = match result {
            Ok(page) => found(&token, &page),
            Err(_) => refusal(500, "database_error", "the history cannot be read, see the log"),
        };
        self.context.output(Output::Answer { call, answer });
    }

    /// The caller went away.
    pub(in crate::node) fn forget(&mut self, call: CallId) {
        self.stop_waiting(call);
    }
}

/// No row of the token fits.
pub(super) fn no_log(token: &str) -> ApiAnswer {
    let mut body = String::from(r#"{"error":"no_log","message":"No log found for token","data":[],"token":"#);
    json::push_string(&mut body, token);
    body.push('}');
    answer(200, body)
}

fn found(token: &str, page: &LogPage) -> ApiAnswer {
    if page.rows.is_empty() {
        return no_log(token);
    }
    let mut quoted = String::with_capacity(token.len() + 2);
    json::push_string(&mut quoted, token);
    let rows = rows_json(&page.rows);
    let more = if page.more { ",\"more\":true" } else { "" };
    answer(200, format!("{{\"message\":\"Logs found\",\"token\":{quoted},\"data\":{rows}{more}}}"))
}
