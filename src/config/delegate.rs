//! `gorgonecore.delegate`: requests that a daemon of the original beside us answers (docs/protocol.md section 19).

use super::findings::Findings;
use super::options;
use super::section::{Section, refuse, scalar};
use crate::model::node_id::{self, NodeId};

/// Patterns and prefixes of one list at most.
const ENTRIES_MAX: usize = 1_000;

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelegateSettings {
    /// `node`: who answers; a node that we connect to.
    pub node: Option<NodeId>,
    /// `actions`: words of actions, where `*` stands for any letters.
    pub actions: Vec<String>,
    /// `endpoints`: beginnings of paths of the API, without `/api/`.
    pub endpoints: Vec<String>,
}

impl DelegateSettings {
    /// Whether requests for an action go there.
    #[must_use]
    pub fn takes_action(&self, word: &str) -> bool {
        self.node.is_some() && self.actions.iter().any(|pattern| fits(pattern, word))
    }

    /// Whether calls of a path (`centreon/autodiscovery/hosts`) go there.
    #[must_use]
    pub fn takes_path(&self, path: &str) -> bool {
        let begins = |prefix: &String| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.node.is_some() && self.endpoints.iter().any(begins)
    }
}

/// Whether a word fits a pattern with `*`.
fn fits(pattern: &str, word: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| word.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Reads the option; nothing without it.
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
        'ADDHOSTDISCOVERYJOB' or '*DISCOVERY*'; for 'endpoints' the beginning of a path, such as '/centreon/autodiscovery'";
    let mut words = Vec::new();
    for (index, item) in section.items(key, findings).unwrap_or_default().iter().enumerate().take(ENTRIES_MAX) {
        let path = section.path(&format!("{key}[{index}]"));
        let Some(text) = scalar(item, &path, findings) else { continue };
        match read(text.trim()) {
            Some(word) => words.push(word),
            None => refuse(&item.place, &path, text, ALLOWED, findings),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_prefixes_say_what_goes_to_the_other_daemon() {
        for (pattern, word, expected) in [
            ("JUDGEMOVE", "JUDGEMOVE", true),
            ("JUDGEMOVE", "JUDGEMOVED", false),
            ("JUDGE*", "JUDGEMOVE", true),
            ("*DISCOVERY*", "ADDHOSTDISCOVERYJOB", true),
            ("ADD*JOB", "ADDHOSTDISCOVERYJOB", true),
            ("ADD*JOB", "ADDHOSTDISCOVERY", false),
            ("A*A", "A", false),
            ("", "A", false),
        ] {
            let settings = DelegateSettings {
                node: NodeId::new(9).ok(),
                actions: vec![pattern.to_owned()],
                endpoints: vec!["centreon/audit".to_owned()],
            };
            assert_eq!(settings.takes_action(word), expected, "{pattern} {word}");
            assert!(settings.takes_path("centreon/audit/node") && settings.takes_path("centreon/audit"));
            assert!(!settings.takes_path("centreon/auditor/node"));
        }
    }
}
