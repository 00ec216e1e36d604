//! Reads `gorgonecore.cluster` into [`ClusterSettings`].

use std::time::Duration;

use super::address;
use super::cluster::ClusterSettings;
use super::database::HistoryServer;
use super::findings::Findings;
use super::options;
use super::section::{Section, refuse};

/// Reads the option; the names that follow from the API are completed by [`super::members::complete`].
pub(super) fn read(
    core: &Section<'_>,
    server: Option<&HistoryServer>,
    findings: &mut Findings,
) -> Option<ClusterSettings> {
    core.value("cluster")?;
    let section = core.child("cluster", &options::CLUSTER, findings);
    if server.is_none() {
        let text = "needs 'gorgone_db_type: mysql': the centrals of a cluster share one history";
        findings.problem(section.place(), &section.path(""), text);
    }
    let word = |key: &'static str, findings: &mut Findings| {
        let allowed = "1 to 100 letters, digits, or any of . : _ -";
        section.parsed(key, String::new(), allowed, findings, |text| {
            let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte));
            (fits && text.len() <= 100).then(|| text.to_owned())
        })
    };
    let name = word("name", findings);
    if name.is_empty() && section.value("name").is_none() {
        let text = "is missing; allowed: a name for the cluster, the same on each of its centrals";
        findings.problem(section.place(), &section.path("name"), text);
    }
    let member = word("member", findings);
    let lease = section.number("lease", 10, 2..=300, "seconds", findings);
    let mut at = String::new();
    if let Some((text, place)) = section.text("address", findings) {
        match address::host_and_port(text) {
            Some(_) => text.clone_into(&mut at),
            None => refuse(place, &section.path("address"), text, "HOST:PORT of this central's API", findings),
        }
    }
    let lease = Duration::from_secs(u64::try_from(lease).unwrap_or(10));
    Some(ClusterSettings { name, member, lease, address: at })
}
