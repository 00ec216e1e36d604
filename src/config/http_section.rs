//! The options of the module `httpserver` (docs/protocol.md section 13).

use std::net::{IpAddr, Ipv4Addr};

use super::address;
use super::findings::Findings;
use super::options;
use super::section::{Section, refuse, scalar};
use super::settings::{BasicAuth, HttpSettings, Subnet};
use super::tls_section;

/// Reads the options; wrong values are noted and read as their default.
pub(super) fn read(section: Section<'_>, findings: &mut Findings) -> HttpSettings {
    const ADDRESS: &str = "an IPv4 or IPv6 address to listen on, for instance 0.0.0.0 or ::1";
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    HttpSettings {
        tls: tls_section::read_server(&section, findings),
        address: section.parsed("address", any, ADDRESS, findings, address::listen_address),
        port: section.parsed("port", 8080, "a whole number from 1 to 65535", findings, address::port_number),
        auth: auth(&section, findings),
        allowed_hosts: allowed_hosts(&section, findings),
    }
}

fn auth(section: &Section<'_>, findings: &mut Findings) -> Option<BasicAuth> {
    let auth = section.child("auth", &options::AUTH, findings);
    let enabled = auth.boolean_unlike("enabled", false, |text| text == "true", findings);
    if !enabled {
        return None;
    }
    let user = auth.exact("user", findings).map(|(text, _)| text.to_owned());
    let password = auth.exact("password", findings).map(|(text, _)| text.to_owned());
    for (key, value) in [("user", &user), ("password", &password)] {
        if value.is_none() {
            findings.problem(
                auth.place(),
                &auth.path(key),
                "is missing or empty; 'auth' with 'enabled: true' needs it",
            );
        }
    }
    if let Some(user) = user.as_deref().filter(|user| user.contains(':')) {
        refuse(auth.place(), &auth.path("user"), user, "a name without ':' (Basic authentication)", findings);
    }
    Some(BasicAuth { user: user?, password: password? })
}

fn allowed_hosts(section: &Section<'_>, findings: &mut Findings) -> Option<Vec<Subnet>> {
    const ALLOWED: &str = "a range such as 10.30.2.0/24 or 2001:db8::/32, or one address";
    let hosts = section.child("allowed_hosts", &options::ALLOWED_HOSTS, findings);
    let enabled = hosts.boolean("enabled", false, findings);
    let mut subnets = Vec::new();
    let items = hosts.items("subnets", findings);
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let key = hosts.path(&format!("subnets[{index}]"));
        let Some(text) = scalar(item, &key, findings).map(str::trim) else { continue };
        match address::subnet(text) {
            Some(subnet) => subnets.push(subnet),
            None => refuse(&item.place, &key, text, ALLOWED, findings),
        }
    }
    if enabled && items.is_none_or(<[_]>::is_empty) {
        let text = format!("is empty, so that nobody could use the API; list at least one '- RANGE', {ALLOWED}");
        findings.problem(hosts.place(), &hosts.path("subnets"), text);
    }
    enabled.then_some(subnets)
}
