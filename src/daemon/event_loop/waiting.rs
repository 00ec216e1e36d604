//! How long the loop may wait.

use std::time::Duration;

use crate::model::time::Monotonic;

use super::cluster::ClusterWatch;
use super::{EventLoop, Phase};

impl EventLoop {
    /// Time until the next thing is due; `None` if only an event can cause work.
    pub(super) fn timeout(&self, now: Monotonic) -> Option<Duration> {
        let more = self.streams.has_readable()
            || self.children.has_ready(self.dispatch.output_room())
            || self.listening.has_waiting();
        let paused_until = self.storage.full_until().or_else(|| self.upkeep.paused_until(now)).filter(|_| more);
        if (more && paused_until.is_none()) || self.dispatch.has_work() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.dispatch.poll_timeout(),
            self.dispatch.waits_until(),
            self.children.poll_timeout(),
            self.storage.poll_timeout(),
            self.cluster.as_ref().and_then(ClusterWatch::poll_timeout),
            self.listening.poll_timeout(),
            if let Phase::Stopped(until) = self.phase { Some(until) } else { None },
            self.workers.poll_timeout(now),
            self.ssh.poll_timeout(now),
            self.upkeep.poll_timeout(),
            paused_until,
            self.copies.poll_timeout(now),
            self.log.poll_timeout(now),
        ];
        // One millisecond is added: a wake-up a fraction too early would find nothing due and spin.
        let earliest = deadlines.into_iter().flatten().min()?;
        Some(if earliest <= now { Duration::ZERO } else { earliest.since(now) + Duration::from_millis(1) })
    }
}
