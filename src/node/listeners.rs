//! ADDLISTENER: runs one of our actions whenever a row of a token appears (docs/protocol.md section 4).

use crate::model::code::Code;
use crate::node::context::Context;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;
use crate::model::token::Token;

use super::journal::Seen;
use super::json;
use super::modules::statistics::Statistics;
use super::peer::{Handled, OwnRequest};
use super::timers::Timer;

/// Maximum number of tokens with a listener.
const LISTENERS_MAX: usize = 1_000;
/// Maximum number of actions for one token.
const EVENTS_MAX: usize = 8;
/// Maximum number of actions waiting to be run; more are dropped.
pub(super) const PENDING_MAX: usize = 10_000;
/// Default of `log_pace` and `timeout`, in seconds.
const PACE_SECONDS: u64 = 30;
const TIMEOUT_SECONDS: u64 = 600;
/// Interval between GETLOGs to a watched node.
const WATCH_PACE: Duration = Duration::from_secs(10);
/// Maximum lifetime of a listener.
const TIMEOUT_SECONDS_MAX: u64 = 7 * 86_400;

#[derive(Debug)]
struct Listener {
    actions: Vec<Action>,
    target: Option<String>,
    pace: Duration,
    ends: Monotonic,
}

/// Every listener.
#[derive(Default)]
pub(super) struct Listeners {
    listeners: BTreeMap<String, Listener>,
    pending: VecDeque<OwnRequest>,
}

impl Listeners {
    /// Handles a row of a token with a listener.
    fn row_seen(&mut self, seen: &Seen) {
        let Some(listener) = self.listeners.get(&seen.token) else { return };
        let Ok(token) = Token::parse(&seen.token) else { return };
        let data = format!("{{\"code\":{},\"data\":{}}}", seen.code.0, seen.data);
        for action in &listener.actions {
            if self.pending.len() < PENDING_MAX {
                let (action, token, data) = (action.clone(), token.clone(), data.clone());
                self.pending.push_back(OwnRequest { action, token, target: String::new(), data });
            }
        }
        if seen.is_last {
            self.listeners.remove(&seen.token);
        }
    }
}

impl Listeners {
    pub(super) fn add_listeners(&mut self, context: &mut Context, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let Some(wanted) = data.as_array() else { return Handled::not_well_formatted() };
        for entry in wanted {
            if let Err(text) = self.add_listener(context, entry) {
                return Handled::refused(json::action_message("addlistener", &text));
            }
        }
        let data = serde_json::json!({ "action": "addlistener", "message": "ok", "data": data });
        Handled::Reply(Action::Ack, Code::FINISHED_OK, data.to_string())
    }

    fn add_listener(&mut self, context: &mut Context, entry: &Value) -> Result<(), String> {
        let member = |key: &str| entry.get(key).and_then(json::text);
        let seconds = |key: &str, default: u64| {
            entry.get(key).and_then(json::integer).and_then(|value| u64::try_from(value).ok()).unwrap_or(default)
        };
        let event = member("event").unwrap_or_default();
        let action = Action::parse(&event);
        if !context.is_known(&action) {
            return Err(format!("action '{}' is unknown", event.chars().take(64).collect::<String>()));
        }
        let token = Token::parse(&member("token").unwrap_or_default()).map_err(|error| error.to_string())?;
        if let Some(listener) = self.listeners.get_mut(token.as_str()) {
            if !listener.actions.contains(&action) && listener.actions.len() < EVENTS_MAX {
                listener.actions.push(action);
            }
            return Ok(());
        }
        if self.listeners.len() >= LISTENERS_MAX {
            return Err("too many listeners".to_owned());
        }
        let timeout = seconds("timeout", TIMEOUT_SECONDS).min(TIMEOUT_SECONDS_MAX);
        let listener = Listener {
            actions: vec![action],
            target: member("target").filter(|target| !context.is_own(target)),
            pace: Duration::from_secs(seconds("log_pace", PACE_SECONDS).max(1)),
            ends: context.now.monotonic + Duration::from_secs(timeout),
        };
        self.listeners.insert(token.as_str().to_owned(), listener);
        context.journal.watch(&token);
        context.timers.set(Timer::Listener(token), context.now.monotonic);
        Ok(())
    }

    /// Watches the rows of a token that a node must end within `patience`: asks for the node's log from time to time,
    /// and fails the token at the end of that time.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module statistics"))]
    pub(super) fn watch(&mut self, context: &mut Context, token: &Token, node: NodeId, patience: Duration) {
        let now = context.now.monotonic;
        let target = Some(node.to_string()).filter(|target| !context.is_own(target));
        let listener = Listener { actions: Vec::new(), target, pace: WATCH_PACE, ends: now + patience };
        self.listeners.insert(token.as_str().to_owned(), listener);
        context.journal.watch(token);
        context.timers.set(Timer::Listener(token.clone()), now + WATCH_PACE.min(patience));
    }

    /// Handles [`Timer::Listener`]. Returns the target whose log to ask for.
    pub(super) fn listener_due(&mut self, context: &mut Context, token: &Token) -> Option<String> {
        let listener = self.listeners.get(token.as_str())?;
        let now = context.now.monotonic;
        if now >= listener.ends {
            // This row ends the listener.
            context.fail(token, &format!("listener token {token} timeout reached"));
            return None;
        }
        let next = (now + listener.pace).min(listener.ends);
        let target = listener.target.clone();
        let at = if target.is_some() { next } else { listener.ends };
        context.timers.set(Timer::Listener(token.clone()), at);
        target
    }

    /// Returns the next action that a row has triggered.
    pub(super) fn next_event(&mut self, context: &mut Context, statistics: &mut Statistics) -> Option<OwnRequest> {
        while let Some(seen) = context.journal.next_seen() {
            statistics.row_seen(context, &seen);
            self.row_seen(&seen);
        }
        self.pending.pop_front()
    }
}
