//! Replaces `status` in a build without the feature `status`, whose daemon shows no status.

use std::process::ExitCode;

use super::remote_arguments::StatusOptions;
use super::{complain, fail};

/// Refuses the command.
pub(super) fn run(_: &StatusOptions) -> ExitCode {
    fail("this build has no 'status': ask the central with its own program")
}

/// Prints a usage error; a plug-in ends with UNKNOWN.
pub(super) fn usage_error(error: &str) -> ExitCode {
    complain(error);
    ExitCode::from(3)
}
