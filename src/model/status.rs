//! What a daemon knows about itself and its nodes at one moment, as values from which reports are made.
//!
//! Times of the wall clock are whole seconds since the epoch, 0 for never.

use std::sync::Arc;

use super::node_id::NodeId;
use super::queue::QueueCounters;

/// Whether a node can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Its link is up and it answers.
    Up,
    /// Its link is down, or it does not answer.
    Down,
    /// It has never been connected.
    Never,
}

impl NodeState {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Never => "never",
        }
    }
}

/// What a node of our own kind tells about itself in its PONG.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AboutNode {
    /// Host name.
    pub hostname: Option<Arc<str>>,
    /// Version of the program.
    pub version: Option<Arc<str>>,
    /// Memory in use in bytes.
    pub memory: Option<u64>,
    /// Number of requests with a running command.
    pub running: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    pub id: NodeId,
    /// Its other name.
    pub uid: Option<NodeId>,
    /// The word for its kind, such as `pull`.
    pub kind: &'static str,
    /// Where we connect to, or where it connects from.
    pub address: Option<String>,
    /// Whether it can be reached.
    pub state: NodeState,
    /// How the link is protected, if it is up.
    pub link: Option<&'static str>,
    /// Time since which the link is up or down.
    pub since: i64,
    /// Time of the last answer to a ping.
    pub last_ping: i64,
    /// Round-trip time of that ping in milliseconds.
    pub ping_ms: Option<u64>,
    /// Number of answered pings.
    pub ping_ok: u64,
    /// Number of failed pings.
    pub ping_failed: u64,
    /// Time of the last complete sync.
    pub synced_at: i64,
    /// Number of rows of its history that are not here yet; `None` if unknown.
    pub sync_lag: Option<u64>,
    /// Number of requests that wait for it.
    pub queue: u64,
    /// Number of messages that it has not confirmed.
    pub unconfirmed: u64,
    /// What it tells about itself.
    pub about: AboutNode,
    /// Its own constatus map as JSON text.
    pub behind: Arc<str>,
}

/// A token that ended with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Time of the end.
    pub at: i64,
    pub token: String,
    /// The node that it was sent to; `None` for this daemon.
    pub node: Option<NodeId>,
    /// The data of the row, shortened.
    pub data: String,
}

/// Upper bounds of the buckets of a [`Histogram`] in microseconds.
pub const BUCKETS_MICROS: [u64; 15] = [
    100,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
];

/// Durations, counted by their length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Number of durations up to each of [`BUCKETS_MICROS`] and above the bound before it; the last counts longer ones.
    pub counts: [u64; BUCKETS_MICROS.len() + 1],
    /// Sum of all durations in microseconds.
    pub sum_micros: u64,
}

impl Histogram {
    /// Counts a duration.
    pub fn count(&mut self, micros: u64) {
        let bucket = BUCKETS_MICROS.iter().take_while(|bound| micros > **bound).count();
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }
}

/// Number of minutes whose counts are kept.
pub const MINUTES: usize = 60;

/// Counts since the start, and those of the last hour by minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests that ended well.
    pub ended_ok: u64,
    /// Requests that failed.
    pub ended_failed: u64,
    /// COMMANDs that ended well.
    pub commands_ok: u64,
    pub commands_failed: u64,
    /// Time from the acceptance of a COMMAND to its end.
    pub durations: Histogram,
    /// For each of the last minutes, the oldest first: requests that ended well, requests that failed.
    pub minutes: Vec<[u32; 2]>,
}

/// What the caller may ask for, so that a page offers nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Requests of a central: commands, syncs.
    pub central: bool,
    /// Everything.
    pub admin: bool,
}

/// This daemon and the nodes that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Number of this start of the daemon.
    pub instance: u64,
    /// Grows with each change of a node.
    pub nodes_version: u64,
    /// Grows with each other change that a reader sees.
    pub version: u64,
    /// Time of the overview.
    pub now: i64,
    /// Time of the start.
    pub started_at: i64,
    /// Own id, if known.
    pub id: Option<NodeId>,
    /// Own host name.
    pub hostname: String,
    /// Whether the history takes rows.
    pub stores: bool,
    /// Whether the daemon is about to end.
    pub is_stopping: bool,
    /// Number of requests with a running command here.
    pub running: u64,
    /// Number of requests that wait here to run.
    pub waiting: u64,
    /// Number of open tokens.
    pub open_tokens: u64,
    /// Requests that wait on disk.
    pub queue: QueueCounters,
    /// Number of centrals that we dial and are connected to, and of those that we dial.
    pub parents: (u64, u64),
    /// Number of nodes that this daemon is connected to, down and never connected, in this order.
    pub states: [u64; 3],
    /// Whether `nodes` has all nodes, and not only those that changed.
    pub is_whole: bool,
    /// The nodes by id.
    pub nodes: Vec<NodeFacts>,
    /// Nodes that were removed since the version that the caller knows.
    pub removed: Vec<NodeId>,
    /// Whether failures and counts have changed since the version that the caller knows.
    pub has_counts: bool,
    /// The last failures, the newest first.
    pub failures: Vec<Failure>,
    pub counted: Counted,
    /// What the caller may do.
    pub allowed: Allowed,
}

impl Overview {
    /// The revision that names this state, for `ETag` and `since`.
    #[must_use]
    pub fn revision(&self) -> String {
        format!("{:x}-{}-{}", self.instance, self.nodes_version, self.version)
    }
}

/// A revision as a caller sends it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Number of the start.
    pub instance: u64,
    /// See [`Overview::nodes_version`].
    pub nodes_version: u64,
    /// See [`Overview::version`].
    pub version: u64,
}

impl Revision {
    /// Reads the text of [`Overview::revision`], with or without quotes; `None` for any other.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches("W/").trim_matches('"').split('-');
        let instance = u64::from_str_radix(parts.next()?, 16).ok()?;
        let (nodes_version, version) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { instance, nodes_version, version })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportForm {
    /// `GET /api/status`.
    Json,
    /// `GET /metrics`.
    Metrics,
    /// `GET /metrics` of a caller that asks for OpenMetrics.
    OpenMetrics,
    /// `GET /readyz`.
    Ready,
    /// The page with the table of nodes.
    Page {
        /// Number of the first row.
        from: usize,
    },
}

/// The order to make a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportOrder {
    pub form: ReportForm,
    /// Whether the caller takes gzip.
    pub gzip: bool,
    /// The facts.
    pub overview: Overview,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for micros in [0, 100, 101, 700_000_000] {
            histogram.count(micros);
        }
        assert_eq!((histogram.counts[0], histogram.counts[1], histogram.counts[15]), (2, 1, 1));
        assert_eq!(histogram.sum_micros, 700_000_201);
    }

    #[test]
    fn a_revision_is_read_back_and_nothing_else_is() {
        let expected = Some(Revision { instance: 0xab, nodes_version: 7, version: 9 });
        for text in ["ab-7-9", "\"ab-7-9\"", "W/\"ab-7-9\""] {
            assert_eq!(Revision::read(text), expected, "{text}");
        }
        for text in ["", "*", "ab-7", "ab-7-9-1", "x-7-9", "ab-7-x"] {
            assert_eq!(Revision::read(text), None, "{text}");
        }
    }
}
