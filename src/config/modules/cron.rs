//! Options of the module `cron`: the list of jobs (docs/protocol.md section 15).

use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value as Json;

use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::model::action::Action;
use crate::model::cron_expression::CronExpression;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

options! {
    CRON = "cron" in "the module 'cron'" { "cron" } unused {}
    CRON_JOB = "cron job" in "a job of the module 'cron'" {
        "id", "timespec", "action", "target", "parameters", "keep_token",
    } unused {}
}

/// Maximum number of jobs of a daemon.
pub const CRON_JOBS_MAX: usize = 1_000;

/// One job of the module `cron` (docs/protocol.md section 15). Its `Debug` omits the parameters, which may hold
/// secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct CronJob {
    /// `id`: name of the job.
    pub id: String,
    /// `timespec` as written in the file.
    pub timespec: String,
    /// The parsed `timespec`.
    pub expression: CronExpression,
    /// `action`: the action to run.
    pub action: String,
    /// `parameters` as JSON text.
    pub parameters: String,
    /// `target`: the id of a node; empty for this daemon.
    pub target: String,
    /// `keep_token`: whether each run uses `id` as its token.
    pub keep_token: bool,
}

impl std::fmt::Debug for CronJob {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CronJob({}: {})", self.id, self.timespec)
    }
}

/// Reads the jobs; a faulty one is reported and left out.
pub(super) fn read(section: Section<'_>, findings: &mut Findings) -> Vec<CronJob> {
    let mut jobs = Vec::new();
    let mut ids = BTreeSet::new();
    for (index, entry) in section.items("cron", findings).unwrap_or_default().iter().enumerate() {
        let key = section.path(&format!("cron[{index}]"));
        let Some(job) = read_job(entry, &key, findings) else { continue };
        if !ids.insert(job.id.clone()) {
            findings.warning(
                &entry.place,
                &key,
                format!("the id '{}' is there already; the first entry counts", job.id),
            );
        } else if jobs.len() >= CRON_JOBS_MAX {
            findings.problem(&entry.place, &key, format!("is one too many; allowed: {CRON_JOBS_MAX} jobs"));
            break;
        } else {
            jobs.push(job);
        }
    }
    jobs
}

fn read_job(entry: &Node, key: &str, findings: &mut Findings) -> Option<CronJob> {
    let section = Section::new(Some(entry), &entry.place, key, &CRON_JOB, findings);
    let word = |name, findings: &mut Findings| {
        let text = section.text(name, findings).map(|(text, _)| text.to_owned());
        if text.is_none() {
            findings.problem(
                &entry.place,
                &section.path(name),
                "is missing; a job needs 'id', 'timespec' and 'action'",
            );
        }
        text
    };
    let (id, timespec, action) = (word("id", findings), word("timespec", findings), word("action", findings));
    let keep_token = section.boolean("keep_token", false, findings);
    let target = section.text("target", findings).map(|(text, _)| text.to_owned()).unwrap_or_default();
    let parameters = section.value("parameters").map_or(Json::Null, to_json);
    let mut refuse = |name: &str, text: String| findings.problem(&entry.place, &section.path(name), text);
    let (id, timespec, action) = (id?, timespec?, action?);
    if keep_token && Token::parse(&id).is_err() {
        refuse("id", format!("is '{id}' and cannot be kept as a token; allowed: 1 to 255 of A-Z a-z 0-9 : _ . -"));
    }
    if !target.is_empty() && target.parse::<NodeId>().is_err() {
        refuse("target", format!("is '{target}'; allowed: the id of a node"));
    }
    let expression = CronExpression::parse(&timespec).map_err(|reason| refuse("timespec", reason)).ok()?;
    if action.eq_ignore_ascii_case("COMMAND") && !matches!(parameters, Json::Array(_)) {
        let found = if parameters.is_object() { "is a map" } else { "is not a list" };
        let text = format!("{found}, so each run will fail; COMMAND needs a list: '- command: \"…\"'");
        findings.warning(&entry.place, &section.path("parameters"), text);
    }
    let is_unknown = matches!(Action::parse(&action), Action::Other(_));
    if is_unknown && target.is_empty() {
        findings.warning(
            &entry.place,
            &section.path("action"),
            format!("'{action}' is not available in this version; each run will fail"),
        );
    }
    Some(CronJob { id, timespec, expression, action, parameters: parameters.to_string(), target, keep_token })
}

/// Converts values to JSON. Numbers and booleans stay text, which peers accept.
fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Text(text) => Json::from(&**text),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, node)| (key.to_string(), to_json(node))).collect::<Map<_, _>>())
        }
    }
}
