//! Parses the arguments of the commands that look at a daemon: `running`, `cancel`, `nodes`, `routes`, `log`.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use super::arguments::Command;
use super::defaults::Defaults;
use super::help::Topic;
use super::since::Since;
use super::words::{PACKAGED_CONFIG, node_id, path, text, unexpected, word};
use crate::model::token::Token;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunningOptions {
    /// `--config`: the configuration of the daemon that is asked.
    pub config: PathBuf,
    /// The node's id.
    pub node: u64,
    /// `--watch`: whether to show it again and again.
    pub watch: bool,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct CancelOptions {
    /// `--config`: the configuration of the daemon that is asked.
    pub config: PathBuf,
    pub token: String,
    /// `--node`: where it runs; `None` if the daemon knows.
    pub node: Option<u64>,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

/// Options of `nodes`, `routes` and `queue`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LookOptions {
    /// `--config`: the configuration of the daemon that is asked.
    pub config: PathBuf,
    /// The node's id; `None` for all.
    pub node: Option<u64>,
    /// `--watch`: whether to show it again and again.
    pub watch: bool,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogOptions {
    /// `--config`: the configuration of the daemon that is asked.
    pub config: PathBuf,
    /// `--node`: only rows of this node.
    pub node: Option<u64>,
    /// `--token`: only rows of this token.
    pub token: Option<String>,
    /// `--since`: only rows behind this time.
    pub since: Option<Since>,
    /// `--code`: only rows with one of these codes.
    pub codes: Vec<i64>,
    /// `--grep`: only rows with this text.
    pub text: Option<String>,
    /// `--limit`: number of rows.
    pub limit: usize,
    /// `--follow`: whether to go on with new rows.
    pub follow: bool,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

/// Number of rows that `log` shows by default.
const LOG_LIMIT: usize = 100;
/// Maximum of `--limit`.
const LOG_LIMIT_MAX: usize = 1_000_000;

/// Parses the arguments of `nodes`, `routes` and `queue`; `command` makes the command of them.
pub(super) fn parse_look(
    parser: lexopt::Parser,
    defaults: &Defaults,
    topic: Topic,
    command: fn(LookOptions) -> Command,
) -> Result<Command, String> {
    Ok(look(parser, defaults, topic)?.map_or(Command::Help(topic), command))
}

/// Reads the arguments of a command that shows something of a node; `None` if its help is asked for.
fn look(mut parser: lexopt::Parser, defaults: &Defaults, topic: Topic) -> Result<Option<LookOptions>, String> {
    let mut options = LookOptions { config: default_config(defaults), node: None, watch: false, json: false };
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => options.config = path(&mut parser, "--config")?,
            Long("watch") => options.watch = true,
            Long("json") => options.json = true,
            Long("help") | Short('h' | '?') => return Ok(None),
            Value(word) if options.node.is_none() => options.node = Some(node_id(&word.to_string_lossy())?),
            other => return Err(unexpected(&other, topic)),
        }
    }
    Ok(Some(options))
}

pub(super) fn parse_log(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    let mut options = LogOptions {
        config: default_config(defaults),
        node: None,
        token: None,
        since: None,
        codes: Vec::new(),
        text: None,
        limit: LOG_LIMIT,
        follow: false,
        json: false,
    };
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => options.config = path(&mut parser, "--config")?,
            Long("node") => options.node = Some(node_id(&word(&mut parser)?)?),
            Long("token") => options.token = Some(token(word(&mut parser)?)?),
            Long("since") => options.since = Some(Since::parse(&word(&mut parser)?)?),
            Long("code") => options.codes = codes(&word(&mut parser)?)?,
            Long("grep") => options.text = Some(word(&mut parser)?.to_lowercase()),
            Long("limit") => options.limit = limit(&word(&mut parser)?)?,
            Long("follow") => options.follow = true,
            Long("json") => options.json = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Log)),
            other => return Err(unexpected(&other, Topic::Log)),
        }
    }
    Ok(Command::Log(options))
}

fn default_config(defaults: &Defaults) -> PathBuf {
    defaults.config.clone().unwrap_or_else(|| PACKAGED_CONFIG.into())
}

fn token(word: String) -> Result<String, String> {
    Token::parse(&word).map_err(|error| format!("'{word}' is not a token: {error}"))?;
    Ok(word)
}

fn codes(words: &str) -> Result<Vec<i64>, String> {
    let numbers = words.split(',').map(|word| word.trim().parse().ok()).collect::<Option<Vec<i64>>>();
    numbers.ok_or_else(|| format!("--code is '{words}'; allowed: numbers with commas between them, such as 1 or 1,2"))
}

fn limit(word: &str) -> Result<usize, String> {
    let number = word.parse().ok().filter(|number| (1..=LOG_LIMIT_MAX).contains(number));
    number.ok_or_else(|| format!("--limit is '{word}'; allowed: 1 to {LOG_LIMIT_MAX} rows"))
}

pub(super) fn parse_running(parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    let Some(LookOptions { config, node, watch, json }) = look(parser, defaults, Topic::Running)? else {
        return Ok(Command::Help(Topic::Running));
    };
    let node = node.ok_or("'running' needs the id of a node, for instance 2")?;
    Ok(Command::Running(RunningOptions { config, node, watch, json }))
}

pub(super) fn parse_cancel(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    let (mut config, mut of, mut node, mut json) = (default_config(defaults), None, None, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = path(&mut parser, "--config")?,
            Long("node") => node = Some(node_id(&parser.value().map_err(text)?.to_string_lossy())?),
            Long("json") => json = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Cancel)),
            Value(word) if of.is_none() => of = Some(token(word.string().map_err(text)?)?),
            other => return Err(unexpected(&other, Topic::Cancel)),
        }
    }
    let token = of.ok_or("'cancel' needs a token; 'stheno running' and 'stheno queue' show those of a node")?;
    Ok(Command::Cancel(CancelOptions { config, token, node, json }))
}
