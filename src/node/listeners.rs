//! ADDLISTENER: an action of ours that runs whenever a row of a token appears (docs/protocol.md section 4).

use crate::model::code::Code;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::time::Monotonic;
use crate::model::token::Token;

use super::core::Core;
use super::journal::Seen;
use super::json;
use super::peer::{Handled, Peer};
use super::timers::Timer;

/// Tokens listened for at most.
const LISTENERS_MAX: usize = 1_000;
/// Actions for one token at most.
const EVENTS_MAX: usize = 8;
/// Actions that wait to be run at most; more are dropped.
const PENDING_MAX: usize = 10_000;
/// Default of `log_pace` and `timeout`, in seconds.
const PACE_SECONDS: u64 = 30;
const TIMEOUT_SECONDS: u64 = 600;
/// No listener lives longer.
const TIMEOUT_SECONDS_MAX: u64 = 7 * 86_400;

#[derive(Debug)]
struct Listener {
    actions: Vec<Action>,
    target: Option<String>,
    pace: Duration,
    ends: Monotonic,
}

/// An action that a row has triggered.
#[derive(Debug)]
struct Event {
    action: Action,
    token: Token,
    data: String,
}

/// Every listener.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    listeners: BTreeMap<String, Listener>,
    pending: VecDeque<Event>,
}

impl Listeners {
    /// A row of a token that is listened for.
    fn row_seen(&mut self, seen: &Seen) {
        let Some(listener) = self.listeners.get(&seen.token) else { return };
        let Ok(token) = Token::parse(&seen.token) else { return };
        let data = format!("{{\"code\":{},\"data\":{}}}", seen.code.0, seen.data);
        for action in &listener.actions {
            if self.pending.len() < PENDING_MAX {
                self.pending.push_back(Event { action: action.clone(), token: token.clone(), data: data.clone() });
            }
        }
        if seen.is_last {
            self.listeners.remove(&seen.token);
        }
    }
}

impl Core {
    pub(super) fn add_listeners(&mut self, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let Some(wanted) = data.as_array() else { return Handled::not_well_formatted() };
        for entry in wanted {
            if let Err(text) = self.add_listener(entry) {
                return Handled::refused(json::action_message("addlistener", &text));
            }
        }
        let data = serde_json::json!({ "action": "addlistener", "message": "ok", "data": data });
        Handled::Reply(Action::Ack, Code::FINISHED_OK, data.to_string())
    }

    fn add_listener(&mut self, entry: &Value) -> Result<(), String> {
        let member = |key: &str| entry.get(key).and_then(json::text);
        let seconds = |key: &str, default: u64| {
            entry.get(key).and_then(json::integer).and_then(|value| u64::try_from(value).ok()).unwrap_or(default)
        };
        let event = member("event").unwrap_or_default();
        let action = Action::parse(&event);
        if !self.is_known(&action) {
            return Err(format!("action '{}' is unknown", event.chars().take(64).collect::<String>()));
        }
        let token = Token::parse(&member("token").unwrap_or_default()).map_err(|error| error.to_string())?;
        if let Some(listener) = self.listeners.listeners.get_mut(token.as_str()) {
            if !listener.actions.contains(&action) && listener.actions.len() < EVENTS_MAX {
                listener.actions.push(action);
            }
            return Ok(());
        }
        if self.listeners.listeners.len() >= LISTENERS_MAX {
            return Err("too many listeners".to_owned());
        }
        let timeout = seconds("timeout", TIMEOUT_SECONDS).min(TIMEOUT_SECONDS_MAX);
        let listener = Listener {
            actions: vec![action],
            target: member("target").filter(|target| self.context.own_id.is_none_or(|id| target.parse() != Ok(id))),
            pace: Duration::from_secs(seconds("log_pace", PACE_SECONDS).max(1)),
            ends: self.context.now.monotonic + Duration::from_secs(timeout),
        };
        self.listeners.listeners.insert(token.as_str().to_owned(), listener);
        self.context.journal.watch(&token);
        self.context.timers.set(Timer::Listener(token), self.context.now.monotonic);
        Ok(())
    }

    /// [`Timer::Listener`]
    pub(super) fn listener_due(&mut self, token: &Token) {
        let Some(listener) = self.listeners.listeners.get(token.as_str()) else { return };
        let now = self.context.now.monotonic;
        if now >= listener.ends {
            // With this row the listener goes.
            self.context.fail(token, &format!("listener token {token} timeout reached"));
            return;
        }
        let next = (now + listener.pace).min(listener.ends);
        if let Some(target) = listener.target.clone() {
            self.poll_log_of(&target);
            self.context.timers.set(Timer::Listener(token.clone()), next);
        } else {
            let ends = listener.ends;
            self.context.timers.set(Timer::Listener(token.clone()), ends);
        }
    }

    /// Runs the actions that rows have triggered.
    pub(super) fn run_listener_events(&mut self) {
        // Each token ends sooner or later and its listener with it, but one event must not hold up the daemon.
        for _ in 0..PENDING_MAX {
            while let Some(seen) = self.context.journal.next_seen() {
                self.listeners.row_seen(&seen);
            }
            let Some(event) = self.listeners.pending.pop_front() else { return };
            self.request(Peer::Ourselves, event.action, &event.token, "", event.data);
        }
    }
}
