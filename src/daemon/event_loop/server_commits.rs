//! Begins and ends commits on a database server.

use std::time::Duration;

use crate::daemon::dispatch::Batch;
use crate::edge::clock;
use crate::edge::jobs::Job;
use crate::edge::server_store::Finished;
use crate::model::time::Now;

use super::EventLoop;
use super::storage::JobResult;
use super::workers::Rank;

/// How long the last commit of a daemon is waited for.
const LAST_COMMIT: Duration = Duration::from_secs(10);

impl EventLoop {
    /// Runs the job of a commit.
    pub(super) fn commit_beside(&mut self, mut batch: Batch, job: Job<Finished>, now: Now) {
        self.dispatch.commit_begun(&mut batch);
        self.storage.beside.begin(batch, now.monotonic);
        self.workers.submit(Rank::Store, Box::new(move || JobResult::Committed(Box::new(job()))));
    }

    /// Takes the end of a commit.
    pub(super) fn commit_ended(&mut self, finished: Finished, now: Now) {
        let (changes, result) = self.storage.take_back(finished);
        let Some((mut batch, begun)) = self.storage.beside.end() else { return };
        batch.changes = changes;
        #[cfg(feature = "status")]
        self.storage.commits.count(u64::try_from(now.monotonic.since(begun).as_micros()).unwrap_or(u64::MAX));
        let is_stored = result.is_ok();
        if is_stored {
            self.storage.beside.lengthen(begun);
        }
        self.applied(batch, result, now);
        for work in self.storage.beside.take_questions(!is_stored) {
            self.begin_host_work(work, now);
        }
    }

    /// Renews the lease of a daemon that has nothing to store.
    pub(super) fn renew_lease(&mut self, now: Now) {
        if self.storage.beside.take_renewal(now.monotonic) {
            self.commit_or_wait(Batch::default(), now.monotonic, Duration::ZERO, now);
        }
    }

    /// Waits for the commit that is under way when the daemon ends.
    pub(super) fn await_commit(&mut self) {
        let deadline = clock::read().monotonic + LAST_COMMIT;
        while self.storage.beside.is_under_way() && clock::read().monotonic < deadline {
            match self.workers.poll_finished() {
                Some(JobResult::Committed(finished)) => self.commit_ended(*finished, clock::read()),
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}
