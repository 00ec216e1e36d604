//! Logs each reason of a failing link once, then again only after some time.

use std::time::Duration;

use crate::model::log::{Level, LogLine};
use crate::model::time::Monotonic;

/// Time after which a reason is logged again.
const REPEAT_AFTER: Duration = Duration::from_secs(300);
/// Maximum number of remembered reasons.
const MAX_REASONS: usize = 8;

/// The recently logged reasons.
#[derive(Default)]
pub struct LogThrottle {
    shown: Vec<(String, Monotonic)>,
}

impl LogThrottle {
    /// A line at `level`, or at `debug` if the same text was logged within five minutes.
    pub fn line(&mut self, level: Level, module: &'static str, text: String, now: Monotonic) -> LogLine {
        self.shown.retain(|(_, at)| now.since(*at) < REPEAT_AFTER);
        if self.shown.iter().any(|(shown, _)| *shown == text) {
            return LogLine::new(Level::Debug, module, text);
        }
        if self.shown.len() >= MAX_REASONS {
            self.shown.remove(0);
        }
        self.shown.push((text.clone(), now));
        LogLine::new(level, module, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_shown_again_only_after_five_minutes() {
        let mut throttle = LogThrottle::default();
        let mut level =
            |text: &str, at| throttle.line(Level::Warning, "proxy", text.to_owned(), Monotonic::from_millis(at)).level;
        assert_eq!(level("refused", 0), Level::Warning);
        assert_eq!(level("timed out", 1), Level::Warning);
        assert_eq!(level("refused", 299_999), Level::Debug);
        assert_eq!(level("refused", 300_000), Level::Warning);
    }
}
