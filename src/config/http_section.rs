//! The options of the module `httpserver` (docs/protocol.md section 13).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::address;
use super::core_section::machine_name;
use super::findings::Findings;
use super::rights_section;
use super::section::{Section, refuse, scalar};
use super::settings::{BasicAuth, HttpSettings, HttpUser, Subnet};
use super::tls_section;

const RANGE: &str = "a range such as 10.30.2.0/24 or 2001:db8::/32, or one address";
const NAME: &str = "a host name without a port, for instance gorgone.example.org";

/// Reads the options; wrong values are noted and read as their default.
pub(super) fn read(mut section: Section<'_>, findings: &mut Findings) -> HttpSettings {
    const ADDRESS: &str = "an IPv4 or IPv6 address to listen on, for instance 0.0.0.0 or ::1";
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let tls = tls_section::read_server(&mut section, findings);
    let address = section.parsed("address", any, ADDRESS, findings, address::listen_address);
    let port = section.parsed("port", 8080, "a whole number from 1 to 65535", findings, address::port_number);
    let (auth, users) = auth(&mut section, findings);
    let settings = HttpSettings {
        tls,
        address,
        port,
        auth,
        users,
        allowed_hosts: allowed_hosts(&mut section, findings),
        trusted_proxies: subnets(&mut section, "trusted_proxies", findings),
        host_names: host_names(&mut section, findings),
    };
    let is_open = settings.auth.is_none() && settings.users.is_empty() && settings.allowed_hosts.is_none();
    if is_open && !settings.address.is_loopback() {
        let text = format!(
            "is {}, and neither 'auth' nor 'allowed_hosts' is enabled: everybody who reaches it can run commands; enable \
             one of them, or listen on 127.0.0.1",
            settings.address
        );
        findings.warning(section.file(), &section.path("address"), text);
    }
    section.finish(&["dispatch", "no_shell_interpretation"], findings);
    settings
}

fn auth(section: &mut Section<'_>, findings: &mut Findings) -> (Option<BasicAuth>, Vec<HttpUser>) {
    let mut auth = section.child("auth", findings);
    let enabled = auth.boolean("enabled", false, findings);
    if !enabled {
        auth.finish(&["user", "password", "users"], findings);
        return (None, Vec::new());
    }
    let users = users(&mut auth, findings);
    let user = auth.text("user", findings).map(|(text, _)| text.to_owned());
    let password = auth.text("password", findings).map(|(text, _)| text.to_owned());
    let is_needed = users.is_empty() || user.is_some() || password.is_some();
    for (key, value) in [("user", &user), ("password", &password)] {
        if value.is_none() && is_needed {
            findings.problem(auth.file(), &auth.path(key), "is missing or empty; 'auth' with 'enabled: true' needs it");
        }
    }
    if let Some(user) = user.as_deref().filter(|user| user.contains(':')) {
        refuse(auth.file(), &auth.path("user"), user, USER, findings);
    }
    auth.finish(&[], findings);
    (user.zip(password).map(|(user, password)| BasicAuth { user, password }), users)
}

const USER: &str = "a name without ':' (Basic authentication)";

fn users(auth: &mut Section<'_>, findings: &mut Findings) -> Vec<HttpUser> {
    let mut users: Vec<HttpUser> = Vec::new();
    for (index, item) in auth.items("users", findings).unwrap_or_default().iter().enumerate() {
        let key = auth.path(&format!("users[{index}]"));
        let mut entry = Section::new(Some(item), auth.file(), &key, findings);
        let name = entry.text("name", findings).map(|(text, _)| text.to_owned());
        let hash = entry.text("password_hash", findings).map(|(text, _)| text.to_owned());
        let rights = rights_section::may(&mut entry, findings);
        if let Some(name) = name.as_deref().filter(|name| name.contains(':')) {
            refuse(&item.file, &entry.path("name"), name, USER, findings);
        }
        if let Some(name) = name.as_deref().filter(|name| users.iter().any(|user| user.name == *name)) {
            findings.problem(&item.file, &entry.path("name"), format!("is '{name}', as that of another user"));
        }
        if hash.as_deref().is_some_and(|hash| !is_password_hash(hash)) {
            let text = "is no Argon2 hash; 'stheno keys hash-password' prints one";
            findings.problem(&item.file, &entry.path("password_hash"), text);
        }
        for (key, is_given) in [("name", name.is_some()), ("password_hash", hash.is_some()), ("may", rights.is_some())]
        {
            if !is_given {
                findings.problem(&item.file, &entry.path(key), "is missing or empty; each user needs it");
            }
        }
        entry.finish(&[], findings);
        if let (Some(name), Some(password_hash), Some(rights)) = (name, hash, rights) {
            users.push(HttpUser { name, password_hash, rights: Arc::new(rights) });
        }
    }
    users
}

/// `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`
fn is_password_hash(text: &str) -> bool {
    let parts: Vec<&str> = text.split('$').collect();
    matches!(parts.as_slice(), ["", "argon2id" | "argon2i" | "argon2d", version, costs, salt, hash]
        if version.starts_with("v=") && costs.starts_with("m=") && !salt.is_empty() && !hash.is_empty())
}

fn allowed_hosts(section: &mut Section<'_>, findings: &mut Findings) -> Option<Vec<Subnet>> {
    let mut hosts = section.child("allowed_hosts", findings);
    let enabled = hosts.boolean("enabled", false, findings);
    let is_empty = hosts.items("subnets", findings).is_none_or(<[_]>::is_empty);
    let subnets = subnets(&mut hosts, "subnets", findings);
    if enabled && is_empty {
        let text = format!("is empty, so that nobody could use the API; list at least one '- RANGE', {RANGE}");
        findings.problem(hosts.file(), &hosts.path("subnets"), text);
    }
    hosts.finish(&[], findings);
    enabled.then_some(subnets)
}

/// A list of ranges of addresses.
pub(super) fn subnets(section: &mut Section<'_>, name: &'static str, findings: &mut Findings) -> Vec<Subnet> {
    let mut subnets = Vec::new();
    for (index, item) in section.items(name, findings).unwrap_or_default().iter().enumerate() {
        let key = section.path(&format!("{name}[{index}]"));
        let Some(text) = scalar(item, &key, findings) else { continue };
        match address::subnet(text) {
            Some(subnet) => subnets.push(subnet),
            None => refuse(&item.file, &key, text, RANGE, findings),
        }
    }
    subnets
}

fn host_names(section: &mut Section<'_>, findings: &mut Findings) -> Vec<String> {
    let mut names = vec![machine_name()];
    for (index, item) in section.items("host_names", findings).unwrap_or_default().iter().enumerate() {
        let key = section.path(&format!("host_names[{index}]"));
        let Some(text) = scalar(item, &key, findings) else { continue };
        let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if is_name {
            names.push(text.to_owned());
        } else {
            refuse(&item.file, &key, text, NAME, findings);
        }
    }
    names
}
