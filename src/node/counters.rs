//! Counters of requests by origin and by action (`INFORMATION`).

use serde_json::{Map, Value};

use crate::model::action::Action;

/// Maximum number of distinct actions counted by name. Others count only in the totals.
const ACTIONS_MAX: usize = 256;

/// The origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From a client of the external socket.
    External,
    /// From this daemon itself or its REST API.
    Internal,
}

#[derive(Debug, Default)]
struct PerAction {
    total: u64,
    /// In order of first appearance, because a few actions make up most requests.
    actions: Vec<(Action, u64)>,
}

impl PerAction {
    fn count(&mut self, action: &Action) {
        self.total += 1;
        if let Some((_, count)) = self.actions.iter_mut().find(|(counted, _)| counted == action) {
            *count += 1;
        } else if self.actions.len() < ACTIONS_MAX {
            self.actions.push((action.clone(), 1));
        }
    }

    fn to_json(&self) -> Value {
        let mut map: Map<String, Value> =
            self.actions.iter().map(|(action, count)| (action.as_str().to_lowercase(), (*count).into())).collect();
        map.insert("total".to_owned(), self.total.into());
        Value::Object(map)
    }
}

/// The counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    total: u64,
    external: PerAction,
    internal: PerAction,
    proxy: PerAction,
}

impl Counters {
    /// Counts a request.
    pub(super) fn count(&mut self, way: Way, action: &Action) {
        self.total += 1;
        match way {
            Way::External => self.external.count(action),
            Way::Internal => self.internal.count(action),
        }
    }

    /// Counts a request that is passed on to a node.
    pub(super) fn count_proxied(&mut self, action: &Action) {
        self.proxy.count(action);
    }

    /// Returns `{"total":N,"external":{"total":N,"ping":N,…},"internal":{…},"proxy":{…}}`.
    pub(super) fn to_json(&self) -> Value {
        serde_json::json!({
            "total": self.total,
            "external": self.external.to_json(),
            "internal": self.internal.to_json(),
            "proxy": self.proxy.to_json(),
        })
    }
}
