//! `node add`, `remove` and `list`, and `token add`, `remove` and `list`: the file of added nodes and tokens, which the
//! running daemon watches.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::keys_arguments::TokenOptions;
use super::node_arguments::{NodeAdd, NodeOptions, NodeVerb};
use super::remote::Remote;
use super::{complain, fail, say, table};
use crate::config::joined::{self, AddedToken, Invited, Joined, JoinedKind, JoinedNode};
use crate::config::{self, Config};
use crate::daemon::joining::{SECRET_LEN, Word};
use crate::daemon::{key_files, secrets};
use crate::edge::random::SystemRandom;
use crate::edge::tls::server;
use crate::edge::{clock, history_store, joined_file};
use crate::model::connection::Endpoint;
use crate::model::node_id::NodeId;
use crate::model::random::{Random as _, to_hex};
use crate::model::registration::Registration;

/// How long a word is valid, in seconds.
const VALID_SECONDS: i64 = 3_600;
/// Port of a push node if none is given.
const ZMQ_PORT: u16 = 5_556;
/// How often and in which interval the running daemon is asked whether it knows the node.
const TRIES: usize = 50;
const ASK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn run(options: &NodeOptions) -> ExitCode {
    let done = load(&options.config).and_then(|config| match &options.verb {
        NodeVerb::Add(add_options) => add(options, &config, add_options),
        NodeVerb::Remove(id) => remove(&config, *id),
        NodeVerb::List => Ok(list(options, &config)),
    });
    done.map_or_else(|text| fail(&text), |text| say(&text))
}

fn load(path: &std::path::Path) -> Result<Config, String> {
    config::load(path).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("{first}; 'stheno check --config {}' shows all", path.display())
    })
}

fn file(config: &Config) -> PathBuf {
    joined::path_of(&config.core.database)
}

fn listed(config: &Config) -> &[Registration] {
    config.modules.register.as_ref().map_or(&[], |register| &register.nodes)
}

fn add(options: &NodeOptions, config: &Config, add: &NodeAdd) -> Result<String, String> {
    let id = add.id;
    if config.core.id == Some(id) {
        return Err(format!("{id} is the id of this daemon itself ('gorgonecore.id'): give the node another one"));
    }
    if config.modules.proxy.is_none() {
        return Err(
            "the module proxy is not loaded, without which a daemon has no nodes: add it and restart".to_owned()
        );
    }
    if listed(config).iter().any(|node| node.id == id) {
        let place =
            config.modules.register.as_ref().map_or_else(String::new, |register| register.file.display().to_string());
        return Err(format!("node {id} is listed in {place} already: remove it there first"));
    }
    if history_store::holder(&config.core.database).is_none() {
        let path = options.config.display();
        return Err(format!("no daemon runs with {path}, so nobody could take the node: start it first"));
    }
    let mut random = SystemRandom::new();
    let mut secret = [0; SECRET_LEN];
    random.fill(&mut secret);
    let until = clock::wall().as_seconds().saturating_add(VALID_SECONDS);
    let word = word(config, add, secret, until)?;
    let (address, port) = match (add.kind, &add.address) {
        (JoinedKind::PushZmq, Some((host, _))) => (Some(host.clone()), Some(word.port)),
        _ => (None, None),
    };
    let invited = Some(Invited { secret: to_hex(&secret), until });
    joined_file::change(&file(config), |joined| {
        let kept = joined.nodes.iter().find(|node| node.id == id.get() && node.kind == add.kind);
        let (key, token) = kept.map_or((None, None), |node| (node.key.clone(), node.token.clone()));
        joined.nodes.retain(|node| node.id != id.get());
        joined.nodes.push(JoinedNode { id: id.get(), kind: add.kind, address, port, key, token, invited });
        Ok(())
    })?;
    await_daemon(options, id);
    complain_of_validity(add.kind);
    Ok(format!("{}\n", word.encode()))
}

fn complain_of_validity(kind: JoinedKind) {
    let more = match kind {
        JoinedKind::PushZmq => "; this daemon connects to it as soon as it listens",
        JoinedKind::Pull | JoinedKind::Pullwss => "",
    };
    // Standard output has only the word, so that it can be passed on.
    eprintln!("on the node: stheno join WORD (valid for an hour, works once{more})");
}

/// Makes the word, or says what this daemon lacks for nodes of this kind.
fn word(config: &Config, add: &NodeAdd, secret: [u8; SECRET_LEN], until: i64) -> Result<Word, String> {
    let own_key = || -> Result<[u8; 32], String> {
        let keys = key_files::load(&config.core.private_key).map_err(|error| error.to_string())?;
        let keys = keys.ok_or("this daemon has no key yet: start it once")?;
        Word::thumbprint_bytes(&keys.public.thumbprint()).ok_or_else(|| "the own key has no thumbprint".to_owned())
    };
    let (given_host, given_port) = add.central.clone().map_or((None, None), |(host, port)| (Some(host), port));
    let host = |bound: Option<IpAddr>| {
        let bound = bound.filter(|address| !address.is_unspecified()).map(|address| address.to_string());
        given_host.clone().or(bound).unwrap_or_else(|| config.core.hostname.clone())
    };
    let (host, port, is_tls, central) = match add.kind {
        JoinedKind::PushZmq => {
            let port = add.address.as_ref().and_then(|(_, port)| *port).unwrap_or(ZMQ_PORT);
            if add.address.is_none() {
                return Err("a push_zmq node needs --address HOST[:PORT], where this daemon connects to it".to_owned());
            }
            (String::new(), port, false, own_key()?)
        }
        JoinedKind::Pull => {
            let Some(Endpoint::Tcp { host: bound, port }) = &config.core.external else {
                return Err(
                    "this daemon has no external socket (external_com_type: tcp, external_com_path), to which a \
                    pull node connects"
                        .to_owned(),
                );
            };
            (host(bound.parse().ok()), given_port.unwrap_or(*port), false, own_key()?)
        }
        JoinedKind::Pullwss => {
            let server =
                config.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref()).ok_or(
                    "the module proxy has no 'httpserver', to which a pullwss node connects: see docs/dial-in.md",
                )?;
            let certificate = server.tls.as_ref().map(server::fingerprint).transpose();
            let certificate = certificate.map_err(|error| error.to_string())?;
            let is_tls = certificate.is_some();
            (host(Some(server.address)), given_port.unwrap_or(server.port), is_tls, certificate.unwrap_or_default())
        }
    };
    Ok(Word { kind: add.kind, node: add.id, secret, until, host, port, is_tls, central })
}

/// Waits until the running daemon knows the node, as far as its API tells.
fn await_daemon(options: &NodeOptions, id: NodeId) {
    let Ok(remote) = Remote::of_config(&options.config) else { return };
    for _ in 0..TRIES {
        match remote.data("/api/internal/constatus") {
            Ok(nodes) if nodes.get(id.to_string()).is_some() => return,
            Ok(_) => std::thread::sleep(ASK_EVERY),
            Err(_) => return,
        }
    }
    complain("the running daemon does not know the node yet: look into its log, or send it SIGHUP");
}

fn remove(config: &Config, id: NodeId) -> Result<String, String> {
    joined_file::change(&file(config), |joined| {
        let before = joined.nodes.len();
        joined.nodes.retain(|node| node.id != id.get());
        if joined.nodes.len() < before {
            return Ok(format!("node {id} is removed, and what it was known by is not accepted any more\n"));
        }
        let is_listed = listed(config).iter().any(|node| node.id == id);
        Err(match config.modules.register.as_ref().filter(|_| is_listed) {
            Some(register) => format!("node {id} is listed in {}: remove its entry there", register.file.display()),
            None => format!("node {id} was not added by 'stheno node add'; 'stheno node list' shows those that were"),
        })
    })
}

/// All nodes of the files, with what the running daemon says of them.
fn list(options: &NodeOptions, config: &Config) -> String {
    let joined = joined::read(&file(config)).unwrap_or_default();
    let status = Remote::of_config(&options.config).and_then(|remote| remote.data("/api/internal/constatus"));
    let status = status.unwrap_or_default();
    let now = clock::wall().as_seconds();
    let listed = listed(config).iter().map(|node| {
        let address = node.kind.endpoint().map(ToString::to_string);
        let address = address.or_else(|| node.kind.ssh_target().map(ToString::to_string));
        (node.id.get(), node.kind.as_str(), address, "register file")
    });
    let added = joined.nodes.iter().map(|node| {
        let endpoint = node.address.clone().zip(node.port);
        let address = endpoint.map(|(host, port)| Endpoint::Tcp { host, port }.to_string());
        (node.id, node.kind.as_str(), address, added_as(node, now))
    });
    let mut rows: Vec<_> = listed.chain(added).collect();
    rows.sort_by_key(|row| row.0);
    let last = |id: u64| status.get(id.to_string()).and_then(|node| node.get("last_ping_recv")).and_then(Value::as_i64);
    if options.json {
        let rows: Vec<Value> = rows
            .into_iter()
            .map(|(id, kind, address, from)| {
                let last_ping = last(id).filter(|last| *last > 0);
                json!({ "id": id, "kind": kind, "address": address, "from": from, "last_ping": last_ping })
            })
            .collect();
        return format!("{:#}\n", Value::Array(rows));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(id, kind, address, from)| {
            let ping = match last(id) {
                None | Some(0) => "never".to_owned(),
                Some(last) => format!("{} s ago", now.saturating_sub(last).max(0)),
            };
            let address = address.unwrap_or_else(|| "connects to us".to_owned());
            vec![id.to_string(), kind.to_owned(), address, from.to_owned(), ping]
        })
        .collect();
    table::table(&["id", "kind", "address", "from", "last ping"], &rows)
}

fn added_as(node: &JoinedNode, now: i64) -> &'static str {
    match &node.invited {
        Some(invited) if invited.until >= now => "node add, invited",
        Some(_) => "node add, its word has expired",
        None => "node add, joined",
    }
}

/// Runs `token`.
pub(super) fn token(options: &TokenOptions) -> ExitCode {
    let done = load(&options.config).and_then(|config| {
        let path = file(&config);
        match options {
            TokenOptions { add: Some(name), .. } => add_token(&config, &path, name, options.node),
            TokenOptions { remove: Some(name), .. } => joined_file::change(&path, |joined| remove_token(joined, name)),
            _ => Ok(list_tokens(&config)),
        }
    });
    done.map_or_else(|text| fail(&text), |text| say(&text))
}

fn add_token(config: &Config, path: &std::path::Path, name: &str, node: Option<NodeId>) -> Result<String, String> {
    let server = config.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
    let server = server.ok_or("the module proxy has no 'httpserver', whose nodes have tokens: see docs/dial-in.md")?;
    if server.tokens.iter().any(|token| token.name == name) {
        return Err(format!("there is a token '{name}' already: remove it first, or give another name"));
    }
    let token = secrets::new_token(&mut SystemRandom::new());
    let hash = secrets::hash_token(token.as_bytes())?;
    let node = node.map(NodeId::get);
    joined_file::change(path, |joined| {
        joined.tokens.push(AddedToken { name: name.to_owned(), node, hash });
        Ok(format!("{token}\n"))
    })
}

fn remove_token(joined: &mut Joined, name: &str) -> Result<String, String> {
    let before = joined.tokens.len();
    joined.tokens.retain(|token| token.name != name);
    if joined.tokens.len() == before {
        return Err(format!(
            "'{name}' was not added by 'stheno token add'; 'stheno token list' shows those that were, and 'stheno node \
             remove' takes that of a node that has joined"
        ));
    }
    Ok(format!("the token '{name}' is not accepted any more\n"))
}

fn list_tokens(config: &Config) -> String {
    let server = config.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
    let mut text = String::new();
    for token in server.map_or(&[][..], |server| &server.tokens) {
        let node = token.node.map_or_else(|| "any node".to_owned(), |node| format!("node {node}"));
        let _ = writeln!(text, "{:<24}{node}", token.name);
    }
    text
}
