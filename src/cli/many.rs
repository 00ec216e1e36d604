//! The same work for several nodes, some of them at once, each on a thread of its own. One thread prints what they say
//! and notices Ctrl-C.
//!
//! Out of scope: what the work is (`exec`, `copy`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::remote::Pause;

/// Nodes at once by default.
pub(super) const AT_ONCE: usize = 10;
/// Maximum of `--at-once`.
pub(super) const AT_ONCE_MAX: usize = 100;
/// Maximum number of events that wait to be printed; the workers then wait as well.
const EVENTS_MAX: usize = 64;
/// Maximum delay until Ctrl-C is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a worker says about its node.
pub(super) enum Event<S, D> {
    /// Something happened.
    Step(S),
    /// A sentence for the user.
    Said(String),
    /// The work has ended.
    Done(D),
}

/// How the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// For every node.
    Complete,
    /// The user pressed Ctrl-C. Nodes whose turn had not come were left out.
    Interrupted,
    /// The reader of the output is gone (`… | head -1`).
    ReaderGone,
}

/// What prints the events.
pub(super) trait Screen<S, D> {
    /// Prints an event; returns whether the reader is still there.
    fn show(&mut self, node: u64, event: Event<S, D>) -> bool;

    /// After Ctrl-C: returns whether what runs is to be cancelled.
    fn is_cancelled(&mut self) -> bool {
        false
    }
}

/// Why workers stop, if they do.
#[derive(Debug, Default)]
struct Stop {
    is_wanted: AtomicBool,
    cancels: AtomicBool,
}

impl Stop {
    fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    fn set(&self, cancels: bool) {
        self.cancels.store(cancels, Ordering::Relaxed);
        self.is_wanted.store(true, Ordering::Release);
    }
}

/// The end of a worker that it says things to.
pub(super) struct Worker<'a, S, D> {
    node: u64,
    events: &'a SyncSender<(u64, Event<S, D>)>,
    stop: &'a Stop,
    /// Factor of all waits: many workers ask the daemon less often each.
    slowness: u32,
}

impl<S, D> Worker<'_, S, D> {
    /// The node that the work is for.
    pub(super) const fn node(&self) -> u64 {
        self.node
    }

    /// Reports a step.
    pub(super) fn step(&self, step: S) {
        self.send(Event::Step(step));
    }

    /// Reports a sentence for the user.
    pub(super) fn say(&self, text: String) {
        self.send(Event::Said(text));
    }

    /// Whether what runs is to be cancelled, now that the work ends.
    pub(super) fn cancels(&self) -> bool {
        self.stop.cancels.load(Ordering::Relaxed)
    }

    fn send(&self, event: Event<S, D>) {
        // The receiver lives until all workers have ended.
        let _nobody_prints = self.events.send((self.node, event));
    }

    /// Waits for `time`, longer if there are many workers; returns whether the work is to end.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let mut left = time.saturating_mul(self.slowness);
        while !left.is_zero() && !self.stop.is_wanted() {
            let step = left.min(LOOK_EVERY);
            thread::sleep(step);
            left = left.saturating_sub(step);
        }
        self.stop.is_wanted()
    }
}

/// Does `work` for each node, `at_once` at a time in their order, and has `screen` show what happens.
///
/// # Errors
/// The system has no thread left.
pub(super) fn run<S: Send, D: Send>(
    nodes: &[u64],
    at_once: usize,
    pause: &mut Pause,
    work: impl Fn(&Worker<'_, S, D>) -> D + Sync,
    screen: &mut impl Screen<S, D>,
) -> Result<End, String> {
    let queue = Mutex::new(nodes.iter().copied().collect::<VecDeque<u64>>());
    let stop = Stop::default();
    let slowness = u32::try_from(at_once.min(nodes.len()).div_ceil(AT_ONCE)).unwrap_or(1).max(1);
    let work_off = |events: &SyncSender<(u64, Event<S, D>)>| {
        // In a closure, so that the lock is not held while the work is done.
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while !stop.is_wanted()
            && let Some(node) = next()
        {
            let worker = Worker { node, events, stop: &stop, slowness };
            let done = work(&worker);
            worker.send(Event::Done(done));
        }
    };
    thread::scope(|scope| {
        let (sender, events) = mpsc::sync_channel(EVENTS_MAX);
        for index in 0..at_once.clamp(1, nodes.len().max(1)) {
            let (sender, work_off) = (sender.clone(), &work_off);
            match thread::Builder::new().spawn_scoped(scope, move || work_off(&sender)) {
                Err(error) if index == 0 => return Err(format!("no thread can be started: {error}")),
                // Those that there are do it all.
                Err(_) => break,
                Ok(_) => {}
            }
        }
        drop(sender);
        Ok(print(&events, &stop, pause, screen))
    })
}

/// Shows all events until the last worker has ended.
fn print<S, D>(
    events: &Receiver<(u64, Event<S, D>)>,
    stop: &Stop,
    pause: &mut Pause,
    screen: &mut impl Screen<S, D>,
) -> End {
    let mut end = End::Complete;
    loop {
        let is_read = match events.recv_timeout(LOOK_EVERY) {
            Ok((node, event)) => screen.show(node, event),
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => return end,
        };
        if end == End::Complete {
            end = match (is_read, pause.is_over()) {
                (false, _) => End::ReaderGone,
                (true, true) => End::Interrupted,
                (true, false) => continue,
            };
            stop.set(end == End::Interrupted && screen.is_cancelled());
        }
    }
}
