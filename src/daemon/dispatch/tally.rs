//! Counts since the start of what passes through the dispatch, for `/metrics`. Counting allocates nothing.

use crate::model::copy::{SinkDone, SinkStep, SourceDone, SourceStep};
use crate::model::host_work::{HostDone, HostWork};

/// Counts of copies in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyTally {
    /// Copies that were begun.
    pub started: u64,
    /// Copies that are complete.
    pub finished: u64,
    /// Copies that failed.
    pub failed: u64,
    /// Bytes of chunks.
    pub bytes: u64,
}

/// The counts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Handshakes of clients that were accepted.
    pub handshakes: u64,
    /// Handshakes of clients that were refused.
    pub handshakes_refused: u64,
    /// Accepted connections.
    pub connections: u64,
    /// Copies read here.
    pub sent: CopyTally,
    /// Copies written here.
    pub received: CopyTally,
    /// Requests of the API that were let in: path, status and number.
    pub calls: Vec<(&'static str, u16, u64)>,
    /// Requests of the API that were refused before: status and number.
    pub refused_calls: Vec<(u16, u64)>,
}

impl Tally {
    /// Counts the answer to a call.
    pub(super) fn call(&mut self, path: &'static str, status: u16) {
        match self.calls.iter_mut().find(|(known, of, _)| *of == status && *known == path) {
            Some((.., count)) => *count += 1,
            None => self.calls.push((path, status, 1)),
        }
    }

    /// Counts an order of a copy.
    pub(super) fn ordered(&mut self, work: &HostWork) {
        match work {
            HostWork::ReadSource { step: SourceStep::Finish, .. } => self.sent.finished += 1,
            HostWork::WriteSink { steps, .. } => {
                for step in steps {
                    if let SinkStep::Chunk { size, offset, .. } = step {
                        self.received.bytes += u64::try_from(*size).unwrap_or(0);
                        self.received.started += u64::from(*offset == Some(0));
                    }
                }
            }
            _ => {}
        }
    }

    /// Counts the result of an order of a copy.
    pub(super) fn done(&mut self, done: &HostDone) {
        match done {
            HostDone::SourceDone { done: SourceDone::Opened { .. }, .. } => self.sent.started += 1,
            HostDone::SourceDone { done: SourceDone::Chunks(chunks), .. } => {
                self.sent.bytes += chunks.iter().map(|chunk| chunk.len_bytes).sum::<u64>();
            }
            HostDone::SourceDone { done: SourceDone::Failed(_), .. } => self.sent.failed += 1,
            HostDone::SinkDone { done, .. } => {
                for done in done {
                    match done {
                        SinkDone::Finished(_) | SinkDone::Unchanged(_) => self.received.finished += 1,
                        SinkDone::Failed(_) => self.received.failed += 1,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}
