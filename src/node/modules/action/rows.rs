//! The data of the rows of a COMMAND, identical to the original's.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::model::command::{CommandEnd, CommandOutcome, OutputCut};
use crate::model::text;

use super::list::Command;
use crate::node::command_rows::{self, push_metrics};
use crate::node::json;

/// Returns the data of the row that a command has begun.
pub(super) fn command_started(command: &Command) -> String {
    let mut out = begin("command has started", command);
    out.push('}');
    out
}

/// Returns the data of the row with a piece of output of a running command and its offset in bytes. The original has no
/// such row.
pub(super) fn command_printed(offset: usize, output: &[u8]) -> String {
    let mut out = format!("{{\"message\":\"command output\",\"offset\":{offset},\"output\":");
    json::push_string(&mut out, &text::from_bytes(output));
    out.push('}');
    out
}

/// Returns the data of the row that a command could not be run, or not to its end.
pub(super) fn command_failed(command: &Command, text: &str, start: i64, end: i64) -> String {
    finished(begin("command execution issue", command), -1, text, OutputCut::default(), start, end)
}

/// Returns the data of the row that a command was not run because its plugins are missing.
pub(super) fn command_not_run(command: &Command, text: &str) -> String {
    let mut out = begin("command execution issue", command);
    push_result(&mut out, 1, text, OutputCut::default());
    out.push('}');
    out
}

/// Returns the data of the row that the command of an ACTIONENGINE has exited. The original's row has only the message.
pub(super) fn engine_finished(line: &str, exit_code: i32, outcome: &CommandOutcome) -> String {
    let begun = begin_engine("actionengine has finished successfully", line);
    with_output(begun, exit_code, outcome)
}

/// Returns the data of the row that the command of an ACTIONENGINE could not be run to its end.
pub(super) fn engine_failed(line: &str, text: &str, start: i64, end: i64) -> String {
    finished(begin_engine("command execution issue", line), -1, text, OutputCut::default(), start, end)
}

/// Returns the data of the row that a command has exited.
pub(super) fn command_finished(command: &Command, exit_code: i32, outcome: &CommandOutcome) -> String {
    with_output(begin("command has finished successfully", command), exit_code, outcome)
}

fn with_output(begun: String, exit_code: i32, outcome: &CommandOutcome) -> String {
    let text = match &outcome.end {
        CommandEnd::NoProgram(_, reason) => Cow::Borrowed(reason.as_str()),
        _ => text::from_bytes(&outcome.output),
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let (start, end) = (outcome.started.as_seconds(), outcome.ended.as_seconds());
    if outcome.cut.is_none() {
        return finished(begun, exit_code, text, outcome.cut, start, end);
    }
    let mut marked = text.to_owned();
    for (stream, kept) in [("stdout", outcome.cut.stdout), ("stderr", outcome.cut.stderr)] {
        if let Some(kept) = kept {
            marked.push_str(&format!("\n[{stream} cut after {kept} bytes]"));
        }
    }
    finished(begun, exit_code, &marked, outcome.cut, start, end)
}

fn begin(message: &str, command: &Command) -> String {
    command_rows::begin(message, &command.line, &command.metadata)
}

/// Begins the data of a row without metadata.
fn begin_engine(message: &str, line: &str) -> String {
    let mut out = format!("{{\"message\":\"{message}\",\"command\":");
    json::push_string(&mut out, line);
    out
}

fn push_result(out: &mut String, exit_code: i32, stdout: &str, cut: OutputCut) {
    // Writing to a string cannot fail.
    let _ = write!(out, ",\"result\":{{\"exit_code\":{exit_code},\"stdout\":");
    json::push_string(out, stdout);
    if !cut.is_none() {
        // Writing to a string cannot fail.
        let (stdout, stderr) = (cut.stdout.is_some(), cut.stderr.is_some());
        let _ = write!(out, ",\"output_cut\":true,\"stdout_cut\":{stdout},\"stderr_cut\":{stderr}");
    }
    out.push('}');
}

fn finished(mut out: String, exit_code: i32, stdout: &str, cut: OutputCut, start: i64, end: i64) -> String {
    push_result(&mut out, exit_code, stdout, cut);
    push_metrics(&mut out, start, end);
    out
}
