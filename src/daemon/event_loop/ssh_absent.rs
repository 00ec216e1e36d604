//! Replaces `ssh` in a build without that feature: no host is connected to.

use std::sync::Arc;

use crate::daemon::dispatch::SshWork;
use crate::model::connection::ConnectionId;
use crate::model::node_id::NodeId;
use crate::model::time::{Monotonic, Now};

use super::EventLoop;

pub(super) const FIRST_SSH_SOURCE: usize = 1 << (usize::BITS - 2);

/// Holds nothing.
pub(super) struct SshConnections;

/// Has no values.
pub(super) enum Finished {}

impl SshConnections {
    pub(super) fn new(_wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self
    }

    pub(super) fn poll_finished(&self) -> Option<Finished> {
        None
    }

    pub(super) fn handle_timeout(&mut self) {}

    pub(super) fn poll_timeout(&self, _now: Monotonic) -> Option<Monotonic> {
        None
    }
}

impl EventLoop {
    pub(super) fn ssh_work(&mut self, _node: NodeId, _connection: ConnectionId, _work: SshWork, _now: Now) {}

    pub(super) fn ssh_event(&mut self, _source: usize, _now: Now) {}

    pub(super) fn ssh_finished(&mut self, finished: Finished, _now: Now) {
        match finished {}
    }
}
