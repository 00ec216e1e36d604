//! Says in the log when the machine's clock cannot be right, and when it is.

use crate::edge::clock;
use crate::edge::log::LogWriter;
use crate::model::log::LogLine;
use crate::model::time::Now;

use super::EventLoop;

/// Whether the machine's clock was right at the last look.
pub(super) struct TimeSource {
    was_right: bool,
}

impl TimeSource {
    /// Warns at the start of a clock that cannot be right.
    pub(super) fn start(log: &mut LogWriter, now: Now) -> Self {
        let wrong = clock::wrong();
        if let Some(machines) = wrong {
            let text = format!(
                "this machine's clock is wrong: it says {machines}, and until it is set {} is taken: set it by NTP",
                now.wall
            );
            log.write(&LogLine::warning("core", text), now.wall);
        }
        Self { was_right: wrong.is_none() }
    }

    /// Whether the machine's clock can be right.
    pub(super) const fn is_right(&self) -> bool {
        self.was_right
    }
}

impl EventLoop {
    /// Notices that the machine's clock was set.
    pub(super) fn look_at_clock(&mut self, now: Now) {
        let wrong = clock::wrong();
        if wrong.is_none() == self.time_source.was_right {
            return;
        }
        self.time_source.was_right = wrong.is_none();
        match wrong {
            None => self.log.write(&LogLine::info("core", "this machine's clock is right again"), now.wall),
            Some(_) => self.time_source = TimeSource::start(&mut self.log, now),
        }
        self.dispatch.clock_is_right(wrong.is_none(), now);
    }
}
