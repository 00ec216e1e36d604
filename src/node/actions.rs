//! The table of actions: the properties of each action. [`Room`] says which room handles it.

use crate::model::action::Action;
use crate::model::api::Method::{self, Delete, Get, Patch, Post};
use crate::model::module::Module;
use crate::model::rights::May;

/// The room that handles an action for this daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Information about this daemon (`core_actions`).
    Core,
    /// The history: `core_actions`, `get_log` and `listeners`.
    History,
    /// The nodes behind us (`registering`, `routes`, `sync`).
    Nodes,
    /// The module `action`: commands.
    Commands,
    /// The module `action`: copies that we receive.
    Copies,
    /// The module `cron`.
    Cron,
    /// The module `engine`.
    Engine,
    /// The module `nodes`.
    Pollers,
    /// The module `legacycmd`.
    Legacy,
    /// The module `statistics`.
    Statistics,
}

/// What ends the token of an action that was sent to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// A row of the node.
    Row,
    /// Its reply: the node writes no row.
    Reply,
    /// A row or the reply.
    RowOrReply,
}

/// A further property of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Also {
    /// It waits for the copies that were requested before it.
    AfterCopies,
    /// It can be done on nodes that are reached by SSH, which have no daemon.
    OverSsh,
}

/// An entry of the table.
#[derive(Debug)]
pub(super) struct ActionSpec {
    pub action: Action,
    pub room: Room,
    /// The module that provides it; `None` if it is always available.
    pub module: Option<Module>,
    pub ends: Ends,
    pub may: May,
    /// Its paths after `/api/`.
    pub endpoints: &'static [(Method, &'static str)],
    also: &'static [Also],
}

macro_rules! actions {
    ($($action:ident: $room:ident, $module:expr, $ends:ident, $may:ident,
        [$($endpoint:expr),*], [$($also:ident),*];)*) => {
        /// All actions of a daemon.
        static ACTIONS: &[ActionSpec] = &[$(ActionSpec {
            action: Action::$action,
            room: Room::$room,
            module: $module,
            ends: Ends::$ends,
            may: May::$may,
            endpoints: &[$($endpoint),*],
            also: &[$(Also::$also),*],
        },)*];
    };
}

const ACTION: Option<Module> = Some(Module::Action);
const CRON: Option<Module> = Some(Module::Cron);
const ENGINE: Option<Module> = Some(Module::Engine);
const LEGACY: Option<Module> = Some(Module::LegacyCmd);
const STATISTICS: Option<Module> = Some(Module::Statistics);
const NODES: Option<Module> = Some(Module::Nodes);
const PROXY: Option<Module> = Some(Module::Proxy);

const KEYS_PATH: &str = "internal/keys";
const CRON_PATH: &str = "core/cron/definitions";

actions! {
    Ping: Core, None, Reply, Read, [], [];
    ConStatus: Core, None, Row, Read, [(Get, "internal/constatus")], [];
    Information: Core, None, Row, Read, [(Get, "internal/information")], [];
    GetThumbprint: Core, None, Row, Read, [(Get, "internal/thumbprint")], [];
    SetCoreId: Core, None, RowOrReply, Central, [], [];
    BroadcastLogger: Core, None, Reply, Central, [(Post, "internal/logger")], [];
    LoadModule: Core, None, Reply, Admin, [], [];
    UnloadModule: Core, None, Reply, Admin, [], [];
    Kill: Core, None, RowOrReply, Admin, [], [];
    PutLog: History, None, Reply, Node, [], [];
    GetLog: History, None, Reply, Read, [], [];
    AddListener: History, None, RowOrReply, Central, [], [];
    SyncLogs: Nodes, None, Reply, Node, [], [];
    Routes: Nodes, PROXY, Row, Read, [(Get, "internal/routes")], [];
    RegisterNodes: Nodes, PROXY, Reply, Node, [], [];
    UnregisterNodes: Nodes, PROXY, Reply, Node, [], [];
    Pong: Nodes, PROXY, Row, Node, [], [];
    SetLogs: Nodes, PROXY, Row, Node, [], [];
    ForgetKey: Nodes, PROXY, Row, Admin, [(Delete, KEYS_PATH)], [];
    TrustKey: Nodes, PROXY, Row, Admin, [(Post, KEYS_PATH)], [];
    RemoteCopy: Nodes, PROXY, Row, Central, [(Post, "core/proxy/remotecopy")], [OverSsh];
    Command: Commands, ACTION, Row, Central, [(Post, "core/action/command")], [AfterCopies, OverSsh];
    ActionEngine: Commands, ACTION, Row, Central, [(Post, "core/action/engine")], [AfterCopies, OverSsh];
    ProcessCopy: Copies, ACTION, Row, Central, [], [];
    EngineCommand: Engine, ENGINE, Row, Central, [(Post, "centreon/engine/command")], [AfterCopies, OverSsh];
    GetCron: Cron, CRON, Row, Read, [(Get, CRON_PATH)], [];
    AddCron: Cron, CRON, Row, Central, [(Post, CRON_PATH)], [];
    UpdateCron: Cron, CRON, Row, Central, [(Patch, CRON_PATH)], [];
    DeleteCron: Cron, CRON, Row, Central, [(Delete, CRON_PATH)], [];
    CentreonCommand: Legacy, LEGACY, Row, Central,
        [(Post, "centreon/legacycmd/command"), (Post, "centreon/command")], [];
    BrokerStats: Statistics, STATISTICS, Row, Central, [(Get, "centreon/statistics/broker")], [];
    EngineStats: Statistics, STATISTICS, Row, Central, [(Get, "centreon/statistics/engine")], [];
    AddImportTaskWithParent: Legacy, LEGACY, Row, Central, [], [AfterCopies];
    CentreonNodesSync: Pollers, NODES, Row, Central, [(Post, "centreon/nodes/sync")], [];
}

/// Returns the entry of an action; `None` for an unknown word.
pub(super) fn find(action: &Action) -> Option<&'static ActionSpec> {
    ACTIONS.iter().find(|spec| spec.action == *action)
}

/// Returns what ends the token of an action on a node. An unknown action may write a row.
pub(super) fn ends(action: &Action) -> Ends {
    find(action).map_or(Ends::Row, |spec| spec.ends)
}

/// Returns which peers may need an action. An unknown one may come from a newer central.
pub(super) fn may(action: &Action) -> May {
    find(action).map_or(May::Central, |spec| spec.may)
}

/// Returns whether an action has a property.
pub(super) fn is(action: &Action, also: Also) -> bool {
    find(action).is_some_and(|spec| spec.also.contains(&also))
}

/// Returns the available endpoints: method, path after `/api/`, action.
pub(super) fn endpoints(has: impl Fn(Module) -> bool) -> impl Iterator<Item = (Method, &'static str, &'static Action)> {
    let there = ACTIONS.iter().filter(move |spec| spec.module.is_none_or(&has));
    there.flat_map(|spec| spec.endpoints.iter().map(|(method, path)| (*method, *path, &spec.action)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_action_and_every_endpoint_stands_in_the_table_once() {
        let words: BTreeSet<&str> = ACTIONS.iter().map(|spec| spec.action.as_str()).collect();
        let paths: BTreeSet<String> =
            endpoints(|_| true).map(|(method, path, _)| format!("{} {path}", method.as_str())).collect();
        assert_eq!((words.len(), paths.len()), (ACTIONS.len(), endpoints(|_| true).count()));
    }

    #[test]
    fn who_only_looks_starts_nothing_and_changes_nothing() {
        let read = ACTIONS.iter().filter(|spec| spec.may == May::Read);
        assert!(read.flat_map(|spec| spec.endpoints).all(|(method, _)| *method == Get));
    }
}
