//! Subcommands, thin.

use std::process::ExitCode;

/// Runs the command line and returns the exit status.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
