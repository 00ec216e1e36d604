//! What an attempt has others do for it, and whether it has a connection.

use super::{DialState, DialTicket, DialWork, DialerOutput, ZmqDialer};

impl ZmqDialer {
    pub(super) fn run_job(&mut self, work: DialWork) {
        self.outputs.push_back(DialerOutput::RunJob(DialTicket { attempt: self.attempt, work }));
    }

    pub(super) const fn has_connection(&self) -> bool {
        !matches!(self.state, DialState::Stopped | DialState::Waiting { .. })
    }
}
