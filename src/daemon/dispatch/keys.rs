//! Our own key, the keys that peers have presented, and which of them were met sealed.

use std::collections::BTreeMap;

use crate::model::connection::ConnectionId;
use crate::model::history::StoreChange;
use crate::model::link::{LinkMode, pin_of_client, pin_of_target};
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::time::Now;
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::tls_link::{ClientTls, ServerTls, TlsIdentity};

use super::{Dispatch, PeerKey};

/// Maximum number of names that are remembered as met sealed.
const MAX_PINS: usize = 10_000;

/// Our own key in the forms that sessions need.
pub struct OwnKey {
    /// SPKI PEM of the public key.
    pub(super) public_pem: String,
    /// RFC 7638 thumbprint of the public key.
    pub(super) thumbprint: String,
    /// For links that are sealed by TLS, or why it cannot be used for them.
    tls: Result<TlsIdentity, String>,
}

impl OwnKey {
    /// Prepares a key pair.
    #[must_use]
    pub fn new(key: &PrivateKey) -> Self {
        let public = key.public();
        Self { public_pem: public.to_pem(), thumbprint: public.thumbprint(), tls: TlsIdentity::new(key) }
    }

    pub(super) fn server_tls(&self) -> Option<ServerTls> {
        self.tls.as_ref().ok().and_then(|identity| ServerTls::new(identity).ok())
    }

    pub(super) fn client_tls(&self) -> Option<ClientTls> {
        self.tls.as_ref().ok().and_then(|identity| ClientTls::new(identity).ok())
    }

    /// Why no link can be sealed, if that may be wanted.
    pub(super) fn fault(&self, link: LinkMode) -> Option<LogLine> {
        let why = self.tls.as_ref().err().filter(|_| link != LinkMode::Classic)?;
        Some(LogLine::warning("core", format!("links stay classic: {why}, or set gorgonecore.link: classic")))
    }
}

/// The keys that we know.
pub(super) struct KnownKeys {
    pub(super) own: OwnKey,
    /// Targets and the thumbprints of their keys, with those that were met sealed.
    pub(super) fingerprints: BTreeMap<String, String>,
    /// SSH hosts and the known-hosts lines of their keys.
    pub(super) hosts: BTreeMap<String, String>,
}

impl KnownKeys {
    /// Whether who listens at a target was met sealed.
    pub(super) fn is_pinned(&self, target: &str) -> bool {
        self.fingerprints.contains_key(&pin_of_target(target))
    }
}

/// The clients that were met sealed: names and thumbprints of their keys.
pub(super) fn pinned_clients(fingerprints: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let prefix = pin_of_client("");
    let pins =
        fingerprints.iter().filter_map(|(target, key)| Some((target.strip_prefix(&prefix)?.to_owned(), key.clone())));
    pins.collect()
}

/// The node in the routing id of a client that dials in.
pub(super) fn node_of(routing_id: &[u8]) -> Option<NodeId> {
    let name = std::str::from_utf8(routing_id).ok()?.strip_prefix("gorgone-")?;
    name.split('-').next()?.parse().ok()
}

impl Dispatch {
    /// Remembers that who is called so in the table of fingerprints was met sealed.
    pub(super) fn pin(&mut self, target: String, thumbprint: String, now: Now) {
        let before = self.keys.fingerprints.get(&target);
        if before == Some(&thumbprint) || (before.is_none() && self.keys.fingerprints.len() >= MAX_PINS) {
            return;
        }
        self.keys.fingerprints.insert(target.clone(), thumbprint.clone());
        self.storing.push(StoreChange::PutFingerprint { target, thumbprint }, now.monotonic);
    }

    fn unpin(&mut self, target: String, now: Now) {
        if self.keys.fingerprints.remove(&target).is_some() {
            self.storing.push(StoreChange::DeleteFingerprint(target), now.monotonic);
        }
    }

    /// Sets the expected key of a node (with `None` the next key that the node presents) and reconnects. With `None` it
    /// is also forgotten that the node was met sealed.
    pub(super) fn set_node_key(&mut self, node: NodeId, thumbprint: Option<String>, now: Now) {
        let key = PeerKey::Node(node);
        let Some(link) = self.dialled.link(key) else {
            self.forget_host_key(node, now);
            return self.forget_pin_of_client(node, now);
        };
        let target = link.set_fingerprint(thumbprint.clone());
        match thumbprint {
            Some(thumbprint) => {
                self.keys.fingerprints.insert(target.clone(), thumbprint.clone());
                self.storing.push(StoreChange::PutFingerprint { target, thumbprint }, now.monotonic);
            }
            None => {
                self.unpin(pin_of_target(&target), now);
                self.keys.fingerprints.remove(&target);
                self.storing.push(StoreChange::DeleteFingerprint(target), now.monotonic);
            }
        }
        self.reset_dialled(key, now);
    }

    /// Forgets that a node that dials in was met sealed.
    fn forget_pin_of_client(&mut self, node: NodeId, now: Now) {
        let name = format!("gorgone-{node}");
        self.listener.unpin(&name);
        self.unpin(pin_of_client(&name), now);
    }

    /// Tells the listener how the link of a node may be that has just connected, if its own settings say so.
    pub(super) fn narrow_link(&mut self, connection: ConnectionId, routing_id: &[u8]) {
        if let Some(link) = node_of(routing_id).and_then(|node| self.core.link_mode(node)) {
            self.listener.narrow(connection, link);
        }
    }
}
