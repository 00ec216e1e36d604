//! Options for nodes that dial in, at both ends: the modules `pull` and `pullwss` of such a node (docs/protocol.md
//! sections 8 and 9), and the proxy's `httpserver`, to which a pullwss node connects.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::address;
use super::core_section::{DAY_SECONDS, SOCKET_PATH_LIMIT};
use super::findings::Findings;
use super::http_section;
use super::options;
use super::section::{Section, Unit, refuse};
use super::settings::{
    BasicAuth, CoreSettings, HttpProxy, NodeToken, PullSettings, PullWssSettings, WebSocketSettings,
};
use super::tls_section;
use super::tree::{Node, Place, Value};
use super::web_api::WebAccount;
use crate::model::base64_text;
use crate::model::connection::Endpoint;
use crate::model::link::LinkMode;
use crate::model::node_id::NodeId;
use crate::model::random::from_hex;
use crate::model::text::quoted;

const PORTS: &str = "a whole number from 1 to 65535";
const TOKENS: &str = "visible ASCII characters without spaces (it travels in an HTTP header)";
/// The account of `tpapi` for the web API.
const WEB_API: &str = "centreonv2";
/// The placeholder of a token in the example files.
const EXAMPLE_TOKEN: &str = "a-long-random-word";
/// The accepted forms of an [`HttpProxy`], for messages.
const PROXIES: &str = "http://HOST:PORT or http://USER:PASSWORD@HOST:PORT";

/// Reads the proxy's `httpserver`; `None` if it is not enabled or has no token (docs/protocol.md section 9). One of the
/// `accounts` may contain the account of the web API, which knows further tokens.
pub(super) fn read_listener(
    section: Section<'_>,
    accounts: &[WebAccount],
    findings: &mut Findings,
) -> Option<WebSocketSettings> {
    const ADDRESS: &str = "an IPv4 or IPv6 address to listen on, for instance 0.0.0.0 or ::1";
    if !section.boolean_unlike("enable", false, |text| text == "true", findings) {
        return None;
    }
    let uses_tls = section.boolean("ssl", false, findings);
    let tls = tls_section::read_server(&section, findings);
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let address = section.parsed("address", any, ADDRESS, findings, address::listen_address);
    let port = section.parsed("port", default_port(uses_tls), PORTS, findings, address::port_number);
    let token = token(&section, findings);
    let tokens = tokens(&section, findings);
    let web_api = web_api(&section, accounts, findings);
    if section.value("token").is_none() && tokens.is_empty() && web_api.is_none() {
        let text = "is missing or empty, so the listener does not start and no pullwss node can connect; \
                    set the token that the nodes have, or 'tokens'";
        findings.warning(section.place(), &section.path("token"), text);
    }
    let trusted_proxies = http_section::subnets(&section, "trusted_proxies", findings);
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
        let entry = Section::new(Some(item), section.place(), &key, &options::NODE_TOKEN, findings);
        let node =
            entry.parsed("node", None, "the id of a node", findings, |text| text.parse::<NodeId>().ok().map(Some));
        if is_named_without_value(item, "node") {
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
            findings.problem(&item.place, &entry.path("hash"), format!("is no hash; allowed: {HASHES}"));
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

/// Whether `key` is present without a value.
pub(super) fn is_named_without_value(item: &Node, key: &str) -> bool {
    let Value::Map(entries) = &item.value else { return false };
    entries.iter().filter(|(name, _)| **name == *key).any(|(_, node)| match &node.value {
        Value::Null => true,
        Value::Text(text) => text.trim().is_empty(),
        _ => false,
    })
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

const fn default_port(uses_tls: bool) -> u16 {
    if uses_tls { 443 } else { 80 }
}

/// Reads the token, which is never empty. If no header can carry it, a problem is reported that does not show it.
fn token(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
    let (text, file) = section.exact("token", findings)?;
    if text == EXAMPLE_TOKEN {
        let text = "is the word of the example files, which everybody knows; make one of your own, for instance with \
            'openssl rand -hex 32', and put the same into the central's and the nodes' files";
        findings.warning(file, &section.path("token"), text);
    }
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(text.to_owned());
    }
    let text = format!("holds other characters than allowed: {TOKENS}");
    findings.problem(file, &section.path("token"), text);
    None
}

/// Reads the module `pull`; `None` after a problem.
pub(super) fn read_pull(section: Section<'_>, core: &CoreSettings, findings: &mut Findings) -> Option<PullSettings> {
    need_id(&section, core, findings);
    let endpoint = target(&section, findings);
    let seconds = Unit::Seconds;
    let ping = ping(&section, 60, findings);
    let ping_timeout = section.duration("ping_timeout", Duration::from_secs(30), seconds, DAY_SECONDS, findings);
    let link = section.parsed("link", None, LinkMode::WORDS, findings, |text| LinkMode::from_word(text).map(Some));
    Some(PullSettings { endpoint: endpoint?, link, ping, ping_timeout })
}

/// Reads `target_type` and `target_path`, the external socket of the central.
fn target(section: &Section<'_>, findings: &mut Findings) -> Option<Endpoint> {
    const TCP: &str = "'HOST:PORT' of the central's external socket, for instance '192.0.2.1:5556'";
    let is_tcp =
        section.parsed("target_type", true, "tcp or ipc", findings, |text| match text.to_ascii_lowercase().as_str() {
            "tcp" => Some(true),
            "ipc" => Some(false),
            _ => None,
        });
    let Some((text, file)) = section.text("target_path", findings) else {
        if section.value("target_path").is_none() {
            let text = format!("is missing; allowed: {TCP}");
            findings.problem(section.place(), &section.path("target_path"), text);
        }
        return None;
    };
    let (endpoint, allowed) = if is_tcp {
        let place = address::host_and_port(text).filter(|(host, _)| host != "*");
        (place.map(|(host, port)| Endpoint::Tcp { host, port }), TCP)
    } else {
        let fits = text.len() <= SOCKET_PATH_LIMIT && !text.starts_with('@') && !text.contains('\0');
        (fits.then(|| Endpoint::Ipc(PathBuf::from(text))), "the path of a Unix socket, at most 107 bytes")
    };
    if endpoint.is_none() {
        refuse(file, &section.path("target_path"), text, allowed, findings);
    }
    endpoint
}

/// Reads the module `pullwss`; `None` after a problem.
pub(super) fn read_pullwss(
    section: Section<'_>,
    core: &CoreSettings,
    findings: &mut Findings,
) -> Option<PullWssSettings> {
    const HOSTS: &str = "the host name or the address of the central, without a port";
    const PATHS: &str = "a path that begins with '/', without spaces";
    need_id(&section, core, findings);
    let host = required(&section, "address", HOSTS, findings).and_then(|(text, file)| {
        let host = address::host(text);
        if host.is_none() {
            refuse(file, &section.path("address"), text, HOSTS, findings);
        }
        host
    });
    let token = required(&section, "token", "the token of the central's 'httpserver'", findings)
        .and_then(|_| token(&section, findings));
    let uses_tls = section.boolean("ssl", false, findings);
    let tls = tls_section::read_client(&section, findings);
    let port = section.parsed("port", default_port(uses_tls), PORTS, findings, address::port_number);
    let uri = section.parsed("central_uri", "/".to_owned(), PATHS, findings, |text| {
        let fits = text.starts_with('/') && text.len() <= 1_024 && text.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && !text.contains('#')).then(|| text.to_owned())
    });
    let proxy = http_proxy(&section, findings);
    let ping = ping(&section, 30, findings);
    let max_message_size = section.number("max_msg_size", 130_000, 1_024..=262_144, "characters", findings);
    Some(PullWssSettings { host: host?, port, token: token?, uri, tls, proxy, ping, max_message_size })
}

/// Reads `ping`, the interval at which the node registers again, with a minimum of `least` seconds. Published examples
/// have 1, which would make every node register each second.
fn ping(section: &Section<'_>, least: u64, findings: &mut Findings) -> Duration {
    let least = Duration::from_secs(least);
    let ping = section.duration("ping", least, Unit::Seconds, DAY_SECONDS, findings);
    if ping < least
        && let Some((text, place)) = section.text("ping", findings)
    {
        let seconds = least.as_secs();
        let text = format!(
            "is {}, so the central would hear a registration of this node as often; {seconds} is used (seconds)",
            quoted(text)
        );
        findings.warning(place, &section.path("ping"), text);
    }
    ping.max(least)
}

/// Reports a missing `id`, because a node without an id cannot register.
fn need_id(section: &Section<'_>, core: &CoreSettings, findings: &mut Findings) {
    if core.id.is_none() {
        let text = "a node that connects to its central needs 'gorgonecore.id', the id that the central knows it by";
        findings.problem(section.place(), &section.path(""), text);
    }
}

fn required<'a>(
    section: &Section<'a>,
    key: &'static str,
    allowed: &str,
    findings: &mut Findings,
) -> Option<(&'a str, &'a Place)> {
    if section.value(key).is_none() {
        let text = format!("is missing or empty; allowed: {allowed}");
        findings.problem(section.place(), &section.path(key), text);
    }
    section.text(key, findings)
}

/// Reads `proxy`. The value is never shown, because it may hold a password.
fn http_proxy(section: &Section<'_>, findings: &mut Findings) -> Option<HttpProxy> {
    let (text, file) = section.text("proxy", findings)?;
    let proxy = parse_proxy(text);
    if proxy.is_none() {
        let text = format!("is not an HTTP proxy that can be used; allowed: {PROXIES}");
        findings.problem(file, &section.path("proxy"), text);
    }
    proxy
}

fn parse_proxy(text: &str) -> Option<HttpProxy> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some(_) => return None,
        None => text,
    };
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = match address::host_and_port(place) {
        Some(found) => found,
        None => (address::host(place)?, 3128),
    };
    if host == "*" {
        return None;
    }
    let auth = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
        Some((user, password)) => Some(BasicAuth { user: decoded(user)?, password: decoded(password)? }),
        None => None,
    };
    Some(HttpProxy { host, port, auth })
}

/// Resolves percent-encoding such as `%40`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            digit()? << 4 | digit()?
        } else {
            byte
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_from_its_url() {
        let read = |text| {
            let proxy = parse_proxy(text)?;
            let auth = proxy.auth.map(|auth| format!("{}|{}", auth.user, auth.password));
            Some((proxy.host, proxy.port, auth))
        };
        for (text, host, port, auth) in [
            ("http://proxy:8080", "proxy", 8080, None),
            ("HTTP://proxy/", "proxy", 3128, None),
            ("192.0.2.1:3128", "192.0.2.1", 3128, None),
            ("http://[::1]:8080/", "::1", 8080, None),
            ("http://u:p@proxy:1", "proxy", 1, Some("u|p")),
            ("http://u%40example:p%3A%25:x@proxy:1", "proxy", 1, Some("u@example|p:%:x")),
            ("http://u@proxy:1", "proxy", 1, Some("u|")),
        ] {
            assert_eq!(read(text), Some((host.to_owned(), port, auth.map(str::to_owned))), "{text}");
        }
        for text in [
            "",
            "https://proxy:1",
            "socks5://proxy:1",
            "http://",
            "http://*:1",
            "http://u:%zz@p:1",
            "http://u%0d:x@p:1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
