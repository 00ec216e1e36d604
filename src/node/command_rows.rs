//! What the rows of a command have in common, whether it ran here or on a host by SSH (docs/protocol.md section 11).

use std::fmt::Write as _;

use super::json;

/// The data of the row that begins a request; `content` is JSON text as it came.
pub(super) fn processing_started(content: &str) -> String {
    format!("{{\"message\":\"commands processing has started\",\"request_content\":{content}}}")
}

/// The beginning of the data of a row about one command; `metadata` is JSON text as it came.
pub(super) fn begin(message: &str, line: &str, metadata: &str) -> String {
    let mut out = format!("{{\"message\":\"{message}\",\"command\":");
    json::push_string(&mut out, line);
    out.push_str(",\"metadata\":");
    out.push_str(metadata);
    out
}

/// The end of it: when the command began and ended, in seconds since 1970.
pub(super) fn push_metrics(out: &mut String, start: i64, end: i64) {
    let duration = end.saturating_sub(start).max(0);
    // Writing to a string cannot fail.
    let _ = write!(out, ",\"metrics\":{{\"start\":{start},\"end\":{end},\"duration\":{duration}}}}}");
}
