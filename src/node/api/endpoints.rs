//! The mapping of paths to actions, made from the table of actions. An endpoint exists if its module is loaded.

use std::collections::BTreeMap;

use crate::model::action::{Action, Module};
use crate::model::api::{ApiCall, Method};

/// Returns the action of a call; `None` if the path or the method is unknown.
pub(super) fn find(method: Method, path: &str, has: impl Fn(Module) -> bool) -> Option<Action> {
    let mut all = Action::endpoints(has);
    all.find(|(known, at, _)| *known == method && *at == path).map(|(.., action)| action.clone())
}

/// Returns the path of a call for counting, without its variable parts: it has few values. Paths outside `/api` begin
/// with a slash.
#[must_use]
pub fn path_of(call: &ApiCall) -> &'static str {
    const BESIDE: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/page"];
    let path = match &call.path[..] {
        [nodes, _, rest @ ..] if nodes == "nodes" && !rest.is_empty() => rest,
        path => path,
    };
    let Some(first) = path.first() else { return if call.below_api { "unknown" } else { "/" } };
    if !call.below_api {
        return BESIDE.into_iter().find(|name| name.strip_prefix('/') == Some(first)).unwrap_or("unknown");
    }
    if let Some(name) = ["log", "status", "queue", "running"].into_iter().find(|name| name == first) {
        return name;
    }
    let fits = |known: &str| {
        let mut segments = path.iter();
        known.split('/').all(|name| segments.next().is_some_and(|segment| segment == name))
    };
    Action::endpoints(|_| true).find(|(_, known, _)| fits(known)).map_or("unknown", |(_, known, _)| known)
}

/// Returns the methods of a path for an `Allow` header; `None` for an unknown path.
pub(super) fn allowed(path: &str, has: impl Fn(Module) -> bool) -> Option<&'static str> {
    let methods: Vec<Method> =
        Action::endpoints(has).filter(|(_, at, _)| *at == path).map(|(method, ..)| method).collect();
    match methods.as_slice() {
        [] => None,
        [method] => Some(method.as_str()),
        _ => Some("GET, POST, PATCH, DELETE"),
    }
}

/// Returns every endpoint as `INFORMATION` lists it: `"POST_/core/action/command": "COMMAND"`.
pub(in crate::node) fn listed(has: impl Fn(Module) -> bool) -> BTreeMap<String, &'static str> {
    let all = Action::endpoints(has);
    all.map(|(method, path, action)| (format!("{}_/{path}", method.as_str()), action.as_str())).collect()
}
