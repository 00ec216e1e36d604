//! Log lines about refused peers: each reason once an hour for a peer, with a count, and a limited number in all, so
//! that a flood of peers does not become a flood of lines.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::connection::PeerAddress;
use crate::model::log::LogLine;
use crate::model::time::Monotonic;

/// Maximum number of lines in one [`LOG_WINDOW`].
const LOG_LINES: u32 = 10;
const LOG_WINDOW: Duration = Duration::from_secs(10);
/// Time after which a reason is logged again for a peer.
const REPEAT_AFTER: Duration = Duration::from_secs(3_600);
/// Maximum number of remembered reasons. Further ones are only limited by [`LOG_LINES`].
const MAX_KNOWN: usize = 256;

/// The log lines of all connections of one listener.
pub struct RefusalLog {
    module: &'static str,
    window: Cell<Option<Monotonic>>,
    lines: Cell<u32>,
    unlogged: Cell<u64>,
    known: RefCell<BTreeMap<(PeerAddress, String), Told>>,
}

/// A logged reason.
struct Told {
    at: Monotonic,
    /// How often it has occurred since.
    again: u64,
}

impl RefusalLog {
    /// An empty record for lines of this module.
    pub const fn new(module: &'static str) -> Self {
        Self {
            module,
            window: Cell::new(None),
            lines: Cell::new(0),
            unlogged: Cell::new(0),
            known: RefCell::new(BTreeMap::new()),
        }
    }

    /// A line about a refusal; `None` if this peer was logged for this reason within the hour, or too many lines were
    /// written recently. A later line counts what is left out.
    pub fn line(&self, peer: PeerAddress, reason: &str, now: Monotonic) -> Option<LogLine> {
        let mut known = self.known.borrow_mut();
        let key = (peer, reason.to_owned());
        let again = match known.get_mut(&key) {
            Some(told) if now.since(told.at) < REPEAT_AFTER => {
                told.again = told.again.saturating_add(1);
                return None;
            }
            Some(told) => told.again,
            None => 0,
        };
        if !self.has_room(now) {
            self.unlogged.set(self.unlogged.get().saturating_add(1));
            return None;
        }
        if known.len() >= MAX_KNOWN {
            known.retain(|_, told| now.since(told.at) < REPEAT_AFTER);
        }
        if known.len() < MAX_KNOWN || known.contains_key(&key) {
            known.insert(key, Told { at: now, again: 0 });
        }
        let repeated = if again == 0 { String::new() } else { format!(" ({again} times more in the last hour)") };
        let others = match self.unlogged.take() {
            0 => String::new(),
            unlogged => format!(" ({unlogged} more refusals were not logged)"),
        };
        Some(LogLine::warning(self.module, format!("{peer}: {reason}{repeated}{others}")).of_peer(peer))
    }

    /// Takes one line of the current window if it has room.
    fn has_room(&self, now: Monotonic) -> bool {
        if self.window.get().is_none_or(|start| now.since(start) >= LOG_WINDOW) {
            self.window.set(Some(now));
            self.lines.set(0);
        }
        let taken = self.lines.get().saturating_add(1);
        self.lines.set(taken.min(LOG_LINES + 1));
        taken <= LOG_LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> PeerAddress {
        PeerAddress::Ip(std::net::Ipv4Addr::from_bits(0xc000_0200 + number).into())
    }

    #[test]
    fn a_flood_of_peers_writes_few_lines_and_counts_the_rest() {
        let log = RefusalLog::new("httpserver");
        let lines = |from: u32, at| (from..from + 1_000).filter_map(|number| log.line(peer(number), "no", at)).count();
        assert_eq!(lines(0, Monotonic::from_millis(0)), 10);
        assert_eq!(lines(1_000, Monotonic::from_millis(9_999)), 0);
        let line = log.line(peer(2_000), "no", Monotonic::from_millis(10_000)).unwrap();
        assert_eq!(line.text, "192.0.9.208: no (1990 more refusals were not logged)");
    }

    #[test]
    fn a_peer_that_tries_again_and_again_is_told_of_once_an_hour_with_a_count() {
        let log = RefusalLog::new("httpserver");
        let at = |seconds: u64| Monotonic::from_millis(seconds * 1_000);
        let text = |reason: &str, seconds| log.line(peer(1), reason, at(seconds)).map(|line| line.text);
        assert_eq!(text("wrong token", 0).as_deref(), Some("192.0.2.1: wrong token"));
        for seconds in (4..3_600).step_by(4) {
            assert_eq!(text("wrong token", seconds), None);
        }
        assert_eq!(text("another", 3_000).as_deref(), Some("192.0.2.1: another"), "another reason is told at once");
        let again = text("wrong token", 3_600);
        assert_eq!(again.as_deref(), Some("192.0.2.1: wrong token (899 times more in the last hour)"));
        assert_eq!(text("wrong token", 3_700), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let log = RefusalLog::new("httpserver");
        for number in 0..100_000 {
            let _line = log.line(peer(number), "no", Monotonic::from_millis(u64::from(number) * 1_000));
        }
        assert!(log.known.borrow().len() <= MAX_KNOWN);
    }
}
