//! `stheno status`: a running daemon and its nodes on a screen, as JSON, or as the line of a plug-in for Centreon and
//! Nagios.

mod plugin;
mod screen;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::remote::{INTERRUPTED, Pause, READER_GONE, Remote};
use super::remote_arguments::StatusOptions;
use super::{complain, fail};

/// Delay until Ctrl-C is noticed, and the number of such delays between two screens of `--watch`.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const WATCH_LOOKS: u32 = 40;

/// Runs the command.
pub(super) fn run(options: &StatusOptions) -> ExitCode {
    if options.check {
        return plugin::run(options);
    }
    let remote = match Remote::of_config(&options.config) {
        Ok(remote) => remote,
        Err(error) => return fail(&error),
    };
    if options.watch { watch(options, &remote) } else { show(options, &remote, "") }
}

fn show(options: &StatusOptions, remote: &Remote, before: &str) -> ExitCode {
    let status = match remote.status() {
        Ok(status) => status,
        Err(error) => return fail(&error),
    };
    let shown = if options.json { format!("{status}\n") } else { screen::text(&status) };
    let mut out = std::io::stdout();
    let written = write!(out, "{before}{shown}").and_then(|()| out.flush());
    if written.is_err() { ExitCode::from(READER_GONE) } else { ExitCode::SUCCESS }
}

/// Repeats it until Ctrl-C. A daemon that does not answer for a while is waited for.
fn watch(options: &StatusOptions, remote: &Remote) -> ExitCode {
    let mut pause = match Pause::new() {
        Ok(pause) => pause,
        Err(error) => return fail(&error),
    };
    let clear = if std::io::stdout().is_terminal() && !options.json { "\x1b[H\x1b[2J" } else { "" };
    loop {
        if show(options, remote, clear) == ExitCode::from(READER_GONE) {
            return ExitCode::from(READER_GONE);
        }
        for _ in 0..WATCH_LOOKS {
            if pause.is_over() {
                return ExitCode::from(INTERRUPTED);
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Prints a usage error; a plug-in ends with UNKNOWN.
pub(super) fn usage_error(error: &str) -> ExitCode {
    complain(error);
    ExitCode::from(plugin::UNKNOWN)
}
