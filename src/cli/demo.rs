//! `demo`. A placeholder.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the demo with the arguments after `demo`.
pub(super) fn run(arguments: Vec<OsString>) -> ExitCode {
    drop(arguments);
    super::fail("this build has no demo yet")
}
