//! The options of the module `dbcleaner` (docs/protocol.md section 15).

use std::time::Duration;

use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::section::{Section, Unit};

options! {
    DBCLEANER = "dbcleaner" in "the module 'dbcleaner'" { "purge_sessions_time", "purge_history_time" } unused {}
}

/// Options of the module `dbcleaner` (docs/protocol.md section 15).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerSettings {
    /// `purge_sessions_time` (3600 s): how long unused sessions are kept.
    pub sessions: Duration,
    /// `purge_history_time` (604800 s): how long rows of the history are kept.
    pub history: Duration,
}

impl Default for CleanerSettings {
    fn default() -> Self {
        Self { sessions: Duration::from_secs(3_600), history: Duration::from_secs(604_800) }
    }
}

/// Maximum time for keeping a history: ten years in seconds.
const TEN_YEARS_SECONDS: u32 = 315_360_000;

/// Reads the module.
pub(super) fn read(section: Section<'_>, findings: &mut Findings) -> CleanerSettings {
    let default = CleanerSettings::default();
    let most = TEN_YEARS_SECONDS;
    CleanerSettings {
        sessions: section.duration("purge_sessions_time", default.sessions, Unit::Seconds, most, findings),
        history: section.duration("purge_history_time", default.history, Unit::Seconds, most, findings),
    }
}
