//! Which path stands for which action. An endpoint is there when its module is loaded.

use std::collections::BTreeMap;

use crate::model::action::Action;
use crate::model::api::Method;

use crate::node::modules::{ACTION_PACKAGE, CRON_PACKAGE, ENGINE_PACKAGE, NODES_PACKAGE};

/// Method, path after `/api/`, action, and the package that brings it (`None`: always there).
type Endpoint = (Method, &'static str, Action, Option<&'static str>);

const PROXY: Option<&str> = Some("gorgone::modules::core::proxy::hooks");
const CRON: Option<&str> = Some(CRON_PACKAGE);
const ENGINE: Option<&str> = Some(ENGINE_PACKAGE);
const NODES: Option<&str> = Some(NODES_PACKAGE);

const ENDPOINTS: &[Endpoint] = &[
    (Method::Get, "internal/constatus", Action::ConStatus, None),
    (Method::Get, "internal/information", Action::Information, None),
    (Method::Get, "internal/thumbprint", Action::GetThumbprint, None),
    (Method::Get, "internal/routes", Action::Routes, PROXY),
    (Method::Post, "internal/logger", Action::BroadcastLogger, None),
    (Method::Post, "core/action/command", Action::Command, Some(ACTION_PACKAGE)),
    (Method::Post, "core/action/engine", Action::ActionEngine, Some(ACTION_PACKAGE)),
    (Method::Post, "core/proxy/remotecopy", Action::RemoteCopy, PROXY),
    (Method::Get, "core/cron/definitions", Action::GetCron, CRON),
    (Method::Post, "core/cron/definitions", Action::AddCron, CRON),
    (Method::Patch, "core/cron/definitions", Action::UpdateCron, CRON),
    (Method::Delete, "core/cron/definitions", Action::DeleteCron, CRON),
    (Method::Post, "centreon/engine/command", Action::EngineCommand, ENGINE),
    (Method::Post, "centreon/nodes/sync", Action::CentreonNodesSync, NODES),
];

const fn word(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Patch => "PATCH",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    }
}

fn of_path<'a>(path: &'a str, is_loaded: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'static Endpoint> + 'a {
    ENDPOINTS.iter().filter(move |(_, known, _, package)| *known == path && package.is_none_or(&is_loaded))
}

/// The action of a call; `None` when the path or the method is unknown.
pub(super) fn find(method: Method, path: &str, is_loaded: impl Fn(&str) -> bool) -> Option<Action> {
    of_path(path, is_loaded).find(|(known, ..)| *known == method).map(|(_, _, action, _)| action.clone())
}

/// The methods of a path, for an `Allow` header; `None` for an unknown path.
pub(super) fn allowed(path: &str, is_loaded: impl Fn(&str) -> bool) -> Option<&'static str> {
    let methods: Vec<Method> = of_path(path, is_loaded).map(|(method, ..)| *method).collect();
    match methods.as_slice() {
        [] => None,
        [method] => Some(word(*method)),
        _ => Some("GET, POST, PATCH, DELETE"),
    }
}

/// Every endpoint as `INFORMATION` lists it: `"POST_/core/action/command": "COMMAND"`.
pub(in super::super) fn of_packages(is_loaded: impl Fn(&str) -> bool) -> BTreeMap<String, &'static str> {
    ENDPOINTS
        .iter()
        .filter(|(_, _, _, package)| package.is_none_or(&is_loaded))
        .map(|(method, path, action, _)| (format!("{}_/{path}", word(*method)), action.as_str()))
        .collect()
}
