//! Blocking work of modules, done on a worker.

use std::time::{Duration, Instant};

use crate::config::allow_list::AllowList;
use crate::edge::jobs::Job;
use crate::model::work::{Work, WorkId, WorkOutcome};

use super::storage::JobResult;

/// A check of one request against the allow-list takes no longer than this, and the match in hand.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// The job that does a piece of work.
pub(super) fn job(id: WorkId, work: Work, allowed: &AllowList) -> Job<JobResult> {
    match work {
        Work::CheckCommands { lines, wanted } => {
            let allowed = allowed.clone();
            Box::new(move || {
                let deadline = Instant::now() + CHECK_MAX;
                let check = allowed.check(&lines, wanted, || Instant::now() >= deadline);
                JobResult::Worked(id, WorkOutcome::Checked(check))
            })
        }
    }
}
