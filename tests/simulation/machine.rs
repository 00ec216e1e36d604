//! One simulated machine: a disk, a key and, while it is up, a real [`Dispatch`].

use std::collections::BTreeMap;
use std::time::Duration;

use stheno::config::settings::{
    ActionSettings, CleanerSettings, Config, CoreSettings, FingerprintMode, HttpSettings, Modules, ProxySettings,
    RegisterSettings,
};
use stheno::daemon::dispatch::{Dispatch, OwnKey, Surroundings};
use stheno::model::connection::{ConnectionId, Endpoint};
use stheno::model::node_id::NodeId;
use stheno::model::registration::{NodeKind, Registration};
use stheno::model::time::Now;
use stheno::wire::gorgone::keys::PrivateKey;

use super::disk::Disk;
use super::seeded::Seeded;

const KEY_CENTRAL: &str = include_str!("keys/central.pem");
const KEY_POLLER: &str = include_str!("keys/poller.pem");

pub struct Machine {
    pub id: u64,
    pub disk: Disk,
    pub key: PrivateKey,
    pub dispatch: Option<Dispatch>,
    /// Our connections: where the other end is.
    pub pipes: BTreeMap<ConnectionId, usize>,
    config: Config,
}

fn core_settings(id: u64, authorized: String) -> CoreSettings {
    CoreSettings {
        name: format!("machine-{id}"),
        id: Some(NodeId::new(id).unwrap()),
        hostname: format!("machine-{id}"),
        timeout: Duration::from_secs(50),
        external: Some(endpoint(id)),
        key_size: 32,
        rotation: Duration::from_secs(120),
        tcp_keepalive: false,
        ipv6: false,
        private_key: "unused".into(),
        public_key: "unused".into(),
        authorized_clients: vec![authorized],
        fingerprint_mode: FingerprintMode::First,
        database: "unused".into(),
        create_schema: true,
        database_synchronous: true,
        max_message_size: 16 << 20,
    }
}

fn loaded(names: &[&str]) -> BTreeMap<String, String> {
    names.iter().map(|name| ((*name).to_owned(), format!("gorgone::modules::core::{name}::hooks"))).collect()
}

/// Where a machine listens; the port is its id.
pub fn endpoint(id: u64) -> Endpoint {
    Endpoint::Tcp { host: "192.0.2.1".to_owned(), port: u16::try_from(id).unwrap() }
}

impl Machine {
    pub fn central(pollers: u64) -> Self {
        let registered = |id| Registration {
            id: NodeId::new(id).unwrap(),
            kind: NodeKind::PushZmq { endpoint: endpoint(id) },
            identity: None,
            prevail: false,
            subnodes: Vec::new(),
        };
        let modules = Modules {
            proxy: Some(ProxySettings::default()),
            register: Some(RegisterSettings {
                file: "unused".into(),
                nodes: (2..2 + pollers).map(registered).collect(),
            }),
            action: Some(ActionSettings::default()),
            pull: None,
            pullwss: None,
            httpserver: Some(HttpSettings {
                tls: None,
                address: "127.0.0.1".parse().unwrap(),
                port: 80,
                auth: None,
                allowed_hosts: None,
            }),
            dbcleaner: CleanerSettings::default(),
            loaded: loaded(&["action", "proxy"]),
        };
        Self::new(1, KEY_CENTRAL, KEY_POLLER, modules)
    }

    pub fn poller(id: u64) -> Self {
        let modules =
            Modules { action: Some(ActionSettings::default()), loaded: loaded(&["action"]), ..Modules::default() };
        Self::new(id, KEY_POLLER, KEY_CENTRAL, modules)
    }

    fn new(id: u64, key: &str, peer_key: &str, modules: Modules) -> Self {
        let key = PrivateKey::from_pem(key.as_bytes()).unwrap();
        let authorized = PrivateKey::from_pem(peer_key.as_bytes()).unwrap().public().thumbprint();
        let config = Config { core: core_settings(id, authorized), modules, warnings: Vec::new() };
        Self { id, disk: Disk::default(), key, dispatch: None, pipes: BTreeMap::new(), config }
    }

    pub fn start(&mut self, mut random: Seeded, now: Now) {
        let own_key = OwnKey { public_pem: self.key.public().to_pem(), thumbprint: self.key.public().thumbprint() };
        let config = self.config.clone();
        let surroundings = Surroundings {
            core_random: Box::new(Seeded(random.next())),
            session_random: Box::new(random),
            debug: false,
        };
        self.dispatch = Some(Dispatch::new(config, own_key, self.disk.restored(), surroundings, now));
    }
}
