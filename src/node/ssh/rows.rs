//! The data of the rows of a command that ran by SSH.

use std::borrow::Cow;

use crate::model::ssh::{SshExit, SshRun};
use crate::model::text;

use crate::node::command_rows::{self, push_metrics};
use crate::node::json;
use crate::node::modules::action::list::Command;

/// Returns the data of the row that a command was passed on by a relay file.
pub(super) fn command_relayed(command: &Command) -> String {
    let mut out = begin("command has been handed on", command);
    out.push('}');
    out
}

/// Returns the data of the row that a command could not be run, or not to its end.
pub(super) fn command_failed(command: &Command, text: &str, start: i64, end: i64) -> String {
    let mut out = begin("command execution issue", command);
    out.push_str(",\"result\":{\"exit_code\":-1,\"stdout\":");
    json::push_string(&mut out, text);
    out.push_str(",\"stderr\":\"\"}");
    push_metrics(&mut out, start, end);
    out
}

/// Returns the data of the row that a command has ended by itself.
pub(super) fn command_finished(command: &Command, run: &SshRun, start: i64, end: i64) -> String {
    let mut out = begin("command has finished successfully", command);
    let (status, signal) = match &run.exit {
        SshExit::Status(status) => (*status, None),
        SshExit::Signal(name) => (128 + signal_number(name), Some(name)),
    };
    out.push_str(&format!(",\"result\":{{\"exit_code\":{status},\"stdout\":"));
    json::push_string(&mut out, text_of(&run.stdout).trim_end_matches('\n'));
    out.push_str(",\"stderr\":");
    json::push_string(&mut out, text_of(&run.stderr).trim_end_matches('\n'));
    if let Some(name) = signal {
        out.push_str(",\"signal\":");
        json::push_string(&mut out, name);
    }
    if run.output_cut {
        out.push_str(",\"output_cut\":true");
    }
    out.push('}');
    push_metrics(&mut out, start, end);
    out
}

fn begin(message: &str, command: &Command) -> String {
    command_rows::begin(message, &command.line, &command.metadata)
}

/// Returns the Linux number of a signal that RFC 4254 names; 0 for a name of the host's own.
fn signal_number(name: &str) -> i32 {
    match name {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ILL" => 4,
        "ABRT" => 6,
        "FPE" => 8,
        "KILL" => 9,
        "USR1" => 10,
        "SEGV" => 11,
        "USR2" => 12,
        "PIPE" => 13,
        "ALRM" => 14,
        "TERM" => 15,
        _ => 0,
    }
}

/// Returns output as text. A character that was cut in the middle at the end is left out.
fn text_of(output: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(output) {
        Err(error) if error.error_len().is_none() => {
            let whole = output.get(..error.valid_up_to()).unwrap_or_default();
            Cow::Borrowed(std::str::from_utf8(whole).unwrap_or_default())
        }
        _ => text::from_bytes(output),
    }
}
