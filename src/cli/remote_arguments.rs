//! Parses the arguments of `copy`, `exec`, `doctor` and `status`.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use super::arguments::Command;
use super::defaults::Defaults;
use super::help::Topic;
use super::many;
use super::targets::Targets;
use crate::model::queue::TTL_MAX;

use super::words::{PACKAGED_CONFIG, node_id, path, text, unexpected, word};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct CopyOptions {
    /// `--config`: the configuration of the daemon that copies.
    pub config: PathBuf,
    /// Whether it goes to the nodes or comes from them.
    pub direction: Direction,
    /// The file or directory, on the machine of that daemon or on the nodes.
    pub source: PathBuf,
    /// The nodes.
    pub targets: Targets,
    /// The destination path at the other end.
    pub destination: String,
    /// `--cache-dir`: directory for temporary files on both machines.
    pub cache_dir: String,
    /// `--owner` of the files on the node.
    pub owner: Option<String>,
    /// `--group` of the files on the node.
    pub group: Option<String>,
    /// `--mode` of the files on the node.
    pub mode: Option<String>,
    /// `--ttl`: seconds that the copy waits for its node.
    pub ttl: Option<u64>,
    /// `--delete`: whether what a copied directory does not have is deleted on the node.
    pub delete: bool,
    /// `--checksum`: whether files are compared by digest even if size and time are equal.
    pub checksum: bool,
    /// `--at-once`: number of nodes at once.
    pub at_once: usize,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

/// The direction of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToNodes,
    FromNodes,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExecOptions {
    /// `--config`: the configuration of the daemon that forwards the command.
    pub config: PathBuf,
    /// The nodes.
    pub targets: Targets,
    /// The command line for the nodes' shell.
    pub command: String,
    pub timeout_seconds: Option<u64>,
    /// `--ttl`: seconds that the command waits for its node.
    pub ttl: Option<u64>,
    /// `--at-once`: number of nodes at once.
    pub at_once: usize,
    /// `--cancel-on-interrupt`: whether Ctrl-C ends the command without a question.
    pub cancels: bool,
    /// `--by-node`: whether the output of each node is printed in one piece.
    pub by_node: bool,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

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

#[derive(Debug, PartialEq, Eq)]
pub(super) struct DoctorOptions {
    /// `--config`: the configuration of the daemon on this machine.
    pub config: PathBuf,
    /// `--logfile` of a start, to see whether its disk is full.
    pub logfile: Option<PathBuf>,
    /// The node to look at; `None` for this machine.
    pub node: Option<u64>,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

/// Options of `backup` and `restore`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BackupOptions {
    /// `--config`: the configuration of the daemon.
    pub config: PathBuf,
    /// The backup.
    pub file: PathBuf,
    /// `--seal`: whether a passphrase seals it.
    pub sealed: bool,
}

/// Options of `migrate-store`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MoveOptions {
    /// `--config`: the configuration of the daemon, which names the database server.
    pub config: PathBuf,
    /// The file of the history.
    pub file: PathBuf,
    /// `--back`: whether to move from the server into the file.
    pub back: bool,
}

/// Default of `--cache-dir`; this directory exists on every machine.
const CACHE_DIR: &str = "/tmp";

pub(super) fn parse_copy(mut parser: lexopt::Parser) -> Result<Command, String> {
    const NEEDED: &str = "'copy' needs --config FILE SOURCE NODE:DESTINATION, for instance /etc/hosts \
                          2:/var/lib/centreon/, or NODE:SOURCE DESTINATION to copy from a node";
    let (mut config, mut source, mut target, mut json, mut at_once) = (None, None, None, false, many::AT_ONCE);
    let (mut cache_dir, mut owner, mut group, mut mode) = (CACHE_DIR.to_owned(), None, None, None);
    let (mut ttl, mut delete, mut checksum) = (None, false, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = Some(path(&mut parser, "--config")?),
            Long("delete") => delete = true,
            Long("checksum") => checksum = true,
            Long("cache-dir") => cache_dir = word(&mut parser)?,
            Long("owner") => owner = Some(word(&mut parser)?),
            Long("group") => group = Some(word(&mut parser)?),
            Long("mode") => mode = Some(octal(word(&mut parser)?)?),
            Long("ttl") => ttl = Some(seconds_to_wait(&mut parser)?),
            Long("at-once") => at_once = nodes_at_once(&mut parser)?,
            Long("json") => json = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Copy)),
            Value(word) if source.is_none() => source = Some(word),
            Value(word) if target.is_none() => target = Some(word.string().map_err(text)?),
            other => return Err(unexpected(&other, Topic::Copy)),
        }
    }
    let (Some(config), Some(source), Some(target)) = (config, source, target) else { return Err(NEEDED.to_owned()) };
    let (direction, nodes, source, destination) = match (source.to_str().and_then(at_nodes), at_nodes(&target)) {
        (Some(_), Some(_)) => {
            return Err("both SOURCE and DESTINATION are on nodes: copy to this machine first, then from it; a file \
                        here with such a name is written ./2:name"
                .to_owned());
        }
        (Some((nodes, source)), None) => (Direction::FromNodes, nodes.to_owned(), PathBuf::from(source), target),
        (None, _) => {
            let (nodes, place) = target.split_once(':').filter(|(_, place)| !place.is_empty()).ok_or(NEEDED)?;
            (Direction::ToNodes, nodes.to_owned(), PathBuf::from(source), place.to_owned())
        }
    };
    let targets = Targets::parse(&nodes)?;
    if direction == Direction::FromNodes && !source.is_absolute() {
        return Err(format!(
            "'{}' is not a path on a node: give an absolute one, as in 2:/var/log/syslog",
            source.display()
        ));
    }
    if direction == Direction::FromNodes && (delete || checksum) {
        return Err("--delete and --checksum are for copies to nodes".to_owned());
    }
    if direction == Direction::FromNodes && destination.is_empty() {
        return Err(NEEDED.to_owned());
    }
    Ok(Command::Copy(CopyOptions {
        config,
        direction,
        source,
        targets,
        destination,
        cache_dir,
        owner,
        group,
        mode,
        ttl,
        delete,
        checksum,
        at_once,
        json,
    }))
}

/// Splits `NODES:PATH`, where nodes are digits, commas or `all`; `None` for any other word, which is a local file.
fn at_nodes(word: &str) -> Option<(&str, &str)> {
    let (nodes, place) = word.split_once(':')?;
    let is_node = |word: &str| word == "all" || !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    nodes.split(',').all(is_node).then_some((nodes, place))
}

/// Reads `--ttl`.
fn seconds_to_wait(parser: &mut lexopt::Parser) -> Result<u64, String> {
    let word = word(parser)?;
    let most = u64::try_from(TTL_MAX).unwrap_or(0);
    let seconds = word.parse().ok().filter(|seconds| (0..=most).contains(seconds));
    seconds.ok_or(format!("--ttl is '{word}'; allowed: 0 to {most} seconds"))
}

pub(super) fn parse_exec(mut parser: lexopt::Parser) -> Result<Command, String> {
    const NEEDED: &str = "'exec' needs --config FILE NODE -- COMMAND, for instance 2 -- uptime";
    let (mut config, mut targets, mut timeout_seconds, mut json) = (None, None, None, false);
    let (mut at_once, mut by_node, mut cancels, mut ttl) = (many::AT_ONCE, false, false, None);
    let mut words: Vec<String> = Vec::new();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = Some(path(&mut parser, "--config")?),
            Long("timeout") => {
                let word = word(&mut parser)?;
                let seconds = word.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
                timeout_seconds = Some(seconds.ok_or(format!("--timeout is '{word}'; allowed: 1 to 86400 seconds"))?);
            }
            Long("at-once") => at_once = nodes_at_once(&mut parser)?,
            Long("ttl") => ttl = Some(seconds_to_wait(&mut parser)?),
            Long("by-node") => by_node = true,
            Long("cancel-on-interrupt") => cancels = true,
            Long("json") => json = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Exec)),
            Value(word) if targets.is_none() => targets = Some(Targets::parse(&word.string().map_err(text)?)?),
            // After '--' everything belongs to the command, even words that look like options.
            Value(word) => words.push(word.string().map_err(text)?),
            other => return Err(unexpected(&other, Topic::Exec)),
        }
    }
    let (Some(config), Some(targets)) = (config, targets) else { return Err(NEEDED.to_owned()) };
    if words.is_empty() {
        return Err(NEEDED.to_owned());
    }
    let command = words.join(" ");
    Ok(Command::Exec(ExecOptions { config, targets, command, timeout_seconds, ttl, at_once, cancels, by_node, json }))
}

/// The configuration where none is named.
pub(super) fn packaged_config(defaults: &Defaults) -> PathBuf {
    defaults.config.clone().unwrap_or_else(|| PACKAGED_CONFIG.into())
}

pub(super) fn parse_backup(mut parser: lexopt::Parser, defaults: &Defaults, restores: bool) -> Result<Command, String> {
    let (mut config, mut file, mut sealed) = (packaged_config(defaults), None, false);
    let topic = if restores { Topic::Restore } else { Topic::Backup };
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = path(&mut parser, "--config")?,
            Long("seal") if !restores => sealed = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(topic)),
            Value(word) if file.is_none() => file = Some(PathBuf::from(word)),
            other => return Err(unexpected(&other, topic)),
        }
    }
    let word = if restores { "restore" } else { "backup" };
    let file = file.ok_or_else(|| format!("'{word}' needs the name of the file"))?;
    let options = BackupOptions { config, file, sealed };
    Ok(if restores { Command::Restore(options) } else { Command::Backup(options) })
}

pub(super) fn parse_migrate_store(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    let (mut config, mut file, mut back) = (packaged_config(defaults), None, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = path(&mut parser, "--config")?,
            Long("back") => back = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::MigrateStore)),
            Value(word) if file.is_none() => file = Some(PathBuf::from(word)),
            other => return Err(unexpected(&other, Topic::MigrateStore)),
        }
    }
    let file = file.ok_or("'migrate-store' needs the name of the file of the history")?;
    Ok(Command::MigrateStore(MoveOptions { config, file, back }))
}

pub(super) fn parse_doctor(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    let config = packaged_config(defaults);
    let mut options = DoctorOptions { config, logfile: defaults.logfile.clone(), node: None, json: false };
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => options.config = path(&mut parser, "--config")?,
            Long("logfile") => options.logfile = Some(path(&mut parser, "--logfile")?),
            Long("json") => options.json = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Doctor)),
            Value(word) if options.node.is_none() => options.node = Some(node_id(&word.string().map_err(text)?)?),
            other => return Err(unexpected(&other, Topic::Doctor)),
        }
    }
    Ok(Command::Doctor(options))
}

pub(super) fn parse_status(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
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
            other => return Err(unexpected(&other, Topic::Status)),
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

fn nodes_at_once(parser: &mut lexopt::Parser) -> Result<usize, String> {
    let word = word(parser)?;
    let number = word.parse().ok().filter(|number| (1..=many::AT_ONCE_MAX).contains(number));
    number.ok_or_else(|| format!("--at-once is '{word}'; allowed: 1 to {} nodes", many::AT_ONCE_MAX))
}

fn octal(mode: String) -> Result<String, String> {
    let valid = (1..=4).contains(&mode.len()) && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if valid { Ok(mode) } else { Err(format!("--mode is '{mode}'; allowed: one to four octal digits, such as 0644")) }
}
