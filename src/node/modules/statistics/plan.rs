//! What a request for statistics asks of each node, and how its answer is read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::node_id::NodeId;
use crate::model::statistics::{BrokerRow, EngineRow, StatisticsTables};
use crate::node::json as read;
use crate::node::names::Names;

/// The kinds of statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Statistics files of brokers.
    Broker,
    /// Output of the engine's statistics program.
    Engine,
}

impl Kind {
    /// Returns the word for rows.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Broker => "brokerstats",
            Self::Engine => "enginestats",
        }
    }

    /// Returns the word for log lines.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Engine => "engine",
        }
    }
}

/// The content of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The only node to ask; `None` for all.
    node: Option<NodeId>,
    /// Whether brokers of the central itself are included.
    with_localhost: bool,
    /// Time limit of a command in seconds.
    pub timeout_s: Option<u64>,
}

impl Wanted {
    /// Reads the data of a request.
    ///
    /// # Errors
    /// Returns what is wrong with it.
    pub(super) fn read(data: &str, names: &Names) -> Result<Self, String> {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let node = data.pointer("/variables/0").filter(|node| read::text(node).is_some());
        let node = node.map(|node| NodeId::from_json(node).map(|id| names.id_of(id))).transpose();
        // A GET request has its options in the query.
        let option = |name: &str| {
            let of = |place: &str| data.get(place)?.get(name).filter(|value| !value.is_null());
            of("content").or_else(|| of("parameters"))
        };
        let timeout_s = option("timeout").and_then(read::integer).and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            node: node.map_err(|error| error.to_string())?,
            with_localhost: option("collect_localhost").is_some_and(read::is_true),
            timeout_s: timeout_s.filter(|seconds| (1..=86_400).contains(seconds)),
        })
    }
}

/// Returns the option `enable_broker_stats`.
pub(super) fn are_brokers_enabled(tables: &StatisticsTables) -> bool {
    let value = tables.enable_broker_stats.as_deref().and_then(|text| text.trim().parse::<f64>().ok());
    value.is_some_and(|value| value >= 1.0)
}

/// Returns for each node the commands of its COMMAND, or why there are none.
pub(super) fn plan(
    kind: Kind,
    tables: &StatisticsTables,
    wanted: &Wanted,
) -> BTreeMap<NodeId, Result<Vec<Value>, String>> {
    let mut plan: BTreeMap<NodeId, Result<Vec<Value>, String>> = BTreeMap::new();
    let is_wanted = |node: &NodeId| wanted.node.is_none_or(|one| one == *node);
    let id = |node: &str| node.parse().ok().filter(is_wanted);
    match kind {
        Kind::Broker => {
            let rows = tables.brokers.iter().filter(|row| wanted.with_localhost || !row.is_localhost);
            for (node, row) in rows.filter_map(|row| Some((id(&row.node)?, row))) {
                let command = broker_command(node, row, wanted);
                let entry = plan.entry(node).or_insert_with(|| Ok(Vec::new()));
                match (entry.as_mut(), command) {
                    (Ok(commands), Ok(command)) => commands.push(command),
                    (Ok(_), Err(text)) => *entry = Err(text),
                    (Err(_), _) => {}
                }
            }
        }
        Kind::Engine => {
            for (node, row) in tables.engines.iter().filter_map(|row| Some((id(&row.node)?, row))) {
                plan.insert(node, engine_command(node, row, wanted).map(|command| vec![command]));
            }
        }
    }
    plan
}

fn command(text: &str, wanted: &Wanted, metadata: &Value) -> Value {
    let mut command = json!({ "command": text, "metadata": metadata });
    if let (Some(members), Some(timeout)) = (command.as_object_mut(), wanted.timeout_s) {
        members.insert("timeout".to_owned(), json!(timeout));
    }
    command
}

fn broker_command(node: NodeId, row: &BrokerRow, wanted: &Wanted) -> Result<Value, String> {
    let directory = given(row.cache_directory.as_deref(), "cache_directory of its broker")?;
    let name = given(row.config_name.as_deref(), "config_name of its broker")?;
    if name.contains('/') || name.starts_with('.') {
        return Err(format!("the config_name of its broker is '{}', which is not a file name", name.escape_debug()));
    }
    let path = format!("{}/{name}-stats.json", directory.trim_end_matches('/'));
    let metadata = json!({ "poller_id": node.to_json(), "config_name": name, "source": "brokerstats" });
    Ok(command(&format!("cat {}", plain(&path)?), wanted, &metadata))
}

fn engine_command(node: NodeId, row: &EngineRow, wanted: &Wanted) -> Result<Value, String> {
    let program = given(row.program.as_deref(), "nagiostats_bin")?;
    if row.cfg_dir.is_none() && row.cfg_file.is_none() {
        return Err("it has no active engine configuration (cfg_nagios)".to_owned());
    }
    let directory = given(row.cfg_dir.as_deref(), "cfg_dir of its engine")?;
    let file = given(row.cfg_file.as_deref(), "cfg_file of its engine")?;
    let path = format!("{}/{file}", directory.trim_end_matches('/'));
    let metadata = json!({ "poller_id": node.to_json(), "source": "enginestats" });
    Ok(command(&format!("{} -c {}", plain(program)?, plain(&path)?), wanted, &metadata))
}

fn given<'a>(value: Option<&'a str>, what: &str) -> Result<&'a str, String> {
    let value = value.map(str::trim).filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("the database has no {what}"))
}

/// Accepts a path that needs no quotes in a shell, because allow-lists expect it without quotes.
fn plain(path: &str) -> Result<&str, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@%,:=".contains(&byte) || byte >= 0x80;
    if path.bytes().all(fits) && path.len() <= 1_024 {
        return Ok(path);
    }
    let shown: String = path.chars().take(100).flat_map(char::escape_debug).collect();
    Err(format!("the database has the path '{shown}', which a shell would not take as one word"))
}

/// Returns the output of a command, and the broker configuration that it belongs to.
///
/// # Errors
/// Returns why there is no output.
pub(super) fn result(data: &Value) -> Result<(Option<String>, String), String> {
    let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str);
    let stdout = text("/result/stdout").unwrap_or_default();
    let status = data.pointer("/result/exit_code").and_then(read::integer);
    if status != Some(0) {
        let first: String = stdout.lines().next().unwrap_or_default().chars().take(200).collect();
        let status = status.map_or_else(|| "no status".to_owned(), |status| format!("status {status}"));
        return Err(format!("its command ended with {status}: {first}"));
    }
    match text("/metadata/source") {
        Some("enginestats") => Ok((None, stdout.to_owned())),
        Some("brokerstats") => match text("/metadata/config_name").filter(|name| !name.contains('/')) {
            Some(name) => Ok((Some(name.to_owned()), stdout.to_owned())),
            None => Err("its answer names no configuration of a broker".to_owned()),
        },
        _ => Err("its answer does not say what it is about".to_owned()),
    }
}
