//! Log lines about peers that are refused, so few that a flood of peers does not become a flood of lines.

use std::cell::Cell;
use std::time::Duration;

use crate::model::connection::PeerAddress;
use crate::model::log::LogLine;
use crate::model::time::Monotonic;

/// Refusals are logged at most so often per [`LOG_WINDOW`].
const LOG_LINES: u32 = 10;
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// The budget of lines that all connections of one listener share.
pub struct RefusalLog {
    module: &'static str,
    window: Cell<Option<Monotonic>>,
    lines: Cell<u32>,
    unlogged: Cell<u64>,
}

impl RefusalLog {
    /// A fresh budget for lines of this module.
    pub const fn new(module: &'static str) -> Self {
        Self { module, window: Cell::new(None), lines: Cell::new(0), unlogged: Cell::new(0) }
    }

    /// A line about a refusal, unless too many were written lately; those are counted in the next line that is.
    pub fn line(&self, peer: PeerAddress, reason: &str, now: Monotonic) -> Option<LogLine> {
        if self.window.get().is_none_or(|start| now.since(start) >= LOG_WINDOW) {
            self.window.set(Some(now));
            self.lines.set(0);
        }
        if self.lines.get() >= LOG_LINES {
            self.unlogged.set(self.unlogged.get().saturating_add(1));
            return None;
        }
        self.lines.set(self.lines.get().saturating_add(1));
        let text = match self.unlogged.take() {
            0 => format!("{peer}: {reason}"),
            unlogged => format!("{peer}: {reason} ({unlogged} more refusals were not logged)"),
        };
        Some(LogLine::warning(self.module, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_writes_few_lines_and_counts_the_rest() {
        let log = RefusalLog::new("httpserver");
        let peer = PeerAddress::Ip("192.0.2.1".parse().unwrap());
        let lines = |at| (0..1000).filter_map(|_| log.line(peer, "no", at)).count();
        assert_eq!(lines(Monotonic::from_millis(0)), 10);
        assert_eq!(lines(Monotonic::from_millis(9_999)), 0);
        let line = log.line(peer, "no", Monotonic::from_millis(10_000)).unwrap();
        assert_eq!(line.text, "192.0.2.1: no (1990 more refusals were not logged)");
    }
}
