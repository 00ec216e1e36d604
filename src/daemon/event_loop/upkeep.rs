//! Upkeep of the process: reports to the watchdog of the service manager, and reads less input while more memory is in
//! use than allowed. It causes no wake-ups if neither is configured.

use std::time::Duration;

use crate::edge::log::LogWriter;
use crate::edge::notify::{self, ServiceState};
use crate::edge::process_memory;
use crate::edge::{self, clock};
use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};

use super::EventLoop;

/// Minimum interval between two measurements of the memory in use. It is measured only while there is input to read.
const MEMORY_LOOK: Duration = Duration::from_millis(50);
/// Interval between turns that read input while the limit is exceeded. A limit that is too low makes the daemon slow,
/// but never unresponsive.
const SLOW_TURN: Duration = Duration::from_millis(100);
/// Delay after the start, and after a burst, before memory is returned to the system.
const RELEASE_AFTER: Duration = Duration::from_secs(3);
/// Interval at which pages of the program file are released during a long burst, which needs few of them.
const PROGRAM_RELEASE: Duration = Duration::from_secs(1);
/// Minimum interval between two log lines about memory.
const COMPLAINT: Duration = Duration::from_secs(60);

/// State of the watchdog and of the memory limit.
pub(super) struct Upkeep {
    watchdog: Option<Watchdog>,
    memory: Option<MemoryLimit>,
    /// When to return memory after the start or a burst.
    release_at: Option<Monotonic>,
    /// Earliest time for releasing pages of the program file.
    release_program_at: Option<Monotonic>,
}

struct Watchdog {
    period: Duration,
    next: Monotonic,
}

struct MemoryLimit {
    limit_bytes: u64,
    /// Returns the memory in use in bytes; `None` if the system does not report it.
    read: fn() -> Option<u64>,
    look_at: Monotonic,
    is_above: bool,
    next_turn: Monotonic,
    complain_at: Monotonic,
}

/// Whether the loop may read input now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// Yes.
    Open,
    /// Yes, but the limit has just been exceeded: free memory should be returned to the system.
    Tight,
    /// Not before the given time.
    Until(Monotonic),
}

impl Upkeep {
    /// Reads the watchdog settings of the service manager from the environment; `max_memory` is in bytes.
    pub(super) fn new(max_memory: Option<u64>, now: Now) -> Self {
        let watchdog = notify::watchdog_period().map(|period| Watchdog { period, next: now.monotonic });
        Self {
            watchdog,
            memory: max_memory.map(|limit_bytes| MemoryLimit::new(limit_bytes, process_memory::anonymous_bytes)),
            // Most of the memory used by the start and the first connections is never needed again.
            release_at: Some(now.monotonic + RELEASE_AFTER),
            release_program_at: None,
        }
    }

    /// When to call it next if there are no events.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.watchdog.as_ref().map(|watchdog| watchdog.next).into_iter().chain(self.release_at).min()
    }

    /// Reports to the watchdog of the service manager, when due.
    pub(super) fn tend_watchdog(&mut self, log: &mut LogWriter, now: Now) {
        let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.next <= now.monotonic) else { return };
        watchdog.next = now.monotonic + watchdog.period;
        if let Err(reason) = notify::notify(ServiceState::Alive) {
            log.write(&LogLine::warning("core", reason), now.wall);
        }
    }

    /// Until when reading is paused, if that has been decided.
    pub(super) fn paused_until(&self, now: Monotonic) -> Option<Monotonic> {
        let memory = self.memory.as_ref().filter(|memory| memory.is_above)?;
        (memory.next_turn > now).then_some(memory.next_turn)
    }

    /// Decides whether input may be read.
    pub(super) fn intake(&mut self, log: &mut LogWriter, now: Now) -> Intake {
        match &mut self.memory {
            Some(memory) => memory.intake(log, now),
            None => Intake::Open,
        }
    }
}

impl MemoryLimit {
    const fn new(limit_bytes: u64, read: fn() -> Option<u64>) -> Self {
        let start = Monotonic::from_millis(0);
        Self { limit_bytes, read, look_at: start, is_above: false, next_turn: start, complain_at: start }
    }

    fn intake(&mut self, log: &mut LogWriter, now: Now) -> Intake {
        let mut answer = Intake::Open;
        if self.look_at <= now.monotonic {
            self.look_at = now.monotonic + MEMORY_LOOK;
            // On a system that does not report its use there is no limit.
            let used_bytes = (self.read)().unwrap_or(0);
            // The state ends only well below the limit, so that it does not flap.
            let bound =
                if self.is_above { self.limit_bytes.saturating_sub(self.limit_bytes / 10) } else { self.limit_bytes };
            let was_above = std::mem::replace(&mut self.is_above, used_bytes > bound);
            if self.is_above && !was_above {
                answer = Intake::Tight;
                self.next_turn = now.monotonic + SLOW_TURN;
            }
            if self.is_above && self.complain_at <= now.monotonic {
                self.complain_at = now.monotonic + COMPLAINT;
                let (used, limit) = (used_bytes >> 20, self.limit_bytes >> 20);
                let text = format!(
                    "{used} MiB of memory are in use, 'max_memory' is {limit} MiB: less is read until it is below"
                );
                log.write(&LogLine::warning("core", text), now.wall);
            }
        }
        if answer == Intake::Open && self.is_above {
            if now.monotonic < self.next_turn {
                return Intake::Until(self.next_turn);
            }
            self.next_turn = now.monotonic + SLOW_TURN;
        }
        answer
    }
}

impl EventLoop {
    /// Reads input; less of it while too much memory is in use.
    pub(super) fn take_in(&mut self, now: Now) {
        if self.storage.full_until().is_some() {
            return;
        }
        match self.upkeep.intake(&mut self.log, now) {
            Intake::Until(_) => return,
            Intake::Tight => self.storage.release_memory(),
            Intake::Open => {}
        }
        self.accept_all(now);
        self.read_streams(now);
        self.read_children(now);
    }

    /// Returns memory to the system some seconds after the start or a burst, and releases pages of the program file
    /// during a long burst. An idle daemon is not woken for this.
    pub(super) fn release_memory(&mut self, now: Now) {
        let upkeep = &mut self.upkeep;
        if self.streams.take_burst() {
            upkeep.release_at = Some(now.monotonic + RELEASE_AFTER);
            if upkeep.release_program_at.is_none_or(|when| when <= now.monotonic) {
                upkeep.release_program_at = Some(now.monotonic + PROGRAM_RELEASE);
                edge::release_program_pages();
            }
        } else if upkeep.release_at.is_some_and(|when| when <= now.monotonic) {
            upkeep.release_at = None;
            self.storage.release_memory();
        }
    }

    pub(super) fn tell_service_manager(&mut self, state: ServiceState) {
        if let Err(reason) = notify::notify(state) {
            self.log.write(&LogLine::warning("core", reason), clock::read().wall);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::edge::temp_dir::TempDir;
    use crate::model::log::{Level, LogFormat};
    use crate::model::time::WallTime;

    fn at(millis: u64) -> Now {
        Now { monotonic: Monotonic::from_millis(millis), wall: WallTime::from_micros(0) }
    }

    #[test]
    fn above_the_limit_one_turn_in_a_while_takes_something_in_until_memory_is_well_below() {
        static USED: AtomicU64 = AtomicU64::new(50 << 20);
        let dir = TempDir::new();
        let mut log = LogWriter::open(Some(&dir.join("log")), Level::Info, LogFormat::Auto).unwrap();
        let mut limit = MemoryLimit::new(100 << 20, || Some(USED.load(Ordering::Relaxed)));
        assert_eq!(limit.intake(&mut log, at(0)), Intake::Open);
        USED.store(101 << 20, Ordering::Relaxed);
        assert_eq!(limit.intake(&mut log, at(10)), Intake::Open, "not looked at yet");
        assert_eq!(limit.intake(&mut log, at(60)), Intake::Tight);
        assert_eq!(limit.intake(&mut log, at(70)), Intake::Until(Monotonic::from_millis(160)));
        assert_eq!(limit.intake(&mut log, at(160)), Intake::Open);
        assert_eq!(limit.intake(&mut log, at(161)), Intake::Until(Monotonic::from_millis(260)));
        USED.store(95 << 20, Ordering::Relaxed);
        assert_eq!(limit.intake(&mut log, at(230)), Intake::Until(Monotonic::from_millis(260)), "not far enough below");
        USED.store(80 << 20, Ordering::Relaxed);
        assert_eq!(limit.intake(&mut log, at(290)), Intake::Open);
        assert_eq!(limit.intake(&mut log, at(291)), Intake::Open);
        log.flush(at(291).wall);
        let text = std::fs::read_to_string(dir.join("log")).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("101 MiB of memory are in use")).count(), 1, "{text}");
    }
}
