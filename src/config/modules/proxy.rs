//! The options of the module `proxy`, and of its `httpserver`, to which pullwss nodes connect (docs/protocol.md
//! sections 6, 7 and 9).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::dial_in;
use super::httpserver::subnets;
use super::queue::{self, QueueSettings};
use crate::config::core_section::DAY_SECONDS;
use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::section::{Section, Unit, refuse};
use crate::config::settings::ServerTls;
use crate::config::web_api::WebAccount;
use crate::config::{address, section, tls_section};
use crate::model::base64_text;
use crate::model::node_id::NodeId;
use crate::model::random::from_hex;
use crate::model::subnet::Subnet;

options! {
    PROXY = "proxy" in "the module 'proxy'" {
        "httpserver", "pool", "synchistory_time", "synchistory_timeout", "ping", "pong_discard_timeout",
        "failover_after", "pong_max_timeout", "id_twice", "copy_rate_limit", "buffer_size", "only_listed",
        "queue",
    } unused {}
    PROXY_QUEUE = "proxy queue" in "'queue' of the module 'proxy'" {
        "ttl", "max_messages", "max_bytes", "by_action",
    } unused {}
    PROXY_HTTPSERVER = "proxy httpserver" in "'httpserver' of the module 'proxy'" {
        "enable", "ssl", "ssl_cert_file", "ssl_key_file", "passphrase", "token", "tokens", "address", "port",
        "trusted_proxies", "web_api_tokens",
    } unused {}
    NODE_TOKEN = "proxy httpserver tokens" in "an entry of 'tokens' of 'httpserver' of the module 'proxy'" {
        "name", "hash", "node",
    } unused {}
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

/// Reads the module.
pub(super) fn read(section: Section<'_>, tpapi: &[WebAccount], findings: &mut Findings) -> ProxySettings {
    let default = ProxySettings::default();
    let seconds = Unit::Seconds;
    ProxySettings {
        httpserver: read_listener(section.child("httpserver", &PROXY_HTTPSERVER, findings), tpapi, findings),
        pool: section.number("pool", default.pool, 1..=64, "", findings),
        sync_time: section.duration("synchistory_time", default.sync_time, seconds, DAY_SECONDS, findings),
        sync_timeout: section.duration("synchistory_timeout", default.sync_timeout, seconds, DAY_SECONDS, findings),
        ping: section.duration("ping", default.ping, seconds, DAY_SECONDS, findings),
        pong_discard_timeout: section.duration(
            "pong_discard_timeout",
            default.pong_discard_timeout,
            seconds,
            DAY_SECONDS,
            findings,
        ),
        failover_after: section.duration("failover_after", default.failover_after, seconds, DAY_SECONDS, findings),
        pong_max_timeout: section.parsed(
            "pong_max_timeout",
            default.pong_max_timeout,
            "a whole number from 1 to 1000",
            findings,
            |text| text.parse().ok().filter(|number| (1..=1_000).contains(number)),
        ),
        replaces_twice: section.parsed("id_twice", false, "refuse or replace", findings, |text| match text {
            "refuse" => Some(false),
            "replace" => Some(true),
            _ => None,
        }),
        only_listed: section
            .parsed("only_listed", None, section::BOOLEANS, findings, |text| section::boolean(text).map(Some)),
        copy_rate_limit: read_rate_limit(&section, findings),
        queue: queue::read(&section.child("queue", &PROXY_QUEUE, findings), findings),
        buffer_size: section.number("buffer_size", default.buffer_size, 1..=8 << 20, "bytes", findings),
    }
}

/// The account of `tpapi` for the web API.
const WEB_API: &str = "centreonv2";

/// Reads the maximum number of bytes per second that copies send to each node.
fn read_rate_limit(section: &Section<'_>, findings: &mut Findings) -> Option<u64> {
    let allowed = "a whole number of bytes per second from 1024 to 1000000000000";
    section.parsed("copy_rate_limit", None, allowed, findings, |text| {
        text.trim().parse().ok().filter(|rate| (1_024..=1_000_000_000_000).contains(rate)).map(Some)
    })
}

/// Reads the proxy's `httpserver`; `None` if it is not enabled or has no token (docs/protocol.md section 9). One of the
/// `accounts` may contain the account of the web API, which knows further tokens.
fn read_listener(section: Section<'_>, accounts: &[WebAccount], findings: &mut Findings) -> Option<WebSocketSettings> {
    const ADDRESS: &str = "an IPv4 or IPv6 address to listen on, for instance 0.0.0.0 or ::1";
    if !section.boolean_unlike("enable", false, |text| text == "true", findings) {
        return None;
    }
    let uses_tls = section.boolean("ssl", false, findings);
    let tls = tls_section::read_server(&section, findings);
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let address = section.parsed("address", any, ADDRESS, findings, address::listen_address);
    let port = section.parsed("port", dial_in::default_port(uses_tls), dial_in::PORTS, findings, address::port_number);
    let token = dial_in::token(&section, findings);
    let tokens = tokens(&section, findings);
    let web_api = web_api(&section, accounts, findings);
    if section.value("token").is_none() && tokens.is_empty() && web_api.is_none() {
        let text = "is missing or empty, so the listener does not start and no pullwss node can connect; \
                    set the token that the nodes have, or 'tokens'";
        findings.warning(section.place(), &section.path("token"), text);
    }
    let trusted_proxies = subnets(&section, "trusted_proxies", findings);
    let has_any = token.is_some() || !tokens.is_empty() || web_api.is_some();
    has_any.then_some(WebSocketSettings { address, port, token, tokens, web_api, trusted_proxies, tls })
}

/// Reads `web_api_tokens`: the account of the web API, unless it is not used.
fn web_api(section: &Section<'_>, accounts: &[WebAccount], findings: &mut Findings) -> Option<WebAccount> {
    let account = accounts.iter().find(|account| account.name == WEB_API && account.url.is_some());
    if !section.boolean("web_api_tokens", account.is_some(), findings) {
        return None;
    }
    if account.is_none()
        && let Some((_, place)) = section.text("web_api_tokens", findings)
    {
        let text = "is true, but 'tpapi' has no entry 'centreonv2' with 'base_url', 'username' and 'password', so no \
                    token can be checked by the web API; add it";
        findings.warning(place, &section.path("web_api_tokens"), text);
    }
    account.cloned()
}

/// Reads `tokens`, the tokens of single nodes.
fn tokens(section: &Section<'_>, findings: &mut Findings) -> Vec<NodeToken> {
    const NAMES: &str = "a name of letters, digits, '.', '_' and '-', at most 64 characters";
    const HASHES: &str = "the SHA-256 of the token in hex or base64; 'stheno keys hash-token' prints it";
    let mut tokens: Vec<NodeToken> = Vec::new();
    for (index, item) in section.items("tokens", findings).unwrap_or_default().iter().enumerate() {
        let key = section.path(&format!("tokens[{index}]"));
        let entry = Section::new(Some(item), section.place(), &key, &NODE_TOKEN, findings);
        let node =
            entry.parsed("node", None, "the id of a node", findings, |text| text.parse::<NodeId>().ok().map(Some));
        if section::is_named_without_value(item, "node") {
            let text = "is empty, so the token would speak for every node; give the id, or leave the key out";
            findings.problem(&item.place, &entry.path("node"), text);
        }
        let name = entry.text("name", findings).map(|(text, _)| text.to_owned());
        let hash = entry.text("hash", findings).map(|(text, _)| token_hash(text));
        for (key, is_given) in [("name", name.is_some()), ("hash", hash.is_some())] {
            if !is_given {
                findings.problem(&item.place, &entry.path(key), "is missing or empty; each token needs it");
            }
        }
        if let Some(name) = name.as_deref().filter(|name| !is_token_name(name)) {
            refuse(&item.place, &entry.path("name"), name, NAMES, findings);
        }
        if name.is_some() && tokens.iter().any(|token| Some(&token.name) == name.as_ref()) {
            findings.problem(&item.place, &entry.path("name"), "is that of another token");
        }
        if hash == Some(None) {
            // The value may be the token itself, so it is not shown.
            findings.problem(&item.place, &entry.path("hash"), format!("is not a hash; allowed: {HASHES}"));
        }
        let hash = hash.flatten();
        if let Some(same) = tokens.iter().find(|token| Some(token.hash) == hash) {
            let text = format!("is that of the token '{}'; each needs a value of its own", same.name);
            findings.problem(&item.place, &entry.path("hash"), text);
        }
        if let (Some(name), Some(hash)) = (name, hash) {
            tokens.push(NodeToken { name, hash, node });
        }
    }
    tokens
}

fn is_token_name(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Parses a SHA-256 hash: 64 hexadecimal digits, or base64 in either alphabet.
fn token_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 {
        return from_hex(text)?.try_into().ok();
    }
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    if text.len() != 43 {
        return None;
    }
    base64_text::decode(format!("{text}=").as_bytes())?.try_into().ok()
}
