//! The subcommands. Exit status: 0 success, 1 failure, 2 wrong command line, 78 `run` cannot use its configuration;
//! `exec` on one node returns the status of its command.

mod arguments;
mod backup;
mod check;
mod completions;
mod copy;
mod defaults;
mod demo;
mod doctor;
mod exec;
mod help;
mod join;
mod keys;
mod keys_arguments;
mod log;
mod manual;
mod many;
#[cfg_attr(not(feature = "centreon"), path = "migrate_store_absent.rs")]
mod migrate_store;
mod node;
mod node_arguments;
mod nodes;
mod pages;
mod queue;
mod remote;
mod remote_arguments;
mod rotate;
mod run;
mod running;
mod since;
#[cfg_attr(not(feature = "status"), path = "status_absent.rs")]
mod status;
mod summary;
mod table;
mod targets;
mod view_arguments;
mod waiting;
mod watch;
mod words;

use std::io::Write as _;
use std::process::ExitCode;

use arguments::Command;
use defaults::Defaults;

use crate::edge::journal;
use crate::model::log::Level;

/// Whether this build has the commands for a central's nodes, and the demonstration.
const FOR_CENTRAL: bool = cfg!(feature = "status");
/// Exit status for a wrong command line.
const USAGE: u8 = 2;
/// Exit status for a faulty configuration (`EX_CONFIG` of sysexits.h): another start without a change is useless. It is
/// listed in `RestartPreventExitStatus=` of the systemd unit.
const BROKEN_CONFIGURATION: u8 = 78;

/// Runs the command line and returns the exit status.
#[must_use]
pub fn main() -> ExitCode {
    let defaults = Defaults::read(|name| std::env::var_os(name));
    match arguments::parse(std::env::args_os().skip(1).collect(), &defaults) {
        Ok(Command::Run(options)) => run::run(&options),
        Ok(Command::Check { config, logfile, json }) => check::run(&config, logfile.as_deref(), json),
        Ok(Command::CheckFiles(config)) => run::check_files(&config),
        Ok(Command::KeysGenerate { directory, bits }) => keys::generate(&directory, bits),
        Ok(Command::KeysThumbprint(file)) => keys::thumbprint(&file),
        Ok(Command::KeysHashPassword) => keys::hash_password(),
        Ok(Command::KeysHashToken) => keys::hash_token(),
        Ok(Command::KeysNewToken) => keys::new_token(),
        Ok(Command::NodeKey { config, node, thumbprint }) => keys::set_node_key(&config, node, thumbprint.as_deref()),
        Ok(Command::KeysRotate { config, overlap }) => rotate::run(&config, overlap),
        Ok(Command::Copy(options)) if FOR_CENTRAL => copy::run(&options),
        Ok(Command::Exec(options)) if FOR_CENTRAL => exec::run(&options),
        Ok(Command::Queue(options)) if FOR_CENTRAL => queue::run(&options),
        Ok(Command::Running(options)) if FOR_CENTRAL => running::run(&options),
        Ok(Command::Cancel(options)) if FOR_CENTRAL => running::cancel(&options),
        Ok(Command::Nodes(options)) if FOR_CENTRAL => nodes::run(&options),
        Ok(Command::Routes(options)) if FOR_CENTRAL => nodes::routes(&options),
        Ok(Command::Log(options)) if FOR_CENTRAL => log::run(&options),
        Ok(Command::Status(options)) => status::run(&options),
        Ok(Command::Doctor(options)) => doctor::run(&options),
        Ok(Command::Backup(options)) => backup::back_up(&options),
        Ok(Command::MigrateStore(options)) if FOR_CENTRAL => migrate_store::run(&options),
        Ok(Command::Restore(options)) => backup::restore(&options),
        Ok(Command::Node(options)) if FOR_CENTRAL => node::run(&options),
        Ok(Command::Token(options)) if FOR_CENTRAL => node::token(&options),
        Ok(Command::Join(options)) => join::run(&options),
        Ok(Command::Demo(arguments)) if FOR_CENTRAL => demo::run(arguments),
        Ok(Command::Help(topic)) => say(topic.text()),
        Ok(Command::Manual) => say(&manual::manual()),
        Ok(Command::Completions(shell)) => say(&shell.completions()),
        Ok(Command::Version) => say(concat!("stheno ", env!("CARGO_PKG_VERSION"), "\n")),
        // `parse` has refused it already.
        Ok(_) => fail("this build is for pollers and has no such command: use the program of the central"),
        Err(text) if std::env::args_os().any(|word| word == "--check") => status::usage_error(&text),
        Err(text) => {
            complain(&text);
            ExitCode::from(USAGE)
        }
    }
}

/// Writes to standard output. A closed pipe, as in `stheno check | head`, is not an error.
fn say(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Writes one line to standard error.
fn complain(text: &str) {
    let prefix = if journal::is_standard_error() { journal::prefix(Level::Error) } else { "" };
    let _ = writeln!(std::io::stderr(), "{prefix}stheno: {text}");
}

/// Writes one line to standard error and returns the exit status of a failure.
fn fail(text: &str) -> ExitCode {
    complain(text);
    ExitCode::FAILURE
}
