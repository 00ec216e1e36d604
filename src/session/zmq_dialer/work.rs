//! The steps of a handshake that need RSA, for a worker thread.

use crate::wire::gorgone::key_exchange::{DialJob, DialResult};
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::tls_link::{Step, StepResult};

/// One step. No `Debug`: it holds keys.
pub enum DialWork {
    /// In the way of the original.
    Classic(DialJob),
    /// A step of TLS, with the server's message.
    Tls(Step, Vec<u8>),
}

/// The result of a [`DialWork`].
pub(super) enum DialAnswer {
    Classic(DialResult),
    Tls(Box<StepResult>),
}

/// A job and the attempt that needs it.
pub struct DialTicket {
    /// Number of the attempt.
    pub(super) attempt: u64,
    /// The work for a worker.
    pub work: DialWork,
}

/// The result of a [`DialTicket`].
pub struct DialOutcome {
    pub(super) attempt: u64,
    pub(super) answer: DialAnswer,
}

impl DialTicket {
    /// Runs the job.
    #[must_use]
    pub fn run(self, private_key: &PrivateKey) -> DialOutcome {
        let answer = match self.work {
            DialWork::Classic(job) => DialAnswer::Classic(job.run(private_key)),
            DialWork::Tls(step, message) => DialAnswer::Tls(Box::new(step.run(message))),
        };
        DialOutcome { attempt: self.attempt, answer }
    }
}
