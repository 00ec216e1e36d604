//! The common parts of the rows of a command that ran here or on a host by SSH (docs/protocol.md section 11).

use std::fmt::Write as _;

use super::json;

/// Returns the data of the row that begins a request; `content` is the received JSON text.
pub(super) fn processing_started(content: &str) -> String {
    format!("{{\"message\":\"commands processing has started\",\"request_content\":{content}}}")
}

/// Returns the beginning of the data of a row about one command; `metadata` is the received JSON text.
pub(super) fn begin(message: &str, line: &str, metadata: &str) -> String {
    let mut out = format!("{{\"message\":\"{message}\",\"command\":");
    json::push_string(&mut out, line);
    out.push_str(",\"metadata\":");
    out.push_str(metadata);
    out
}

/// Appends the end of such data: start and end of the command in seconds since 1970.
pub(super) fn push_metrics(out: &mut String, start: i64, end: i64) {
    let duration = end.saturating_sub(start).max(0);
    // Writing to a string cannot fail.
    let _ = write!(out, ",\"metrics\":{{\"start\":{start},\"end\":{end},\"duration\":{duration}}}}}");
}
