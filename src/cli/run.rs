//! `run`: loads the configuration and the keys, then runs the daemon.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use super::{BROKEN_CONFIGURATION, complain, fail};
use crate::config::{self, Config};
use crate::daemon::run_options::RunOptions;
use crate::daemon::{event_loop, key_files, vault};
use crate::edge;
use crate::edge::random::SystemRandom;

/// Starts a daemon and returns when it has stopped.
pub(super) fn run(options: &RunOptions) -> ExitCode {
    if let Err(error) = edge::forbid_dumps() {
        complain(&format!("keys may get into core files: {error}"));
    }
    let config = load(&options.config_path).and_then(|config| {
        // A failure is reported by the daemon, which queries the vault again.
        let asked = !config.waiting.is_empty() && vault::look_up(&options.vault, &config.waiting).is_ok();
        if asked { load(&options.config_path) } else { Ok(config) }
    });
    let config = match config {
        Ok(config) => config,
        Err(count) => {
            complain(&format!("{count} in the configuration; nothing was started"));
            return ExitCode::from(BROKEN_CONFIGURATION);
        }
    };
    let (private, public) = (&config.core.private_key, &config.core.public_key);
    let keys = match key_files::load_or_create(private, public, &mut SystemRandom::new()) {
        Ok(keys) => keys,
        Err(error) => return fail(&error.to_string()),
    };
    match event_loop::run(config, keys, options) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => begin_anew(),
        Err(error) => fail(&error.to_string()),
    }
}

/// Replaces this process by the same program with the same arguments.
fn begin_anew() -> ExitCode {
    let error = Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec();
    fail(&format!("cannot restart: {error}"))
}

/// Reads only the configuration files, as a start would. The service uses this before a reload, while the daemon runs.
pub(super) fn check_files(path: &Path) -> ExitCode {
    match load(path) {
        Ok(_) => ExitCode::SUCCESS,
        Err(count) => fail(&format!("{count} in the configuration; a running daemon goes on as it is")),
    }
}

/// Reads the configuration; otherwise prints all problems and returns a sentence with their number.
fn load(path: &Path) -> Result<Config, String> {
    config::load(path).map_err(|problems| {
        for problem in &problems {
            complain(&problem.to_string());
        }
        if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) }
    })
}
