//! Common parts of `copy`, `exec` and `keys`: the REST API of the daemon that a configuration describes, and the rows
//! of a token.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::waiting::NodeState;
use crate::config;
use crate::edge::api_connection::ApiConnection;
use crate::edge::clock;
use crate::edge::signals::{Signal, Signals};
use crate::model::code::Code;
use crate::model::history::is_last_row;
use crate::model::node_id::NodeId;

/// Maximum time without an answer of the daemon's API.
const PATIENCE: Duration = Duration::from_secs(15);

/// Maximum delay until Ctrl-C is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The message of a daemon that cannot write its history.
const DATABASE_ISSUE: &str = "database issue";

/// Exit status after Ctrl-C, as in a shell.
pub(super) const INTERRUPTED: u8 = 130;

/// Exit status if the reader of the output is gone (`… | head -1`), as in a shell.
pub(super) const READER_GONE: u8 = 141;

/// Notices Ctrl-C and the closing of the terminal.
pub(super) struct Pause {
    signals: Signals,
}

impl Pause {
    /// Starts to handle both signals, which from now on are only reported here.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self { signals: Signals::open().map_err(|error| format!("signals cannot be caught: {error}"))? })
    }

    /// Waits for `time`; returns whether the user wants to stop.
    pub(super) fn wait(&mut self, time: Duration) -> bool {
        let end = clock::read().monotonic + time;
        loop {
            if self.is_over() {
                return true;
            }
            let now = clock::read().monotonic;
            if now >= end {
                return false;
            }
            thread::sleep(end.since(now).min(LOOK_EVERY));
        }
    }

    /// Returns whether the user has wanted to stop since the last call.
    pub(super) fn is_over(&mut self) -> bool {
        self.signals.read().iter().any(|signal| matches!(signal, Signal::Stop | Signal::Reopen))
    }
}

/// The REST API of a daemon.
pub(super) struct Remote {
    api: ApiConnection,
    own_id: Option<u64>,
}

/// A history row.
pub(super) struct Row {
    /// Id of the row in the daemon's database.
    pub(super) id: i64,
    /// Code of the row (docs/protocol.md section 1).
    pub(super) code: i64,
    /// Data of the row.
    pub(super) data: Value,
    /// When it was written, by the clock of the daemon that wrote it, in seconds.
    pub(super) etime: Option<i64>,
    /// Whether it is the last row of its token.
    pub(super) is_last: bool,
}

impl Row {
    fn read(row: &Value) -> Option<Self> {
        let number = |key: &str| row.get(key).and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
        let (id, code) = (number("id").unwrap_or(0), number("code")?);
        let text = row.get("data")?.as_str().unwrap_or_default();
        let data = serde_json::from_str(text).unwrap_or_default();
        Some(Self { id, code, data, etime: number("etime"), is_last: is_last_row(Code(code), text) })
    }

    pub(super) fn message(&self) -> &str {
        self.data.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the message with its details.
    pub(super) fn text(&self) -> String {
        if self.message() == DATABASE_ISSUE {
            return format!(
                "{DATABASE_ISSUE}: the node cannot write its history, so it did nothing; is its disk full?"
            );
        }
        match self.data.get("detail").and_then(Value::as_str) {
            Some(detail) => format!("{} ({detail})", self.message()),
            None => self.message().to_owned(),
        }
    }
}

pub(super) fn rows_of(answer: &Value) -> Vec<Row> {
    answer.get("data").and_then(Value::as_array).into_iter().flatten().filter_map(Row::read).collect()
}

impl Remote {
    /// Returns the API of the daemon with this configuration file.
    ///
    /// # Errors
    /// The file has problems, or the daemon has no REST API.
    pub(super) fn of_config(path: &Path) -> Result<Self, String> {
        let config = config::load(path).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            format!("{first}; 'stheno check --config {}' shows all", path.display())
        })?;
        let http = config.modules.httpserver.as_ref().ok_or_else(|| {
            format!("{}: the module httpserver is not loaded, so there is no REST API to ask", path.display())
        })?;
        if http.auth.is_none() && http.wants_password() {
            return Err(format!(
                "{}: httpserver.auth has hashes of passwords only, and this command logs in with 'user' and \
                 'password': set these beside 'users', or ask the API with curl",
                path.display()
            ));
        }
        Ok(Self { api: ApiConnection::new(http)?, own_id: config.core.id.map(NodeId::get) })
    }

    /// The id of the daemon, if its configuration sets it.
    pub(super) const fn own_id(&self) -> Option<u64> {
        self.own_id
    }

    /// Returns what the daemon knows about a node.
    ///
    /// # Errors
    /// The API refuses or does not answer.
    pub(super) fn node_state(&self, node: u64) -> Result<NodeState, String> {
        let routes = self.data(&format!("/api/internal/routes/{node}"))?;
        Ok(NodeState::read(node, &routes, &self.data("/api/internal/constatus")?))
    }

    /// Returns the member `data` of an answer.
    ///
    /// # Errors
    /// The API refuses or does not answer.
    pub(super) fn data(&self, path: &str) -> Result<Value, String> {
        self.call("GET", path, "").map(|mut answer| answer.get_mut("data").map(Value::take).unwrap_or_default())
    }

    /// Returns the ids of all nodes that the daemon knows, also those behind others, in order.
    ///
    /// # Errors
    /// The API refuses or does not answer.
    pub(super) fn known_nodes(&self) -> Result<BTreeSet<u64>, String> {
        let mut ids = BTreeSet::new();
        let mut from = 1;
        loop {
            let answer = self.call("GET", &format!("/api/internal/routes?from={from}"), "")?;
            let page = answer.get("data").and_then(Value::as_object).into_iter().flatten();
            ids.extend(page.filter_map(|(id, _)| id.parse::<u64>().ok()));
            let next = answer.get("next").and_then(|next| NodeId::from_json(next).ok()).map(NodeId::get);
            match next.filter(|next| *next > from) {
                Some(next) => from = next,
                None => return Ok(ids),
            }
        }
    }

    /// Returns what the daemon shows of itself and its nodes.
    ///
    /// # Errors
    /// The API refuses or does not answer.
    #[cfg(feature = "status")]
    pub(super) fn status(&self) -> Result<Value, String> {
        self.call("GET", "/api/status", "")
    }

    /// Sets the trusted key of a node, or forgets it with `None`; returns the daemon's answer.
    ///
    /// # Errors
    /// The daemon refuses or does not answer.
    pub(super) fn set_node_key(&self, node: u64, thumbprint: Option<&str>) -> Result<String, String> {
        let path = format!("/api/internal/keys/{node}");
        let answer = match thumbprint {
            Some(thumbprint) => self.call("POST", &path, &json!({ "thumbprint": thumbprint }).to_string())?,
            None => self.call("DELETE", &path, "")?,
        };
        let text = answer.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        if answer.get("error").is_some() { Err(text) } else { Ok(text) }
    }

    /// Starts an action and returns the answer: a token, or rows if the path waits for them.
    ///
    /// # Errors
    /// A sentence about the refusal of the API.
    pub(super) fn start(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.call("POST", path, &body.to_string())
    }

    /// Returns rows of a token in the history of `node`: the newest `limit` rows after the row `after`. Waits if the
    /// daemon is briefly unavailable.
    ///
    /// # Errors
    /// The API refuses, or does not answer for too long.
    pub(super) fn rows(&self, node: u64, token: &str, after: i64, limit: usize) -> Result<Vec<Row>, String> {
        let start = clock::read().monotonic;
        let path = format!("/api/nodes/{node}/log/{token}?limit={limit}&id={after}");
        loop {
            match self.call("GET", &path, "") {
                Ok(answer) => return Ok(rows_of(&answer)),
                Err(error) if clock::read().monotonic.since(start) > PATIENCE => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    /// Ends a token before its time: takes it out of the queue of its node, or ends its command. Without a node, the
    /// daemon looks for it where it has sent it. Returns the daemon's sentence.
    ///
    /// # Errors
    /// A sentence about the refusal, for instance because the token has ended already.
    pub(super) fn cancel(&self, token: &str, node: Option<u64>) -> Result<String, String> {
        if let Some(node) = node.map_or_else(|| self.queued_for(token), |node| Ok(Some(node)))? {
            let answer = self.ask("DELETE", &format!("/api/nodes/{node}/queue/{token}"))?;
            if answer.status == 200 {
                return Ok(answer.message().to_owned());
            }
        }
        let path = match node {
            Some(node) => format!("/api/nodes/{node}/running/{token}"),
            None => format!("/api/running/{token}"),
        };
        let answer = self.ask("DELETE", &path)?;
        if matches!(answer.status, 404 | 409 | 501 | 502 | 504) && answer.body.get("message").is_some() {
            return Err(answer.message().to_owned());
        }
        Ok(answer.ok()?.get("message").and_then(Value::as_str).unwrap_or("cancelled").to_owned())
    }

    /// Returns the node in whose queue a token is. Whoever may not see the queue, or asks a daemon without one, finds
    /// none.
    fn queued_for(&self, token: &str) -> Result<Option<u64>, String> {
        let mut from = 0;
        loop {
            let answer = self.ask("GET", &format!("/api/queue?from={from}"))?;
            let queue = answer.body.get("queue").and_then(Value::as_array).filter(|_| answer.status == 200);
            let Some(queue) = queue else { return Ok(None) };
            let found = queue.iter().find(|entry| entry.get("token").and_then(Value::as_str) == Some(token));
            if let Some(entry) = found {
                return Ok(entry.get("node").and_then(Value::as_u64));
            }
            let last = queue.last().and_then(|entry| entry.get("place")).and_then(Value::as_i64);
            match last.filter(|last| *last > from && answer.body.get("more") == Some(&Value::Bool(true))) {
                Some(last) => from = last,
                None => return Ok(None),
            }
        }
    }

    /// Makes a call whose status matters.
    ///
    /// # Errors
    /// The API does not answer.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Answer, String> {
        self.send(method, path, "")
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Result<Answer, String> {
        let reply = self.api.call(method, path, body)?;
        Ok(Answer { status: reply.status, body: serde_json::from_slice(&reply.body).unwrap_or_default() })
    }

    /// Makes one call.
    ///
    /// # Errors
    /// The API refuses or does not answer.
    pub(super) fn call(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        self.send(method, path, body)?.ok()
    }
}

/// An answer of the API.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The JSON in it; `null` if there is none.
    pub(super) body: Value,
}

impl Answer {
    /// The sentence in it.
    pub(super) fn message(&self) -> &str {
        self.body.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns what was asked for.
    ///
    /// # Errors
    /// A sentence about a status other than 200, with what to do.
    pub(super) fn ok(self) -> Result<Value, String> {
        let remedy = match self.status {
            200 => return Ok(self.body),
            401 => {
                ": either user and password of the running daemon are not those of the configuration, or \
                 allowed_hosts of the module httpserver needs this machine's address, for instance 127.0.0.1/32"
            }
            403 => ": 'may' of the user in the configuration does not allow it",
            404 => ": is the module loaded, and is that the daemon of the configuration?",
            _ => "",
        };
        Err(format!("the REST API answers {} {}{remedy}", self.status, self.message()))
    }
}

/// Returns the token in an answer.
///
/// # Errors
/// The answer has no token.
pub(super) fn token_of(answer: &Value) -> Result<String, String> {
    let token = answer.get("token").and_then(Value::as_str);
    token.map(str::to_owned).ok_or_else(|| format!("the REST API gave no token: {answer}"))
}
