//! The worker threads of the loop, in queues by rank: work of one rank never waits for work of another.
//!
//! The threads for work that strangers can cause, or that may take long, also have a lower priority in the operating
//! system's scheduler.

use std::sync::Arc;
use std::time::Duration;

use crate::edge::jobs::{BACKGROUND_NICE, Job, JobQueue, STRANGER_NICE};
use crate::model::time::Monotonic;

/// The kind of a job. Results of the first ranks are collected first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Our own upkeep: checkpoints, certificates, the register file.
    Own,
    /// Handshakes with our nodes and our central, and of clients from addresses that had a session before.
    Handshake,
    /// Starts of processes.
    Spawn,
    /// Questions to the history that an index answers.
    QuickQuestion,
    /// First checks against the allow-list, cut off after [`super::work::LOOK_MAX`]; package lists.
    Match,
    /// Queries to name servers and the Centreon database, which may be slow.
    Lookup,
    /// Writes to pipes, which wait for a reader.
    Pipe,
    /// Questions to the history that may read all of it.
    Question,
    /// Checks against the allow-list that take long.
    SlowMatch,
    /// Handshakes of strangers.
    Stranger,
    /// Commits on a database server, on a thread of their own.
    Store,
}

/// The ranks in order, the maximum number of threads of each, and whether these threads have a low priority.
const RANKS: [(Rank, usize, bool); 11] = [
    (Rank::Own, 2, false),
    (Rank::Handshake, 2, false),
    (Rank::Spawn, 2, false),
    (Rank::QuickQuestion, 2, false),
    (Rank::Match, 1, false),
    (Rank::Lookup, 8, false),
    (Rank::Pipe, 4, false),
    (Rank::Question, 4, true),
    (Rank::SlowMatch, 2, true),
    (Rank::Stranger, 1, true),
    (Rank::Store, 1, false),
];

/// One queue for each rank. Threads start on demand.
pub(super) struct Workers<T> {
    /// In the order of [`RANKS`].
    queues: Vec<JobQueue<T>>,
}

impl<T: Send + 'static> Workers<T> {
    /// Creates the queues. `threads` is the maximum for ranks that mainly calculate; `wake` is called after each job.
    pub(super) fn new(threads: usize, wake: &Arc<dyn Fn() + Send + Sync>) -> Self {
        let queue = |(rank, max, is_background)| {
            let max = if matches!(rank, Rank::Handshake | Rank::Question) { threads.min(max) } else { max };
            let wake = Arc::clone(wake);
            let nice = if rank == Rank::Stranger { STRANGER_NICE } else { BACKGROUND_NICE };
            if is_background { JobQueue::background(nice, max, wake) } else { JobQueue::new(max, wake) }
        };
        Self { queues: RANKS.into_iter().map(queue).collect() }
    }

    /// Submits a job. The callers bound the number of waiting jobs (links, handshakes, questions and commands).
    pub(super) fn submit(&mut self, rank: Rank, job: Job<T>) {
        if let Some(queue) = self.queues.get_mut(rank as usize) {
            queue.submit(job);
        }
    }

    /// Submits a job unless `bound` jobs of the rank are waiting; returns whether it was submitted.
    pub(super) fn submit_below(&mut self, bound: usize, rank: Rank, job: Job<T>) -> bool {
        self.queues.get_mut(rank as usize).is_some_and(|queue| queue.submit_below(bound, job).is_ok())
    }

    /// Takes the next result, of the highest rank that has one.
    pub(super) fn poll_finished(&self) -> Option<T> {
        self.queues.iter().find_map(JobQueue::poll_finished)
    }

    /// Tries again to start threads that the system refused.
    pub(super) fn handle_timeout(&mut self) {
        self.queues.iter_mut().for_each(JobQueue::handle_timeout);
    }

    /// When to call [`Workers::handle_timeout`].
    pub(super) fn poll_timeout(&self, now: Monotonic) -> Option<Monotonic> {
        self.queues.iter().filter_map(|queue| queue.poll_timeout(now)).min()
    }

    /// Discards waiting jobs and gives running ones up to `patience` to end, because a command that is just being
    /// started would outlive us.
    pub(super) fn shutdown(&self, patience: Duration) {
        for rank in [Rank::Spawn, Rank::Own] {
            if let Some(queue) = self.queues.get(rank as usize) {
                queue.shutdown(patience);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_has_its_queue() {
        for (index, (rank, ..)) in RANKS.into_iter().enumerate() {
            assert_eq!(rank as usize, index);
        }
    }
}
