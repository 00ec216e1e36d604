//! The only place that waits. A placeholder: nothing is served yet.

use std::fmt;

use super::key_files::KeyPair;
use super::run_options::RunOptions;
use crate::config::settings::Config;

/// Why a daemon could not start or had to end.
#[derive(Debug)]
pub struct RunError(String);

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Runs a daemon until it is told to stop.
///
/// # Errors
/// What could not be opened, bound or read, with the remedy.
pub fn run(config: Config, keys: KeyPair, options: &RunOptions) -> Result<(), RunError> {
    let _ = (config, keys, options);
    Err(RunError("this build has no event loop yet".to_owned()))
}
