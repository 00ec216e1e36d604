//! The options of the module `statistics` (docs/protocol.md section 17), and its jobs for `cron`.

use std::path::PathBuf;

use super::cron;
use super::cron::CronJob;
use crate::config::database::DatabaseSettings;
use crate::config::database_section;
use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::raw::RawConfig;
use crate::config::section::Section;

options! {
    STATISTICS = "statistics" in "the module 'statistics'" {
        "broker_cache_dir", "engine_stats_dir", "interval", "length", "heartbeat_factor", "rrdtool", "cron",
    } unused {}
}

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

const DAY_S: usize = 86_400;
/// Maximum number of values of an archive, which limits a file to some hundred megabytes.
const ROWS_MAX: usize = 4_000_000;

/// Reads the module, and adds its jobs to `jobs`; `None` after a problem and without a database.
pub(super) fn read(
    section: Section<'_>,
    raw: &RawConfig<'_>,
    jobs: &mut Vec<CronJob>,
    findings: &mut Findings,
) -> Option<StatisticsSettings> {
    let mut directory = |key: &'static str, default: &str| {
        let given = section.text(key, findings);
        if let Some((text, place)) = given.filter(|(text, _)| !text.starts_with('/') || text.contains(['"', '\n'])) {
            let text = format!("is '{}'; allowed: a path that begins with '/', without quotes", text.escape_debug());
            findings.problem(place, &section.path(key), text);
        }
        PathBuf::from(given.map_or(default, |(text, _)| text))
    };
    let broker_dir = directory("broker_cache_dir", "/var/lib/centreon/broker-stats/");
    let engine_dir = directory("engine_stats_dir", "/var/lib/centreon/nagios-perf/");
    let interval_s = section.number("interval", 300, 1..=DAY_S, "seconds", findings);
    let days = section.number("length", 365, 1..=36_500, "days", findings);
    let factor = section.number("heartbeat_factor", 10, 1..=1_000, "", findings);
    let rows = days.saturating_mul(DAY_S).checked_div(interval_s).unwrap_or(1);
    if rows > ROWS_MAX {
        let text =
            format!("makes {rows} values with 'interval'; allowed: {ROWS_MAX}, so a longer interval or less days");
        findings.problem(section.place(), &section.path("length"), text);
    }
    let archive = ArchiveSettings { interval_s, rows, heartbeat_s: interval_s.saturating_mul(factor) };
    let rrdtool = PathBuf::from(section.text("rrdtool", findings).map_or("rrdtool", |(text, _)| text));
    let realtime = database_section::realtime(raw, findings);
    if realtime.is_none() {
        let text = "no file has 'centreon.database.db_realtime', so the table nagios_stats is not filled";
        findings.warning(section.place(), &section.path(""), text);
    }
    let database = database_section::of_module(&section, raw, findings)?;
    let settings = StatisticsSettings { broker_dir, engine_dir, archive, rrdtool, database, realtime };
    jobs.extend(cron::read(section, findings));
    Some(settings)
}
