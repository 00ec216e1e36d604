//! Options of the module `statistics` (docs/protocol.md section 17). The text form is read by
//! [`super::statistics_section`].

use std::path::PathBuf;

use super::database::DatabaseSettings;

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsSettings {
    /// `broker_cache_dir` (`/var/lib/centreon/broker-stats/`)
    pub broker_dir: PathBuf,
    /// `engine_stats_dir` (`/var/lib/centreon/nagios-perf/`)
    pub engine_dir: PathBuf,
    /// What new RRD files are like.
    pub archive: ArchiveSettings,
    /// `rrdtool` (`rrdtool`): the program that writes them.
    pub rrdtool: PathBuf,
    /// The configuration database.
    pub database: DatabaseSettings,
    /// The database with the table `nagios_stats`; without it only files are written.
    pub realtime: Option<DatabaseSettings>,
}

/// What a new RRD file is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveSettings {
    /// `interval` (300 s): between two values.
    pub interval_s: usize,
    /// `length` (365 days) in intervals.
    pub rows: usize,
    /// `heartbeat_factor` (10) times the interval: without a value for longer, nothing is known.
    pub heartbeat_s: usize,
}
