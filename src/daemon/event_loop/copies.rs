//! The files of copies. Separate threads work on them, so that a long copy does not delay handshakes, questions or
//! commands; between two jobs the files are kept here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::edge::copy::sink::Sink;
use crate::edge::copy::source::Source;
use crate::edge::jobs::JobQueue;
use crate::model::copy::{SinkDone, SinkId, SinkStep, SourceDone, SourceId, SourceStep};
use crate::model::host_work::HostDone;
use crate::model::time::{Monotonic, Now};

use super::{EventLoop, LAST_JOBS};

/// Maximum number of threads.
const THREADS_MAX: usize = 4;

/// The result of a worker's job.
pub(super) enum CopyResult {
    Source(SourceId, Box<Source>, SourceDone),
    Sink(SinkId, Box<Sink>, Vec<SinkDone>),
}

pub(super) struct CopyWork {
    /// Jobs; bounded by the number of copies, each of which has at most one.
    jobs: JobQueue<CopyResult>,
    sources: HashMap<SourceId, Box<Source>>,
    sinks: HashMap<SinkId, Box<Sink>>,
    /// Sources that are closed when their job is done.
    closing: HashSet<SourceId>,
    /// Sources that a job is using.
    busy: HashSet<SourceId>,
    /// Whether a job has ended since the last [`Self::take_news`].
    has_news: bool,
}

impl CopyWork {
    pub(super) fn new(threads: usize, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            jobs: JobQueue::new(threads.min(THREADS_MAX), wake),
            sources: HashMap::new(),
            sinks: HashMap::new(),
            closing: HashSet::new(),
            busy: HashSet::new(),
            has_news: false,
        }
    }

    pub(super) fn read(&mut self, source: SourceId, step: SourceStep) {
        if step == SourceStep::Close {
            if self.busy.contains(&source) {
                self.closing.insert(source);
            }
            self.sources.remove(&source);
            return;
        }
        let mut open = self.sources.remove(&source).unwrap_or_default();
        self.busy.insert(source);
        self.jobs.submit(Box::new(move || {
            let done = open.run(step);
            CopyResult::Source(source, open, done)
        }));
    }

    pub(super) fn write(&mut self, sink: SinkId, steps: Vec<SinkStep>) {
        let mut open = self.sinks.remove(&sink).unwrap_or_default();
        self.jobs.submit(Box::new(move || {
            let done = open.run_all(steps);
            CopyResult::Sink(sink, open, done)
        }));
    }

    /// The complete file of a copy that is to be passed on. It is kept until it is discarded.
    #[cfg(feature = "ssh")]
    pub(super) fn gathered(&self, sink: SinkId) -> Option<std::fs::File> {
        self.sinks.get(&sink).and_then(|sink| sink.file())
    }

    pub(super) fn handle_timeout(&mut self) {
        self.jobs.handle_timeout();
    }

    /// Whether a job has ended since the last call.
    pub(super) const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.has_news, false)
    }

    pub(super) fn poll_timeout(&self, now: Monotonic) -> Option<Monotonic> {
        self.jobs.poll_timeout(now)
    }

    /// Gives running jobs a moment to end.
    pub(super) fn shutdown(&self) {
        self.jobs.shutdown(LAST_JOBS);
    }
}

impl EventLoop {
    pub(super) fn finished_copies(&mut self, now: Now) {
        while let Some(result) = self.copies.jobs.poll_finished() {
            self.copies.has_news = true;
            match result {
                CopyResult::Source(source, open, done) => {
                    self.copies.busy.remove(&source);
                    if !self.copies.closing.remove(&source) && open.is_open() {
                        self.copies.sources.insert(source, open);
                    }
                    self.dispatch.host_done(HostDone::SourceDone { source, done }, now);
                }
                CopyResult::Sink(sink, open, done) => {
                    if open.is_open() {
                        self.copies.sinks.insert(sink, open);
                    }
                    self.dispatch.host_done(HostDone::SinkDone { sink, done }, now);
                }
            }
        }
    }
}
