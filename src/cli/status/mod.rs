//! `stheno status`: a running daemon and its nodes on a screen, as JSON, or as the line of a plug-in for Centreon and
//! Nagios.

mod plugin;
mod screen;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use super::arguments::{Command, path, text, unexpected};
use super::defaults::Defaults;
use super::help::Topic;
use super::remote::{INTERRUPTED, Pause, READER_GONE, Remote};
use super::remote_arguments::{PACKAGED_CONFIG, node_id};
use super::{complain, fail};

/// Delay until Ctrl-C is noticed, and the number of such delays between two screens of `--watch`.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const WATCH_LOOKS: u32 = 40;

/// Options of `status`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StatusOptions {
    /// `--config`: the configuration of the daemon.
    pub config: PathBuf,
    /// `--json`: whether to print JSON.
    pub json: bool,
    /// `--watch`: whether to repeat it until Ctrl-C.
    pub watch: bool,
    /// `--check`: whether to print the line of a plug-in.
    pub check: bool,
    /// `--warning`: number of nodes that may be down.
    pub warning: u64,
    /// `--critical`: number of nodes that may be down.
    pub critical: u64,
    /// `--node`: the only node that counts.
    pub node: Option<u64>,
}

pub(super) fn parse(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    let config = defaults.config.clone().unwrap_or_else(|| PACKAGED_CONFIG.into());
    let mut options =
        StatusOptions { config, json: false, watch: false, check: false, warning: 0, critical: 1, node: None };
    let mut has_limits = false;
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => options.config = path(&mut parser, "--config")?,
            Long("json") => options.json = true,
            Long("watch") => options.watch = true,
            Long("check") => options.check = true,
            Long("warning") => (options.warning, has_limits) = (count(&mut parser, "--warning")?, true),
            Long("critical") => (options.critical, has_limits) = (count(&mut parser, "--critical")?, true),
            Long("node") => {
                let word = parser.value().map_err(text)?.string().map_err(text)?;
                (options.node, has_limits) = (Some(node_id(&word)?), true);
            }
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Status)),
            other @ (Value(_) | Long(_) | Short(_)) => return Err(unexpected(&other, Topic::Status)),
        }
    }
    if has_limits && !options.check {
        return Err("--warning, --critical and --node belong to 'status --check'".to_owned());
    }
    if options.check && (options.json || options.watch) {
        return Err("--check prints one line for a monitoring system: leave out --json and --watch".to_owned());
    }
    Ok(Command::Status(options))
}

fn count(parser: &mut lexopt::Parser, option: &str) -> Result<u64, String> {
    let word = parser.value().map_err(text)?;
    let word = word.to_string_lossy();
    word.parse().map_err(|_| format!("{option} is '{word}'; allowed: a number of nodes, for instance 2"))
}

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
