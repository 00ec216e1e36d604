//! One simulated machine: a disk, a key and, while it is running, a real [`Dispatch`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use stheno::model::connection::FingerprintMode;

use stheno::config::Config;
use stheno::config::modules::Modules;
use stheno::config::modules::action::ActionSettings;
use stheno::config::modules::dial_in::{PullSettings, PullWssSettings};
use stheno::config::modules::engine::EngineSettings;
use stheno::config::modules::httpserver::HttpSettings;
use stheno::config::modules::proxy::{ProxySettings, WebSocketSettings};
use stheno::config::modules::queue::QueueSettings;
use stheno::config::modules::register::RegisterSettings;
use stheno::config::settings::{Commits, CoreSettings, Storage};
use stheno::daemon::dispatch::{Dispatch, OwnKey, Surroundings};
use stheno::model::action::Module;
use stheno::model::connection::{ConnectionId, Endpoint};
use stheno::model::history::HistoryName;
use stheno::model::link::LinkMode;
use stheno::model::node_id::NodeId;
use stheno::model::random::Random;
use stheno::model::registration::{NodeKind, Registration};
use stheno::model::time::Now;
use stheno::model::time_zone::TimeZone;
use stheno::wire::gorgone::keys::PrivateKey;

use super::disk::Disk;
use super::seeded::Seeded;

const KEY_CENTRAL: &str = include_str!("keys/central.pem");
const KEY_POLLER: &str = include_str!("keys/poller.pem");

/// The port of the central's WebSocket listener; those of the other machines follow. Ports below are ids.
pub const WEBSOCKET_PORT: u16 = 8_081;
const TOKEN: &str = "sesame";

/// How a node is connected to its central.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Push,
    Pull,
    WebSocket,
}

/// Returns one or two nodes of each kind.
pub fn topology(seed: u64) -> Vec<Kind> {
    let mut random = Seeded(seed ^ 0x7090);
    let kinds = [Kind::Push, Kind::Pull, Kind::WebSocket];
    kinds.into_iter().flat_map(|kind| vec![kind; if random.once_in(2) { 2 } else { 1 }]).collect()
}

pub struct Machine {
    pub id: u64,
    pub disk: Disk,
    pub key: PrivateKey,
    pub dispatch: Option<Dispatch>,
    /// Our connections, each with the stream to its other end.
    pub pipes: BTreeMap<ConnectionId, usize>,
    /// Connections whose stream takes no more at the moment.
    pub blocked: BTreeSet<ConnectionId>,
    /// Whether it was told to stop and has not ended yet.
    pub stopping: bool,
    /// The greatest row id so far of each history, by the number of the history.
    pub seen_origins: BTreeMap<(i64, HistoryName), i64>,
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
        bound_keys: Default::default(),
        fingerprint_mode: FingerprintMode::First,
        // Some links are classic, as with an original daemon.
        link: if id.is_multiple_of(3) { LinkMode::Classic } else { LinkMode::Auto },
        database: "unused".into(),
        server: None,
        cluster: None,
        storage: Storage::Disk,
        create_schema: true,
        // With `BATCHED=1` nodes gather their changes; a daemon with nodes does not.
        commits: match std::env::var_os("BATCHED") {
            Some(_) => Commits::Batched(Duration::from_millis(300)),
            None => Commits::Full,
        },
        max_message_size: 16 << 20,
        log_severity: stheno::model::log::Level::Info,
        log_format: stheno::model::log::LogFormat::Auto,
        audit_log: None,
        delegate: Default::default(),
        max_memory: None,
    }
}

fn thumbprint(key: &str) -> String {
    PrivateKey::from_pem(key.as_bytes()).unwrap().public().thumbprint()
}

fn loaded(modules: &[Module]) -> BTreeMap<String, String> {
    modules.iter().map(|module| (module.name().to_owned(), module.package().to_owned())).collect()
}

/// Returns where a machine listens. The port is its id.
pub fn endpoint(id: u64) -> Endpoint {
    Endpoint::Tcp { host: "192.0.2.1".to_owned(), port: u16::try_from(id).unwrap() }
}

impl Machine {
    /// Returns the central. It knows some of the nodes that dial in from its register file.
    pub fn central(nodes: &[(u64, Kind)], random: &mut Seeded) -> Self {
        // Some have little room for requests that wait.
        let max_messages = if random.once_in(3) { 6 } else { 1_000 };
        let registered = |(id, kind): &(u64, Kind)| Registration {
            uid: None,
            id: NodeId::new(*id).unwrap(),
            kind: match kind {
                Kind::Push => NodeKind::PushZmq { endpoint: endpoint(*id) },
                Kind::Pull => NodeKind::Pull,
                Kind::WebSocket => NodeKind::WebSocket,
            },
            identity: None,
            link: None,
            prevail: *kind != Kind::Push,
            subnodes: Vec::new(),
        };
        let listed =
            nodes.iter().filter(|(_, kind)| *kind == Kind::Push || random.once_in(2)).map(registered).collect();
        let httpserver = listener();
        let modules = Modules {
            proxy: Some(ProxySettings {
                httpserver: Some(httpserver),
                only_listed: Some(false),
                buffer_size: 2_000,
                queue: QueueSettings { max_messages, ..QueueSettings::default() },
                ..ProxySettings::default()
            }),
            register: Some(RegisterSettings { file: "unused".into(), nodes: listed }),
            action: Some(ActionSettings::default()),
            engine: Some(engine()),
            httpserver: Some(HttpSettings {
                tls: None,
                address: "127.0.0.1".parse().unwrap(),
                port: 80,
                auth: None,
                users: Vec::new(),
                allowed_hosts: None,
                trusted_proxies: Vec::new(),
                status: None,
                host_names: Vec::new(),
            }),
            loaded: loaded(&[Module::Action, Module::Engine, Module::Proxy]),
            ..Modules::default()
        };
        Self::new(1, KEY_CENTRAL, KEY_POLLER, modules)
    }

    pub fn node(id: u64, kind: Kind, random: &mut Seeded) -> Self {
        Self::node_of(id, 1, kind, random)
    }

    fn node_of(id: u64, parent: u64, kind: Kind, random: &mut Seeded) -> Self {
        let quick = random.once_in(2);
        let seconds = |fast, slow| Duration::from_secs(if quick { fast } else { slow });
        let pull = PullSettings {
            others: Vec::new(),
            endpoint: endpoint(parent),
            link: None,
            is_metered: false,
            ping: seconds(10, 60),
            ping_timeout: seconds(5, 30),
        };
        let pullwss = PullWssSettings {
            others: Vec::new(),
            host: "192.0.2.1".to_owned(),
            port: WEBSOCKET_PORT + u16::try_from(parent).unwrap() - 1,
            token: TOKEN.to_owned(),
            uri: "/".to_owned(),
            tls: None,
            proxy: None,
            is_metered: false,
            ping: seconds(10, 30),
            // A part holds few rows.
            max_message_size: usize::try_from(1_100 + random.below(3_000)).unwrap(),
        };
        let modules = Modules {
            action: Some(ActionSettings::default()),
            engine: Some(engine()),
            pull: (kind == Kind::Pull).then_some(pull),
            pullwss: (kind == Kind::WebSocket).then_some(pullwss),
            loaded: loaded(&[Module::Action, Module::Engine]),
            ..Modules::default()
        };
        Self::new(id, KEY_POLLER, KEY_CENTRAL, modules)
    }

    /// Returns a machine in a platform of relays, with nodes below it and connected to the one above.
    pub fn in_tree(id: u64, up: Option<(u64, Kind)>, below: Vec<Registration>, random: &mut Seeded) -> Self {
        let mut machine = match up {
            None => Self::central(&[], random),
            Some((parent, kind)) => Self::node_of(id, parent, kind, random),
        };
        let httpserver = listener();
        let failover_after = Duration::from_secs(if random.once_in(2) { 2 } else { 30 });
        let modules = &mut machine.config.modules;
        modules.proxy = Some(ProxySettings {
            httpserver: Some(httpserver),
            only_listed: Some(false),
            failover_after,
            buffer_size: 2_000,
            ..ProxySettings::default()
        });
        modules.register = Some(RegisterSettings { file: "unused".into(), nodes: below });
        modules.loaded = loaded(&[Module::Action, Module::Engine, Module::Proxy]);
        let core = &mut machine.config.core;
        core.rotation = Duration::from_secs(10 + random.below(60));
        core.authorized_clients = [KEY_CENTRAL, KEY_POLLER].map(thumbprint).to_vec();
        machine
    }

    /// Returns another central for nodes of the first.
    pub fn other_central(id: u64, below: Vec<Registration>, random: &mut Seeded) -> Self {
        let mut machine = Self::in_tree(1, None, below, random);
        machine.id = id;
        let core = &mut machine.config.core;
        (core.id, core.external) = (Some(NodeId::new(id).unwrap()), Some(endpoint(id)));
        machine.disk = Disk::new(i64::try_from(id).unwrap() + 2_000_000);
        machine
    }

    fn new(id: u64, key: &str, peer_key: &str, modules: Modules) -> Self {
        let key = PrivateKey::from_pem(key.as_bytes()).unwrap();
        let authorized = thumbprint(peer_key);
        let config = Config {
            core: core_settings(id, authorized),
            modules,
            tpapi: Vec::new(),
            from_environment: Vec::new(),
            waiting: Default::default(),
            added: Default::default(),
            sources: Default::default(),
            warnings: Vec::new(),
        };
        // Some have copies of one image.
        let disk = Disk::new(i64::try_from(id / 2).unwrap() + 1_000_000);
        let (pipes, blocked, seen_origins) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { id, disk, key, dispatch: None, pipes, blocked, stopping: false, seen_origins, config }
    }

    /// Returns the maximum number of requests that it queues for one node.
    pub fn queue_messages_max(&self) -> usize {
        self.config.modules.proxy.as_ref().map_or(0, |proxy| proxy.queue.max_messages)
    }

    /// Returns whether it connects there to the daemon above it.
    pub fn dials(&self, endpoint: &Endpoint) -> bool {
        self.config.modules.pull.as_ref().is_some_and(|pull| pull.endpoint == *endpoint)
    }

    pub fn start(&mut self, mut random: Seeded, now: Now) {
        let own_key = OwnKey::new(&self.key);
        self.stopping = false;
        let config = self.config.clone();
        let surroundings = Surroundings {
            memory: || None,
            core_random: Box::new(Seeded(random.next())),
            session_random: Box::new(random),
            debug: std::env::var("TRACE").is_ok(),
            time_zone: TimeZone::utc(),
        };
        self.dispatch = Some(Dispatch::new(config, own_key, self.disk.stored(), surroundings, now));
    }
}

fn engine() -> EngineSettings {
    EngineSettings { command_file: None, timeout: Duration::from_secs(5) }
}

fn listener() -> WebSocketSettings {
    let (address, token) = ("127.0.0.1".parse().unwrap(), Some(TOKEN.to_owned()));
    let (tokens, trusted_proxies) = (Vec::new(), Vec::new());
    WebSocketSettings { address, port: 81, token, tokens, web_api: None, trusted_proxies, tls: None }
}
