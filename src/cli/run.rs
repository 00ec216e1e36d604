//! `run`: configuration, keys, then the daemon.

use std::process::ExitCode;

use super::{complain, fail};
use crate::config;
use crate::daemon::run_options::RunOptions;
use crate::daemon::{event_loop, key_files};
use crate::edge;
use crate::edge::random::SystemRandom;

/// Starts a daemon and returns when it has stopped.
pub(super) fn run(options: &RunOptions) -> ExitCode {
    if let Err(error) = edge::forbid_dumps() {
        complain(&format!("keys may get into core files: {error}"));
    }
    let config = match config::load(&options.config_path) {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                complain(&problem.to_string());
            }
            let lines =
                if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) };
            return fail(&format!("{lines} in the configuration; nothing was started"));
        }
    };
    let (private, public) = (&config.core.private_key, &config.core.public_key);
    let keys = match key_files::load_or_create(private, public, &mut SystemRandom::new()) {
        Ok(keys) => keys,
        Err(error) => return fail(&error.to_string()),
    };
    match event_loop::run(config, keys, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}
