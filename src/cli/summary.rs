//! Summarises a configuration, as tables for people or as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::modules::cron::CronJob;
use crate::config::modules::httpserver::HttpSettings;
use crate::config::modules::proxy::WebSocketSettings;
use crate::config::settings::{ClientTls, CoreSettings, ServerTls, Storage};
use crate::config::{Config, Problem};
use crate::daemon::key_files::KeyState;
use crate::daemon::poller_preview::PollerPlan;
use crate::edge::{clock, time_zone};
use crate::model::connection::Endpoint;
use crate::model::link::LinkMode;
use crate::model::node_id::NodeId;
use crate::model::registration::{NodeKind, Registration, Subnode};
use crate::model::time_zone::minute_of;

/// Returns the summary as text.
pub(super) fn as_text(path: &Path, config: &Config, keys: &KeyState, pollers: Option<&PollerPlan>) -> String {
    let core = &config.core;
    let mut text = format!("{}: no problem found\n\n", path.display());
    let id = match (core.id, pollers.and_then(|plan| plan.own_id)) {
        (Some(id), _) => id.to_string(),
        (None, Some(id)) => format!("{id}, by the Centreon database"),
        (None, None) => "not set; the central gives one".to_owned(),
    };
    let modules: Vec<&str> = config.modules.loaded.keys().map(String::as_str).collect();
    let mut lines = vec![
        ("role", config.role().to_string()),
        ("id", id),
        ("name", core.name.clone()),
        ("hostname", core.hostname.clone()),
        ("external", external(config)),
        ("link", core.link.to_string()),
        ("api", config.modules.httpserver.as_ref().map_or_else(|| "none".to_owned(), api)),
    ];
    lines.extend(listener(config).map(|server| ("websocket", websocket(server, config))));
    lines.extend(parents(config).into_iter().map(|parent| ("parent", parent.as_text())));
    lines.extend([
        ("database", database(core)),
        ("private key", core.private_key.display().to_string()),
        ("thumbprint", thumbprint(keys)),
        ("modules", modules.join(", ")),
    ]);
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<12} {value}");
    }
    let nodes = nodes_of(config);
    if !nodes.is_empty() {
        let rows = nodes.iter().map(|node| node_row(node, core.link)).collect();
        text.push_str("\nnodes\n");
        text.push_str(&table(&NODE_COLUMNS.map(str::to_owned), rows));
    }
    if let Some(plan) = pollers {
        text.push_str("\nnodes from the Centreon database\n");
        let rows = plan.registrations.iter().map(|node| node_row(node, core.link)).collect();
        text.push_str(&table(&NODE_COLUMNS.map(str::to_owned), rows));
    }
    text.push_str(&jobs(config));
    if !config.from_environment.is_empty() {
        text.push_str("\nfrom the environment\n");
        let rows = config.from_environment.iter().map(|value| [value.key.clone(), value.variable.clone()]);
        text.push_str(&table(&["value", "variable"].map(str::to_owned), rows.collect()));
    }
    for (title, is_error) in [("will not work", true), ("warnings", false)] {
        let lines: Vec<_> = config.warnings.iter().filter(|warning| warning.is_error == is_error).collect();
        if !lines.is_empty() {
            let _ = writeln!(text, "\n{title}");
        }
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// Returns the summary as JSON.
pub(super) fn as_json(config: &Config, keys: &KeyState, pollers: Option<&PollerPlan>) -> String {
    let core = &config.core;
    let (state, bits, thumbprint) = match keys {
        KeyState::Absent => ("absent", None, None),
        KeyState::Present { bits, thumbprint, .. } => ("present", Some(bits), Some(thumbprint)),
    };
    let api = config.modules.httpserver.as_ref().map(|http| {
        json!({
            "address": http.address, "port": http.port, "auth": http.wants_password(), "allowed_hosts": subnets(http),
            "certificate": certificate(http.tls.as_ref()),
        })
    });
    let websocket = listener(config).map(|server| {
        json!({
            "address": server.address, "port": server.port, "certificate": certificate(server.tls.as_ref()),
            "shared_with_api": shares_port(server, config),
        })
    });
    let now = local_minute();
    let document = json!({
        "ok": true,
        "role": config.role().to_string(),
        "id": core.id.map(NodeId::to_json),
        "name": core.name,
        "hostname": core.hostname,
        "external": core.external.as_ref().map(Endpoint::to_string),
        "authorized_clients": core.authorized_clients,
        "link": core.link.word(),
        "api": api,
        "websocket": websocket,
        "parents": parents(config).iter().map(Parent::as_json).collect::<Vec<_>>(),
        "database": core.server.as_ref().map_or_else(|| core.database.display().to_string(), ToString::to_string),
        "storage": if core.storage == Storage::Disk { "disk" } else { "memory" },
        "keys": {
            "private": core.private_key.to_string_lossy(),
            "public": core.public_key.to_string_lossy(),
            "state": state,
            "bits": bits,
            "thumbprint": thumbprint,
        },
        "modules": config.modules.loaded,
        "nodes": nodes_of(config).iter().map(node_as_json).collect::<Vec<_>>(),
        "database_id": pollers.and_then(|plan| plan.own_id).map(NodeId::to_json),
        "database_nodes": pollers.map(|plan| plan.registrations.iter().map(node_as_json).collect::<Vec<_>>()),
        "cron": config.modules.cron.iter().flatten().map(|job| job_as_json(job, now)).collect::<Vec<_>>(),
        "environment": config.from_environment.iter()
            .map(|value| json!({ "key": value.key, "variable": value.variable })).collect::<Vec<_>>(),
        "warnings": config.warnings.iter().map(problem_as_json).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

/// Returns a problem or warning as JSON.
pub(super) fn problem_as_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file.to_string_lossy(),
        "line": (problem.line > 0).then_some(problem.line),
        "key": problem.key,
        "text": problem.text,
        "level": if problem.is_error { "error" } else { "warning" },
    })
}

fn database(core: &CoreSettings) -> String {
    if let Some(server) = &core.server {
        return server.to_string();
    }
    let path = core.database.display();
    match core.storage {
        Storage::Disk => path.to_string(),
        Storage::Memory(max) => {
            format!("{path} (in memory: at most {max} bytes, lost when the machine restarts)")
        }
    }
}

fn external(config: &Config) -> String {
    let Some(endpoint) = &config.core.external else { return "none".to_owned() };
    match config.core.authorized_clients.len() {
        1 => format!("{endpoint}, 1 authorized client"),
        count => format!("{endpoint}, {count} authorized clients"),
    }
}

fn api(http: &HttpSettings) -> String {
    let auth = if http.wants_password() { "password needed" } else { "no password" };
    let hosts = subnets(http).map_or_else(|| "from anywhere".to_owned(), |list| format!("from {}", list.join(", ")));
    let endpoint = std::net::SocketAddr::from((http.address, http.port));
    match &http.tls {
        Some(tls) => format!("https://{endpoint}, certificate {}, {auth}, {hosts}", tls.certificate_file.display()),
        None => format!("http://{endpoint}, {auth}, {hosts}"),
    }
}

/// Returns the listener for pullwss nodes, if any.
fn listener(config: &Config) -> Option<&WebSocketSettings> {
    config.modules.proxy.as_ref()?.httpserver.as_ref()
}

/// Whether the REST API shares the listener for pullwss nodes.
fn shares_port(server: &WebSocketSettings, config: &Config) -> bool {
    let api = config.modules.httpserver.as_ref();
    api.is_some_and(|api| (api.address, api.port) == (server.address, server.port))
}

fn websocket(server: &WebSocketSettings, config: &Config) -> String {
    let endpoint = std::net::SocketAddr::from((server.address, server.port));
    let shared = if shares_port(server, config) { ", the port of the api" } else { "" };
    match &server.tls {
        Some(tls) => format!("wss://{endpoint}, certificate {}{shared}", tls.certificate_file.display()),
        None => format!("ws://{endpoint}, not encrypted{shared}"),
    }
}

fn certificate(tls: Option<&ServerTls>) -> Option<String> {
    tls.map(|tls| tls.certificate_file.to_string_lossy().into_owned())
}

/// A central that this daemon connects to.
struct Parent {
    module: &'static str,
    address: String,
    /// The addresses that are tried after it, in order.
    others: Vec<String>,
    /// How its certificate is checked; `None` without TLS.
    check: Option<String>,
    /// The HTTP proxy in between, if any.
    proxy: Option<String>,
    /// Whether the link may or must be sealed; `None` for a WebSocket.
    link: Option<LinkMode>,
}

fn parents(config: &Config) -> Vec<Parent> {
    let pull = config.modules.pull.as_ref().map(|pull| Parent {
        module: "pull",
        address: pull.endpoint.to_string(),
        others: pull.others.iter().map(ToString::to_string).collect(),
        check: None,
        proxy: None,
        link: Some(pull.link.unwrap_or(config.core.link)),
    });
    let pullwss = config.modules.pullwss.as_ref().map(|wss| {
        let scheme = if wss.tls.is_some() { "wss" } else { "ws" };
        let url = |host: &str, port| format!("{scheme}://{}:{port}{}", bracketed(host), wss.uri);
        Parent {
            module: "pullwss",
            address: url(&wss.host, wss.port),
            others: wss.others.iter().map(|(host, port)| url(host, *port)).collect(),
            check: wss.tls.as_ref().map(|tls| match tls {
                ClientTls::Verify { ca_file: None } => "verified by the system's roots".to_owned(),
                ClientTls::Verify { ca_file: Some(file) } => format!("verified by {}", file.display()),
                ClientTls::Pinned(_) => "verified by its fingerprint".to_owned(),
                ClientTls::NoVerify => "NOT verified".to_owned(),
            }),
            proxy: wss.proxy.as_ref().map(|proxy| format!("http://{}:{}", bracketed(&proxy.host), proxy.port)),
            link: None,
        }
    });
    pull.into_iter().chain(pullwss).collect()
}

/// Returns a host in the form for URLs.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl Parent {
    fn as_text(&self) -> String {
        let mut text = self.address.clone();
        for other in &self.others {
            let _ = write!(text, ", then {other}");
        }
        let _ = write!(text, " ({})", self.module);
        if let Some(check) = &self.check {
            let _ = write!(text, ", certificate {check}");
        } else if self.address.starts_with("ws:") {
            text.push_str(", not encrypted");
        }
        if let Some(proxy) = &self.proxy {
            let _ = write!(text, ", through {proxy}");
        }
        if let Some(link) = self.link {
            let _ = write!(text, ", link {link}");
        }
        text
    }

    fn as_json(&self) -> Value {
        json!({
            "module": self.module, "address": self.address, "others": self.others, "certificate": self.check,
            "proxy": self.proxy, "link": self.link.map(LinkMode::word),
        })
    }
}

fn subnets(http: &HttpSettings) -> Option<Vec<String>> {
    let list = http.allowed_hosts.as_ref()?;
    Some(list.iter().map(|subnet| format!("{}/{}", subnet.address, subnet.prefix)).collect())
}

fn thumbprint(keys: &KeyState) -> String {
    match keys {
        KeyState::Absent => "none yet; a start makes the key pair".to_owned(),
        KeyState::Present { bits, thumbprint, public_is_missing } => {
            let public = if *public_is_missing { "; a start writes the public file" } else { "" };
            format!("{thumbprint} ({bits} bits{public})")
        }
    }
}

fn nodes_of(config: &Config) -> &[Registration] {
    config.modules.register.as_ref().map_or(&[], |register| &register.nodes)
}

fn address(kind: &NodeKind) -> Option<String> {
    kind.endpoint().map(ToString::to_string).or_else(|| kind.ssh_target().map(ToString::to_string))
}

const NODE_COLUMNS: [&str; 6] = ["id", "type", "address", "link", "prevails", "behind it"];

fn node_row(node: &Registration, link: LinkMode) -> [String; 6] {
    let behind: Vec<String> = node.subnodes.iter().map(|below| below.id.to_string()).collect();
    [
        node.id.to_string(),
        node.kind.as_str().to_owned(),
        address(&node.kind).unwrap_or_else(|| "connects to us".to_owned()),
        match node.kind {
            NodeKind::PushZmq { .. } | NodeKind::Pull => node.link.unwrap_or(link).to_string(),
            NodeKind::PushSsh(_) | NodeKind::WebSocket => "-".to_owned(),
        },
        if node.prevail { "yes" } else { "no" }.to_owned(),
        if behind.is_empty() { "-".to_owned() } else { behind.join(", ") },
    ]
}

fn node_as_json(node: &Registration) -> Value {
    let below = |below: &Subnode| json!({ "id": below.id.to_json(), "pathscore": below.path_score });
    json!({
        "id": node.id.to_json(),
        "uid": node.uid.map(NodeId::to_json),
        "type": node.kind.as_str(),
        "link": node.link.map(LinkMode::word),
        "address": address(&node.kind),
        "prevail": node.prevail,
        "nodes": node.subnodes.iter().map(below).collect::<Vec<_>>(),
    })
}

/// Number of future runs shown for each job.
const NEXT_RUNS: usize = 5;

/// Returns the current minute in local time, in the form of the module `cron`, and the second within it.
fn local_minute() -> (i64, i64) {
    let now = clock::wall();
    let minute = minute_of(now);
    (time_zone::read().map_or(minute, |zone| zone.local_minute(minute)), now.as_seconds().rem_euclid(60))
}

/// Returns the table of the jobs of the module `cron` with their next runs.
fn jobs(config: &Config) -> String {
    let jobs = config.modules.cron.as_deref().unwrap_or_default();
    if jobs.is_empty() {
        return String::new();
    }
    let now = local_minute();
    let rows = jobs.iter().map(|job| {
        let days = job.expression.days().unwrap_or_else(|| "every day".to_owned());
        [job.id.clone(), job.timespec.clone(), days, job.expression.next_runs(now.0, now.1, NEXT_RUNS).join(", ")]
    });
    let head = ["job", "timespec", "days", "next runs"].map(str::to_owned);
    format!("\ncron\n{}", table(&head, rows.collect()))
}

fn job_as_json(job: &CronJob, now: (i64, i64)) -> Value {
    json!({
        "id": job.id, "timespec": job.timespec, "action": job.action, "target": job.target,
        "days": job.expression.days(), "next_runs": job.expression.next_runs(now.0, now.1, NEXT_RUNS),
    })
}

/// Formats a table whose columns are as wide as their widest cell, with two spaces in between.
fn table<const N: usize>(head: &[String; N], rows: Vec<[String; N]>) -> String {
    let lines: Vec<&[String; N]> = std::iter::once(head).chain(&rows).collect();
    let mut widths = [0_usize; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line.iter()) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let joined = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "  {}", joined.trim_end());
    }
    text
}
