//! How long the way to our central may be idle. The central is asked to ping us as often, so that the way stays
//! open: half as long after a connection that was found dead when it had been idle for that time, and twice as
//! long, up to the most, after it has stayed open for a while.

use std::time::Duration;

use crate::model::time::Monotonic;

/// How often a central is asked to ping us at least.
const LEAST: Duration = Duration::from_secs(15);
/// The usual interval of pings, for which nobody has to be asked.
const USUAL: Duration = Duration::from_secs(60);
/// The most on a metered line. Every part of the way and both ends take it for alive that long.
const METERED: Duration = Duration::from_secs(240);
/// Number of idle times that have to pass well before a longer one is tried again.
const WELL: u32 = 60;

/// The idle time of one way.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// What the way allows, as far as is known; `None` before the first trouble.
    allowed: Option<Duration>,
    heard_at: Option<Monotonic>,
    well: u32,
}

impl Idle {
    const fn most(is_metered: bool) -> Duration {
        if is_metered { METERED } else { USUAL }
    }

    /// Returns the time that the central is asked for; `None` for the usual one.
    pub(super) fn wanted(&self, is_metered: bool) -> Option<Duration> {
        let most = Self::most(is_metered);
        Some(self.allowed.unwrap_or(most).min(most)).filter(|wanted| *wanted != USUAL)
    }

    /// Notes a message of the central. Returns whether it should be asked for another time.
    pub(super) fn heard(&mut self, now: Monotonic, is_metered: bool) -> bool {
        let idle = self.heard_at.replace(now).map_or(Duration::ZERO, |heard| now.since(heard));
        let Some(allowed) = self.allowed.filter(|allowed| *allowed < Self::most(is_metered)) else { return false };
        if idle < allowed / 4 * 3 {
            return false;
        }
        self.well += 1;
        let is_enough = self.well >= WELL;
        if is_enough {
            (self.allowed, self.well) = (Some(allowed * 2), 0);
        }
        is_enough
    }

    /// Notes the loss of a connection.
    pub(super) fn lost(&mut self, now: Monotonic, is_metered: bool) {
        let idle = self.heard_at.take().map_or(Duration::ZERO, |heard| now.since(heard));
        let allowed = self.allowed.unwrap_or_else(|| Self::most(is_metered));
        self.well = 0;
        if idle >= allowed {
            self.allowed = Some((allowed / 2).max(LEAST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way that closes after `closes` seconds without traffic, for a day; returns the wanted time at the end, and how
    /// often the connection was lost.
    fn day(closes: u64, is_metered: bool) -> (u64, u32) {
        let (mut idle, mut now, mut lost) = (Idle::default(), 0, 0);
        while now < 86_400 {
            let wanted = idle.wanted(is_metered).unwrap_or(USUAL).as_secs();
            if wanted < closes {
                now += wanted;
                idle.heard(Monotonic::from_millis(now * 1_000), is_metered);
            } else {
                // The silence is noticed some time later.
                now += wanted + 60;
                idle.lost(Monotonic::from_millis(now * 1_000), is_metered);
                idle.heard(Monotonic::from_millis(now * 1_000), is_metered);
                lost += 1;
            }
        }
        (idle.wanted(is_metered).unwrap_or(USUAL).as_secs(), lost)
    }

    #[test]
    fn the_idle_time_follows_what_the_way_allows() {
        assert_eq!(day(7_200, false), (60, 0));
        assert_eq!(day(7_200, true), (240, 0));
        let (wanted, lost) = day(100, true);
        assert!(wanted == 60 && lost < 30, "{wanted} {lost}");
        let (wanted, lost) = day(40, false);
        assert!(wanted == 30 && lost < 60, "{wanted} {lost}");
        assert_eq!(day(1, false).0, 15, "no more often than that");
    }

    #[test]
    fn a_connection_that_ends_in_the_midst_of_work_says_nothing_of_the_way() {
        let mut idle = Idle::default();
        idle.heard(Monotonic::from_millis(1_000), true);
        idle.lost(Monotonic::from_millis(30_000), true);
        assert_eq!(idle.wanted(true), Some(METERED));
        assert_eq!(Idle::default().wanted(false), None);
    }
}
