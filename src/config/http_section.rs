//! The options of the module `httpserver` (docs/protocol.md section 13).

use std::net::{IpAddr, Ipv4Addr};

use super::address;
use super::findings::Findings;
use super::section::{Section, refuse, scalar};
use super::settings::{BasicAuth, HttpSettings, Subnet};
use super::tls_section;

/// Reads the options; wrong values are noted and read as their default.
pub(super) fn read(mut section: Section<'_>, findings: &mut Findings) -> HttpSettings {
    const ADDRESS: &str = "an IPv4 or IPv6 address to listen on, for instance 0.0.0.0 or ::1";
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let settings = HttpSettings {
        tls: tls_section::read_server(&mut section, findings),
        address: section.parsed("address", any, ADDRESS, findings, address::listen_address),
        port: section.parsed("port", 8080, "a whole number from 1 to 65535", findings, address::port_number),
        auth: auth(&mut section, findings),
        allowed_hosts: allowed_hosts(&mut section, findings),
    };
    section.finish(&["dispatch", "no_shell_interpretation"], findings);
    settings
}

fn auth(section: &mut Section<'_>, findings: &mut Findings) -> Option<BasicAuth> {
    let mut auth = section.child("auth", findings);
    let enabled = auth.boolean("enabled", false, findings);
    if !enabled {
        auth.finish(&["user", "password"], findings);
        return None;
    }
    let user = auth.text("user", findings).map(|(text, _)| text.to_owned());
    let password = auth.text("password", findings).map(|(text, _)| text.to_owned());
    for (key, value) in [("user", &user), ("password", &password)] {
        if value.is_none() {
            findings.problem(auth.file(), &auth.path(key), "is missing or empty; 'auth' with 'enabled: true' needs it");
        }
    }
    if let Some(user) = user.as_deref().filter(|user| user.contains(':')) {
        refuse(auth.file(), &auth.path("user"), user, "a name without ':' (Basic authentication)", findings);
    }
    auth.finish(&[], findings);
    Some(BasicAuth { user: user?, password: password? })
}

fn allowed_hosts(section: &mut Section<'_>, findings: &mut Findings) -> Option<Vec<Subnet>> {
    const ALLOWED: &str = "a range such as 10.30.2.0/24 or 2001:db8::/32, or one address";
    let mut hosts = section.child("allowed_hosts", findings);
    let enabled = hosts.boolean("enabled", false, findings);
    let mut subnets = Vec::new();
    let items = hosts.items("subnets", findings);
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let key = hosts.path(&format!("subnets[{index}]"));
        let Some(text) = scalar(item, &key, findings) else { continue };
        match address::subnet(text) {
            Some(subnet) => subnets.push(subnet),
            None => refuse(&item.file, &key, text, ALLOWED, findings),
        }
    }
    if enabled && items.is_none_or(<[_]>::is_empty) {
        let text = format!("is empty, so that nobody could use the API; list at least one '- RANGE', {ALLOWED}");
        findings.problem(hosts.file(), &hosts.path("subnets"), text);
    }
    hosts.finish(&[], findings);
    enabled.then_some(subnets)
}
