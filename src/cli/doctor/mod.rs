//! `doctor`: looks step by step at this machine, or at what lies between here and a node, and names the cause of a
//! trouble.

mod central;
mod machine;
mod node;

use crate::model::connection::{Endpoint, FingerprintMode};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::remote_arguments::DoctorOptions;
use super::say;
use crate::config::Config;
use crate::edge::history_store;
use crate::model::diagnosis::Report;

/// Looks, prints the report and returns 1 if something was found.
pub(super) fn run(options: &DoctorOptions) -> ExitCode {
    let mut report = Report::default();
    match options.node {
        None => look_at_machine(&mut report, options),
        Some(id) => node::look(&mut report, &options.config, id),
    }
    say(&if options.json { as_json(&report) } else { as_text(&report) });
    if report.cause().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn look_at_machine(report: &mut Report, options: &DoctorOptions) {
    let Some(config) = machine::look(report, &options.config, options.logfile.as_deref()) else { return };
    central::look(report, &config);
}

/// The known key of a peer, if its key is checked.
fn known_key(config: &Config, endpoint: &Endpoint) -> Option<String> {
    let is_checked = config.core.fingerprint_mode != FingerprintMode::Always;
    is_checked.then(|| history_store::known_key(&config.core.database, &endpoint.to_string())).flatten()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn as_json(report: &Report) -> String {
    let steps: Vec<_> = report
        .steps()
        .iter()
        .map(|step| {
            let finding = step.finding.as_ref();
            json!({
                "step": step.name,
                "ok": finding.is_none(),
                "expected": step.expected,
                "seen": step.seen,
                "advice": finding.map_or("", |finding| finding.advice.as_str()),
            })
        })
        .collect();
    let cause = report.cause().map_or("none", |cause| cause.slug());
    format!("{:#}\n", json!({ "cause": cause, "steps": steps }))
}

fn as_text(report: &Report) -> String {
    let mut text = String::new();
    for step in report.steps() {
        let (mark, finding) = match &step.finding {
            None => ("ok", None),
            Some(finding) if finding.is_minor => ("look", Some(finding)),
            Some(finding) => ("FAULT", Some(finding)),
        };
        let _ = writeln!(text, "{mark:<6}{:<14}{}", step.name, step.seen);
        if let Some(finding) = finding {
            let _ = writeln!(text, "{:<20}expected: {}", "", step.expected);
            let _ = writeln!(text, "{:<20}do: {}", "", finding.advice);
        }
    }
    let cause = report.cause().map_or("none: nothing found", |cause| cause.slug());
    let _ = writeln!(text, "\ncause: {cause}");
    text
}
