//! Controls how long `exec` and `copy` wait for a node that shows no sign of life: they say what they wait for, and
//! finally give up with a reason.

use std::time::Duration;

use serde_json::Value;

use super::remote::Remote;
use crate::edge::clock;
use crate::model::time::Monotonic;

/// Time without a sign of the node after which a message is printed once.
const SAY_AFTER: Duration = Duration::from_secs(2);
/// Time without a sign of the node after which waiting ends.
const GIVE_UP_AFTER: Duration = Duration::from_secs(16);
/// Interval between two requests for the state of the node.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Watches for signs of one node.
pub(super) struct Waiting {
    node: u64,
    started: Monotonic,
    /// The last time at which the node was known to be alive.
    heard: Monotonic,
    ask_at: Monotonic,
    /// Time without a sign of the node after which waiting ends.
    patience: Duration,
    has_rows: bool,
    has_said: bool,
}

impl Waiting {
    /// Starts to wait.
    pub(super) fn new(node: u64) -> Self {
        let started = clock::read().monotonic;
        let ask_at = started + SAY_AFTER;
        let patience = GIVE_UP_AFTER;
        Self { node, started, heard: started, ask_at, patience, has_rows: false, has_said: false }
    }

    /// Waits longer for a node that may come later: the request waits for it this long, in seconds.
    pub(super) fn with_ttl(self, ttl: Option<u64>) -> Self {
        Self { patience: GIVE_UP_AFTER + Duration::from_secs(ttl.unwrap_or(0)), ..self }
    }

    /// Notes a new row, which shows that the node is working.
    pub(super) fn heard(&mut self) {
        self.heard = clock::read().monotonic;
        self.has_rows = true;
    }

    /// Returns the time since the start of waiting.
    pub(super) fn time(&self) -> Duration {
        clock::read().monotonic.since(self.started)
    }

    /// Checks the state of the node when due; returns a sentence for the user, once.
    ///
    /// # Errors
    /// The node has shown no sign of life for [`GIVE_UP_AFTER`]; the sentence says what is known about it.
    pub(super) fn look(&mut self, remote: &Remote) -> Result<Option<String>, String> {
        let now = clock::read();
        if now.monotonic < self.ask_at {
            return Ok(None);
        }
        self.ask_at = now.monotonic + ASK_EVERY;
        let state = remote.node_state(self.node)?;
        if let Some(history) = state.history {
            return Err(history);
        }
        let since_heard = now.monotonic.since(self.heard);
        let silent = match state.silence(now.wall.as_seconds(), self.has_rows) {
            Some(silence) => silence.min(since_heard),
            None => since_heard,
        };
        let (node, seconds) = (self.node, silent.as_secs());
        if silent >= self.patience {
            return Err(format!("node {node} has not answered for {seconds} s: {}", state.why(seconds)));
        }
        if silent < SAY_AFTER || std::mem::replace(&mut self.has_said, true) {
            return Ok(None);
        }
        Ok(Some(format!("waiting for node {node}: {}", state.why(seconds))))
    }
}

/// How a node is reached, which determines its signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// A daemon whose answers to syncs show that it is alive.
    Direct,
    /// A host without a daemon: it shows nothing until its task has ended, but a broken session is noticed.
    Ssh,
    /// A node behind another one, of which only rows are visible.
    Behind,
}

/// What the daemon knows about a node.
pub(super) struct NodeState {
    /// Why the local daemon cannot report rows: it cannot write its history.
    history: Option<String>,
    /// Why the node cannot be reached, in the daemon's words.
    against: Option<String>,
    /// Time of the node's last answer in seconds since the epoch.
    last_answer: Option<i64>,
    reach: Reach,
}

impl NodeState {
    /// Reads the data of `internal/routes/ID` and of `internal/constatus`.
    pub(super) fn read(node: u64, routes: &Value, constatus: &Value) -> Self {
        // The key is the node's id, even if the request used its uid.
        let mut entries = routes.as_object().into_iter().flatten();
        let entry = entries.next().filter(|_| entries.next().is_none());
        let node = entry.map_or_else(|| node.to_string(), |(id, _)| id.clone());
        let route = routes.get(&node);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let candidates = route.and_then(|route| route.get("candidates")).and_then(Value::as_array);
        let used = candidates.into_iter().flatten().find(|way| way.get("in_use") == Some(&Value::Bool(true)));
        let against = text(route.and_then(|route| route.get("error")))
            .or_else(|| text(used.and_then(|way| way.get("why"))))
            .map(|why| why.trim_end_matches("; no other way is better").to_owned());
        let status = constatus.get(&node);
        let reach = match status.map(|status| status.get("type").and_then(Value::as_str)) {
            None => Reach::Behind,
            Some(Some("push_ssh")) => Reach::Ssh,
            Some(_) => Reach::Direct,
        };
        let last = status.and_then(|status| status.get("last_ping_recv"));
        let last = last.and_then(|last| last.as_i64().or_else(|| last.as_str()?.parse().ok()));
        let history = text(route.and_then(|route| route.get("history")));
        Self { history, against, last_answer: last.filter(|seconds| *seconds > 0), reach }
    }

    /// Returns how long the node has shown no sign of life; `None` if unknown.
    fn silence(&self, now_seconds: i64, has_rows: bool) -> Option<Duration> {
        match self.reach {
            Reach::Direct => {
                let seconds = now_seconds.saturating_sub(self.last_answer?);
                Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
            }
            Reach::Ssh if self.against.is_none() => Some(Duration::ZERO),
            // The command is running, so the silence does not count.
            Reach::Behind if has_rows && self.against.is_none() => Some(Duration::ZERO),
            Reach::Ssh | Reach::Behind => None,
        }
    }

    /// Returns a sentence about the reason for the silence.
    fn why(&self, silent_seconds: u64) -> String {
        match (&self.against, self.reach, self.last_answer) {
            (Some(against), _, _) => against.clone(),
            (None, Reach::Behind, _) => {
                "no row has arrived through its relay; check that it runs and has this id".to_owned()
            }
            (None, _, None) => "it has never answered; check its address, port, keys and id".to_owned(),
            (None, _, Some(_)) => {
                format!(
                    "its last answer is {silent_seconds} s old; check that it runs and that the network lets it through"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_answer_of_a_node_tells_how_long_it_is_silent() {
        let routes = json!({ "2": { "in_use": 2, "candidates": [{ "through": 2, "in_use": true, "why": null }] } });
        let state = |kind: &str, last: i64| {
            let constatus = json!({ "2": { "type": kind, "last_ping_recv": last } });
            NodeState::read(2, &routes, &constatus)
        };
        let silence = |kind: &str, last: i64| state(kind, last).silence(1_000, false).map(|silence| silence.as_secs());
        assert_eq!(silence("push_zmq", 990), Some(10));
        assert_eq!(silence("push_zmq", 1_001), Some(0), "a clock that went back");
        assert_eq!(silence("push_zmq", 0), None);
        assert_eq!(silence("push_ssh", 0), Some(0), "its session stands");
        assert!(state("push_zmq", 0).why(20).contains("it has never answered"));
        assert!(state("push_zmq", 900).why(20).contains("its last answer is 20 s old"));
        let behind = NodeState::read(2, &routes, &json!({}));
        assert_eq!((behind.silence(1_000, false), behind.silence(1_000, true)), (None, Some(Duration::ZERO)));
        assert!(behind.why(20).contains("through its relay"));
    }

    #[test]
    fn what_the_daemon_knows_against_the_way_is_said() {
        let why = "our connection to it is down for 31 s (failover_after: 30); no other way is better";
        let routes = json!({ "2": { "in_use": 2, "candidates": [{ "through": 2, "in_use": true, "why": why }] } });
        let state = NodeState::read(2, &routes, &json!({ "2": { "type": "push_ssh" } }));
        assert_eq!(state.why(20), "our connection to it is down for 31 s (failover_after: 30)");
        assert_eq!(state.silence(1_000, true), None);
        let routes = json!({ "2": { "error": "proxy - unknown target 2" } });
        assert_eq!(NodeState::read(2, &routes, &json!({})).why(20), "proxy - unknown target 2");
        let routes = json!({ "2": { "candidates": [], "history": "it cannot be written" } });
        assert_eq!(NodeState::read(2, &routes, &json!({})).history.as_deref(), Some("it cannot be written"));
    }
}
