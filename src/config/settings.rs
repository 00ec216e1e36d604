//! The validated settings that the daemon runs with; every default is filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::allow_list::AllowList;
pub use super::cron_section::{CRON_JOBS_MAX, CronJob};
use super::database::NodesSettings;
use super::delegate::DelegateSettings;
use super::environment::FromEnvironment;
pub use super::findings::Problem;
use super::legacy::LegacySettings;
use super::sources::Sources;
use super::statistics::StatisticsSettings;
use super::vault::VaultReference;
use super::web_api::WebAccount;
use crate::model::connection::Endpoint;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;
use crate::model::rights::{BoundKey, Rights};

/// The complete settings of a daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// `gorgonecore` and the `name` of the top file.
    pub core: CoreSettings,
    /// The modules that are enabled and known.
    pub modules: Modules,
    /// `tpapi`: accounts of the web interface.
    pub tpapi: Vec<WebAccount>,
    /// The secrets that the left-out parts wait for.
    pub waiting: BTreeSet<VaultReference>,
    /// The values that were set by environment variables.
    pub from_environment: Vec<FromEnvironment>,
    /// The files that it was read from.
    pub sources: Sources,
    /// Warnings for the administrator; each is also logged at the start.
    pub warnings: Vec<Problem>,
}

/// `gorgonecore` (docs/protocol.md section 14).
#[derive(Clone, Debug, PartialEq)]
pub struct CoreSettings {
    /// `name` of the top file, otherwise the host name.
    pub name: String,
    /// `id`: the id of this daemon; if set, SETCOREID does not change it.
    pub id: Option<NodeId>,
    /// `hostname`, otherwise that of the machine.
    pub hostname: String,
    /// `timeout` (50 s): how long a stopping daemon waits for unfinished work.
    pub timeout: Duration,
    /// `external_com_type` and `external_com_path`: address of the external socket; `None` without one.
    pub external: Option<Endpoint>,
    /// `external_com_keysize` in bytes: 16, 24 or 32.
    pub key_size: usize,
    /// `external_com_rotation` (1440 min): interval between two changes of a session's key.
    pub rotation: Duration,
    /// `external_com_zmq_tcp_keepalive`: whether connections of the external socket and to nodes use TCP keep-alive.
    pub tcp_keepalive: bool,
    /// `ipv6`: whether a `*` listener binds `::` instead of `0.0.0.0`.
    pub ipv6: bool,
    /// `privkey`: path of the private key.
    pub private_key: PathBuf,
    /// `pubkey`: path of the public key.
    pub public_key: PathBuf,
    /// `authorized_clients`: thumbprints of the keys that may use the external socket.
    pub authorized_clients: Vec<String>,
    /// The authorised keys that have a `name`, a `node` or `may`, by thumbprint.
    pub bound_keys: BTreeMap<String, Arc<BoundKey>>,
    /// `fingerprint_mode`: how the keys of nodes are checked.
    pub fingerprint_mode: FingerprintMode,
    /// Path of the database, from `gorgone_db_name`.
    pub database: PathBuf,
    /// `gorgone_db_autocreate_schema`: whether missing tables are created.
    pub create_schema: bool,
    /// `gorgone_db_synchronous`: whether each commit waits for the disk (`full`, the default) or only the operating
    /// system (`normal`).
    pub database_synchronous: bool,
    /// `max_message_size` in bytes (16 MiB): maximum size of a message of an authenticated client.
    pub max_message_size: usize,
    /// `audit_log`: the file in which requests and their callers are recorded.
    pub audit_log: Option<PathBuf>,
    /// `delegate`: requests that an original Gorgone beside this daemon answers.
    pub delegate: DelegateSettings,
    /// `max_memory` in bytes: above it less input is read; `None` for no limit (0, the default).
    pub max_memory: Option<u64>,
}

/// `fingerprint_mode`: how the key of a node that we connect to is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FingerprintMode {
    /// Accept any key.
    Always,
    /// Remember the first key and refuse a change.
    First,
    /// Accept only known keys.
    Strict,
}

/// The known modules; `None` where a module is absent or disabled.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// `gorgone::modules::core::proxy::hooks`
    pub proxy: Option<ProxySettings>,
    /// `gorgone::modules::core::register::hooks`
    pub register: Option<RegisterSettings>,
    /// `gorgone::modules::core::action::hooks`
    pub action: Option<ActionSettings>,
    /// `gorgone::modules::centreon::engine::hooks`
    pub engine: Option<EngineSettings>,
    /// `gorgone::modules::core::cron::hooks`: its jobs.
    pub cron: Option<Vec<CronJob>>,
    /// `gorgone::modules::core::httpserver::hooks`
    pub httpserver: Option<HttpSettings>,
    /// `gorgone::modules::core::pull::hooks`
    pub pull: Option<PullSettings>,
    /// `gorgone::modules::core::pullwss::hooks`
    pub pullwss: Option<PullWssSettings>,
    /// `gorgone::modules::centreon::nodes::hooks`
    pub nodes: Option<NodesSettings>,
    /// `gorgone::modules::centreon::legacycmd::hooks`
    pub legacycmd: Option<LegacySettings>,
    /// `gorgone::modules::centreon::statistics::hooks`
    pub statistics: Option<StatisticsSettings>,
    /// `gorgone::modules::core::dbcleaner::hooks`; always on.
    pub dbcleaner: CleanerSettings,
    /// Every package that is loaded, by module name, for `INFORMATION`.
    pub loaded: BTreeMap<String, String>,
}

/// Options of the proxy (docs/protocol.md sections 6 and 7).
#[derive(Clone, Debug, PartialEq)]
pub struct ProxySettings {
    /// `pool` (5): maximum number of worker threads.
    pub pool: usize,
    /// `synchistory_time` (60 s): interval of syncs with a node.
    pub sync_time: Duration,
    /// `synchistory_timeout` (30 s): time limit of a sync.
    pub sync_timeout: Duration,
    /// `ping` (60 s): interval of pings to a node.
    pub ping: Duration,
    /// `pong_discard_timeout` (300 s)
    pub pong_discard_timeout: Duration,
    /// `failover_after` (30 s): time without connection after which a node counts as unreachable.
    pub failover_after: Duration,
    /// `pong_max_timeout` (3)
    pub pong_max_timeout: u32,
    /// `id_twice`: whether a second daemon with the id of one that is connected and answers takes its place (`replace`)
    /// or is refused (`refuse`, the default).
    pub replaces_twice: bool,
    /// `buffer_size` (150000 bytes)
    pub buffer_size: usize,
    /// `copy_rate_limit`: maximum number of bytes per second sent to each node by copies; `None` for no limit.
    pub copy_rate_limit: Option<u64>,
    /// `only_listed`: whether nodes that dial in must be listed. Without the option they must be if the register file
    /// or the Centreon database lists nodes that dial in.
    pub only_listed: Option<bool>,
    /// `queue`: requests that wait for their nodes.
    pub queue: QueueSettings,
    /// `httpserver`: the listener for pullwss nodes, if enabled.
    pub httpserver: Option<WebSocketSettings>,
}

/// `queue` of the module `proxy` (docs/queue.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// `ttl` (0 s): how long a request that says nothing else waits for its node; 0 for not at all.
    pub ttl: i64,
    /// `max_messages` (100000): maximum number of requests that wait for one node.
    pub max_messages: usize,
    /// `max_bytes` (256 MiB): maximum size of the requests that wait for one node.
    pub max_bytes: u64,
    /// `by_action`: the `ttl` of actions, by their words.
    pub by_action: BTreeMap<String, i64>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { ttl: 0, max_messages: 100_000, max_bytes: 256 << 20, by_action: BTreeMap::new() }
    }
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            pool: 5,
            sync_time: Duration::from_secs(60),
            sync_timeout: Duration::from_secs(30),
            ping: Duration::from_secs(60),
            pong_discard_timeout: Duration::from_secs(300),
            failover_after: Duration::from_secs(30),
            pong_max_timeout: 3,
            replaces_twice: false,
            buffer_size: 150_000,
            copy_rate_limit: None,
            only_listed: None,
            queue: QueueSettings::default(),
            httpserver: None,
        }
    }
}

/// Options of the module `register`.
#[derive(Clone, Debug)]
pub struct RegisterSettings {
    /// `config_file`: the path of the register file.
    pub file: PathBuf,
    /// The nodes that the file lists.
    pub nodes: Vec<Registration>,
}

/// Options of the module `action` (docs/protocol.md section 11).
#[derive(Clone, Debug, PartialEq)]
pub struct ActionSettings {
    /// `command_timeout` (30 s)
    pub command_timeout: Duration,
    /// `max_concurrent_commands` (64): maximum number of simultaneous commands; further ones wait in order.
    pub max_concurrent: usize,
    /// `max_output_size` (1 MiB): number of bytes kept of each output of a command.
    pub output_limit: usize,
    /// `allowed_cmds`: the allowed commands if `whitelist_cmds` is true; `None` if all are allowed.
    pub allowed: Option<CommandList>,
    /// `max_concurrent_engine` (3): maximum number of simultaneous commands of ACTIONENGINE; further ones are refused.
    pub max_concurrent_engine: usize,
    /// `paranoid_plugins` (false): whether a command is refused if its plugins cannot be installed.
    pub paranoid_plugins: bool,
    /// `copy_roots`: the directories under which copies may write; empty for no restriction.
    pub copy_roots: Arc<[PathBuf]>,
    /// `max_unpack_ratio` (250): maximum ratio of the size of unpacked files to that of the copied archive, beyond 64
    /// MiB.
    pub max_unpack_ratio: u64,
    /// `environment`: further environment variables for commands, as `NAME` or `NAME=VALUE`.
    pub environment: Vec<String>,
}

/// The allowed commands, and the handling of all others.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandList {
    /// `allowed_cmds`: the expressions for allowed commands.
    pub list: AllowList,
    /// `whitelist_mode: audit`: whether other commands are logged but run nevertheless.
    pub is_audit: bool,
}

impl Default for ActionSettings {
    fn default() -> Self {
        Self {
            command_timeout: Duration::from_secs(30),
            max_concurrent: 64,
            output_limit: 1 << 20,
            allowed: None,
            max_concurrent_engine: 3,
            paranoid_plugins: false,
            copy_roots: Arc::new([]),
            max_unpack_ratio: 250,
            environment: Vec::new(),
        }
    }
}

/// Options of the module `engine` (docs/protocol.md section 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// `command_file`: the engine's pipe for requests that do not name one.
    pub command_file: Option<String>,
    /// `timeout` (5 s): how long to wait for a reader of the pipe.
    pub timeout: Duration,
}

/// Options of the module `httpserver` (docs/protocol.md section 13). Its `Debug` omits the passwords.
#[derive(Clone, PartialEq)]
pub struct HttpSettings {
    /// `address` (0.0.0.0)
    pub address: IpAddr,
    /// `port` (8080)
    pub port: u16,
    /// `ssl`, `ssl_cert_file`, `ssl_key_file`, `passphrase`: TLS, if enabled.
    pub tls: Option<ServerTls>,
    /// `auth`: user and password, if enabled.
    pub auth: Option<BasicAuth>,
    /// `auth.users`: further users, if `auth` is enabled.
    pub users: Vec<HttpUser>,
    /// `allowed_hosts.subnets`: address ranges of callers, if restricted.
    pub allowed_hosts: Option<Vec<Subnet>>,
    /// `trusted_proxies`: addresses of proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<Subnet>,
    /// The name of this machine and `host_names`: host names under which browsers may call us, in addition to
    /// `gorgonecore.hostname`.
    pub host_names: Vec<String>,
}

impl HttpSettings {
    /// Whether callers need a user and a password.
    #[must_use]
    pub const fn wants_password(&self) -> bool {
        self.auth.is_some() || !self.users.is_empty()
    }
}

impl std::fmt::Debug for HttpSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "HttpSettings({}:{})", self.address, self.port)
    }
}

/// A user of the REST API. It holds a password hash, so it has no `Debug`.
#[derive(Clone, PartialEq)]
pub struct HttpUser {
    /// `name`, without a colon.
    pub name: String,
    /// `password_hash`, in PHC form.
    pub password_hash: String,
    /// `may`: the rights of the user.
    pub rights: Arc<Rights>,
}

/// A server's certificate and key. It holds a passphrase, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file with the certificate followed by its chain.
    pub certificate_file: PathBuf,
    /// PEM file with a PKCS#1, PKCS#8 (also encrypted) or SEC1 key.
    pub key_file: PathBuf,
    /// Passphrase of an encrypted PKCS#8 key.
    pub passphrase: Option<String>,
}

/// The proxy's `httpserver` (docs/protocol.md section 9). Its `Debug` omits the tokens.
#[derive(Clone, PartialEq)]
pub struct WebSocketSettings {
    /// `address` (all)
    pub address: IpAddr,
    /// `port` (443 with TLS, 80 without)
    pub port: u16,
    /// `token`: the common token, never empty. `None` only if there are `tokens` or a `web_api`.
    pub token: Option<String>,
    /// `tokens`: tokens of single nodes.
    pub tokens: Vec<NodeToken>,
    /// `web_api_tokens`: the account of the web API that knows further tokens.
    pub web_api: Option<WebAccount>,
    /// `trusted_proxies`: addresses of proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<Subnet>,
    /// `ssl` and its files.
    pub tls: Option<ServerTls>,
}

impl std::fmt::Debug for WebSocketSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "WebSocketSettings({}:{})", self.address, self.port)
    }
}

/// A separate token of a pullwss node. It holds a hash, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeToken {
    /// `name`, without a colon.
    pub name: String,
    /// `hash`: SHA-256 of the token.
    pub hash: [u8; 32],
    /// `node`: the only node that may use the token; `None` for any.
    pub node: Option<NodeId>,
}

/// Options of the module `pull` (docs/protocol.md section 8).
#[derive(Clone, Debug, PartialEq)]
pub struct PullSettings {
    /// `target_type` and `target_path`: the central's external socket.
    pub endpoint: Endpoint,
    /// `ping` (60 s): interval of registrations.
    pub ping: Duration,
    /// `ping_timeout` (30 s): silence after which a new session is opened.
    pub ping_timeout: Duration,
}

/// Options of the module `pullwss` (docs/protocol.md section 9). Its `Debug` omits the token.
#[derive(Clone, PartialEq)]
pub struct PullWssSettings {
    /// `address`
    pub host: String,
    /// `port` (443 with TLS, 80 without)
    pub port: u16,
    /// `token`
    pub token: String,
    /// `central_uri` (`/`)
    pub uri: String,
    /// `ssl`: how the central's certificate is checked; `None` without TLS.
    pub tls: Option<ClientTls>,
    /// `proxy`: an HTTP proxy that supports CONNECT.
    pub proxy: Option<HttpProxy>,
    /// `ping` (30 s): interval of registrations.
    pub ping: Duration,
    /// `max_msg_size` (130000): maximum number of characters of one SETLOGS part.
    pub max_message_size: usize,
}

impl std::fmt::Debug for PullWssSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PullWssSettings({}:{})", self.host, self.port)
    }
}

/// How a server's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientTls {
    /// By the system's root certificates, or those of `ssl_ca_file`.
    Verify {
        /// PEM file with the root certificates to trust instead of the system's.
        ca_file: Option<PathBuf>,
    },
    /// `ssl_fingerprint`: the SHA-256 of the server's certificate, 32 bytes.
    Pinned([u8; 32]),
    /// `https_cert_no_verify: true`: the certificate is not checked.
    NoVerify,
}

/// An HTTP proxy, from `http://user:password@host:port`. It holds a password, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProxy {
    /// Host name or address.
    pub host: String,
    /// TCP port (3128).
    pub port: u16,
    /// User and password, if the proxy needs them.
    pub auth: Option<BasicAuth>,
}

/// A user and a password. It has no `Debug`, so that the password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// `user`
    pub user: String,
    /// `password`
    pub password: String,
}

/// A range of addresses such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// An address in the range.
    pub address: IpAddr,
    /// Number of significant leading bits: 0 to 32 (IPv4) or 128 (IPv6).
    pub prefix: u8,
}

impl Subnet {
    /// Whether `address` is in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = |bits: u32| bits.saturating_sub(u32::from(self.prefix));
        match (self.address, address) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                (range.to_bits() ^ address.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                (range.to_bits() ^ address.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Options of the module `dbcleaner` (docs/protocol.md section 15).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerSettings {
    /// `purge_sessions_time` (3600 s): how long unused sessions are kept.
    pub sessions: Duration,
    /// `purge_history_time` (604800 s): how long rows of the history are kept.
    pub history: Duration,
}

impl Default for CleanerSettings {
    fn default() -> Self {
        Self { sessions: Duration::from_secs(3_600), history: Duration::from_secs(604_800) }
    }
}
