//! Parses the arguments of the commands that look at a daemon: `running`, `cancel`.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use super::arguments::Command;
use super::help::Topic;
use super::words::{node_id, path, text, unexpected};
use crate::model::token::Token;

/// Options of `running`.
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

/// Options of `queue`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueOptions {
    /// `--config`: the configuration of the daemon that is asked.
    pub config: PathBuf,
    /// The node's id; `None` for all.
    pub node: Option<u64>,
    /// `--watch`: whether to show it again and again.
    pub watch: bool,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

/// Options of `cancel`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CancelOptions {
    /// `--config`: the configuration of the daemon that is asked.
    pub config: PathBuf,
    /// The token.
    pub token: String,
    /// `--node`: where it runs; `None` if the daemon knows.
    pub node: Option<u64>,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

pub(super) fn parse_running(mut parser: lexopt::Parser) -> Result<Command, String> {
    const NEEDED: &str = "'running' needs --config FILE NODE, for instance 2";
    let (mut config, mut node, mut watch, mut json) = (None, None, false, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = Some(path(&mut parser, "--config")?),
            Long("watch") => watch = true,
            Long("json") => json = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Running)),
            Value(word) if node.is_none() => node = Some(node_id(&word.to_string_lossy())?),
            other => return Err(unexpected(&other, Topic::Running)),
        }
    }
    let (Some(config), Some(node)) = (config, node) else { return Err(NEEDED.to_owned()) };
    Ok(Command::Running(RunningOptions { config, node, watch, json }))
}

pub(super) fn parse_queue(mut parser: lexopt::Parser) -> Result<Command, String> {
    let (mut config, mut node, mut watch, mut json) = (None, None, false, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = Some(path(&mut parser, "--config")?),
            Long("watch") => watch = true,
            Long("json") => json = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Queue)),
            Value(word) if node.is_none() => node = Some(node_id(&word.to_string_lossy())?),
            other => return Err(unexpected(&other, Topic::Queue)),
        }
    }
    let config = config.ok_or("'queue' needs --config FILE")?;
    Ok(Command::Queue(QueueOptions { config, node, watch, json }))
}

pub(super) fn parse_cancel(mut parser: lexopt::Parser) -> Result<Command, String> {
    const NEEDED: &str = "'cancel' needs --config FILE TOKEN; 'stheno running' shows the tokens of a node";
    let (mut config, mut token, mut node, mut json) = (None, None, None, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = Some(path(&mut parser, "--config")?),
            Long("node") => node = Some(node_id(&parser.value().map_err(text)?.to_string_lossy())?),
            Long("json") => json = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Cancel)),
            Value(word) if token.is_none() => {
                let word = word.string().map_err(text)?;
                Token::parse(&word).map_err(|error| format!("'{word}' is no token: {error}"))?;
                token = Some(word);
            }
            other => return Err(unexpected(&other, Topic::Cancel)),
        }
    }
    let (Some(config), Some(token)) = (config, token) else { return Err(NEEDED.to_owned()) };
    Ok(Command::Cancel(CancelOptions { config, token, node, json }))
}
