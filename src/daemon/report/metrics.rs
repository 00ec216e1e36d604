//! `GET /metrics`: Prometheus's text format 0.0.4, or OpenMetrics 1.0, which differs in the names of counters and in
//! its last line (docs/monitoring/README.md).

use std::fmt::{Display, Write as _};

use super::Machine;
use super::behind;
use crate::daemon::dispatch::CopyTally;
use crate::model::node_id::NodeId;
use crate::model::status::{BUCKETS_MICROS, Histogram, NodeFacts, NodeState, Overview};

/// Content type of the text format.
pub(super) const TEXT: &str = "Content-Type: text/plain; version=0.0.4; charset=utf-8";
/// Content type of OpenMetrics.
pub(super) const OPEN: &str = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A duration in microseconds, shown in seconds.
struct Micros(u64);

impl Display for Micros {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest == 0 {
            return write!(formatter, "{seconds}");
        }
        let digits = format!("{rest:06}");
        write!(formatter, "{seconds}.{}", digits.trim_end_matches('0'))
    }
}

struct Text {
    out: String,
    is_open: bool,
}

/// Labels as they stand between braces, without the braces.
type Labels<'a> = &'a str;

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // In OpenMetrics the family of a counter has a name without its ending.
        let name = if self.is_open { name.strip_suffix("_total").unwrap_or(name) } else { name };
        // Writing to a string cannot fail.
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.out, "{name} {value}"),
            labels => writeln!(self.out, "{name}{{{labels}}} {value}"),
        };
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.family(name, "gauge", help);
            self.sample(name, "", value);
        }
    }

    fn counters<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (&'a str, u64)>) {
        self.family(name, "counter", help);
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut below = 0;
        for (bound, count) in BUCKETS_MICROS.iter().zip(&histogram.counts) {
            below += count;
            let _ = writeln!(self.out, "{name}_bucket{{le=\"{}\"}} {below}", Micros(*bound));
        }
        let all: u64 = histogram.counts.iter().sum();
        let _ = writeln!(self.out, "{name}_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(self.out, "{name}_sum {}\n{name}_count {all}", Micros(histogram.sum_micros));
    }

    /// A family with a sample for each node that has a value.
    fn of_nodes<V: Display>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        nodes: &[NodeFacts],
        value: impl Fn(&NodeFacts) -> Option<V>,
    ) {
        self.family(name, kind, help);
        for node in nodes {
            if let Some(value) = value(node) {
                let _ = writeln!(self.out, "{name}{{node=\"{}\",kind=\"{}\"}} {value}", node.id, node.kind);
            }
        }
    }
}

/// Returns the text.
pub(super) fn metrics(overview: &Overview, machine: &Machine, is_open: bool) -> String {
    let mut text = Text { out: String::with_capacity(16_384 + overview.nodes.len() * 400), is_open };
    of_daemon(&mut text, overview, machine);
    of_requests(&mut text, overview);
    of_queue(&mut text, overview);
    of_traffic(&mut text, machine);
    of_certificates(&mut text, overview, machine);
    all_nodes(&mut text, overview);
    each_node(&mut text, overview);
    if is_open {
        text.out.push_str("# EOF\n");
    }
    text.out
}

fn of_daemon(text: &mut Text, overview: &Overview, machine: &Machine) {
    let labels = format!("version=\"{}\",id=\"{}\"", env!("CARGO_PKG_VERSION"), overview.id.map_or(0, NodeId::get));
    text.family("stheno_build_info", "gauge", "Version and id of the daemon; the value is always 1.");
    text.sample("stheno_build_info", &labels, 1);
    let help = "Time of the start of the daemon, in seconds since 1970.";
    text.gauge("process_start_time_seconds", help, Some(overview.started_at));
    text.gauge("process_open_fds", "Number of open file descriptors.", machine.descriptors);
    text.gauge("process_max_fds", "Maximum number of open file descriptors.", machine.descriptors_max);
    let help = "Resident memory that belongs to no file, in bytes.";
    text.gauge("stheno_memory_bytes", help, machine.memory);
    let help = "Size of the history database with its write-ahead log, in bytes.";
    text.gauge("stheno_database_size_bytes", help, machine.database_bytes);
    let takes_rows = Some(u8::from(overview.stores));
    text.gauge("stheno_database_up", "Whether the last commit to the history succeeded.", takes_rows);
    text.histogram("stheno_database_commit_seconds", "Duration of commits to the history.", &machine.commits);
    let help = "Duration of turns of the event loop, without the waiting between them.";
    text.histogram("stheno_loop_turn_seconds", help, &machine.turns);
    let (connected, dialled) = overview.parents;
    text.gauge("stheno_centrals_configured", "Number of centrals that this daemon dials.", Some(dialled));
    text.gauge("stheno_centrals_connected", "Number of centrals that it is connected to.", Some(connected));
}

fn of_requests(text: &mut Text, overview: &Overview) {
    let counted = &overview.counted;
    let ends = [("result=\"ok\"", counted.ended_ok), ("result=\"failed\"", counted.ended_failed)];
    text.counters("stheno_requests_ended_total", "Requests whose token has ended, by result.", ends);
    let ends = [("result=\"ok\"", counted.commands_ok), ("result=\"failed\"", counted.commands_failed)];
    text.counters("stheno_commands_total", "COMMAND requests that have ended, by result.", ends);
    let help = "Time from the acceptance of a COMMAND request to its end.";
    text.histogram("stheno_command_duration_seconds", help, &counted.durations);
    text.gauge("stheno_requests_open", "Number of tokens that have not ended.", Some(overview.open_tokens));
    text.gauge("stheno_requests_running", "Requests with a running command on this machine.", Some(overview.running));
    text.gauge("stheno_requests_waiting", "Requests that wait to run on this machine.", Some(overview.waiting));
}

fn of_queue(text: &mut Text, overview: &Overview) {
    let queue = &overview.queue;
    text.gauge("stheno_queue_requests", "Requests that wait on disk for their nodes.", Some(queue.depth));
    text.gauge("stheno_queue_bytes", "Size of their data.", Some(queue.bytes));
    text.gauge("stheno_queue_oldest_seconds", "Age of the oldest of them.", Some(queue.oldest_seconds));
    let events = [
        ("event=\"accepted\"", queue.accepted),
        ("event=\"expired\"", queue.expired),
        ("event=\"cancelled\"", queue.cancelled),
        ("event=\"full\"", queue.full),
        ("event=\"repeated\"", queue.repeated),
    ];
    text.counters("stheno_queue_events_total", "What happened to queued requests.", events);
}

fn of_traffic(text: &mut Text, machine: &Machine) {
    let tally = &machine.tally;
    let results = [("result=\"accepted\"", tally.handshakes), ("result=\"refused\"", tally.handshakes_refused)];
    text.counters("stheno_handshakes_total", "Handshakes of clients of the external socket.", results);
    text.counters("stheno_connections_total", "Accepted connections.", [("", tally.connections)]);
    text.family(
        "stheno_copies_total",
        "counter",
        "Copies of files that were read or written here, by what became of them.",
    );
    for (direction, CopyTally { started, finished, failed, .. }) in [("sent", tally.sent), ("received", tally.received)]
    {
        for (event, count) in [("started", started), ("finished", finished), ("failed", failed)] {
            text.sample("stheno_copies_total", &format!("direction=\"{direction}\",event=\"{event}\""), count);
        }
    }
    let bytes = [("direction=\"sent\"", tally.sent.bytes), ("direction=\"received\"", tally.received.bytes)];
    text.counters("stheno_copied_bytes_total", "Bytes of files that were copied.", bytes);
    text.family("stheno_api_requests_total", "counter", "Requests of the API, by path and status.");
    for (path, status, count) in &tally.calls {
        let root = if path.starts_with('/') { "" } else { "/api/" };
        text.sample("stheno_api_requests_total", &format!("path=\"{root}{path}\",status=\"{status}\""), count);
    }
    for (status, count) in &tally.refused_calls {
        text.sample("stheno_api_requests_total", &format!("path=\"refused\",status=\"{status}\""), count);
    }
}

fn of_certificates(text: &mut Text, overview: &Overview, machine: &Machine) {
    if machine.certificates.is_empty() {
        return;
    }
    const NAME: &str = "stheno_certificate_remaining_seconds";
    text.family(NAME, "gauge", "Time until the certificate of a listener expires; a day has 86400 seconds.");
    for (listener, expires_at) in &machine.certificates {
        text.sample(NAME, &format!("listener=\"{listener}\""), expires_at - overview.now);
    }
}

fn all_nodes(text: &mut Text, overview: &Overview) {
    const STATES: [NodeState; 3] = [NodeState::Up, NodeState::Down, NodeState::Never];
    text.family("stheno_nodes", "gauge", "Number of nodes that this daemon is connected to, by state.");
    for (state, count) in STATES.iter().zip(overview.states) {
        text.sample("stheno_nodes", &format!("state=\"{}\"", state.as_str()), count);
    }
    let mut behind = [0_u64; 3];
    for node in &overview.nodes {
        for node in behind::nodes(&node.behind, node.id, node.state == NodeState::Up) {
            if let Some(count) = behind.get_mut(node.state as usize) {
                *count += 1;
            }
        }
    }
    text.family("stheno_nodes_behind", "gauge", "Number of nodes behind other nodes, by state.");
    for (state, count) in STATES.iter().zip(behind) {
        text.sample("stheno_nodes_behind", &format!("state=\"{}\"", state.as_str()), count);
    }
}

fn each_node(text: &mut Text, overview: &Overview) {
    let (nodes, now) = (&overview.nodes[..], overview.now);
    let age = |at: i64| (at > 0).then(|| (now - at).max(0));
    let help = "Whether a node is connected and answers.";
    text.of_nodes(("stheno_node_up", "gauge", help), nodes, |node| Some(u8::from(node.state == NodeState::Up)));
    let help = "Round-trip time of the last answered ping.";
    text.of_nodes(("stheno_node_ping_seconds", "gauge", help), nodes, |node| {
        node.ping_ms.map(|ms| Micros(ms.saturating_mul(1_000)))
    });
    let help = "Time since the last answer to a ping.";
    text.of_nodes(("stheno_node_pong_age_seconds", "gauge", help), nodes, |node| age(node.last_ping));
    let help = "Pings without an answer.";
    text.of_nodes(("stheno_node_pings_failed_total", "counter", help), nodes, |node| Some(node.ping_failed));
    let help = "Time since the last complete synchronisation of the history of a node.";
    text.of_nodes(("stheno_node_sync_age_seconds", "gauge", help), nodes, |node| age(node.synced_at));
    let help = "Rows of the history of a node that are not here yet.";
    text.of_nodes(("stheno_node_sync_lag_rows", "gauge", help), nodes, |node| node.sync_lag);
    let help = "Messages that a node has not confirmed.";
    text.of_nodes(("stheno_node_unconfirmed", "gauge", help), nodes, |node| Some(node.unconfirmed));
    let help = "Requests that wait for a node.";
    text.of_nodes(("stheno_node_queue", "gauge", help), nodes, |node| Some(node.queue));
    let help = "Memory in use on a node, as reported by the node.";
    text.of_nodes(("stheno_node_memory_bytes", "gauge", help), nodes, |node| node.about.memory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micros_are_shown_as_seconds() {
        for (micros, text) in
            [(0, "0"), (100, "0.0001"), (1_000_000, "1"), (1_250_000, "1.25"), (600_000_001, "600.000001")]
        {
            assert_eq!(Micros(micros).to_string(), text);
        }
    }

    #[test]
    fn buckets_hold_what_is_below_their_bound_and_the_last_holds_all() {
        let mut histogram = Histogram::default();
        for micros in [50, 450, 700_000_000] {
            histogram.count(micros);
        }
        let mut text = Text { out: String::new(), is_open: false };
        text.histogram("x_seconds", "X.", &histogram);
        for line in
            ["{le=\"0.0001\"} 1", "{le=\"0.0005\"} 2", "{le=\"600\"} 2", "{le=\"+Inf\"} 3", "_count 3", "_sum 700.0005"]
        {
            assert!(text.out.contains(&format!("{line}\n")), "{line}: {}", text.out);
        }
    }

    #[test]
    fn openmetrics_names_the_family_of_a_counter_without_its_ending() {
        let mut text = Text { out: String::new(), is_open: true };
        text.counters("x_total", "X.", [("", 1)]);
        assert_eq!(text.out, "# HELP x X.\n# TYPE x counter\nx_total 1\n");
    }
}
