//! Options of the module `statistics` (docs/protocol.md section 17), read by [`super::statistics_section`].

use std::path::PathBuf;

use super::database::DatabaseSettings;

/// Options of the module `statistics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsSettings {
    /// `broker_cache_dir` (`/var/lib/centreon/broker-stats/`): directory of the statistics of brokers.
    pub broker_dir: PathBuf,
    /// `engine_stats_dir` (`/var/lib/centreon/nagios-perf/`): directory of the RRD files.
    pub engine_dir: PathBuf,
    /// Properties of new RRD files.
    pub archive: ArchiveSettings,
    /// `rrdtool` (`rrdtool`): the program that writes RRD files.
    pub rrdtool: PathBuf,
    /// The configuration database.
    pub database: DatabaseSettings,
    /// The real-time database with the table `nagios_stats`; without it only files are written.
    pub realtime: Option<DatabaseSettings>,
}

/// Properties of a new RRD file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveSettings {
    /// `interval` (300 s): seconds between two values.
    pub interval_s: usize,
    /// `length` (365 days) as a number of intervals.
    pub rows: usize,
    /// `heartbeat_factor` (10) times the interval: seconds without a value after which the value is unknown.
    pub heartbeat_s: usize,
}
