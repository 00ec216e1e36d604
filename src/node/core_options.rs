//! The settings and the stored state with which the deciding part starts.

use std::collections::BTreeMap;

use crate::config::database::NodesSettings;
use crate::config::delegate::DelegateSettings;
use crate::config::legacy::LegacySettings;
use crate::config::settings::{
    ActionSettings, CleanerSettings, Config, CronJob, EngineSettings, FingerprintMode, ProxySettings, PullSettings,
    PullWssSettings,
};
use crate::model::code::Code;
use crate::model::history::{Origins, SyncMark};
use crate::model::legacy::LegacyStored;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;
use crate::model::time_zone::TimeZone;
use crate::model::token::Token;

/// The settings of [`super::core::Core`].
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// Own id, if the configuration sets it.
    pub id: Option<NodeId>,
    /// Host name in replies.
    pub hostname: String,
    /// RFC 7638 thumbprint of our own key.
    pub thumbprint: String,
    /// Whether the daemon's severity is `debug`: only then received messages become log lines.
    pub debug: bool,
    /// Whether the keys of nodes that we connect to are not checked (`fingerprint_mode: always`).
    pub takes_every_key: bool,
    /// Whether accepted requests are written to the audit log.
    pub audits: bool,
    /// The requests that a daemon of the original (the 'delegate') answers.
    pub delegate: DelegateSettings,
    /// The proxy, if it is loaded.
    pub proxy: Option<ProxySettings>,
    /// The nodes of the register file.
    pub nodes: Vec<Registration>,
    /// The module `action`, if it is loaded.
    pub action: Option<ActionSettings>,
    /// The module `pull`, if it is loaded: we dial our central over ZeroMQ.
    pub pull: Option<PullSettings>,
    /// The module `pullwss`, if it is loaded: we dial our central over a WebSocket.
    pub pullwss: Option<PullWssSettings>,
    /// The jobs of the module `cron`, if it is loaded.
    pub cron: Option<Vec<CronJob>>,
    /// The module `engine`, if it is loaded.
    pub engine: Option<EngineSettings>,
    /// The local time zone, for `cron`.
    pub time_zone: TimeZone,
    /// The module `nodes`, if it is loaded.
    pub pollers: Option<NodesSettings>,
    /// The module `legacycmd`, if it is loaded.
    pub legacycmd: Option<LegacySettings>,
    /// Whether the module `statistics` is loaded.
    pub has_statistics: bool,
    /// Retention times of the history and of sessions.
    pub cleaner: CleanerSettings,
    /// Every loaded package by module name.
    pub loaded: BTreeMap<String, String>,
}

impl CoreOptions {
    /// Makes the options from the configuration; the time zone is UTC.
    #[must_use]
    pub fn from_config(config: &Config, thumbprint: String, debug: bool) -> Self {
        let modules = &config.modules;
        Self {
            id: config.core.id,
            hostname: config.core.hostname.clone(),
            thumbprint,
            debug,
            takes_every_key: config.core.fingerprint_mode == FingerprintMode::Always,
            audits: config.core.audit_log.is_some(),
            delegate: config.core.delegate.clone(),
            proxy: modules.proxy.clone(),
            nodes: modules.register.as_ref().map(|register| register.nodes.clone()).unwrap_or_default(),
            action: modules.action.clone(),
            pull: modules.pull.clone(),
            pullwss: modules.pullwss.clone(),
            cron: modules.cron.clone(),
            engine: modules.engine.clone(),
            time_zone: TimeZone::utc(),
            pollers: modules.nodes.clone(),
            legacycmd: modules.legacycmd.clone(),
            has_statistics: modules.statistics.is_some(),
            cleaner: modules.dbcleaner,
            loaded: modules.loaded.clone(),
        }
    }
}

/// The state that the database has from earlier runs.
#[derive(Clone, Default)]
pub struct Restored {
    /// The mark of each node: how far its history was taken over.
    pub marks: Vec<(NodeId, SyncMark)>,
    /// The number of our own history, and how far others were taken over.
    pub origins: Origins,
    /// Tokens without an end, and the nodes that had not confirmed them.
    pub open_tokens: Vec<(Token, Option<NodeId>)>,
    /// Hashes of the tokens that were accepted for work here, the oldest first.
    pub taken_tokens: Vec<i64>,
    /// Copies that ended here recently, and how.
    pub ended_copies: Vec<(Token, Code)>,
    /// Orders of Centreon Web that no node has confirmed.
    pub legacy: LegacyStored,
    /// The `ctime` of the newest row of the history in seconds, 0 for an empty one.
    pub newest_ctime: f64,
}
