//! A command on one node: starts it, follows its rows until the last one, and keeps what it printed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::many::Worker;
use crate::cli::remote::{Remote, Row, rows_of, token_of};
use crate::cli::waiting::Waiting;

/// How long the daemon waits for the end of the command before it answers, so that short commands need one request.
const WAIT_MICROS: u64 = 300_000;
/// Maximum number of rows requested at once.
const ROWS_MAX: usize = 1_000;
const POLL: Duration = Duration::from_millis(200);
/// Additional time after `--timeout` for the node to report the end of the command.
const GRACE: Duration = Duration::from_secs(15);

/// What is to be run, the same for every node.
pub(super) struct Order<'a> {
    pub remote: &'a Remote,
    /// The command line for the node's shell.
    pub command: &'a str,
    /// Time after which the node ends it.
    pub timeout_seconds: Option<u64>,
    /// How long it waits for a node that cannot be reached, in seconds.
    pub ttl: Option<u64>,
    /// Whether its output is shown while it runs.
    pub streams: bool,
}

/// What became of it on a node.
#[derive(Default)]
pub(super) struct Outcome {
    /// The token; `None` if the daemon gave none.
    pub token: Option<String>,
    /// The exit code of the command; `None` if it was not run or its end is unknown.
    pub exit_code: Option<i64>,
    /// Why there is no exit code.
    pub message: String,
    /// What it printed.
    pub stdout: String,
    /// What it printed as errors, where that comes apart.
    pub stderr: String,
    /// Duration in seconds.
    pub seconds: f64,
}

impl Outcome {
    /// Returns the line of `--json`.
    pub(super) fn to_json(&self, node: u64) -> Value {
        let mut line = json!({ "node": node, "token": self.token, "exit_code": self.exit_code, "stdout": self.stdout });
        if let Some(line) = line.as_object_mut() {
            if !self.stderr.is_empty() {
                line.insert("stderr".to_owned(), json!(self.stderr));
            }
            if self.exit_code.is_none() {
                line.insert("message".to_owned(), json!(self.message));
            }
        }
        line
    }
}

impl Order<'_> {
    /// Runs the command on the worker's node. Its steps are pieces of the output.
    pub(super) fn carry_out(&self, worker: &Worker<'_, String, Outcome>) -> Outcome {
        let mut waiting = Waiting::new(worker.node()).with_ttl(self.ttl);
        let mut output = Output::default();
        let result = self.follow(worker, &mut waiting, &mut output);
        let Output { token, stdout, stderr, .. } = output;
        let seconds = waiting.time().as_secs_f64();
        let (exit_code, message) = match result {
            Ok(exit_code) => (Some(exit_code), String::new()),
            Err(message) => (None, message),
        };
        Outcome { token, exit_code, message, stdout, stderr, seconds }
    }

    /// Ends the waiting after Ctrl-C; returns what becomes of the command.
    fn leave(&self, worker: &Worker<'_, String, Outcome>, token: &str) -> String {
        let node = worker.node();
        if !worker.cancels() {
            return format!("interrupted: the command goes on at node {node}; its token is {token}");
        }
        match self.remote.cancel(token, Some(node)) {
            Ok(_) => format!("interrupted: the command on node {node} is cancelled; its token is {token}"),
            Err(text) => {
                format!("interrupted: the command on node {node} is not cancelled: {text}; its token is {token}")
            }
        }
    }

    fn follow(
        &self,
        worker: &Worker<'_, String, Outcome>,
        waiting: &mut Waiting,
        output: &mut Output,
    ) -> Result<i64, String> {
        let (node, remote) = (worker.node(), self.remote);
        // Another Stheno reports the output while the command is running; other nodes report it at the end.
        let mut command = json!({ "command": self.command, "stream": self.streams });
        if let (Some(timeout), Some(command)) = (self.timeout_seconds, command.as_object_mut()) {
            command.insert("timeout".to_owned(), json!(timeout));
        }
        // The node ends the command after the time-out; if it does not report that, we end waiting.
        let limit = self.timeout_seconds.map(|seconds| Duration::from_secs(seconds + self.ttl.unwrap_or(0)) + GRACE);
        let ttl = self.ttl.map_or(String::new(), |ttl| format!("&ttl={ttl}"));
        let path = format!("/api/nodes/{node}/core/action/command?log_wait={WAIT_MICROS}{ttl}");
        let answer = remote.start(&path, &json!([command]))?;
        let token = token_of(&answer)?;
        output.token = Some(token.clone());
        let mut rows = rows_of(&answer);
        let mut seen = 0;
        loop {
            if !rows.is_empty() {
                waiting.heard();
            }
            rows.iter().for_each(|row| output.row(row, worker, self.streams));
            seen = rows.iter().map(|row| row.id).max().unwrap_or(seen).max(seen);
            if let Some(last) = rows.iter().find(|row| row.is_last) {
                let failure = output.failure.take().unwrap_or_else(|| last.text());
                return output.exit_code.ok_or(failure);
            }
            if worker.wait(POLL) {
                return Err(self.leave(worker, &token));
            }
            let unknown =
                |text: String| format!("{text}; it is unknown whether the command runs, its token is {token}");
            if let Some(text) = waiting.look(remote).map_err(unknown)? {
                worker.say(text);
            }
            if limit.is_some_and(|limit| waiting.time() > limit) {
                let seconds = waiting.time().as_secs();
                return Err(unknown(format!("node {node} has not reported the end of the command within {seconds} s")));
            }
            rows = remote.rows(node, &token, seen, ROWS_MAX)?;
        }
    }
}

/// What is known of the output so far.
#[derive(Default)]
struct Output {
    token: Option<String>,
    stdout: String,
    stderr: String,
    /// The output shown while the command was running, and the start of its last piece.
    streamed: String,
    streamed_from: Option<u64>,
    exit_code: Option<i64>,
    failure: Option<String>,
}

impl Output {
    fn row(&mut self, row: &Row, worker: &Worker<'_, String, Outcome>, streams: bool) {
        let result = row.data.get("result");
        let stdout = result.and_then(|result| result.get("stdout")).and_then(Value::as_str).unwrap_or_default();
        match row.code {
            100 if self.exit_code.is_none() => {
                self.exit_code = result.and_then(|result| result.get("exit_code")).and_then(Value::as_i64);
                self.stdout = stdout.to_owned();
                let stderr = result.and_then(|result| result.get("stderr")).and_then(Value::as_str);
                self.stderr = stderr.unwrap_or_default().to_owned();
                if streams {
                    worker.step(rest_of(&self.stdout, &self.streamed));
                }
            }
            600 if self.exit_code.is_none() && streams => self.piece(row, worker),
            1 if row.message() == "command execution issue" => self.failure = Some(stdout.to_owned()),
            _ => {}
        }
    }

    /// Shows a piece of the output while the command is running.
    fn piece(&mut self, row: &Row, worker: &Worker<'_, String, Outcome>) {
        let from = row.data.get("offset").and_then(Value::as_u64).unwrap_or(0);
        if self.streamed_from.is_some_and(|last| from <= last) {
            return;
        }
        let piece = row.data.get("output").and_then(Value::as_str).unwrap_or_default();
        self.streamed_from = Some(from);
        self.streamed.push_str(piece);
        worker.step(piece.to_owned());
    }
}

/// Returns the part of a result that was not shown yet, with a final newline, which a result lacks.
fn rest_of(output: &str, streamed: &str) -> String {
    let seen = streamed.strip_suffix('\n').unwrap_or(streamed);
    // If the pieces were decoded differently from the whole, the whole is shown again.
    let rest = output.strip_prefix(seen).unwrap_or(output);
    let (rest, ends) = match rest.strip_prefix('\n') {
        Some(behind) if streamed.len() > seen.len() => (behind, streamed),
        _ if rest.is_empty() => ("", streamed),
        _ => (rest, rest),
    };
    let last = if rest.is_empty() { ends } else { rest };
    let newline = if last.is_empty() || last.ends_with('\n') { "" } else { "\n" };
    format!("{rest}{newline}")
}

#[cfg(test)]
mod tests {
    use super::rest_of;

    #[test]
    fn what_was_shown_while_it_ran_is_not_shown_again() {
        for (output, streamed, rest) in [
            ("", "", ""),
            ("one", "", "one\n"),
            ("one", "one\n", ""),
            ("one", "one", "\n"),
            ("one\ntwo", "one\n", "two\n"),
            ("one\ntwo", "on", "e\ntwo\n"),
            ("one\n[stdout cut after 4 bytes]", "one\n", "[stdout cut after 4 bytes]\n"),
            ("\n", "\n\n", ""),
            ("caf\u{c3}\u{a9} \u{e9}", "caf\u{e9}", "caf\u{c3}\u{a9} \u{e9}\n"),
        ] {
            assert_eq!(rest_of(output, streamed), rest, "{output:?} after {streamed:?}");
        }
    }
}
