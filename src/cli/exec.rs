//! `exec`: a command on a node through the REST API; its output, and its exit code as ours.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::complain;
use super::remote::{Remote, Row, rows_of, token_of};
use super::remote_arguments::ExecOptions;

/// The command was not run, or its end is not known; as ssh does.
const NOT_RUN: u8 = 255;
/// The daemon is asked to answer when the token has ended, at most after this time.
const WAIT_MICROS: u64 = 20_000_000;
const POLL: Duration = Duration::from_millis(200);

/// Runs the command and ends as it did.
pub(super) fn run(options: &ExecOptions) -> ExitCode {
    let mut shown = Shown { json: options.json, ..Shown::default() };
    let outcome = exec(options, &mut shown);
    if options.json {
        let (token, stdout) = (&shown.token, &shown.output);
        let line = match &outcome {
            Ok(exit_code) => json!({ "token": token, "exit_code": exit_code, "stdout": stdout }),
            Err(text) => json!({ "token": token, "exit_code": null, "stdout": stdout, "message": text }),
        };
        let _reader_gone = writeln!(std::io::stdout(), "{line}");
    }
    match outcome {
        Ok(exit_code) => ExitCode::from(u8::try_from(exit_code.rem_euclid(256)).unwrap_or(NOT_RUN)),
        Err(text) => {
            if !options.json {
                complain(&text);
            }
            ExitCode::from(NOT_RUN)
        }
    }
}

/// What was shown so far.
#[derive(Default)]
struct Shown {
    json: bool,
    token: String,
    output: String,
    exit_code: Option<i64>,
    failure: Option<String>,
}

fn exec(options: &ExecOptions, shown: &mut Shown) -> Result<i64, String> {
    let remote = Remote::of_config(&options.config)?;
    let mut command = json!({ "command": options.command });
    if let (Some(timeout), Some(command)) = (options.timeout_seconds, command.as_object_mut()) {
        command.insert("timeout".to_owned(), json!(timeout));
    }
    let node = options.node;
    let path = format!("/api/nodes/{node}/core/action/command?log_wait={WAIT_MICROS}");
    let answer = remote.start(&path, &json!([command]))?;
    shown.token = token_of(&answer)?;
    let mut rows = rows_of(&answer);
    loop {
        rows.iter().for_each(|row| shown.row(row));
        if let Some(last) = rows.iter().find(|row| row.is_last()) {
            let failure = shown.failure.take().unwrap_or_else(|| last.text());
            return shown.exit_code.ok_or(failure);
        }
        thread::sleep(POLL);
        rows = remote.rows(node, &shown.token, 1_000)?;
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
                if !self.json && !stdout.is_empty() {
                    let newline = if stdout.ends_with('\n') { "" } else { "\n" };
                    let _reader_gone = write!(std::io::stdout(), "{stdout}{newline}");
                }
            }
            1 if row.message() == "command execution issue" => self.failure = Some(stdout.to_owned()),
            _ => {}
        }
    }
}
