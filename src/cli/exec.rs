//! `exec`: runs a command on a node through the REST API, prints its output, and ends with its exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::complain;
use super::remote::{INTERRUPTED, Pause, READER_GONE, Remote, Row, rows_of, token_of};
use super::remote_arguments::ExecOptions;
use super::waiting::Waiting;

/// Exit code if the command was not run or its end is unknown, as with ssh.
const NOT_RUN: u8 = 255;
/// How long the daemon waits for the end of the command before it answers, so that short commands need one request.
const WAIT_MICROS: u64 = 300_000;
/// Maximum number of rows requested at once.
const ROWS_MAX: usize = 1_000;
const POLL: Duration = Duration::from_millis(200);
/// Additional time after `--timeout` for the node to report the end of the command.
const GRACE: Duration = Duration::from_secs(15);

/// Runs the command and returns its exit code.
pub(super) fn run(options: &ExecOptions) -> ExitCode {
    let mut shown = Shown { json: options.json, ..Shown::default() };
    let outcome = exec(options, &mut shown);
    if options.json {
        let (token, stdout) = (&shown.token, &shown.output);
        let line = match &outcome {
            Ok(exit_code) if shown.errors.is_empty() => {
                json!({ "token": token, "exit_code": exit_code, "stdout": stdout })
            }
            Ok(exit_code) => {
                json!({ "token": token, "exit_code": exit_code, "stdout": stdout, "stderr": shown.errors })
            }
            Err(text) => json!({ "token": token, "exit_code": null, "stdout": stdout, "message": text }),
        };
        let _reader_gone = writeln!(std::io::stdout(), "{line}");
    }
    match outcome {
        Ok(exit_code) => ExitCode::from(u8::try_from(exit_code.rem_euclid(256)).unwrap_or(NOT_RUN)),
        Err(_) if shown.is_reader_gone => ExitCode::from(READER_GONE),
        Err(text) => {
            if !options.json {
                complain(&text);
            }
            ExitCode::from(if shown.is_interrupted { INTERRUPTED } else { NOT_RUN })
        }
    }
}

/// The output shown so far.
#[derive(Default)]
struct Shown {
    json: bool,
    token: String,
    output: String,
    errors: String,
    /// The output shown while the command was running, and the start of its last piece.
    streamed: String,
    streamed_from: Option<u64>,
    exit_code: Option<i64>,
    failure: Option<String>,
    is_interrupted: bool,
    is_reader_gone: bool,
}

fn exec(options: &ExecOptions, shown: &mut Shown) -> Result<i64, String> {
    let mut pause = Pause::new()?;
    let remote = Remote::of_config(&options.config)?;
    // Another Stheno reports the output while the command is running; other nodes report it at the end.
    let mut command = json!({ "command": options.command, "stream": !options.json });
    if let (Some(timeout), Some(command)) = (options.timeout_seconds, command.as_object_mut()) {
        command.insert("timeout".to_owned(), json!(timeout));
    }
    // The node ends the command after the time-out; if it does not report that, we end waiting.
    let limit = options.timeout_seconds.map(|seconds| Duration::from_secs(seconds) + GRACE);
    let node = options.node;
    let mut waiting = Waiting::new(node, options.json);
    let path = format!("/api/nodes/{node}/core/action/command?log_wait={WAIT_MICROS}");
    let answer = remote.start(&path, &json!([command]))?;
    shown.token = token_of(&answer)?;
    let mut rows = rows_of(&answer);
    let mut seen = 0;
    loop {
        if !rows.is_empty() {
            waiting.heard();
        }
        rows.iter().for_each(|row| shown.row(row));
        seen = rows.iter().map(|row| row.id).max().unwrap_or(seen).max(seen);
        if let Some(last) = rows.iter().find(|row| row.is_last) {
            let failure = shown.failure.take().unwrap_or_else(|| last.text());
            return shown.exit_code.ok_or(failure);
        }
        if shown.is_reader_gone {
            return Err(format!("nobody reads any more: the command goes on at node {node}"));
        }
        if pause.wait(POLL) {
            shown.is_interrupted = true;
            return Err(format!("interrupted: the command goes on at node {node}; its token is {}", shown.token));
        }
        let unknown =
            |text: String| format!("{text}; it is unknown whether the command runs, its token is {}", shown.token);
        waiting.look(&remote).map_err(unknown)?;
        if limit.is_some_and(|limit| waiting.time() > limit) {
            let seconds = waiting.time().as_secs();
            return Err(unknown(format!("node {node} has not reported the end of the command within {seconds} s")));
        }
        rows = remote.rows(node, &shown.token, seen, ROWS_MAX)?;
    }
}

impl Shown {
    fn row(&mut self, row: &Row) {
        let result = row.data.get("result");
        let stdout = result.and_then(|result| result.get("stdout")).and_then(Value::as_str).unwrap_or_default();
        match row.code {
            100 if self.exit_code.is_none() => {
                self.exit_code = result.and_then(|result| result.get("exit_code")).and_then(Value::as_i64);
                self.output = stdout.to_owned();
                let stderr = result.and_then(|result| result.get("stderr")).and_then(Value::as_str);
                self.errors = stderr.unwrap_or_default().to_owned();
                if !self.json {
                    self.show_rest();
                }
            }
            600 if self.exit_code.is_none() => self.show_piece(row),
            1 if row.message() == "command execution issue" => self.failure = Some(stdout.to_owned()),
            _ => {}
        }
    }

    /// Shows a piece of the output while the command is running.
    fn show_piece(&mut self, row: &Row) {
        let from = row.data.get("offset").and_then(Value::as_u64).unwrap_or(0);
        if self.json || self.streamed_from.is_some_and(|last| from <= last) {
            return;
        }
        let piece = row.data.get("output").and_then(Value::as_str).unwrap_or_default();
        self.streamed_from = Some(from);
        self.streamed.push_str(piece);
        let mut out = std::io::stdout();
        self.is_reader_gone = out.write_all(piece.as_bytes()).and_then(|()| out.flush()).is_err();
    }

    /// Shows the part of the result that was not shown yet.
    fn show_rest(&self) {
        let rest = rest_of(&self.output, &self.streamed);
        let mut out = std::io::stdout();
        let _reader_gone = out.write_all(rest.as_bytes()).and_then(|()| out.flush());
        if !self.errors.is_empty() {
            let _closed = writeln!(std::io::stderr(), "{}", self.errors);
        }
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
