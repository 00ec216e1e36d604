//! The options of the module `httpserver` (docs/protocol.md section 13).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::config::core_section::machine_name;
use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::section::{Section, refuse};
use crate::config::settings::{BasicAuth, ServerTls};
use crate::config::{address, rights_section, tls_section};
use crate::model::rights::Rights;
use crate::model::subnet::Subnet;

options! {
    HTTPSERVER = "httpserver" in "the module 'httpserver'" {
        "address", "port", "ssl", "ssl_cert_file", "ssl_key_file", "passphrase", "auth", "allowed_hosts",
        "trusted_proxies", "host_names", "status",
    } unused {
        "dispatch", "no_shell_interpretation",
    }
    STATUS = "httpserver status" in "'status' of the module 'httpserver'" {
        "address", "port", "ssl", "ssl_cert_file", "ssl_key_file", "passphrase",
    } unused {}
    AUTH = "httpserver auth" in "'auth' of the module 'httpserver'" {
        "enabled", "user", "password", "users",
    } unused {}
    API_USER = "httpserver auth users" in "an entry of 'users' of 'auth' of the module 'httpserver'" {
        "name", "password_hash", "may",
    } unused {}
    ALLOWED_HOSTS = "httpserver allowed_hosts" in "'allowed_hosts' of the module 'httpserver'" {
        "enabled", "subnets",
    } unused {}
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
    /// `status`: a further listener for the status page, with the same API, users and ranges.
    pub status: Option<StatusListener>,
}

/// The listener of the status page.
#[derive(Clone, PartialEq)]
pub struct StatusListener {
    /// `address` (127.0.0.1)
    pub address: IpAddr,
    /// `port` (8086)
    pub port: u16,
    /// `ssl`, `ssl_cert_file`, `ssl_key_file`, `passphrase`: TLS, if enabled.
    pub tls: Option<ServerTls>,
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

const RANGE: &str = "a range such as 10.30.2.0/24 or 2001:db8::/32, or one address";
const NAME: &str = "a host name without a port, for instance gorgone.example.org";

/// Reads the options; wrong values are reported and replaced by their defaults.
pub(super) fn read(section: Section<'_>, findings: &mut Findings) -> HttpSettings {
    const ADDRESS: &str = "an IPv4 or IPv6 address to listen on, for instance 0.0.0.0 or ::1";
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let tls = tls_section::read_server(&section, findings);
    let address = section.parsed("address", any, ADDRESS, findings, address::listen_address);
    let port = section.parsed("port", 8080, "a whole number from 1 to 65535", findings, address::port_number);
    let (auth, users) = auth(&section, findings);
    let names_no_host = section.value("host_names").is_none();
    let settings = HttpSettings {
        tls,
        address,
        port,
        auth,
        users,
        allowed_hosts: allowed_hosts(&section, findings),
        trusted_proxies: subnets(&section, "trusted_proxies", findings),
        host_names: host_names(&section, findings),
        status: status(&section, findings),
    };
    let is_open = !settings.wants_password() && settings.allowed_hosts.is_none();
    let page = settings.status.as_ref().filter(|status| is_open && !status.address.is_loopback());
    if let Some(status) = page {
        let text = format!(
            "is {}, and neither 'auth' nor 'allowed_hosts' is enabled: everybody who reaches the page can run \
             commands; enable one of them, or listen on 127.0.0.1",
            status.address
        );
        findings.warning(section.place(), &section.path("status.address"), text);
    }
    if is_open && !settings.address.is_loopback() {
        let text = format!(
            "is {}, and neither 'auth' nor 'allowed_hosts' is enabled: everybody who reaches it can run commands; \
             enable one of them, or listen on 127.0.0.1",
            settings.address
        );
        findings.warning(section.place(), &section.path("address"), text);
    }
    if !settings.wants_password() && !settings.address.is_loopback() && names_no_host {
        let text = format!(
            "is absent and the API has no login: a call by another name than '{}', a name without a dot or an address \
             is answered 403; list the names by which this daemon is called",
            machine_name()
        );
        findings.warning(section.place(), &section.path("host_names"), text);
    }
    settings
}

fn status(section: &Section<'_>, findings: &mut Findings) -> Option<StatusListener> {
    const ADDRESS: &str = "an IPv4 or IPv6 address to listen on, for instance 127.0.0.1 or 0.0.0.0";
    section.value("status")?;
    let status = section.child("status", &STATUS, findings);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let tls = tls_section::read_server(&status, findings);
    let address = status.parsed("address", here, ADDRESS, findings, address::listen_address);
    let port = status.parsed("port", 8086, "a whole number from 1 to 65535", findings, address::port_number);
    if !cfg!(feature = "status") {
        let text = "has no effect: this build, which is for pollers, has no status page";
        findings.warning(section.place(), &section.path("status"), text);
        return None;
    }
    Some(StatusListener { address, port, tls })
}

fn auth(section: &Section<'_>, findings: &mut Findings) -> (Option<BasicAuth>, Vec<HttpUser>) {
    let auth = section.child("auth", &AUTH, findings);
    let enabled = auth.boolean_unlike("enabled", false, |text| text == "true", findings);
    if !enabled {
        return (None, Vec::new());
    }
    let users = users(&auth, findings);
    let user = auth.exact("user", findings).map(|(text, _)| text.to_owned());
    let password = auth.exact("password", findings).map(|(text, _)| text.to_owned());
    let is_needed = users.is_empty() || user.is_some() || password.is_some();
    for (key, value) in [("user", &user), ("password", &password)] {
        if value.is_none() && is_needed {
            findings.problem(
                auth.place(),
                &auth.path(key),
                "is missing or empty; 'auth' with 'enabled: true' needs it",
            );
        }
    }
    if let Some(user) = user.as_deref().filter(|user| user.contains(':')) {
        refuse(auth.place(), &auth.path("user"), user, USER, findings);
    }
    (user.zip(password).map(|(user, password)| BasicAuth { user, password }), users)
}

const USER: &str = "a name without ':' (Basic authentication)";

fn users(auth: &Section<'_>, findings: &mut Findings) -> Vec<HttpUser> {
    let mut users: Vec<HttpUser> = Vec::new();
    for (index, item) in auth.items("users", findings).unwrap_or_default().iter().enumerate() {
        let key = auth.path(&format!("users[{index}]"));
        let entry = Section::new(Some(item), auth.place(), &key, &API_USER, findings);
        let name = entry.text("name", findings).map(|(text, _)| text.to_owned());
        let hash = entry.text("password_hash", findings).map(|(text, _)| text.to_owned());
        let rights = rights_section::may(&entry, findings);
        if let Some(name) = name.as_deref().filter(|name| name.contains(':')) {
            refuse(&item.place, &entry.path("name"), name, USER, findings);
        }
        if let Some(name) = name.as_deref().filter(|name| users.iter().any(|user| user.name == *name)) {
            findings.problem(&item.place, &entry.path("name"), format!("is '{name}', as that of another user"));
        }
        if hash.as_deref().is_some_and(|hash| !is_password_hash(hash)) {
            let text = "is not an Argon2 hash; 'stheno keys hash-password' prints one";
            findings.problem(&item.place, &entry.path("password_hash"), text);
        }
        for (key, is_given) in [("name", name.is_some()), ("password_hash", hash.is_some()), ("may", rights.is_some())]
        {
            if !is_given {
                findings.problem(&item.place, &entry.path(key), "is missing or empty; each user needs it");
            }
        }
        if let (Some(name), Some(password_hash), Some(rights)) = (name, hash, rights) {
            users.push(HttpUser { name, password_hash, rights: Arc::new(rights) });
        }
    }
    users
}

/// Whether `text` has the form `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`.
fn is_password_hash(text: &str) -> bool {
    let parts: Vec<&str> = text.split('$').collect();
    matches!(parts.as_slice(), ["", "argon2id" | "argon2i" | "argon2d", version, costs, salt, hash]
        if version.starts_with("v=") && costs.starts_with("m=") && !salt.is_empty() && !hash.is_empty())
}

fn allowed_hosts(section: &Section<'_>, findings: &mut Findings) -> Option<Vec<Subnet>> {
    let hosts = section.child("allowed_hosts", &ALLOWED_HOSTS, findings);
    let enabled = hosts.boolean("enabled", false, findings);
    let is_empty = hosts.items("subnets", findings).is_none_or(<[_]>::is_empty);
    let subnets = subnets(&hosts, "subnets", findings);
    if enabled && is_empty {
        let text = format!("is empty, so that nobody could use the API; list at least one '- RANGE', {RANGE}");
        findings.problem(hosts.place(), &hosts.path("subnets"), text);
    }
    enabled.then_some(subnets)
}

/// Reads a list of address ranges.
pub(super) fn subnets(section: &Section<'_>, name: &'static str, findings: &mut Findings) -> Vec<Subnet> {
    section.list(name, RANGE, findings, address::subnet)
}

fn host_names(section: &Section<'_>, findings: &mut Findings) -> Vec<String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let names = section.list("host_names", NAME, findings, |text| text.bytes().all(is_part).then(|| text.to_owned()));
    std::iter::once(machine_name()).chain(names).collect()
}
