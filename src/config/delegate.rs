//! `gorgonecore.delegate`: requests that an original Gorgone beside us answers (docs/protocol.md section 19), read by
//! [`super::delegate_section`].

use crate::model::node_id::NodeId;

/// Which requests are delegated, and to which node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelegateSettings {
    /// `node`: the node that answers; we connect to it.
    pub node: Option<NodeId>,
    /// `actions`: names of actions, in which `*` stands for any characters.
    pub actions: Vec<String>,
    /// `endpoints`: prefixes of API paths, without `/api/`.
    pub endpoints: Vec<String>,
}

impl DelegateSettings {
    /// Whether requests for an action are delegated.
    #[must_use]
    pub fn takes_action(&self, word: &str) -> bool {
        self.node.is_some() && self.actions.iter().any(|pattern| fits(pattern, word))
    }

    /// Whether API calls of a path (`centreon/autodiscovery/hosts`) are delegated.
    #[must_use]
    pub fn takes_path(&self, path: &str) -> bool {
        let begins = |prefix: &String| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.node.is_some() && self.endpoints.iter().any(begins)
    }
}

/// Whether a word matches a pattern with `*`.
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
