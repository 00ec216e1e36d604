//! The members of a cluster: their names, what must be equal on all of them, and the configuration of a standby.

use super::Config;
use super::core_section::in_memory;
use super::joined::Added;
use super::modules::Modules;
use super::settings::{CoreSettings, Storage};

/// Size of the history in memory of a standby, which stores only sessions of its own callers.
const STANDBY_BYTES: u64 = 1 << 20;

/// Completes what follows from the API of this central.
pub(super) fn complete(core: &mut CoreSettings, modules: &Modules) {
    let port = modules.httpserver.as_ref().map_or(0, |http| http.port);
    let default = format!("{}:{port}", core.hostname);
    if let Some(cluster) = &mut core.cluster {
        if cluster.member.is_empty() {
            cluster.member.clone_from(&default);
        }
        if cluster.address.is_empty() {
            cluster.address = default;
        }
    }
}

/// What must be equal on all members, by name.
#[must_use]
pub fn compared(config: &Config) -> Vec<(&'static str, String)> {
    let core = &config.core;
    let nodes = config.modules.register.as_ref().map(|register| {
        let mut nodes: Vec<String> = register.nodes.iter().map(|node| format!("{}", node.id)).collect();
        nodes.sort();
        nodes.join(" ")
    });
    let loaded: Vec<&str> = config.modules.loaded.keys().map(String::as_str).collect();
    let mut clients = core.authorized_clients.clone();
    clients.sort();
    vec![
        ("gorgonecore.id", core.id.map(|id| id.to_string()).unwrap_or_default()),
        ("gorgonecore.authorized_clients", clients.join(" ")),
        ("gorgonecore.cluster.lease", core.cluster.as_ref().map_or(0, |cluster| cluster.lease.as_secs()).to_string()),
        ("modules", loaded.join(" ")),
        ("the nodes of the register file", nodes.unwrap_or_default()),
    ]
}

/// The configuration with which a central stands by: it serves its API and stores nothing that lasts.
#[must_use]
pub fn standing_by(config: &Config) -> Config {
    let mut standby = config.clone();
    standby.core.database = in_memory(&config.core.database);
    standby.core.storage = Storage::Memory(STANDBY_BYTES);
    standby.core.server = None;
    standby.core.external = None;
    standby.added = Added::default();
    let httpserver = standby.modules.httpserver.take();
    standby.modules = Modules { httpserver, ..Modules::default() };
    standby
}
