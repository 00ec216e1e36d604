//! The options of a node that is reached by SSH (docs/protocol.md section 10).

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::address;
use super::findings::Findings;
use super::section::{BOOLEANS, Section, Unit, boolean, refuse};
use super::tree::Place;
use crate::model::ssh::{DEFAULT_CONNECT_TIMEOUT, DEFAULT_PORT, HostKeyCheck, Secret, SshTarget};

/// Reads them; `host` is read already, and `declared_in` is where the file says `push_ssh`.
pub(super) fn read(
    section: &Section<'_>,
    host: String,
    declared_in: &Place,
    findings: &mut Findings,
) -> Option<SshTarget> {
    let port =
        section.parsed("ssh_port", DEFAULT_PORT, "a whole number from 1 to 65535", findings, address::port_number);
    let allowed = format!("{BOOLEANS}, or never");
    let host_key_check =
        section.parsed("strict_serverkey_check", HostKeyCheck::First, &allowed, findings, |text| match boolean(text) {
            Some(true) => Some(HostKeyCheck::Strict),
            Some(false) => Some(HostKeyCheck::First),
            None => text.trim().eq_ignore_ascii_case("never").then_some(HostKeyCheck::Never),
        });
    let target = SshTarget {
        host,
        port,
        username: text(section, "ssh_username", findings).unwrap_or_default(),
        password: exact(section, "ssh_password", findings).map(Secret::new),
        directory: path(section, "ssh_directory", findings),
        known_hosts: path(section, "ssh_known_hosts", findings),
        identity: path(section, "ssh_identity", findings),
        passphrase: exact(section, "ssh_passphrase", findings).map(Secret::new),
        host_key_check,
        connect_timeout: section.duration("ssh_connect_timeout", DEFAULT_CONNECT_TIMEOUT, Unit::Seconds, 600, findings),
        legacy_algorithms: section.boolean("ssh_legacy_algorithms", false, findings),
    };
    if let Some(identity) = target.identity.as_ref().filter(|identity| !identity.exists()) {
        let text = format!("there is no file {}; other ways to log in are tried", identity.display());
        findings.warning(declared_in, &section.path("ssh_identity"), text);
    }
    Some(target)
}

fn text(section: &Section<'_>, key: &'static str, findings: &mut Findings) -> Option<String> {
    section.text(key, findings).map(|(text, _)| text.to_owned())
}

fn exact(section: &Section<'_>, key: &'static str, findings: &mut Findings) -> Option<String> {
    section.exact(key, findings).map(|(text, _)| text.to_owned())
}

/// A relative path is taken from where the file lies that names it.
fn path(section: &Section<'_>, key: &'static str, findings: &mut Findings) -> Option<PathBuf> {
    const ALLOWED: &str = "a path; '~/' is the home of the daemon's user, other users have no short form";
    let (text, place) = section.text(key, findings)?;
    let path = if let Some(below) = text.strip_prefix("~/") {
        home().map(|home| home.join(below))
    } else {
        (!text.starts_with('~')).then(|| place.beside(text))
    };
    if path.is_none() {
        refuse(place, &section.path(key), text, ALLOWED, findings);
    }
    path
}

/// The home of the user that this process runs as: from the environment, else from the list of users.
fn home() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()) {
        return Some(home);
    }
    let own = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(&own))?;
    line.split(':').nth(5).map(PathBuf::from).filter(|home| home.is_absolute())
}
