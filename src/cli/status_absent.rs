//! Replaces `status` in a build without the feature `status`, whose daemon shows no status.

use std::process::ExitCode;

use super::arguments::Command;
use super::defaults::Defaults;
use super::{complain, fail};

/// Options of `status`; there are none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StatusOptions;

pub(super) fn parse(_: lexopt::Parser, _: &Defaults) -> Result<Command, String> {
    Ok(Command::Status(StatusOptions))
}

/// Refuses the command.
pub(super) fn run(_: &StatusOptions) -> ExitCode {
    fail("this build has no 'status': ask the central with its own program")
}

/// Prints a usage error; a plug-in ends with UNKNOWN.
pub(super) fn usage_error(error: &str) -> ExitCode {
    complain(error);
    ExitCode::from(3)
}
