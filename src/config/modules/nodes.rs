//! The options of the module `nodes` (docs/protocol.md section 15).

use std::time::Duration;

use crate::config::core_section::DAY_SECONDS;
use crate::config::database::DatabaseSettings;
use crate::config::database_section::of_module;
use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::raw::RawConfig;
use crate::config::section::{Section, Unit};

options! {
    NODES = "nodes" in "the module 'nodes'" { "resync_time", "ssh_username" } unused {}
}

/// Options of the module `nodes` (docs/protocol.md section 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesSettings {
    /// `resync_time` (600 s): interval between two readings of the database.
    pub resync_time: Duration,
    /// `ssh_username`: the user of `push_ssh` nodes.
    pub ssh_username: Option<String>,
    /// The database to read.
    pub database: DatabaseSettings,
}

/// Reads the module `nodes`; `None` after a problem. A missing database is only a warning and also gives `None`, so
/// that a daemon without that file still serves its other nodes.
pub(super) fn read(section: Section<'_>, raw: &RawConfig<'_>, findings: &mut Findings) -> Option<NodesSettings> {
    let resync_time = section.duration("resync_time", Duration::from_secs(600), Unit::Seconds, DAY_SECONDS, findings);
    let ssh_username = section.text("ssh_username", findings).map(|(text, _)| text.to_owned());
    let database = of_module(&section, raw, findings)?;
    Some(NodesSettings { resync_time, ssh_username, database })
}
