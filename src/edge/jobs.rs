//! Blocking work (RSA, DNS, SQLite reads, starting processes) on a few worker threads.
//!
//! Threads start on demand and end after some idle seconds. An idle queue costs nothing and causes no wake-ups.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::time::Monotonic;

/// A piece of work and its result.
pub type Job<R> = Box<dyn FnOnce() -> R + Send>;

/// Idle time after which a worker ends.
const IDLE: Duration = Duration::from_secs(10);
/// Stack size of a worker in bytes: enough for SQLite and 4096-bit RSA, also in a debug build.
const STACK_SIZE: usize = if cfg!(debug_assertions) { 2 << 20 } else { 512 << 10 };
/// Delay before a failed start of a thread is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Nice level of a background queue: about a tenth of a busy processor.
pub const BACKGROUND_NICE: i32 = 10;
/// Nice level of a queue for what strangers ask for: about a sixtieth of a busy processor, but never nothing.
pub const STRANGER_NICE: i32 = 19;

/// A queue of jobs whose results are collected by one thread. Jobs wait in the queue while no thread can be started.
pub struct JobQueue<R> {
    shared: Arc<Shared<R>>,
    max_threads: usize,
    /// Nice level of a queue of low priority.
    nice: Option<i32>,
    /// Jobs are waiting, and no thread could be started. No event will tell when one can.
    is_stuck: bool,
}

struct Shared<R> {
    state: Mutex<State<R>>,
    work: Condvar,
    ended: Condvar,
    wake: Arc<dyn Fn() + Send + Sync>,
}

struct State<R> {
    waiting: VecDeque<Job<R>>,
    finished: VecDeque<R>,
    /// Number of submitted jobs whose result has not been collected.
    pending: usize,
    threads: usize,
    idle: usize,
    stopping: bool,
}

impl<R> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Send + 'static> JobQueue<R> {
    /// A queue with at most `max_threads` workers, at least one. A worker calls `wake` after each result; it must not
    /// block (a `mio::Waker`).
    #[must_use]
    pub fn new(max_threads: usize, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            finished: VecDeque::new(),
            pending: 0,
            threads: 0,
            idle: 0,
            stopping: false,
        };
        let shared = Shared { state: Mutex::new(state), work: Condvar::new(), ended: Condvar::new(), wake };
        Self { shared: Arc::new(shared), max_threads: max_threads.max(1), nice: None, is_stuck: false }
    }

    /// Like [`JobQueue::new`], with workers of low priority that never take a processor from another thread.
    #[must_use]
    pub fn background(nice: i32, max_threads: usize, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let mut queue = Self::new(max_threads, wake);
        queue.nice = Some(nice);
        queue
    }

    /// Appends a job. The caller limits the length of the queue; see [`JobQueue::submit_below`]. After
    /// [`JobQueue::shutdown`] the job is dropped.
    pub fn submit(&mut self, job: Job<R>) {
        let _dropped = self.submit_below(usize::MAX, job);
    }

    /// Appends a job if fewer than `bound` jobs wait for a thread.
    ///
    /// # Errors
    /// The job, if that many wait or the queue is shut down.
    pub fn submit_below(&mut self, bound: usize, job: Job<R>) -> Result<(), Job<R>> {
        let mut state = self.shared.lock();
        if state.stopping || state.waiting.len() >= bound {
            return Err(job);
        }
        state.waiting.push_back(job);
        state.pending += 1;
        drop(state);
        self.start_thread();
        self.shared.work.notify_one();
        Ok(())
    }

    /// Starts a thread if more jobs wait than threads are idle.
    fn start_thread(&mut self) {
        let mut state = self.shared.lock();
        if state.idle < state.waiting.len() && state.threads < self.max_threads {
            let (shared, nice) = (Arc::clone(&self.shared), self.nice);
            let thread = std::thread::Builder::new().name("worker".to_owned()).stack_size(STACK_SIZE);
            let started = thread.spawn(move || {
                if let Some(nice) = nice {
                    // If this fails, the worker keeps the usual priority.
                    let _refused = rustix::process::setpriority_process(None, nice);
                    super::system::schedule_in_batches();
                }
                run_worker(&shared);
            });
            if started.is_ok() {
                state.threads += 1;
            }
        }
        self.is_stuck = !state.waiting.is_empty() && state.threads == 0;
    }

    /// When to call [`JobQueue::handle_timeout`]; `None` while the wake-ups of finished jobs are enough.
    #[must_use]
    pub fn poll_timeout(&self, now: Monotonic) -> Option<Monotonic> {
        self.is_stuck.then(|| now + RETRY)
    }

    /// Tries again to start a thread.
    pub fn handle_timeout(&mut self) {
        if self.is_stuck {
            self.start_thread();
        }
    }

    /// The next result in the order in which jobs ended; `None` if there is none. Never blocks on a job.
    pub fn poll_finished(&self) -> Option<R> {
        let mut state = self.shared.lock();
        let result = state.finished.pop_front()?;
        state.pending = state.pending.saturating_sub(1);
        Some(result)
    }

    /// Number of jobs whose result has not been collected.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.lock().pending
    }

    /// Drops waiting jobs and waits up to `patience` for running ones. Returns `false` if some are still running; they
    /// end with the process. Results can still be collected.
    pub fn shutdown(&self, patience: Duration) -> bool {
        let mut state = self.shared.lock();
        state.stopping = true;
        let forgotten = state.waiting.len();
        state.pending = state.pending.saturating_sub(forgotten);
        // Closures may own values that take long to drop, so they are dropped without the lock.
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
        self.shared.work.notify_all();
        let state = self.shared.lock();
        let waited = self.shared.ended.wait_timeout_while(state, patience, |state| state.threads > 0);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.threads == 0
    }
}

impl<R> Drop for JobQueue<R> {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_all();
    }
}

/// Runs jobs until there is none for [`IDLE`] or the queue stops.
fn run_worker<R>(shared: &Shared<R>) {
    while let Some(job) = next_job(shared) {
        // A panic is our defect. In tests it unwinds, and the queue must still count correctly.
        let result = catch_unwind(AssertUnwindSafe(job));
        let mut state = shared.lock();
        match result {
            Ok(result) => state.finished.push_back(result),
            Err(_) => state.pending = state.pending.saturating_sub(1),
        }
        drop(state);
        (shared.wake)();
    }
    shared.ended.notify_all();
}

/// Waits for a job; `None` if this thread should end, which is then already counted.
fn next_job<R>(shared: &Shared<R>) -> Option<Job<R>> {
    let deadline = Instant::now() + IDLE;
    let mut state = shared.lock();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let job = if state.stopping { None } else { state.waiting.pop_front() };
        if job.is_some() {
            return job;
        }
        if state.stopping || left.is_zero() {
            state.threads -= 1;
            return None;
        }
        state.idle += 1;
        let (guard, _) = shared.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        state = guard;
        state.idle -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    fn queue(max_threads: usize) -> (JobQueue<u32>, Receiver<()>) {
        let (sender, receiver) = channel();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            let _ = sender.send(());
        });
        (JobQueue::new(max_threads, wake), receiver)
    }

    fn await_wake(wakes: &Receiver<()>) {
        wakes.recv_timeout(Duration::from_secs(10)).expect("no result within 10 s");
    }

    #[test]
    fn every_job_gives_its_result_and_one_wake() {
        let (mut queue, wakes) = queue(3);
        for number in 0..50 {
            queue.submit(Box::new(move || number * 2));
        }
        let mut results = Vec::new();
        for _ in 0..50 {
            await_wake(&wakes);
            results.extend(queue.poll_finished());
        }
        results.sort_unstable();
        assert_eq!(results, (0..50).map(|number| number * 2).collect::<Vec<_>>());
        assert_eq!(queue.pending(), 0);
        assert!(queue.poll_finished().is_none());
    }

    #[test]
    fn a_background_queue_has_the_lowest_rank_and_interrupts_nobody() {
        let (sender, receiver) = channel();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            let _ = sender.send(());
        });
        let mut queue = JobQueue::background(STRANGER_NICE, 1, wake);
        queue.submit(Box::new(|| std::fs::read_to_string("/proc/thread-self/stat").unwrap()));
        await_wake(&receiver);
        let stat = queue.poll_finished().unwrap();
        // After the name in parentheses, nice is the 19th field and the policy the 41st.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        assert_eq!((fields[16], fields[38]), ("19", "3"), "SCHED_BATCH");
    }

    #[test]
    fn a_full_queue_gives_the_job_back_and_no_more_threads_run_than_allowed() {
        let (mut queue, wakes) = queue(1);
        let (release, gate) = channel::<()>();
        let (started, is_started) = channel();
        let busy = move || {
            started.send(()).unwrap();
            gate.recv().unwrap();
            1
        };
        queue.submit(Box::new(busy));
        is_started.recv_timeout(Duration::from_secs(10)).unwrap();
        queue.submit(Box::new(|| 2));
        assert!(queue.submit_below(1, Box::new(|| 3)).is_err());
        assert_eq!((queue.pending(), queue.shared.lock().threads), (2, 1));
        release.send(()).unwrap();
        await_wake(&wakes);
        await_wake(&wakes);
        assert_eq!((queue.poll_finished(), queue.poll_finished()), (Some(1), Some(2)));
        assert!(queue.submit_below(1, Box::new(|| 4)).is_ok());
    }

    #[test]
    fn a_job_that_panics_costs_only_itself() {
        let (mut queue, wakes) = queue(1);
        queue.submit(Box::new(|| panic!("a test's panic")));
        queue.submit(Box::new(|| 7));
        await_wake(&wakes);
        await_wake(&wakes);
        assert_eq!((queue.poll_finished(), queue.pending()), (Some(7), 0));
    }

    #[test]
    fn a_shutdown_forgets_what_waits_and_does_not_wait_for_ever() {
        let (mut queue, _wakes) = queue(1);
        let (release, gate) = channel::<()>();
        let (started, is_started) = channel();
        let busy = move || {
            started.send(()).unwrap();
            gate.recv().unwrap();
            1
        };
        queue.submit(Box::new(busy));
        is_started.recv_timeout(Duration::from_secs(10)).unwrap();
        queue.submit(Box::new(|| 2));
        assert!(!queue.shutdown(Duration::from_millis(10)), "the running job cannot have ended");
        release.send(()).unwrap();
        assert!(queue.shutdown(Duration::from_secs(10)));
        assert_eq!((queue.poll_finished(), queue.poll_finished()), (Some(1), None));
        assert!(queue.submit_below(1, Box::new(|| 3)).is_err());
    }
}
