//! Reads the options of the module `statistics` into [`super::statistics`], and its jobs into those of `cron`.

use std::path::PathBuf;

use super::cron_section::{self, CronJob};
use super::database_section;
use super::findings::Findings;
use super::raw::RawConfig;
use super::section::Section;
use super::statistics::{ArchiveSettings, StatisticsSettings};

const DAY_S: usize = 86_400;
/// Maximum number of values of an archive, which limits a file to some hundred megabytes.
const ROWS_MAX: usize = 4_000_000;

/// Reads the module and its jobs; `None` after a problem and without a database.
pub(super) fn read(
    section: Section<'_>,
    raw: &RawConfig<'_>,
    findings: &mut Findings,
) -> Option<(StatisticsSettings, Vec<CronJob>)> {
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
    Some((settings, cron_section::read(section, findings)))
}
