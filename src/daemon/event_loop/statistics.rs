//! Work of the module `statistics` on databases and files, done by a worker.

use crate::config::modules::statistics::StatisticsSettings;
use crate::edge::{centreon_database, statistics};
use crate::model::host_work::HostDone;
use crate::model::statistics::{StatisticsDone, StatisticsWork};
use crate::model::time::Now;
use crate::model::work::{WorkId, WorkOutcome};

use super::storage::JobResult;
use super::workers::Rank;
use super::{EventLoop, LOOKUPS_MAX};

fn run(settings: &StatisticsSettings, work: StatisticsWork) -> StatisticsDone {
    match work {
        StatisticsWork::ReadTables => {
            let tables = centreon_database::read_statistics(&settings.database);
            StatisticsDone::Tables(tables.map_err(|fault| fault.text))
        }
        StatisticsWork::Write(collected) => StatisticsDone::Written(statistics::write(settings, &collected)),
    }
}

fn refusal(work: &StatisticsWork) -> StatisticsDone {
    const BUSY: &str = "too much waits for the network";
    match work {
        StatisticsWork::ReadTables => StatisticsDone::Tables(Err(BUSY.to_owned())),
        StatisticsWork::Write(collected) => {
            StatisticsDone::Written(collected.iter().map(|_| vec![BUSY.to_owned()]).collect())
        }
    }
}

impl EventLoop {
    /// Does the work of the module on the threads for lookups, because databases and files may be slow.
    pub(super) fn statistics_work(&mut self, id: WorkId, work: StatisticsWork, now: Now) {
        let Some(settings) = self.host.statistics.clone() else { return };
        let refusal = refusal(&work);
        let job = Box::new(move || {
            let outcome = WorkOutcome::Statistics(run(&settings, work));
            JobResult::Host(HostDone::WorkDone { id, outcome })
        });
        if !self.workers.submit_below(LOOKUPS_MAX, Rank::Lookup, job) {
            let outcome = WorkOutcome::Statistics(refusal);
            self.dispatch.host_done(HostDone::WorkDone { id, outcome }, now);
        }
    }
}
