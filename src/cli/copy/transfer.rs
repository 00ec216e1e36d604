//! A copy to one node, or from one: starts it and follows its rows until the last one.

use std::time::Duration;

use serde_json::{Value, json};

use super::progress::{Progress, bytes_text, rate};
use crate::cli::many::Worker;
use crate::cli::remote::{Remote, Row, token_of};
use crate::cli::remote_arguments::{CopyOptions, Direction};
use crate::cli::waiting::Waiting;

const POLL: Duration = Duration::from_millis(250);

/// What is to be copied.
pub(super) struct Transfer<'a> {
    pub remote: &'a Remote,
    pub options: &'a CopyOptions,
    /// The absolute path on the daemon's machine.
    pub local: &'a str,
    /// Whether the destination here is a directory.
    pub is_directory: bool,
    /// Whether several nodes may be meant.
    pub is_several: bool,
}

/// What became of it on a node.
#[derive(Default)]
pub(super) struct Outcome {
    /// The token; `None` if the daemon gave none.
    pub token: Option<String>,
    /// Whether it is there; `None` if its end is unknown.
    pub is_there: Option<bool>,
    /// What was said at its end.
    pub message: String,
    /// Bytes that the node has; `None` if it has not told.
    pub received: Option<u64>,
    /// Duration in seconds.
    pub seconds: f64,
}

impl Outcome {
    /// Returns the last line of `--json` for a node.
    pub(super) fn to_json(&self, node: Option<u64>) -> Value {
        json!({
            "node": node,
            "token": self.token,
            "exit_code": self.is_there.map(|is_there| u8::from(!is_there)),
            "ok": self.is_there == Some(true),
            "message": self.message,
            "received": self.received,
            "seconds": self.seconds,
        })
    }

    /// Returns the message, with size and rate of a copy that took some time.
    pub(super) fn text(&self) -> String {
        match self.received.filter(|received| self.is_there == Some(true) && *received > 0) {
            Some(received) => {
                let (bytes, per_second) = (bytes_text(received), bytes_text(self.per_second()));
                format!("{}: {bytes} in {:.1} s ({per_second}/s)", self.message, self.seconds)
            }
            None => self.message.clone(),
        }
    }

    /// Returns the bytes per second.
    pub(super) fn per_second(&self) -> u64 {
        rate(self.received.unwrap_or(0), self.seconds)
    }
}

impl Transfer<'_> {
    /// Returns what the API is asked for. What comes from several nodes gets their ids behind its name.
    fn body(&self, node: u64) -> Value {
        let options = self.options;
        let there = options.source.to_string_lossy();
        let (source, destination) = match options.direction {
            Direction::ToNodes => (self.local, options.destination.clone()),
            Direction::FromNodes if self.is_several => {
                let name = options.source.file_name().unwrap_or_default().to_string_lossy();
                (there.as_ref(), format!("{}/{name}.{node}", self.local.trim_end_matches('/')))
            }
            Direction::FromNodes if self.is_directory => {
                (there.as_ref(), format!("{}/", self.local.trim_end_matches('/')))
            }
            Direction::FromNodes => (there.as_ref(), self.local.to_owned()),
        };
        let mut body = json!({
            "source": source,
            "destination": destination,
            "cache_dir": options.cache_dir,
            "owner": options.owner,
            "group": options.group,
            "mode": options.mode,
        });
        for (key, is_set) in [("delete", options.delete), ("checksum", options.checksum)] {
            if let Some(body) = body.as_object_mut().filter(|_| is_set) {
                body.insert(key.to_owned(), true.into());
            }
        }
        body
    }

    /// Copies to the worker's node.
    pub(super) fn carry_out(&self, worker: &Worker<'_, Progress, Outcome>) -> Outcome {
        let mut waiting = Waiting::new(worker.node()).with_ttl(self.options.ttl);
        let mut outcome = Outcome::default();
        if let Err(message) = self.follow(worker, &mut waiting, &mut outcome) {
            outcome.message = message;
        }
        outcome.seconds = waiting.time().as_secs_f64();
        outcome
    }

    fn follow(
        &self,
        worker: &Worker<'_, Progress, Outcome>,
        waiting: &mut Waiting,
        outcome: &mut Outcome,
    ) -> Result<(), String> {
        let (node, remote) = (worker.node(), self.remote);
        if remote.own_id() == Some(node) {
            outcome.is_there = Some(false);
            return Err(format!(
                "node {node} is this machine itself, and a copy needs another one: use cp {} {}",
                self.options.source.display(),
                self.options.destination
            ));
        }
        let ttl = self.options.ttl.map_or(String::new(), |ttl| format!("?ttl={ttl}"));
        let action = if self.options.direction == Direction::FromNodes { "fetch" } else { "remotecopy" };
        let token = token_of(&remote.start(&format!("/api/nodes/{node}/core/proxy/{action}{ttl}"), &self.body(node))?)?;
        outcome.token = Some(token.clone());
        let mut seen = None;
        loop {
            let rows = remote.rows(node, &token, 0, 4)?;
            let newest = rows.iter().map(|row| row.id).max();
            if newest > seen {
                seen = newest;
                waiting.heard();
            }
            // A host without a daemon reports no progress; if there are no rows at all, nothing had to be sent.
            let mut has_steps = outcome.received.is_some();
            for row in rows.iter().filter(|row| row.code == 101) {
                has_steps = true;
                if let Some(progress) = progress_of(row, outcome.received, waiting.time()) {
                    outcome.received = Some(progress.received);
                    worker.step(progress);
                }
            }
            if let Some(last) = rows.iter().find(|row| row.is_last) {
                let is_there = last.code == 2;
                let told = last.data.get("received").and_then(Value::as_u64);
                outcome.received = told.or(outcome.received).or((is_there && !has_steps).then_some(0));
                outcome.is_there = Some(is_there);
                outcome.message = last.text();
                return Ok(());
            }
            let goes_on = |text: String| format!("{text}; the copy goes on if it comes back, its token is {token}");
            if let Some(text) = waiting.look(remote).map_err(goes_on)? {
                worker.say(text);
            }
            if worker.wait(POLL) {
                let to = if self.options.direction == Direction::FromNodes { "from" } else { "to" };
                return Err(format!("interrupted: the copy {to} node {node} goes on; its token is {token}"));
            }
        }
    }
}

/// Reads a row about the progress; `None` if it says nothing new.
fn progress_of(row: &Row, known: Option<u64>, time: Duration) -> Option<Progress> {
    let number = |key: &str| row.data.get(key).and_then(Value::as_u64);
    let received = number("received").filter(|received| Some(*received) > known)?;
    Some(Progress { received, total: number("total"), per_second: rate(received, time.as_secs_f64()) })
}
