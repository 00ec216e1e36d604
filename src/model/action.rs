//! The modules and the actions: two tables. A module's row has its name and its package; an action's row has its word
//! in messages and all that other parts decide by.

use super::api::Method::{self, Delete, Get, Patch, Post};
use super::rights::May;

macro_rules! modules {
    ($($variant:ident = $group:literal $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Module {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Module {
            /// Every module.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its usual name in a configuration.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Its package, by which a configuration loads it.
            #[must_use]
            pub const fn package(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("gorgone::modules::", $group, "::", $name, "::hooks"),)*
                }
            }
        }
    };
}

modules! {
    Proxy = "core" "proxy",
    Register = "core" "register",
    Action = "core" "action",
    HttpServer = "core" "httpserver",
    Pull = "core" "pull",
    PullWss = "core" "pullwss",
    DbCleaner = "core" "dbcleaner",
    Cron = "core" "cron",
    Engine = "centreon" "engine",
    Nodes = "centreon" "nodes",
    LegacyCmd = "centreon" "legacycmd",
    Statistics = "centreon" "statistics",
}

impl Module {
    /// The module with this package.
    #[must_use]
    pub fn of_package(package: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|module| module.package() == package)
    }

    /// Whether UNLOADMODULE and LOADMODULE apply to it.
    #[must_use]
    pub const fn can_be_unloaded(self) -> bool {
        matches!(self, Self::Action | Self::DbCleaner | Self::Cron | Self::Engine)
    }
}

/// What ends the token of an action that was sent to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A row of the node.
    Row,
    /// Its reply: the node writes no row.
    Reply,
    RowOrReply,
}

/// A further property of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Also {
    /// It waits for the copies that were requested before it.
    AfterCopies,
    /// It can be done on nodes that are reached by SSH, which have no daemon.
    OverSsh,
}

/// The properties of an action that a daemon answers.
#[derive(Debug)]
pub struct ActionSpec {
    action: Action,
    /// The module that answers it; `None` for the core, which is always there.
    pub module: Option<Module>,
    ends: Ends,
    may: May,
    /// Its paths after `/api/`.
    endpoints: &'static [(Method, &'static str)],
    also: &'static [Also],
}

macro_rules! actions {
    (others { $($other:ident = $other_word:literal,)* }
    $($variant:ident = $word:literal: $module:ident, $ends:ident, $may:ident,
        [$($endpoint:expr),*], [$($also:ident),*];)*) => {
        /// What a message asks for or answers. Unknown words are kept; their length is limited by that of the message.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = concat!("`", $word, "`")] $variant,)*
            $(#[doc = concat!("`", $other_word, "`")] $other,)*
            /// Any other word.
            Other(Box<str>),
        }

        impl Action {
            /// Reads a word. Case matters.
            #[must_use]
            pub fn parse(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    $($other_word => Self::$other,)*
                    _ => Self::Other(word.into()),
                }
            }

            /// The word on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    $(Self::$other => $other_word,)*
                    Self::Other(word) => word,
                }
            }
        }

        static ACTIONS: &[ActionSpec] = &[$(ActionSpec {
            action: Action::$variant,
            module: $module,
            ends: Ends::$ends,
            may: May::$may,
            endpoints: &[$($endpoint),*],
            also: &[$(Also::$also),*],
        },)*];
    };
}

const CORE: Option<Module> = None;
const ACTION: Option<Module> = Some(Module::Action);
const CRON: Option<Module> = Some(Module::Cron);
const ENGINE: Option<Module> = Some(Module::Engine);
const LEGACY: Option<Module> = Some(Module::LegacyCmd);
const STATISTICS: Option<Module> = Some(Module::Statistics);
const NODES: Option<Module> = Some(Module::Nodes);
const PROXY: Option<Module> = Some(Module::Proxy);

const KEYS_PATH: &str = "internal/keys";
const CRON_PATH: &str = "core/cron/definitions";

// Of each action: module, what ends its token on a node, whom it is for, paths of the API, further properties.
// `others` are words that no daemon answers.
actions! {
    others {
        Ack = "ACK",
        NewKey = "NEWKEY",
        PongReset = "PONGRESET",
        ProxyAddNode = "PROXYADDNODE",
        ProxyAddSubnode = "PROXYADDSUBNODE",
        ProxyCloseConnection = "PROXYCLOSECONNECTION",
        ProxyDelNode = "PROXYDELNODE",
        ProxyReady = "PROXYREADY",
        ProxyStopReadChannel = "PROXYSTOPREADCHANNEL",
    }
    Ping = "PING": CORE, Reply, Read, [(Get, "internal/ping")], [];
    ConStatus = "CONSTATUS": CORE, Row, Read, [(Get, "internal/constatus")], [];
    Information = "INFORMATION": CORE, Row, Read, [(Get, "internal/information")], [];
    GetThumbprint = "GETTHUMBPRINT": CORE, Row, Read, [(Get, "internal/thumbprint")], [];
    SetCoreId = "SETCOREID": CORE, RowOrReply, Central, [], [];
    BroadcastLogger = "BCASTLOGGER": CORE, Reply, Central, [(Post, "internal/logger")], [];
    LoadModule = "LOADMODULE": CORE, Reply, Admin, [], [];
    UnloadModule = "UNLOADMODULE": CORE, Reply, Admin, [], [];
    Kill = "KILL": CORE, RowOrReply, Admin, [], [];
    PutLog = "PUTLOG": CORE, Reply, Node, [], [];
    GetLog = "GETLOG": CORE, Reply, Read, [], [];
    AddListener = "ADDLISTENER": CORE, RowOrReply, Central, [], [];
    SyncLogs = "SYNCLOGS": CORE, Reply, Node, [], [];
    Routes = "ROUTES": PROXY, Row, Read, [(Get, "internal/routes")], [];
    RegisterNodes = "REGISTERNODES": PROXY, Reply, Node, [], [];
    UnregisterNodes = "UNREGISTERNODES": PROXY, Reply, Node, [], [];
    Pong = "PONG": PROXY, Row, Node, [], [];
    SetLogs = "SETLOGS": PROXY, Row, Node, [], [];
    ForgetKey = "FORGETKEY": PROXY, Row, Admin, [(Delete, KEYS_PATH)], [];
    TrustKey = "TRUSTKEY": PROXY, Row, Admin, [(Post, KEYS_PATH)], [];
    RemoteCopy = "REMOTECOPY": PROXY, Row, Central, [(Post, "core/proxy/remotecopy")], [OverSsh];
    Fetch = "FETCH": PROXY, Row, Central, [(Post, "core/proxy/fetch")], [];
    Command = "COMMAND": ACTION, Row, Central, [(Post, "core/action/command")], [AfterCopies, OverSsh];
    ActionEngine = "ACTIONENGINE": ACTION, Row, Central, [(Post, "core/action/engine")], [AfterCopies, OverSsh];
    ProcessCopy = "PROCESSCOPY": ACTION, Row, Central, [], [];
    Running = "RUNNING": ACTION, Row, Read, [], [];
    Cancel = "CANCEL": ACTION, Row, Central, [], [];
    EngineCommand = "ENGINECOMMAND": ENGINE, Row, Central, [(Post, "centreon/engine/command")], [AfterCopies, OverSsh];
    GetCron = "GETCRON": CRON, Row, Read, [(Get, CRON_PATH)], [];
    AddCron = "ADDCRON": CRON, Row, Central, [(Post, CRON_PATH)], [];
    UpdateCron = "UPDATECRON": CRON, Row, Central, [(Patch, CRON_PATH)], [];
    DeleteCron = "DELETECRON": CRON, Row, Central, [(Delete, CRON_PATH)], [];
    CentreonCommand = "CENTREONCOMMAND": LEGACY, Row, Central,
        [(Post, "centreon/legacycmd/command"), (Post, "centreon/command")], [];
    BrokerStats = "BROKERSTATS": STATISTICS, Row, Central, [(Get, "centreon/statistics/broker")], [];
    EngineStats = "ENGINESTATS": STATISTICS, Row, Central, [(Get, "centreon/statistics/engine")], [];
    AddImportTaskWithParent = "ADDIMPORTTASKWITHPARENT": LEGACY, Row, Central, [], [AfterCopies];
    CentreonNodesSync = "CENTREONNODESSYNC": NODES, Row, Central, [(Post, "centreon/nodes/sync")], [];
}

impl Action {
    /// Words that only the original's own processes send to each other and that a network peer may never send
    /// (docs/protocol.md section 5).
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        matches!(
            self,
            Self::ProxyReady
                | Self::ProxyAddNode
                | Self::ProxyDelNode
                | Self::ProxyAddSubnode
                | Self::PongReset
                | Self::ProxyCloseConnection
                | Self::ProxyStopReadChannel
        )
    }

    /// Its row in the table; `None` if no daemon answers it.
    #[must_use]
    pub fn spec(&self) -> Option<&'static ActionSpec> {
        ACTIONS.iter().find(|spec| spec.action == *self)
    }

    /// What ends its token on a node. An unknown action may write a row.
    #[must_use]
    pub fn ends(&self) -> Ends {
        self.spec().map_or(Ends::Row, |spec| spec.ends)
    }

    /// Which peers may need it. An unknown one may come from a newer central.
    #[must_use]
    pub fn may(&self) -> May {
        self.spec().map_or(May::Central, |spec| spec.may)
    }

    /// Whether it has a property.
    #[must_use]
    pub fn is(&self, also: Also) -> bool {
        self.spec().is_some_and(|spec| spec.also.contains(&also))
    }

    /// The endpoints of the API that start an action: method, path after `/api/`, action. `has` says whether a module
    /// is there.
    pub fn endpoints(has: impl Fn(Module) -> bool) -> impl Iterator<Item = (Method, &'static str, &'static Self)> {
        let there = ACTIONS.iter().filter(move |spec| spec.module.is_none_or(&has));
        there.flat_map(|spec| spec.endpoints.iter().map(|(method, path)| (*method, *path, &spec.action)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_action_and_every_endpoint_stands_in_the_table_once() {
        let words: BTreeSet<&str> = ACTIONS.iter().map(|spec| spec.action.as_str()).collect();
        let paths: BTreeSet<String> =
            Action::endpoints(|_| true).map(|(method, path, _)| format!("{} {path}", method.as_str())).collect();
        assert_eq!((words.len(), paths.len()), (ACTIONS.len(), Action::endpoints(|_| true).count()));
    }

    #[test]
    fn who_only_looks_starts_nothing_and_changes_nothing() {
        let read = ACTIONS.iter().filter(|spec| spec.may == May::Read);
        assert!(read.flat_map(|spec| spec.endpoints).all(|(method, _)| *method == Get));
    }
}
