//! Nodes and tokens that were added by `stheno node add` and `stheno token add`: a file of our own beside the database,
//! where the daemon may write.
//!
//! The file of the module `register` stays as the administrator wrote it. Out of scope: writing the file (`edge`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::modules::proxy::NodeToken;
use super::{Config, Problem, rotation};
use crate::model::connection::Endpoint;
use crate::model::joining::Invitation;
use crate::model::key_rotation::{Rotation, Successor, Successors};
use crate::model::node_id::NodeId;
use crate::model::random::from_hex;
use crate::model::registration::{NodeKind, Registration};
use crate::model::rights::{BoundKey, Rights};

/// Maximum size of the file in bytes.
pub const FILE_BYTES_MAX: u64 = 8 << 20;

/// How an added node is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinedKind {
    /// It connects to our external socket.
    Pull,
    /// It connects to our WebSocket.
    Pullwss,
    /// We connect to it.
    PushZmq,
}

impl JoinedKind {
    /// The word of the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Pullwss => "pullwss",
            Self::PushZmq => "push_zmq",
        }
    }

    /// Reads the word of the command line.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pull, Self::Pullwss, Self::PushZmq].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// An invitation that was not used yet. It holds a secret: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// The secret of the word, in hexadecimal digits.
    pub secret: String,
    /// Until when the word is valid, in seconds since 1970.
    pub until: i64,
}

/// One added node. It may hold a secret: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedNode {
    pub id: u64,
    /// How it is reached.
    pub kind: JoinedKind,
    /// Host name or address, where we connect to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port, where we connect to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Thumbprint of its key, once a `pull` or `push_zmq` node has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// SHA-256 of its token in hexadecimal digits, once a `pullwss` node has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Its invitation, until it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited: Option<Invited>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedToken {
    pub name: String,
    /// The only node that may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// SHA-256 of the token in hexadecimal digits.
    pub hash: String,
}

/// The content of the file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    #[serde(default)]
    pub nodes: Vec<JoinedNode>,
    #[serde(default)]
    pub tokens: Vec<AddedToken>,
    /// The keys of peers that were replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub successors: Vec<Successor>,
}

/// The file that belongs to a database.
#[must_use]
pub fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".nodes.json");
    name.into()
}

/// Reads the file; a missing one is empty.
///
/// # Errors
/// A sentence about a file that cannot be read.
pub fn read(path: &Path) -> Result<Joined, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Joined::default()),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err("is too large".to_owned()),
        _ => {}
    }
    let text = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| {
        format!("is not a file of 'stheno node add' ({error}); restore it from a backup, or move it away")
    })
}

impl Config {
    /// Takes out the keys that were replaced and are no longer valid.
    pub fn retire_keys(&mut self, now_seconds: i64) {
        let successors = Arc::clone(&self.added.successors);
        self.core.authorized_clients.retain(|key| !successors.is_over(key, now_seconds));
        self.core.bound_keys.retain(|key, _| !successors.is_over(key, now_seconds));
    }
}

impl std::fmt::Debug for Added {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Added({} nodes)", self.nodes.len())
    }
}

impl Added {
    /// The invitations of nodes of one kind.
    #[must_use]
    pub fn invited_as(&self, kind: JoinedKind) -> Vec<Invitation> {
        self.invitations.iter().filter(|(other, _)| *other == kind).map(|(_, invitation)| invitation.clone()).collect()
    }
}

/// What the file adds to a configuration.
#[derive(Clone, Default)]
pub struct Added {
    /// The registrations.
    pub nodes: Vec<Registration>,
    /// The invitations that were not used.
    pub invitations: Vec<(JoinedKind, Invitation)>,
    /// The keys of peers that were replaced.
    pub successors: Arc<Successors>,
    /// A new key of our own that is announced.
    pub rotation: Option<Rotation>,
}

/// Reads the file of a configuration and adds its keys and tokens to it.
pub(super) fn add_to(config: &mut Config) {
    let path = path_of(&config.core.database);
    match rotation::read(&rotation::path_of(&config.core.database)) {
        Ok(state) => config.added.rotation = state.and_then(|state| state.open()),
        Err(text) => {
            let place = rotation::path_of(&config.core.database);
            config.warnings.push(Problem { is_error: true, ..Problem::of_file(place, "", text) });
        }
    }
    let joined = match read(&path) {
        Ok(joined) => joined,
        Err(text) => {
            let problem = Problem { is_error: true, ..Problem::of_file(path, "", text) };
            return config.warnings.push(problem);
        }
    };
    for node in &joined.nodes {
        let Ok(id) = NodeId::new(node.id) else { continue };
        let key = node.key.clone().filter(|_| node.kind == JoinedKind::Pull);
        if let Some(key) = key.filter(|key| !config.core.authorized_clients.contains(key)) {
            let bound = BoundKey { name: format!("node {id}"), node: Some(id), rights: Rights::node() };
            config.core.bound_keys.insert(key.clone(), Arc::new(bound));
            config.core.authorized_clients.push(key);
        }
        if let Some(hash) = node.token.as_deref() {
            add_token(config, format!("joined-{id}"), hash, Some(id));
        }
        if let Some(invited) = &node.invited
            && let Some(secret) = from_hex(&invited.secret)
        {
            let invitation = Invitation { node: id, secret, until: invited.until };
            config.added.invitations.push((node.kind, invitation));
        }
        config.added.nodes.extend(registration(id, node));
    }
    add_successors(config, joined.successors);
    for token in &joined.tokens {
        let node = token.node.and_then(|node| NodeId::new(node).ok());
        add_token(config, token.name.clone(), &token.hash, node);
    }
}

/// Gives keys that replaced others the rights of these.
fn add_successors(config: &mut Config, successors: Vec<Successor>) {
    for Successor { old, new, .. } in &successors {
        if !config.core.authorized_clients.contains(old) || config.core.authorized_clients.contains(new) {
            continue;
        }
        if let Some(bound) = config.core.bound_keys.get(old).cloned() {
            config.core.bound_keys.insert(new.clone(), bound);
        }
        config.core.authorized_clients.push(new.clone());
    }
    config.added.successors = Arc::new(Successors(successors));
}

fn add_token(config: &mut Config, name: String, hash: &str, node: Option<NodeId>) {
    let server = config.modules.proxy.as_mut().and_then(|proxy| proxy.httpserver.as_mut());
    let hash = from_hex(hash).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if let (Some(server), Some(hash)) = (server, hash)
        && server.tokens.iter().all(|token| token.name != name)
    {
        server.tokens.push(NodeToken { name, hash, node });
    }
}

fn registration(id: NodeId, node: &JoinedNode) -> Option<Registration> {
    let kind = match node.kind {
        JoinedKind::Pull => NodeKind::Pull,
        JoinedKind::Pullwss => NodeKind::WebSocket,
        JoinedKind::PushZmq => {
            NodeKind::PushZmq { endpoint: Endpoint::Tcp { host: node.address.clone()?, port: node.port? } }
        }
    };
    Some(Registration { id, uid: None, kind, identity: None, prevail: true, subnodes: Vec::new(), link: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_keeps_what_was_added() {
        let node = JoinedNode {
            id: 7,
            kind: JoinedKind::PushZmq,
            address: Some("10.0.0.7".to_owned()),
            port: Some(5_556),
            key: None,
            token: None,
            invited: Some(Invited { secret: "ab".repeat(16), until: 5 }),
        };
        let joined = Joined { nodes: vec![node], ..Joined::default() };
        let text = serde_json::to_string(&joined).unwrap();
        assert!(serde_json::from_str::<Joined>(&text).unwrap() == joined);
        assert!(text.contains("\"kind\":\"push_zmq\"") && !text.contains("key"), "{text}");
        let registration = registration(NodeId::new(7).unwrap(), &joined.nodes[0]).unwrap();
        assert_eq!(registration.kind.endpoint().map(ToString::to_string).as_deref(), Some("tcp://10.0.0.7:5556"));
    }
}
