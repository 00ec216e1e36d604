//! Parses the arguments of `node` and `join`.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use super::arguments::Command;
use super::defaults::Defaults;
use super::help::Topic;
use super::remote_arguments::packaged_config;
use super::words::{node_id, path, text, unexpected};
use crate::config::address;
use crate::config::joined::JoinedKind;
use crate::model::node_id::NodeId;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct NodeOptions {
    /// `--config`: the configuration of the central.
    pub config: PathBuf,
    /// What to do.
    pub verb: NodeVerb,
    /// `--json`: whether to print JSON.
    pub json: bool,
}

/// What `node` does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NodeVerb {
    Add(NodeAdd),
    Remove(NodeId),
    List,
}

/// A host and perhaps a port.
type Place = (String, Option<u16>);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct NodeAdd {
    pub id: NodeId,
    pub kind: JoinedKind,
    /// `--address`: where a push node listens.
    pub address: Option<Place>,
    /// `--central`: where the node finds this central.
    pub central: Option<Place>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct JoinOptions {
    /// The word of `node add`.
    pub word: String,
    /// `--dir`: where all files go.
    pub dir: Option<PathBuf>,
    /// `--foreground`: whether to stay as the daemon.
    pub foreground: bool,
}

pub(super) fn parse_node(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    const NEEDED: &str = "'node' needs 'add ID --kind KIND', 'remove ID' or 'list'";
    let (mut config, mut json) = (packaged_config(defaults), false);
    let (mut verb, mut id, mut kind, mut address, mut central) = (None, None, None, None, None);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = path(&mut parser, "--config")?,
            Long("json") => json = true,
            Long("kind") => kind = Some(read_kind(&word(&mut parser)?)?),
            Long("address") => address = Some(place("--address", &word(&mut parser)?)?),
            Long("central") => central = Some(place("--central", &word(&mut parser)?)?),
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Node)),
            Value(word) if verb.is_none() => verb = Some(word.string().map_err(text)?),
            Value(word) if id.is_none() && verb.as_deref() != Some("list") => {
                let word = word.string().map_err(text)?;
                id = Some(NodeId::new(node_id(&word)?).map_err(|error| error.to_string())?);
            }
            other => return Err(unexpected(&other, Topic::Node)),
        }
    }
    let has_options = kind.is_some() || address.is_some() || central.is_some();
    let verb = match (verb.as_deref(), id) {
        (Some("add"), Some(id)) => {
            let kind = kind.ok_or("'node add' needs --kind pull, pullwss or push_zmq")?;
            NodeVerb::Add(NodeAdd { id, kind, address, central })
        }
        (Some("add"), None) => return Err("'node add' needs the id that the node is to have".to_owned()),
        (Some("remove" | "list"), _) if has_options => {
            return Err("--kind, --address and --central belong to 'node add'".to_owned());
        }
        (Some("remove"), Some(id)) => NodeVerb::Remove(id),
        (Some("list"), None) => NodeVerb::List,
        (Some("remove"), None) => return Err("'node remove' needs the id of the node".to_owned()),
        (Some(verb), _) => return Err(format!("there is no 'node {verb}'; {NEEDED}")),
        (None, _) => return Err(NEEDED.to_owned()),
    };
    Ok(Command::Node(NodeOptions { config, verb, json }))
}

pub(super) fn parse_join(mut parser: lexopt::Parser) -> Result<Command, String> {
    let (mut given, mut dir, mut foreground) = (None, None, false);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("dir") => dir = Some(path(&mut parser, "--dir")?),
            Long("foreground") => foreground = true,
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Join)),
            Value(word) if given.is_none() => given = Some(word.string().map_err(text)?),
            other => return Err(unexpected(&other, Topic::Join)),
        }
    }
    let word = given.ok_or("'join' needs the word that 'stheno node add' printed on the central")?;
    Ok(Command::Join(JoinOptions { word, dir, foreground }))
}

fn word(parser: &mut lexopt::Parser) -> Result<String, String> {
    parser.value().map_err(text)?.string().map_err(text)
}

fn read_kind(word: &str) -> Result<JoinedKind, String> {
    JoinedKind::parse(word).ok_or_else(|| format!("--kind is '{word}'; allowed: pull, pullwss or push_zmq"))
}

fn place(option: &str, text: &str) -> Result<Place, String> {
    let place = address::host(text).map(|host| (host, None));
    let with_port = || address::host_and_port(text).filter(|(host, _)| host != "*");
    place.or_else(|| with_port().map(|(host, port)| (host, Some(port)))).ok_or_else(|| {
        format!("{option} is '{text}'; allowed: HOST or HOST:PORT, for instance 10.0.0.2:5556 or [2001:db8::2]:5556")
    })
}
