//! Parses the arguments of `keys` and `token`.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use super::arguments::Command;
use super::defaults::Defaults;
use super::help::Topic;
use super::remote_arguments::packaged_config;
use super::since::Since;
use super::words::{node_id, path, text, unexpected, word};
use crate::daemon::key_files::DEFAULT_BITS;
use crate::model::node_id::NodeId;
use crate::model::session::is_thumbprint;

pub(super) fn parse_keys(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    const NEEDED: &str = "'keys' needs 'generate DIR', 'thumbprint FILE', 'hash-password', 'hash-token', 'new-token', \
        'forget NODE', 'trust NODE THUMBPRINT' or 'rotate'";
    let (mut verb, mut place, mut bits, mut config) = (None, None, None, None);
    let (mut key, mut overlap) = (None, None);
    loop {
        // A thumbprint may begin like an option.
        if let Some(mut words) = parser.try_raw_args().filter(|_| verb.as_deref() == Some("trust") && key.is_none())
            && words.peek().and_then(|word| word.to_str()).is_some_and(is_thumbprint)
        {
            key = words.next().and_then(|word| word.into_string().ok());
        }
        let Some(argument) = parser.next().map_err(text)? else { break };
        match argument {
            Long("bits") => {
                let word = parser.value().map_err(text)?;
                let word = word.to_string_lossy();
                let number = word.parse().ok().filter(|bits| (2_048..=4_096).contains(bits) && bits % 64 == 0);
                let allowed = "a multiple of 64 from 2048 to 4096";
                bits = Some(number.ok_or_else(|| format!("--bits is '{word}'; allowed: {allowed}"))?);
            }
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Keys)),
            Value(word) if verb.is_none() => verb = Some(word.string().map_err(text)?),
            Long("config") => config = Some(path(&mut parser, "--config")?),
            Long("overlap") => overlap = Some(read_overlap(&word(&mut parser)?)?),
            Value(word) if place.is_none() => place = Some(PathBuf::from(word)),
            Value(word) if key.is_none() && verb.as_deref() == Some("trust") => {
                key = Some(word.string().map_err(text)?)
            }
            other => return Err(unexpected(&other, Topic::Keys)),
        }
    }
    if verb.as_deref() == Some("rotate") {
        if place.is_some() || bits.is_some() {
            return Err("'keys rotate' takes --config and --overlap only".to_owned());
        }
        return Ok(Command::KeysRotate { config: config.unwrap_or_else(|| packaged_config(defaults)), overlap });
    }
    if overlap.is_some() {
        return Err("--overlap belongs to 'keys rotate'".to_owned());
    }
    if let Some(verb @ ("forget" | "trust")) = verb.as_deref() {
        if bits.is_some() {
            return Err("--bits belongs to 'keys generate'".to_owned());
        }
        return node_key(verb, config, place, key).map_or_else(|| Err(node_key_needs(verb)), Ok);
    }
    if config.is_some() {
        return Err("--config belongs to 'keys forget', 'keys trust' and 'keys rotate'".to_owned());
    }
    match (verb.as_deref(), place) {
        (Some("generate"), Some(directory)) => {
            Ok(Command::KeysGenerate { directory, bits: bits.unwrap_or(DEFAULT_BITS) })
        }
        (Some("generate"), None) => Err("'keys generate' needs the directory that the two files go to".to_owned()),
        (Some("thumbprint"), _) if bits.is_some() => Err("--bits belongs to 'keys generate'".to_owned()),
        (Some("thumbprint"), Some(file)) => Ok(Command::KeysThumbprint(file)),
        (Some("thumbprint"), None) => Err("'keys thumbprint' needs the file of a private or public key".to_owned()),
        (Some("hash-password"), None) if bits.is_none() => Ok(Command::KeysHashPassword),
        (Some("hash-token"), None) if bits.is_none() => Ok(Command::KeysHashToken),
        (Some("new-token"), None) if bits.is_none() => Ok(Command::KeysNewToken),
        (Some(verb @ ("hash-password" | "hash-token")), _) => {
            Err(format!("'keys {verb}' takes no arguments: it reads a line from standard input"))
        }
        (Some("new-token"), _) => Err("'keys new-token' takes no arguments".to_owned()),
        (Some(verb), _) => Err(format!("there is no 'keys {verb}'; {NEEDED}")),
        (None, _) => Err(NEEDED.to_owned()),
    }
}

/// Reads a time such as `12h`; both halves of it are at least 5 s.
fn read_overlap(word: &str) -> Result<i64, String> {
    let allowed = "from 10s to 31d, for instance 12h";
    match Since::parse(word) {
        Ok(Since::Ago(seconds @ 10..=2_678_400)) => i64::try_from(seconds).map_err(|error| error.to_string()),
        _ => Err(format!("--overlap is '{word}'; allowed: {allowed}")),
    }
}

fn node_key(verb: &str, config: Option<PathBuf>, node: Option<PathBuf>, key: Option<String>) -> Option<Command> {
    let node = node?.to_str()?.parse().ok()?;
    (key.is_some() == (verb == "trust")).then_some(())?;
    Some(Command::NodeKey { config: config?, node, thumbprint: key })
}

fn node_key_needs(verb: &str) -> String {
    let (key, example) = if verb == "trust" { (" THUMBPRINT", " pnI6…") } else { ("", "") };
    format!(
        "'keys {verb}' needs --config FILE NODE{key}, NODE by its id: 'keys {verb} --config central.yaml 2{example}'"
    )
}

/// Options of `token`. Without a name it lists.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenOptions {
    /// `--config`: the configuration of the central.
    pub config: PathBuf,
    /// The name of the token to add.
    pub add: Option<String>,
    /// `--node`: the only node that may use it.
    pub node: Option<NodeId>,
    /// The name of the token to remove.
    pub remove: Option<String>,
}

pub(super) fn parse_token(mut parser: lexopt::Parser, defaults: &Defaults) -> Result<Command, String> {
    const NEEDED: &str = "'token' needs 'add NAME', 'remove NAME' or 'list'";
    let (mut config, mut node, mut verb, mut name) = (packaged_config(defaults), None, None, None);
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => config = path(&mut parser, "--config")?,
            Long("node") => {
                let word = parser.value().map_err(text)?.string().map_err(text)?;
                node = Some(NodeId::new(node_id(&word)?).map_err(|error| error.to_string())?);
            }
            Long("help") | Short('h' | '?') => return Ok(Command::Help(Topic::Token)),
            Value(word) if verb.is_none() => verb = Some(word.string().map_err(text)?),
            Value(word) if name.is_none() && verb.as_deref() != Some("list") => {
                name = Some(word.string().map_err(text)?);
            }
            other => return Err(unexpected(&other, Topic::Token)),
        }
    }
    let is_name =
        |name: &String| !name.is_empty() && !name.contains(':') && name.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(name) = name.as_ref().filter(|name| !is_name(name)) {
        return Err(format!("'{name}' is not a name for a token: use letters, digits or '-', without ':' or blanks"));
    }
    match (verb.as_deref(), name) {
        (Some("add"), Some(name)) => Ok(Command::Token(TokenOptions { config, add: Some(name), node, remove: None })),
        (_, _) if node.is_some() => Err("--node belongs to 'token add'".to_owned()),
        (Some("remove"), Some(name)) => {
            Ok(Command::Token(TokenOptions { config, add: None, node: None, remove: Some(name) }))
        }
        (Some("list"), None) => Ok(Command::Token(TokenOptions { config, add: None, node: None, remove: None })),
        (Some(verb @ ("add" | "remove")), None) => Err(format!("'token {verb}' needs the name of a token")),
        (Some(verb), _) => Err(format!("there is no 'token {verb}'; {NEEDED}")),
        (None, _) => Err(NEEDED.to_owned()),
    }
}
