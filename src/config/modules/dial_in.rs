//! The options of the modules `pull` and `pullwss` of a node that dials in (docs/protocol.md sections 8 and 9).

use std::path::PathBuf;
use std::time::Duration;

use crate::config::core_section::{DAY_SECONDS, SOCKET_PATH_LIMIT};
use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::section::{Section, Unit, refuse, scalar};
use crate::config::settings::{BasicAuth, ClientTls, CoreSettings, HttpProxy};
use crate::config::tree::{Place, Value};
use crate::config::{address, tls_section};
use crate::model::connection::Endpoint;
use crate::model::link::LinkMode;
use crate::model::text::quoted;

options! {
    PULL = "pull" in "the module 'pull'" {
        "target_type", "target_path", "link", "line", "ping", "ping_timeout",
    } unused {
        "cipher", "keysize", "vector", "padding", "server_pubkey", "client_*",
    }
    PULLWSS = "pullwss" in "the module 'pullwss'" {
        "address", "port", "token", "ssl", "https_cert_no_verify", "ssl_ca_file", "ssl_fingerprint", "central_uri",
        "proxy", "line", "ping", "max_msg_size",
    } unused {
        "ping_timeout",
    }
}

/// Options of the module `pull` (docs/protocol.md section 8).
#[derive(Clone, Debug, PartialEq)]
pub struct PullSettings {
    /// `target_type` and `target_path`: the central's external socket.
    pub endpoint: Endpoint,
    /// The further entries of a list in `target_path`.
    pub others: Vec<Endpoint>,
    /// `link`: the same option for this link; `None` for that of `gorgonecore`.
    pub link: Option<LinkMode>,
    /// `line: metered`: whether an idle link sends as little as possible.
    pub is_metered: bool,
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
    /// The further entries of a list in `address`: host and port.
    pub others: Vec<(String, u16)>,
    pub token: String,
    /// `central_uri` (`/`)
    pub uri: String,
    /// `ssl`: how the central's certificate is checked; `None` without TLS.
    pub tls: Option<ClientTls>,
    /// `proxy`: an HTTP proxy that supports CONNECT.
    pub proxy: Option<HttpProxy>,
    /// `line: metered`: whether an idle link sends as little as possible.
    pub is_metered: bool,
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

pub(super) const PORTS: &str = "a whole number from 1 to 65535";
const TOKENS: &str = "visible ASCII characters without spaces (it travels in an HTTP header)";
/// The placeholder of a token in the example files.
const EXAMPLE_TOKEN: &str = "a-long-random-word";
/// The accepted forms of an [`HttpProxy`], for messages.
const PROXIES: &str = "http://HOST:PORT or http://USER:PASSWORD@HOST:PORT";

pub(super) const fn default_port(uses_tls: bool) -> u16 {
    if uses_tls { 443 } else { 80 }
}

/// Reads the token, which is never empty. If no header can carry it, a problem is reported that does not show it.
pub(super) fn token(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
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
    let mut endpoints = targets(&section, findings).into_iter();
    let endpoint = endpoints.next();
    let seconds = Unit::Seconds;
    let ping = ping(&section, 60, findings);
    let ping_timeout = section.duration("ping_timeout", Duration::from_secs(30), seconds, DAY_SECONDS, findings);
    let link = section.parsed("link", None, LinkMode::WORDS, findings, |text| LinkMode::from_word(text).map(Some));
    let is_metered = is_metered(&section, findings);
    let others = endpoints.collect();
    Some(PullSettings { endpoint: endpoint?, others, link, is_metered, ping, ping_timeout })
}

/// Reads `target_type` and `target_path`: the external socket of the central, or a list of those of several centrals.
fn targets(section: &Section<'_>, findings: &mut Findings) -> Vec<Endpoint> {
    const TCP: &str = "'HOST:PORT' of the central's external socket, for instance '192.0.2.1:5556'";
    let is_tcp =
        section.parsed("target_type", true, "tcp or ipc", findings, |text| match text.to_ascii_lowercase().as_str() {
            "tcp" => Some(true),
            "ipc" => Some(false),
            _ => None,
        });
    let texts = words(section, "target_path", findings);
    if section.value("target_path").is_none() {
        let text = format!("is missing; allowed: {TCP}");
        findings.problem(section.place(), &section.path("target_path"), text);
    }
    texts.into_iter().filter_map(|(text, file)| target(text, file, is_tcp, section, findings)).collect()
}

/// Reads a value or a list of values.
fn words<'a>(section: &Section<'a>, key: &'static str, findings: &mut Findings) -> Vec<(&'a str, &'a Place)> {
    const ENTRIES_MAX: usize = 16;
    let Some(node) = section.value(key) else { return Vec::new() };
    let path = section.path(key);
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() || items.len() > ENTRIES_MAX {
        findings.problem(&node.place, &path, format!("has {} entries; allowed: 1 to {ENTRIES_MAX}", items.len()));
    }
    let mut found = Vec::new();
    for item in items.iter().take(ENTRIES_MAX) {
        found.extend(scalar(item, &path, findings).map(|text| (text.trim(), &item.place)));
    }
    found
}

fn target(text: &str, file: &Place, is_tcp: bool, section: &Section<'_>, findings: &mut Findings) -> Option<Endpoint> {
    const TCP: &str = "'HOST:PORT' of the central's external socket, for instance '192.0.2.1:5556'";
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
    const HOSTS: &str = "the host name or the address of the central, without a port, or a list of HOST or HOST:PORT";
    const PATHS: &str = "a path that begins with '/', without spaces";
    need_id(&section, core, findings);
    if section.value("address").is_none() {
        let text = format!("is missing or empty; allowed: {HOSTS}");
        findings.problem(section.place(), &section.path("address"), text);
    }
    let texts = words(&section, "address", findings);
    let is_list = section.value("address").is_some_and(|node| matches!(node.value, Value::List(_)));
    let token = required(&section, "token", "the token of the central's 'httpserver'", findings)
        .and_then(|_| token(&section, findings));
    let uses_tls = section.boolean("ssl", false, findings);
    let tls = tls_section::read_client(&section, findings);
    let port = section.parsed("port", default_port(uses_tls), PORTS, findings, address::port_number);
    let mut hosts = Vec::new();
    for (text, file) in texts {
        // In a list each entry may have a port of its own.
        let place = address::host_and_port(text).filter(|_| is_list);
        match place.or_else(|| address::host(text).map(|host| (host, port))) {
            Some(place) => hosts.push(place),
            None => refuse(file, &section.path("address"), text, HOSTS, findings),
        }
    }
    let mut hosts = hosts.into_iter();
    let first = hosts.next();
    let uri = section.parsed("central_uri", "/".to_owned(), PATHS, findings, |text| {
        let fits = text.starts_with('/') && text.len() <= 1_024 && text.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && !text.contains('#')).then(|| text.to_owned())
    });
    let proxy = http_proxy(&section, findings);
    let ping = ping(&section, 30, findings);
    let max_message_size = section.number("max_msg_size", 130_000, 1_024..=262_144, "characters", findings);
    let (host, port) = first?;
    let others = hosts.collect();
    let is_metered = is_metered(&section, findings);
    Some(PullWssSettings { host, port, others, token: token?, uri, tls, proxy, is_metered, ping, max_message_size })
}

/// Reads `line`.
fn is_metered(section: &Section<'_>, findings: &mut Findings) -> bool {
    section.parsed("line", false, "usual or metered", findings, |text| match text.to_ascii_lowercase().as_str() {
        "usual" => Some(false),
        "metered" => Some(true),
        _ => None,
    })
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
