//! Reports about this daemon as texts: JSON for programs, metrics, the page. Made on a worker of what the deciding part
//! and the event loop know at one moment.
//!
//! Out of scope: who may read them, and when they are made.

mod behind;
mod json;
mod metrics;
pub(super) mod page;

use std::borrow::Cow;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::daemon::dispatch::Tally;
use crate::model::api::{ApiAnswer, Document};
use crate::model::status::{Histogram, Overview, ReportForm, ReportOrder};

/// Answers from this size on are sent compressed to callers that take gzip.
const GZIP_FROM_BYTES: usize = 1_000;

/// What the event loop and the system know of this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    /// Memory in use in bytes.
    pub memory: Option<u64>,
    /// Number of open descriptors.
    pub descriptors: Option<u64>,
    /// Maximum number of open descriptors.
    pub descriptors_max: Option<u64>,
    /// Size of the database with its write-ahead log in bytes.
    pub database_bytes: Option<u64>,
    /// Whether the history is in memory.
    pub is_in_memory: bool,
    /// The cluster that this central belongs to, and its other members.
    pub cluster: Option<serde_json::Value>,
    /// Why the database takes no rows now.
    pub stores_not: Option<String>,
    /// Durations of commits.
    pub commits: Histogram,
    /// Durations of turns of the loop.
    pub turns: Histogram,
    /// Listeners with TLS, and the times at which their certificates expire, in seconds since 1970.
    pub certificates: Vec<(&'static str, i64)>,
    /// What passed through the dispatch.
    pub tally: Tally,
}

pub(super) fn make(order: &ReportOrder, machine: &Machine) -> ApiAnswer {
    let overview = &order.overview;
    match order.form {
        ReportForm::Json => {
            let etag = format!("ETag: \"{}\"", overview.revision());
            let headers = vec!["Content-Type: application/json".into(), etag.into()];
            document(json::status(overview, machine), headers, order.gzip)
        }
        ReportForm::Ready => ready(overview, machine),
        ReportForm::Metrics => {
            document(metrics::metrics(overview, machine, false), vec![metrics::TEXT.into()], order.gzip)
        }
        ReportForm::OpenMetrics => {
            document(metrics::metrics(overview, machine, true), vec![metrics::OPEN.into()], order.gzip)
        }
        ReportForm::Page { from } => page::page(overview, machine, order.gzip, from),
    }
}

fn ready(overview: &Overview, machine: &Machine) -> ApiAnswer {
    let reason = match &machine.stores_not {
        _ if overview.is_stopping => "the daemon is about to stop",
        Some(reason) => reason,
        None => return ApiAnswer::json(200, r#"{"status":"ready"}"#),
    };
    ApiAnswer::json(503, serde_json::json!({ "status": "not ready", "message": reason }).to_string())
}

/// Returns a text as an answer that no cache keeps.
fn document(text: String, mut headers: Vec<Cow<'static, str>>, gzip: bool) -> ApiAnswer {
    headers.push("Cache-Control: no-cache".into());
    let packed = if gzip && text.len() >= GZIP_FROM_BYTES { pack(text.as_bytes()) } else { None };
    let bytes = packed.map_or_else(
        || text.into_bytes(),
        |packed| {
            headers.push("Content-Encoding: gzip".into());
            headers.push("Vary: Accept-Encoding".into());
            packed
        },
    );
    let document = Document { headers, bytes: bytes.into() };
    ApiAnswer { document: Some(Box::new(document)), ..ApiAnswer::json(200, "") }
}

fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}
