//! The node's answers to pings.

use std::sync::Arc;
use std::time::Duration;

use crate::model::status::AboutNode;
use crate::model::time::{Monotonic, Now};

/// The ping in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::node) enum Ping {
    /// No ping is in progress.
    #[default]
    Idle,
    /// It is sent when the link comes up.
    AwaitingLink,
    /// It was sent, and its answer is awaited.
    AwaitingPong,
}

/// The node's answers to pings. Displayed times are in seconds since the epoch, 0 for never.
#[derive(Debug)]
pub(in crate::node) struct Liveness {
    pub ping: Ping,
    pub last_ping_sent: i64,
    pub last_ping_received: i64,
    pub next_ping: i64,
    pub ping_ok: u64,
    pub ping_failed: u64,
    /// Number of unanswered pings since the last answer.
    pub ping_timeout: u32,
    /// The node's own constatus map as JSON text.
    pub nodes: Arc<str>,
    /// What its PONG tells about itself.
    pub about: AboutNode,
    /// Round-trip time of the last answered ping.
    pub round_trip: Option<Duration>,
    pub(super) sent_at: Monotonic,
    /// Whether that map could be read the last time.
    pub has_readable_map: bool,
    /// Time of the last sign of life.
    pub last_pong: Option<Monotonic>,
    last_failure: Option<Monotonic>,
    pub(super) next_ping_at: Monotonic,
    /// Number of repetitions of the current ping.
    pub(super) repeats: u8,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            ping: Ping::Idle,
            last_ping_sent: 0,
            last_ping_received: 0,
            next_ping: 0,
            ping_ok: 0,
            ping_failed: 0,
            ping_timeout: 0,
            nodes: "{}".into(),
            about: AboutNode::default(),
            round_trip: None,
            sent_at: Monotonic::default(),
            has_readable_map: true,
            last_pong: None,
            last_failure: None,
            next_ping_at: Monotonic::default(),
            repeats: 0,
        }
    }
}

impl Liveness {
    pub(super) fn schedule(&mut self, now: Now, period: Duration) {
        self.next_ping_at = now.monotonic + period;
        self.next_ping = now.wall.as_seconds().saturating_add(i64::try_from(period.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn count_failure(&mut self, now: Monotonic, period: Duration) {
        if self.last_failure.is_none_or(|last| now.since(last) >= period) {
            self.last_failure = Some(now);
            self.ping_failed += 1;
        }
    }
}
