//! Parses the output of an engine's statistics program into groups of numbers, each with its file of Centreon Web and
//! the names of its values there. Names and labels are those that the web interface reads.

use crate::edge::centreon_database::StatisticsRow;

/// A known line of the output.
struct Line {
    /// Text before the numbers.
    start: &'static str,
    /// Name of the RRD file.
    file: &'static str,
    /// Data sources of the file, one per number.
    sources: &'static [&'static str],
    /// Label in `nagios_stats`, for lines that are stored there.
    label: Option<&'static str>,
}

const BOUNDS: &[&str] = &["Min", "Max", "Average"];
const LAST: &[&str] = &["Last_Min", "Last_5_Min", "Last_15_Min", "Last_Hour"];

const LINES: [Line; 9] = [
    Line {
        start: "Used/High/Total Command Buffers:",
        file: "nagios_cmd_buffer.rrd",
        sources: &["In_Use", "Max_Used", "Total_Available"],
        label: None,
    },
    Line {
        start: "Active Service Latency:",
        file: "nagios_active_service_latency.rrd",
        sources: BOUNDS,
        label: Some("Service Check Latency"),
    },
    Line {
        start: "Active Service Execution Time:",
        file: "nagios_active_service_execution.rrd",
        sources: BOUNDS,
        label: Some("Service Check Execution Time"),
    },
    Line {
        start: "Active Services Last 1/5/15/60 min:",
        file: "nagios_active_service_last.rrd",
        sources: LAST,
        label: None,
    },
    Line {
        start: "Services Ok/Warn/Unk/Crit:",
        file: "nagios_services_states.rrd",
        sources: &["Ok", "Warn", "Unk", "Crit"],
        label: None,
    },
    Line {
        start: "Active Host Latency:",
        file: "nagios_active_host_latency.rrd",
        sources: BOUNDS,
        // The trailing blank is part of the label.
        label: Some("Host Check Latency "),
    },
    Line {
        start: "Active Host Execution Time:",
        file: "nagios_active_host_execution.rrd",
        sources: BOUNDS,
        label: Some("Host Check Execution Time"),
    },
    Line { start: "Active Hosts Last 1/5/15/60 min:", file: "nagios_active_host_last.rrd", sources: LAST, label: None },
    Line {
        start: "Hosts Up/Down/Unreach:",
        file: "nagios_hosts_states.rrd",
        sources: &["Up", "Down", "Unreach"],
        label: None,
    },
];

/// The numbers of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Name of the RRD file.
    pub file: &'static str,
    /// Data sources of the file.
    pub sources: &'static [&'static str],
    /// One number for each data source, as printed.
    pub values: Vec<String>,
    label: Option<&'static str>,
}

impl Group {
    /// Returns the rows for `nagios_stats`.
    pub(super) fn rows(&self) -> impl Iterator<Item = StatisticsRow> {
        let label = self.label.into_iter();
        label.flat_map(|label| {
            self.sources.iter().zip(&self.values).map(move |(source, value)| (label, *source, value.clone()))
        })
    }
}

/// Returns the groups found in a text, each once.
pub(super) fn groups(text: &str) -> Vec<Group> {
    let mut found: Vec<Group> = Vec::new();
    for line in text.lines() {
        let known = LINES.iter().find_map(|known| {
            // Other text may precede the known start, but not a longer name of the same kind.
            let line = line.trim();
            let rest = line.strip_prefix(known.start)?;
            let values: Vec<String> = rest.split('/').map(number).take(known.sources.len()).collect::<Option<_>>()?;
            (values.len() == known.sources.len()).then_some(Group {
                file: known.file,
                sources: known.sources,
                values,
                label: known.label,
            })
        });
        if let Some(group) = known.filter(|group| found.iter().all(|other| other.file != group.file)) {
            found.push(group);
        }
    }
    found
}

/// Returns the number at the beginning of a field: digits with a decimal point.
fn number(field: &str) -> Option<String> {
    let field = field.trim_start();
    let end = field.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(field.len());
    let text = field.get(..end)?;
    (text.len() <= 32 && text.parse::<f64>().is_ok()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_engine_become_groups_with_the_names_that_the_web_reads() {
        let text = "Centreon Engine Stats\n\
            Used/High/Total Command Buffers:        0 / 3 / 4096\n\
            Active Service Latency:                 0.000 / 1.250 / 0.138 sec\n\
            Active Service State Change:            0.000 / 0.000 / 0.000 %\n\
            Active Services Last 1/5/15/60 min:     1 / 20 / 21 / 22\n\
            Services Ok/Warn/Unk/Crit:              10 / 1 / 2 / 9\n\
            Active Host Latency:                    0.001 / 0.002 / 0.003 sec\n\
            Active Host Latency:                    9 / 9 / 9 sec\n\
            Hosts Up/Down/Unreach:                  5 / 1 / 0\n\
            Active Host Execution Time:             nan / 0 / 0 sec\n\
            Active Hosts Last 1/5/15/60 min:        1 / 2\n";
        let groups = groups(text);
        let shown: Vec<_> = groups.iter().map(|group| format!("{} {}", group.file, group.values.join(":"))).collect();
        assert_eq!(
            shown,
            [
                "nagios_cmd_buffer.rrd 0:3:4096",
                "nagios_active_service_latency.rrd 0.000:1.250:0.138",
                "nagios_active_service_last.rrd 1:20:21:22",
                "nagios_services_states.rrd 10:1:2:9",
                "nagios_active_host_latency.rrd 0.001:0.002:0.003",
                "nagios_hosts_states.rrd 5:1:0",
            ]
        );
        let rows: Vec<_> = groups.iter().flat_map(Group::rows).collect();
        assert_eq!(rows.len(), 6);
        assert_eq!(rows[0], ("Service Check Latency", "Min", "0.000".to_owned()));
        assert_eq!(rows[5], ("Host Check Latency ", "Average", "0.003".to_owned()));
        assert!(super::groups("Active Service Latency: '; DROP / 1 / 2 sec").is_empty());
    }
}
