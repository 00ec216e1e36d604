//! Parses the command line into a [`Command`]. It accesses no files.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use super::FOR_CENTRAL;
use super::completions::Shell;
use super::defaults::Defaults;
use super::help::Topic;
use super::keys_arguments::{TokenOptions, parse_keys, parse_token};
use super::node_arguments::{JoinOptions, NodeOptions, parse_join, parse_node};
use super::remote_arguments::{
    BackupOptions, CopyOptions, DoctorOptions, ExecOptions, MoveOptions, StatusOptions, parse_backup, parse_copy,
    parse_doctor, parse_exec, parse_migrate_store, parse_status,
};
use super::view_arguments::{
    CancelOptions, LogOptions, LookOptions, RunningOptions, parse_cancel, parse_log, parse_look, parse_running,
};
use super::words::{named_severity, path, text, unexpected};
use crate::daemon::run_options::RunOptions;
use crate::model::log::{Level, LogFormat};

/// The command requested by the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `run`, or the original's options without a subcommand.
    Run(RunOptions),
    /// `check`: check the configuration.
    Check {
        /// `--config`: the top file.
        config: PathBuf,
        /// `--logfile`: the log file.
        logfile: Option<PathBuf>,
        /// `--json`: whether to print JSON.
        json: bool,
    },
    /// `check --syntax`: check only the files.
    CheckFiles(PathBuf),
    /// `keys generate DIR`
    KeysGenerate {
        /// The directory for the two files.
        directory: PathBuf,
        /// `--bits`: size of the modulus in bits.
        bits: usize,
    },
    /// `keys thumbprint FILE`: print the thumbprint of a key.
    KeysThumbprint(PathBuf),
    /// `keys hash-password`: print the hash of a password.
    KeysHashPassword,
    /// `keys hash-token`: print the hash of a token.
    KeysHashToken,
    /// `keys new-token`: generate a token.
    KeysNewToken,
    /// `keys forget NODE` and `keys trust NODE THUMBPRINT`
    NodeKey {
        /// `--config`: the configuration of the daemon that connects to the node.
        config: PathBuf,
        /// The node's id.
        node: u64,
        /// Thumbprint of the key to trust; `None` forgets the known key.
        thumbprint: Option<String>,
    },
    /// `keys rotate`: replace the key of the running daemon, or show how far that is.
    KeysRotate {
        /// `--config`: the configuration of the daemon.
        config: PathBuf,
        /// `--overlap`: time in seconds for which peers take both keys.
        overlap: Option<i64>,
    },
    /// `copy SOURCE NODES:DESTINATION`: copy a file or directory to nodes.
    Copy(CopyOptions),
    /// `exec NODES -- COMMAND`: run a command on nodes.
    Exec(ExecOptions),
    /// `queue [NODE]`: list the requests that wait for nodes.
    Queue(LookOptions),
    /// `running NODE`: list the commands that run on a node.
    Running(RunningOptions),
    /// `nodes [ID]`: list the nodes.
    Nodes(LookOptions),
    /// `routes [ID]`: list the ways to nodes.
    Routes(LookOptions),
    /// `log`: show rows of the history.
    Log(LogOptions),
    /// `cancel TOKEN`: end a command before its time.
    Cancel(CancelOptions),
    /// `doctor [NODE]`: look for the cause of a trouble.
    Doctor(DoctorOptions),
    /// `node add`, `remove` and `list`: change the nodes of the running daemon.
    Node(NodeOptions),
    /// `token add`, `remove` and `list`: change the tokens of the running daemon.
    Token(TokenOptions),
    /// `backup FILE`: copy database, keys and configuration into one file.
    Backup(BackupOptions),
    /// `migrate-store FILE`: move the history to a database server, or back.
    MigrateStore(MoveOptions),
    /// `restore FILE`: put a backup back.
    Restore(BackupOptions),
    /// `join WORD`: make this machine a node.
    Join(JoinOptions),
    /// `status`: show a running daemon and its nodes.
    Status(StatusOptions),
    /// `demo`: run a demonstration platform.
    Demo(DemoOptions),
    /// `help` or `--help`: print a help page.
    Help(Topic),
    /// `help --man`: print the manual page.
    Manual,
    /// `completions`: print a completion script.
    Completions(Shell),
    /// `--version`: print the version.
    Version,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DemoOptions {
    /// `--once`: end after one round trip instead of staying up until Ctrl-C.
    pub once: bool,
    /// `--ssh`: add a node without a daemon, reached by SSH.
    pub ssh: bool,
    /// `--keep`: keep the folder at the end.
    pub keep: bool,
    /// `--central`: run a complete central with a database, a web interface and engines.
    pub whole_central: bool,
    /// `--central CMD`: the command that starts the central instead of this program.
    pub central: Option<String>,
    /// `--nodes CMD`: the command that starts the nodes instead of this program.
    pub nodes: Option<String>,
}

/// Default path of the file in which the web interface describes its vault.
pub(super) const DEFAULT_VAULT: &str = "/var/lib/centreon/vault/vault.json";

/// Parses the arguments after the program's name; `defaults` replace missing options.
///
/// # Errors
/// One line with the fault and the remedy.
pub(super) fn parse(arguments: Vec<OsString>, defaults: &Defaults) -> Result<Command, String> {
    let first = arguments.first().and_then(|word| word.to_str()).map(str::to_owned);
    let rest = || lexopt::Parser::from_args(arguments.iter().skip(1).cloned());
    match first.as_deref() {
        Some("run") => parse_run(rest(), defaults),
        Some("check") => parse_check(rest(), defaults),
        Some("keys") => parse_keys(rest(), defaults),
        Some("copy") if FOR_CENTRAL => parse_copy(rest()),
        Some("exec") if FOR_CENTRAL => parse_exec(rest()),
        Some("queue") if FOR_CENTRAL => parse_look(rest(), defaults, Topic::Queue, Command::Queue),
        Some("running") if FOR_CENTRAL => parse_running(rest(), defaults),
        Some("cancel") if FOR_CENTRAL => parse_cancel(rest(), defaults),
        Some("nodes") if FOR_CENTRAL => parse_look(rest(), defaults, Topic::Nodes, Command::Nodes),
        Some("routes") if FOR_CENTRAL => parse_look(rest(), defaults, Topic::Routes, Command::Routes),
        Some("log") if FOR_CENTRAL => parse_log(rest(), defaults),
        Some("status") => parse_status(rest(), defaults),
        Some("doctor") => parse_doctor(rest(), defaults),
        Some("node") if FOR_CENTRAL => parse_node(rest(), defaults),
        Some("token") if FOR_CENTRAL => parse_token(rest(), defaults),
        Some("join") => parse_join(rest()),
        Some("backup") => parse_backup(rest(), defaults, false),
        Some("restore") => parse_backup(rest(), defaults, true),
        Some("migrate-store") if FOR_CENTRAL => parse_migrate_store(rest(), defaults),
        Some("demo") if FOR_CENTRAL => parse_demo(rest()),
        Some("help") => parse_help(rest()),
        Some("completions") => parse_completions(rest()),
        Some("--version" | "-V" | "version") => Ok(Command::Version),
        Some("--help" | "-h" | "-?") => Ok(Command::Help(Topic::All)),
        // The original has no subcommands: its options alone start the daemon.
        Some(option) if option.starts_with('-') => parse_run(lexopt::Parser::from_args(arguments), defaults),
        Some(word) if Topic::named(word).is_some() => {
            Err(format!("this build is for pollers and has no '{word}': use the program of the central"))
        }
        Some(word) => Err(format!("there is no command '{word}'; commands are {}", Topic::NAMES.join(", "))),
        None if arguments.is_empty() && defaults.config.is_some() => parse_run(rest(), defaults),
        None if arguments.is_empty() => {
            Err("say what to do: 'stheno run --config FILE' starts a daemon, 'stheno help' tells the rest".to_owned())
        }
        None => Err("the first argument is not valid UTF-8".to_owned()),
    }
}

fn parse_run(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    let (mut config, mut logfile) = (defaults.config.clone(), defaults.logfile.clone());
    let (mut severity, mut log_format, mut vault) = (None, None, defaults.vault.clone());
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = Some(path(&mut parser, "--config")?),
            Long("logfile") => logfile = Some(path(&mut parser, "--logfile")?),
            Long("severity") => severity = Some(read_severity(&mut parser)?),
            Long("log-format") => log_format = Some(read_log_format(&mut parser)?),
            // An option of the original without effect: log lines are never buffered here.
            Long("flushoutput") => {}
            Long("vault") => vault = Some(path(&mut parser, "--vault")?),
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Run)),
            Long("version") | Short('V') => return Ok(Command::Version),
            other => return Err(unexpected(&other, Topic::Run)),
        }
    }
    let config_path =
        config.ok_or("'run' needs --config FILE, for instance --config /etc/centreon-gorgone/config.yaml")?;
    let severity = if severity.is_some() { severity } else { defaults.severity()? };
    let vault = vault.unwrap_or_else(|| DEFAULT_VAULT.into());
    Ok(Command::Run(RunOptions { config_path, logfile, vault, severity, log_format }))
}

fn parse_check(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    let (mut config, mut logfile, mut json, mut files_only) = (None, defaults.logfile.clone(), false, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = Some(path(&mut parser, "--config")?),
            Long("logfile") => logfile = Some(path(&mut parser, "--logfile")?),
            // Accepted so that the options of a start can be used unchanged.
            Long("severity") => _ = read_severity(&mut parser)?,
            Long("log-format") => _ = read_log_format(&mut parser)?,
            Long("json") => json = true,
            Long("syntax") => files_only = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Check)),
            Value(file) if config.is_none() => config = Some(PathBuf::from(file)),
            other => return Err(unexpected(&other, Topic::Check)),
        }
    }
    let config = config
        .or_else(|| defaults.config.clone())
        .ok_or("'check' needs --config FILE, for instance --config /etc/centreon-gorgone/config.yaml")?;
    Ok(if files_only { Command::CheckFiles(config) } else { Command::Check { config, logfile, json } })
}

fn parse_demo(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut options = DemoOptions::default();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("once") => options.once = true,
            Long("ssh") => options.ssh = true,
            Long("keep") => options.keep = true,
            Long("central") => {
                options.whole_central = !has_value(&mut parser);
                if !options.whole_central {
                    options.central = Some(player(&mut parser, "--central")?);
                }
            }
            Long("nodes") => options.nodes = Some(player(&mut parser, "--nodes")?),
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Demo)),
            other => return Err(unexpected(&other, Topic::Demo)),
        }
    }
    Ok(Command::Demo(options))
}

/// Whether a value follows, after `=` or as a separate word.
fn has_value(parser: &mut lexopt::Parser) -> bool {
    match parser.try_raw_args() {
        // The option has a value after `=`.
        None => true,
        Some(words) => words.as_slice().first().is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-")),
    }
}

/// Reads the command line of a program to start instead of this one.
fn player(parser: &mut lexopt::Parser, option: &str) -> Result<String, String> {
    let words = parser.value().and_then(|words| words.string()).map_err(text)?;
    if words.trim().is_empty() {
        Err(format!("{option} needs a command, for instance ./stheno-0.1"))
    } else {
        Ok(words)
    }
}

fn parse_help(mut parser: lexopt::Parser) -> Result<Command, String> {
    match parser.next().map_err(text)? {
        None => Ok(Command::Help(Topic::All)),
        Some(Value(word)) => {
            let word = word.to_string_lossy().into_owned();
            let topic = Topic::named(&word);
            topic
                .map(Command::Help)
                .ok_or_else(|| format!("there is no help on '{word}'; commands are {}", Topic::NAMES.join(", ")))
        }
        Some(Long("man")) => Ok(Command::Manual),
        Some(Long("help") | Short('h' | '?')) => Ok(Command::Help(Topic::Help)),
        Some(other) => Err(unexpected(&other, Topic::Help)),
    }
}

fn parse_completions(mut parser: lexopt::Parser) -> Result<Command, String> {
    let shells = Shell::NAMES.join(", ");
    match parser.next().map_err(text)? {
        None => Err(format!("'completions' needs the name of a shell: {shells}")),
        Some(Long("help") | Short('h' | '?')) => Ok(Command::Help(Topic::Completions)),
        Some(Value(word)) => {
            let word = word.to_string_lossy().into_owned();
            let shell = Shell::named(&word);
            shell
                .map(Command::Completions)
                .ok_or_else(|| format!("there are no completions for '{word}'; shells are {shells}"))
        }
        Some(other) => Err(unexpected(&other, Topic::Completions)),
    }
}

fn read_severity(parser: &mut lexopt::Parser) -> Result<Level, String> {
    let word = parser.value().map_err(text)?;
    named_severity(&word.to_string_lossy(), "--severity")
}

fn read_log_format(parser: &mut lexopt::Parser) -> Result<LogFormat, String> {
    let word = parser.value().map_err(text)?;
    let word = word.to_string_lossy();
    LogFormat::from_word(&word).ok_or_else(|| format!("--log-format is '{word}'; allowed: {}", LogFormat::WORDS))
}
