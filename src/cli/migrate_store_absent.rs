//! Replaces `migrate_store` in a build without the feature `centreon`, which has no client for a database server.

use std::process::ExitCode;

use super::fail;
use super::remote_arguments::MoveOptions;

/// Says that this build cannot do it.
pub(super) fn run(options: &MoveOptions) -> ExitCode {
    fail(&format!(
        "this build for pollers has no client for a database server; {} stays as it is",
        options.file.display()
    ))
}
