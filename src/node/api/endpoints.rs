//! The mapping of paths to actions, made from the table of actions. An endpoint exists if its module is loaded.

use std::collections::BTreeMap;

use crate::model::action::{Action, Module};
use crate::model::api::Method;

/// Returns the action of a call; `None` if the path or the method is unknown.
pub(super) fn find(method: Method, path: &str, has: impl Fn(Module) -> bool) -> Option<Action> {
    let mut all = Action::endpoints(has);
    all.find(|(known, at, _)| *known == method && *at == path).map(|(.., action)| action.clone())
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
