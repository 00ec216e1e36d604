//! Requests that a daemon of the original, the 'delegate', answers (docs/protocol.md section 19): which requests these
//! are, and the API that the daemon has announced.
//!
//! They are passed on like any request for a node, so the answer and the rows come back under the caller's token.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::delegate::DelegateSettings;
use crate::model::action::Action;
use crate::model::api::Method;
use crate::model::foreign;
use crate::model::message::Message;
use crate::model::node_id::NodeId;

/// Maximum number of remembered endpoints.
const ENDPOINTS_MAX: usize = 1_000;

/// The delegated requests and the known endpoints of that daemon.
#[derive(Debug, Default)]
pub(super) struct Delegate {
    settings: DelegateSettings,
    /// Actions by `METHOD_/path`, as announced by that daemon.
    learned: BTreeMap<String, String>,
}

/// The meaning of an API call for that daemon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Action(Action),
    /// The daemon has not announced the path, or has no such path.
    Unknown,
}

impl Delegate {
    pub(super) fn new(settings: DelegateSettings) -> Self {
        Self { settings, learned: BTreeMap::new() }
    }

    /// Returns the daemon, if there is one.
    pub(super) const fn node(&self) -> Option<NodeId> {
        self.settings.node
    }

    /// Returns the daemon if it must answer an action that we do not have.
    pub(super) fn of_action(&self, action: &Action) -> Option<NodeId> {
        self.node().filter(|_| !action.is_internal() && self.settings.takes_action(action.as_str()))
    }

    /// Returns the meaning of an API path that is not ours; `None` if it does not concern that daemon.
    pub(super) fn of_path(&self, method: Method, path: &str) -> Option<Endpoint> {
        self.settings.takes_path(path).then(|| {
            let learned = self.learned.get(&format!("{}_/{path}", method.as_str())).map(String::as_str);
            let word = learned.or_else(|| foreign::action_of(method, path));
            word.map_or(Endpoint::Unknown, |word| Endpoint::Action(Action::parse(word)))
        })
    }

    /// Returns the query for the endpoints, to be sent when the link to a node is up.
    pub(super) fn question(&self, node: NodeId) -> Option<Message> {
        let is_wanted = self.node() == Some(node) && !self.settings.endpoints.is_empty();
        is_wanted.then(|| Message {
            action: Action::Information,
            token: None,
            target: Some("".into()),
            data: "{}".to_owned(),
        })
    }

    /// Takes the endpoints from an INFORMATION answer.
    pub(super) fn learn(&mut self, node: NodeId, data: &str) {
        if self.node() != Some(node) {
            return;
        }
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let endpoints = data.get("api_endpoints").or_else(|| data.pointer("/data/api_endpoints"));
        let Some(endpoints) = endpoints.and_then(Value::as_object) else { return };
        let all = endpoints.iter().filter_map(|(path, action)| Some((path.clone(), action.as_str()?.to_owned())));
        self.learned = all.take(ENDPOINTS_MAX).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::CoreOptions;
    use crate::node::input::Input;
    use crate::node::testing::{Bench, id, node_message, options, push_node};

    fn bench() -> Bench {
        let delegate = DelegateSettings {
            node: Some(id(9)),
            actions: vec!["*DISCOVERY*".to_owned(), "PING".to_owned()],
            endpoints: vec!["centreon/autodiscovery".to_owned(), "plugins/own".to_owned()],
        };
        Bench::new(CoreOptions { delegate, ..options(vec![push_node(9), push_node(2)]) })
    }

    fn connected() -> Bench {
        let mut bench = bench();
        let outputs = bench.give(Input::LinkUp(id(9)));
        assert!(outputs.contains(&"node 9: [INFORMATION] [] [] {}".to_owned()), "{outputs:?}");
        bench
    }

    #[test]
    fn a_request_for_a_foreign_action_goes_to_the_daemon_beside_us_and_its_rows_come_back() {
        let mut bench = connected();
        let outputs = bench.request("ADDHOSTDISCOVERYJOB", "t", "", r#"{"content":{"a":1}}"#);
        assert_eq!(outputs[0], r#"node 9: [ADDHOSTDISCOVERYJOB] [t] [] {"content":{"a":1}}"#);
        assert!(outputs.iter().any(|line| line == "client 7: [ACK] [t] 0 null"), "{outputs:?}");
        let rows = r#"{"code":0,"data":{"action":"getlog","id":9,"result":[
            {"id":1,"token":"t","code":2,"etime":1,"ctime":1,"instant":0,"data":"{\"message\":\"done\"}"}]}}"#;
        let outputs = bench.give(node_message(9, "ACK", "", &rows.replace('\n', "")));
        assert!(outputs.iter().any(|line| line.starts_with("row t 2 ")), "{outputs:?}");
        // Our own actions stay here, and actions that neither daemon has are unknown.
        let outputs = bench.request("PING", "p", "", "{}");
        assert!(outputs.iter().any(|line| line.starts_with("client 7: [PONG]")), "{outputs:?}");
        let outputs = bench.request("JUDGEMOVE", "u", "", "{}");
        assert!(outputs.iter().any(|line| line.contains("action 'JUDGEMOVE' is unknown")), "{outputs:?}");
    }

    #[test]
    fn paths_of_the_api_mean_what_the_original_or_that_daemon_says() {
        let mut bench = connected();
        let outputs = bench.call(1, Method::Post, "centreon/autodiscovery/hosts", "{}");
        let expected = r#"[] {"content":{},"parameters":{},"variables":[]}"#;
        assert!(
            outputs.iter().any(|line| line.starts_with("node 9: [ADDHOSTDISCOVERYJOB] [") && line.ends_with(expected)),
            "{outputs:?}"
        );
        assert!(outputs.iter().any(|line| line.starts_with(r#"answer 1 200 {"token":"#)), "{outputs:?}");
        let outputs = bench.call(2, Method::Get, "plugins/own/thing/5", "");
        assert!(outputs[0].contains("answer 2 503") && outputs[0].contains("delegate_unknown"), "{outputs:?}");
        let told =
            r#"{"code":2,"data":{"counters":{},"modules":{},"api_endpoints":{"GET_/plugins/own/thing":"OWNTHING"}}}"#;
        bench.give(node_message(9, "INFORMATION", "", told));
        let outputs = bench.call(3, Method::Get, "plugins/own/thing/5", "");
        assert!(
            outputs
                .iter()
                .any(|line| line.starts_with("node 9: [OWNTHING] [") && line.contains(r#""variables":["5"]"#)),
            "{outputs:?}"
        );
        let outputs = bench.call(4, Method::Get, "plugins/other/thing", "");
        assert!(outputs[0].contains("answer 4 404"), "{outputs:?}");
    }

    #[test]
    fn what_its_modules_send_to_pollers_goes_through_us() {
        let mut bench = connected();
        bench.give(Input::LinkUp(id(2)));
        let outputs = bench.request("COMMAND", "c", "2", r#"{"content":[{"command":"true"}]}"#);
        assert!(outputs.iter().any(|line| line.starts_with("node 2: [COMMAND] [c] []")), "{outputs:?}");
    }

    #[test]
    fn the_log_of_what_went_there_is_looked_for_there() {
        let mut bench = connected();
        let nothing_new = r#"{"code":0,"data":{"action":"getlog","id":9,"result":[]}}"#;
        bench.give(node_message(9, "ACK", "", nothing_new));
        bench.request("ADDHOSTDISCOVERYJOB", "t", "", "{}");
        let outputs = bench.call(5, Method::Get, "log/t", "");
        assert!(outputs.iter().any(|line| line.starts_with("node 9: [GETLOG]")), "{outputs:?}");
    }
}
