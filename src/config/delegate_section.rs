//! Reads `gorgonecore.delegate` into [`DelegateSettings`].

use super::delegate::DelegateSettings;
use super::findings::Findings;
use super::options;
use super::section::Section;
use crate::model::node_id;

/// Maximum number of patterns or prefixes in one list.
const ENTRIES_MAX: usize = 1_000;

/// Reads the option; without it nothing is delegated.
pub(super) fn read(core: &Section<'_>, findings: &mut Findings) -> DelegateSettings {
    if core.value("delegate").is_none() {
        return DelegateSettings::default();
    }
    let section = core.child("delegate", &options::DELEGATE, findings);
    let node = section.parsed("node", None, node_id::ALLOWED, findings, |text| text.parse().ok().map(Some));
    if section.value("node").is_none() {
        let text = format!("is missing; allowed: {}, the id of a push_zmq node", node_id::ALLOWED);
        findings.problem(section.place(), &section.path("node"), text);
    }
    let actions = words(&section, "actions", findings, |text| {
        let fits = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_*".contains(&byte));
        (fits && text != "*").then(|| text.to_owned())
    });
    let endpoints = words(&section, "endpoints", findings, |text| {
        let path = text.trim_matches('/');
        let path = path.strip_prefix("api/").unwrap_or(path);
        let fits = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte));
        (fits && !path.is_empty() && path != "api").then(|| path.to_owned())
    });
    if actions.is_empty() && endpoints.is_empty() {
        let text = "has neither 'actions' nor 'endpoints', so nothing goes to that node";
        findings.warning(section.place(), &section.path(""), text);
    }
    DelegateSettings { node, actions, endpoints }
}

fn words(
    section: &Section<'_>,
    key: &'static str,
    findings: &mut Findings,
    read: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    const ALLOWED: &str = "for 'actions' a word in capitals, in which '*' stands for any letters, such as \
        'ADDHOSTDISCOVERYJOB' or '*DISCOVERY*'; for 'endpoints' the beginning of a path, such as \
        '/centreon/autodiscovery'";
    let mut words = section.list(key, ALLOWED, findings, read);
    words.truncate(ENTRIES_MAX);
    words
}
