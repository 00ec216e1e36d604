//! The worker threads of the loop, in queues by rank: work of one rank never waits for work of another.
//!
//! What strangers can ask for, and what may take long, gives way to all else by the operating system's scheduler too.

use std::sync::Arc;
use std::time::Duration;

use crate::edge::jobs::{Job, JobQueue};
use crate::model::time::Monotonic;

/// What a job is for. The results of the first ranks are collected first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Our own upkeep: checkpoints, certificates, the register file.
    Own,
    /// Handshakes with our nodes and our central, and of clients from addresses that had a session before.
    Handshake,
    /// Starting processes.
    Spawn,
    /// Questions to the history that an index answers.
    QuickQuestion,
    /// A first look at the allow-list, cut off after [`super::work::LOOK_MAX`]; package lists.
    Match,
    /// Name servers and the Centreon database: as slow as others are.
    Lookup,
    /// Pipes whose reader is waited for.
    Pipe,
    /// Questions to the history that may read all of it.
    Question,
    /// The allow-list, for command lines that take long.
    SlowMatch,
    /// Handshakes of strangers.
    Stranger,
}

/// The ranks in their order, the threads of each at most, and whether these give way to others.
const RANKS: [(Rank, usize, bool); 10] = [
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
];

/// One queue for each rank. Threads start on demand.
pub(super) struct Workers<T> {
    /// In the order of [`RANKS`].
    queues: Vec<JobQueue<T>>,
}

impl<T: Send + 'static> Workers<T> {
    /// `threads` is the most for ranks whose work is calculation; `wake` is called after each job.
    pub(super) fn new(threads: usize, wake: &Arc<dyn Fn() + Send + Sync>) -> Self {
        let queue = |(rank, max, is_background)| {
            let max = if matches!(rank, Rank::Handshake | Rank::Question) { threads.min(max) } else { max };
            let wake = Arc::clone(wake);
            if is_background { JobQueue::background(max, wake) } else { JobQueue::new(max, wake) }
        };
        Self { queues: RANKS.into_iter().map(queue).collect() }
    }

    /// Who asks bounds what waits: links, handshakes, questions and commands.
    pub(super) fn submit(&mut self, rank: Rank, job: Job<T>) {
        if let Some(queue) = self.queues.get_mut(rank as usize) {
            queue.submit(job);
        }
    }

    /// False when as many jobs of the rank wait as `bound`.
    pub(super) fn submit_below(&mut self, bound: usize, rank: Rank, job: Job<T>) -> bool {
        self.queues.get_mut(rank as usize).is_some_and(|queue| queue.submit_below(bound, job).is_ok())
    }

    /// The next result, of the highest rank that has one.
    pub(super) fn poll_finished(&self) -> Option<T> {
        self.queues.iter().find_map(JobQueue::poll_finished)
    }

    /// Starts threads that the system refused before.
    pub(super) fn handle_timeout(&mut self) {
        self.queues.iter_mut().for_each(JobQueue::handle_timeout);
    }

    /// When [`Workers::handle_timeout`] is wanted.
    pub(super) fn poll_timeout(&self, now: Monotonic) -> Option<Monotonic> {
        self.queues.iter().filter_map(|queue| queue.poll_timeout(now)).min()
    }

    /// Forgets what waits and gives what runs a moment: a command that is being started just now would outlive us.
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
