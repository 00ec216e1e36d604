//! The settings and the stored state with which the deciding part starts.

use crate::config::Config;
use crate::config::delegate::DelegateSettings;
use crate::config::modules::Modules;
use crate::model::connection::FingerprintMode;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;
use crate::model::time_zone::TimeZone;

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
    /// The nodes of the register file.
    pub nodes: Vec<Registration>,
    /// The settings of the modules, without those nodes.
    pub modules: Modules,
    /// The local time zone, for `cron`.
    pub time_zone: TimeZone,
    /// Returns the memory in use in bytes; `None` if the system does not say.
    pub memory: fn() -> Option<u64>,
}

impl CoreOptions {
    /// Makes the options from the configuration; the time zone is UTC.
    #[must_use]
    pub fn from_config(config: &Config, thumbprint: String, debug: bool) -> Self {
        let mut modules = config.modules.clone();
        let nodes = modules.register.as_mut().map(|register| std::mem::take(&mut register.nodes));
        Self {
            id: config.core.id,
            hostname: config.core.hostname.clone(),
            thumbprint,
            debug,
            takes_every_key: config.core.fingerprint_mode == FingerprintMode::Always,
            audits: config.core.audit_log.is_some(),
            delegate: config.core.delegate.clone(),
            nodes: nodes.unwrap_or_default(),
            modules,
            time_zone: TimeZone::utc(),
            memory: || None,
        }
    }
}
