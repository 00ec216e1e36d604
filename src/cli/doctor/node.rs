//! What lies between a central and one of its nodes: how it is reached, what the running daemon knows of it, and
//! whether a command runs there.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{known_key, machine};
use crate::cli::remote::{Remote, Row, rows_of, token_of};
use crate::config::Config;
use crate::daemon::doctor::{ZmqPeer, look_at_zmq, read_banner};
use crate::daemon::key_files;
use crate::edge::clock;
use crate::model::connection::Endpoint;
use crate::model::diagnosis::{Cause, Report};
use crate::model::registration::{NodeKind, Registration};
use crate::model::ssh::SshTarget;

/// A command that a central sends by itself (to gather statistics), that changes nothing, and that the list of allowed
/// commands of the packages has.
const PROBE: &str = "cat /var/lib/centreon-engine/stheno-doctor-stats.json";
/// How long to wait for the end of a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the API waits before it answers.
const WAIT_MICROS: u64 = 3_000_000;
/// Interval of questions for rows.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Difference between two clocks from which on it is reported: marks of the sync tolerate as much.
const CLOCK_SECONDS: i64 = 5;
/// Maximum age of the last answer of a node, as a multiple of the period of pings.
const PINGS: u64 = 3;

/// Looks at the node; adds the steps.
pub(super) fn look(report: &mut Report, path: &Path, id: u64) {
    let Some(config) = machine::configuration(report, path) else { return };
    let remote = Remote::of_config(path);
    let status = remote.as_ref().map_err(Clone::clone).and_then(|remote| remote.data("/api/internal/constatus"));
    let expected = "the daemon of this configuration answers";
    match &status {
        Ok(_) => report.good("daemon", expected, "it does"),
        Err(text) if text.contains("503") => {
            machine::database(report, &config);
            machine::disk(report, &config, None);
            if !report.is_broken() {
                report.bad("daemon", expected, text.clone(), Cause::DatabaseUnusable, "look into its log");
            }
            return;
        }
        Err(text) => {
            let advice = "start it ('systemctl start stheno'), and look into its log; 'stheno doctor' without a node \
                looks at this machine";
            report.bad("daemon", expected, text.clone(), Cause::DaemonNotRunning, advice);
        }
    }
    let listed = listed(&config, id);
    let status = status.unwrap_or_default();
    let known = status.get(id.to_string());
    let kind = known.and_then(|known| known.get("type")).and_then(Value::as_str);
    let kind = kind.or_else(|| listed.map(|node| node.kind.as_str())).map(str::to_owned);
    let Some(kind) = kind else { return behind(report, &config, remote.ok().as_ref(), id) };
    report.good("list", format!("node {id} in the list of nodes"), format!("it is, as {kind}"));
    let reached = match listed.map(|node| &node.kind) {
        Some(NodeKind::PushZmq { endpoint }) => push(report, &config, endpoint, id, &status),
        Some(NodeKind::PushSsh(target)) => ssh(report, target),
        Some(NodeKind::Pull | NodeKind::WebSocket) => dials_in(report, remote.as_ref().ok(), id, &status),
        None => alive(report, remote.as_ref().ok(), id, &status, &config),
    };
    if let (true, Ok(remote)) = (reached && !report.is_broken(), &remote) {
        ask(report, remote, id, kind != "push_ssh");
    }
}

fn listed(config: &Config, id: u64) -> Option<&Registration> {
    config.modules.register.as_ref()?.nodes.iter().find(|node| node.id.get() == id)
}

/// A node that is no direct one: behind a relay, or unknown.
fn behind(report: &mut Report, config: &Config, remote: Option<&Remote>, id: u64) {
    if config.core.id.is_some_and(|own| own.get() == id) {
        let advice = "'stheno doctor' without a node looks at this machine";
        return report.bad("list", "another node", format!("{id} is the id of this daemon"), Cause::IdUnlisted, advice);
    }
    let routes = remote.and_then(|remote| remote.data(&format!("/api/internal/routes/{id}")).ok()).unwrap_or_default();
    let route = routes.get(id.to_string());
    let through = route.and_then(|route| route.get("in_use")).and_then(Value::as_u64);
    let expected = format!("node {id} in the list of nodes, or behind one of them");
    match (through, remote) {
        (Some(through), Some(remote)) => {
            report.good("list", expected, format!("it is behind node {through}"));
            ask(report, remote, id, true);
        }
        _ => {
            let why = route.and_then(|route| route.get("error")).and_then(Value::as_str).unwrap_or("it is unknown");
            let advice = "add it to the register file (or to the Centreon database), with its address; behind a relay: \
                to 'nodes' of that relay, and look whether the relay answers";
            report.bad("list", expected, why, Cause::IdUnlisted, advice);
        }
    }
}

/// A node that we connect to. Returns whether it answers.
fn push(report: &mut Report, config: &Config, endpoint: &Endpoint, id: u64, status: &Value) -> bool {
    let keys = match key_files::load(&config.core.private_key) {
        Ok(Some(keys)) => keys,
        Ok(None) => {
            let seen = format!("{} does not exist", config.core.private_key.display());
            report.bad(
                "keys",
                "the key of this daemon",
                seen,
                Cause::FileNotReadable,
                "start the daemon: it makes one",
            );
            return false;
        }
        Err(error) => {
            let advice = "run this as root or as the user of the daemon";
            report.bad("keys", "the key of this daemon", error.to_string(), Cause::FileNotReadable, advice);
            return false;
        }
    };
    let known_key = known_key(config, endpoint);
    let met_now = last_answer(status, id) > 0;
    let own_id = config.core.id.map_or_else(String::new, |own| own.to_string());
    let listed = config.modules.register.iter().flat_map(|register| &register.nodes);
    let link = listed.filter(|node| node.id.get() == id).find_map(|node| node.link);
    let peer = ZmqPeer {
        endpoint,
        link: link.unwrap_or(config.core.link),
        own_name: format!("gorgone-proxy-{own_id}-{id}"),
        was_met: met_now || known_key.is_some(),
        known_key,
        successors: &config.added.successors,
        id: Some(id),
        own_id: None,
        other_ports: other_ports(config, id),
    };
    look_at_zmq(report, &peer, &keys).is_some()
}

/// The ports of this daemon and of its other nodes, where node `id` is not to be looked for.
fn other_ports(config: &Config, id: u64) -> Vec<u16> {
    let port = |endpoint: &Endpoint| match endpoint {
        Endpoint::Tcp { port, .. } => Some(*port),
        Endpoint::Ipc(_) => None,
    };
    let own = config.core.external.as_ref().and_then(port);
    let api = config.modules.httpserver.as_ref().map(|http| http.port);
    let sockets = config.modules.proxy.as_ref().and_then(|proxy| Some(proxy.httpserver.as_ref()?.port));
    let nodes = config.modules.register.iter().flat_map(|register| &register.nodes);
    let nodes = nodes.filter(|node| node.id.get() != id).filter_map(|node| port(node.kind.endpoint()?));
    own.into_iter().chain(api).chain(sockets).chain(nodes).collect()
}

/// A host that we reach by SSH: its banner. Returns whether it is an SSH server.
fn ssh(report: &mut Report, target: &SshTarget) -> bool {
    let Some(banner) = read_banner(report, &target.host, target.port) else { return false };
    let shown: String = String::from_utf8_lossy(&banner).lines().next().unwrap_or_default().chars().take(80).collect();
    let expected = "the banner of an SSH server";
    if banner.starts_with(b"SSH-") {
        report.good("greeting", expected, shown);
        return true;
    }
    let seen = if shown.is_empty() { "it says nothing".to_owned() } else { format!("'{}'", shown.escape_debug()) };
    report.bad("greeting", expected, seen, Cause::OtherService, "correct 'address' and 'ssh_port' of the node");
    false
}

fn last_answer(status: &Value, id: u64) -> i64 {
    let last = status.get(id.to_string()).and_then(|node| node.get("last_ping_recv"));
    last.and_then(|last| last.as_i64().or_else(|| last.as_str()?.parse().ok())).unwrap_or(0)
}

/// A node that connects to us. Returns whether it is connected.
fn dials_in(report: &mut Report, remote: Option<&Remote>, id: u64, status: &Value) -> bool {
    let Some(remote) = remote else { return false };
    let routes = remote.data(&format!("/api/internal/routes/{id}")).unwrap_or_default();
    let route = routes.get(id.to_string());
    let ways = route.and_then(|route| route.get("candidates")).and_then(Value::as_array);
    let why = ways.into_iter().flatten().find_map(|way| way.get("why").and_then(Value::as_str));
    let expected = "the node is connected to this daemon";
    let last = last_answer(status, id);
    match why.or_else(|| route.and_then(|route| route.get("error")).and_then(Value::as_str)) {
        None => {
            report.good("connection", expected, "it is");
            true
        }
        Some(why) => {
            let since = if last > 0 { format!("; its last answer came {} s ago", age(last)) } else { String::new() };
            let advice = "run 'stheno doctor' on that node: it looks at its way to this daemon; the log here has a \
                line about each address that was refused";
            report.bad("connection", expected, format!("{why}{since}"), Cause::NotConnected, advice);
            false
        }
    }
}

/// A node that the running daemon knows from elsewhere, such as the Centreon database.
fn alive(report: &mut Report, remote: Option<&Remote>, id: u64, status: &Value, config: &Config) -> bool {
    let kind = status.get(id.to_string()).and_then(|node| node.get("type")).and_then(Value::as_str);
    if matches!(kind, Some("pull" | "wss")) {
        return dials_in(report, remote, id, status);
    }
    let period = config.modules.proxy.as_ref().map_or(60, |proxy| proxy.ping.as_secs());
    let last = last_answer(status, id);
    let expected = "an answer to PING lately";
    if last == 0 || u64::try_from(age(last)).unwrap_or(0) > period.saturating_mul(PINGS) {
        let seen = if last == 0 { "none since the start".to_owned() } else { format!("the last {} s ago", age(last)) };
        let advice = "look into the log of this daemon for the address of this node";
        report.bad("ping", expected, seen, Cause::NoAnswer, advice);
        return false;
    }
    report.good("ping", expected, format!("{} s ago", age(last)));
    true
}

fn age(seconds: i64) -> i64 {
    clock::wall().as_seconds().saturating_sub(seconds).max(0)
}

/// Asks the node over the running daemon: its modules, its clock, and whether a command runs.
fn ask(report: &mut Report, remote: &Remote, id: u64, has_daemon: bool) {
    if has_daemon && !information(report, remote, id) {
        return;
    }
    command(report, remote, id);
}

/// A request that has ended.
struct Ended {
    rows: Vec<Row>,
    /// Our clock in seconds before the request, and after its end.
    from: i64,
    until: i64,
}

/// Starts a request and waits for its end.
fn run(remote: &Remote, method: &str, id: u64, path: &str, body: &Value) -> Result<Ended, String> {
    let start = clock::read();
    let path = format!("/api/nodes/{id}/{path}?log_wait={WAIT_MICROS}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = remote.call(method, &path, &body)?;
    let token = token_of(&answer)?;
    let mut rows = rows_of(&answer);
    loop {
        let until = clock::wall().as_seconds();
        if rows.iter().any(|row| row.is_last) {
            return Ok(Ended { rows, from: start.wall.as_seconds(), until });
        }
        if clock::read().monotonic.since(start.monotonic) > PATIENCE {
            return Err(format!("no end within {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(ASK_EVERY);
        rows = remote.rows(id, &token, 0, 1_000)?;
    }
}

/// The modules of the node, and its clock by the time of the row. Returns whether to go on.
fn information(report: &mut Report, remote: &Remote, id: u64) -> bool {
    let ended = match run(remote, "GET", id, "internal/information", &Value::Null) {
        Ok(ended) => ended,
        Err(text) => {
            let advice = "look into the log of the node, and at 'stheno doctor' there";
            report.bad("sync", "rows of the node arrive here", text, Cause::NoAnswer, advice);
            return false;
        }
    };
    let Some(row) = ended.rows.iter().find(|row| row.is_last) else { return true };
    if row.code != 2 {
        failed(report, "sync", "an answer of the node", row);
        return false;
    }
    report.good("sync", "rows of the node arrive here", "they do");
    clock_of(report, row.etime, &ended);
    let modules = row.data.pointer("/data/modules").and_then(Value::as_object);
    let Some(modules) = modules else { return true };
    let names: Vec<&str> = modules.keys().map(String::as_str).collect();
    let expected = "the module 'action' on the node";
    if names.contains(&"action") {
        report.good("modules", expected, names.join(", "));
        return true;
    }
    let advice = "add the module 'action' (package gorgone::modules::core::action::hooks, enable: true) to the \
        configuration of the node and restart its daemon";
    report.bad("modules", expected, format!("only {}", names.join(", ")), Cause::ModuleMissing, advice);
    false
}

/// Compares the time of a row of the node with the time of the request here.
fn clock_of(report: &mut Report, etime: Option<i64>, ended: &Ended) {
    let Some(theirs) = etime else { return };
    let ahead = theirs.saturating_sub(ended.until);
    let behind = ended.from.saturating_sub(theirs);
    let expected = format!("the clock of the node within {CLOCK_SECONDS} s of ours");
    if ahead.max(behind) > CLOCK_SECONDS {
        let seen = if ahead > behind { format!("{ahead} s ahead of ours") } else { format!("{behind} s behind ours") };
        let advice = "set both clocks by NTP ('timedatectl'); times of rows, certificates and downtimes depend on them";
        report.bad("clock", expected, seen, Cause::ClockOff, advice);
    } else {
        report.good("clock", expected, "it is");
    }
}

/// Runs a harmless command there.
fn command(report: &mut Report, remote: &Remote, id: u64) {
    const STEP: &str = "command";
    let expected = format!("'{PROBE}' may run there");
    let body = json!([{ "command": PROBE, "timeout": 5 }]);
    let ended = match run(remote, "POST", id, "core/action/command", &body) {
        Ok(ended) => ended,
        Err(text) => {
            let advice = "look into the log of the node";
            return report.bad(STEP, expected, text, Cause::NoAnswer, advice);
        }
    };
    if ended.rows.iter().any(|row| row.code == 100) {
        report.good(STEP, expected, "it may");
        return room(report, remote, id);
    }
    let Some(row) = ended.rows.iter().find(|row| row.is_last && row.code == 1) else { return };
    failed(report, STEP, &expected, row);
}

/// Asks for free space and for the owners of the folders that the central copies to. A node that allows few commands is
/// not asked: its refusal is no fault.
const LOOK: &str = "df -Pk /tmp /var/lib 2>/dev/null | tail -n +2; for place in /etc/centreon-engine \
    /etc/centreon-broker; do [ ! -d $place ] || { [ -w $place ] && echo can write $place || echo cannot write $place; \
    stat -c %U $place; }; done; echo user $(id -un)";
/// Free KiB below which a disk counts as full.
const FREE_KIB_MIN: u64 = 16 << 10;

/// Adds the steps about disk and owners.
fn room(report: &mut Report, remote: &Remote, id: u64) {
    let body = json!([{ "command": LOOK, "timeout": 5 }]);
    let Ok(ended) = run(remote, "POST", id, "core/action/command", &body) else { return };
    let result = ended.rows.iter().find(|row| row.code == 100).and_then(|row| row.data.pointer("/result/stdout"));
    let Some(said) = result.and_then(Value::as_str) else { return };
    let (mut disks, mut full, mut places, mut closed) = (Vec::new(), false, Vec::new(), false);
    for line in said.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, _, _, free, _, place] => {
                let Ok(free) = free.parse::<u64>() else { continue };
                full |= free < FREE_KIB_MIN;
                disks.push(format!("{place} has {} MiB free", free >> 10));
            }
            ["can", "write", place] => places.push(format!("may write {place}")),
            ["cannot", "write", place] => {
                closed = true;
                places.push(format!("may not write {place}"));
            }
            ["user", user] => places.push(format!("as user {user}")),
            [owner] if !places.is_empty() => places.push(format!("which belongs to {owner}")),
            _ => {}
        }
    }
    let expected = format!("at least {} MiB free on the node", FREE_KIB_MIN >> 10);
    if full {
        let advice = "make room on the node: copies and its history need it";
        report.bad("disk", expected, disks.join(", "), Cause::DiskFull, advice);
    } else {
        report.good("disk", expected, disks.join(", "));
    }
    let expected = "copies may write the folders of the engine and the broker";
    if closed {
        let advice = "add the daemon's user to the groups of centreon-engine and centreon-broker on the node, or widen \
            ReadWritePaths= of its unit";
        report.minor("owner", expected, places.join(", "), Cause::NotAllowed, advice);
    } else {
        report.good("owner", expected, places.join(", "));
    }
}

/// Adds the step for a request that has failed.
fn failed(report: &mut Report, step: &'static str, expected: &str, row: &Row) {
    let text = row.text();
    let has = |word: &str| text.contains(word);
    let (cause, advice) = if has("not allowed (whitelist)") {
        (
            Cause::CommandNotAllowed,
            "the list 'allowed_cmds' of the module action there (whitelist_cmds: true) lacks commands that a central \
             sends; add them, or take the list of the packages",
        )
    } else if has("database issue") {
        (Cause::DiskFull, "the node cannot write its history: make room on its disk, or look at 'stheno doctor' there")
    } else if has("unknown_action") || has("is unknown") || has("not loaded") {
        (Cause::ModuleMissing, "load the module in the configuration of the node and restart its daemon")
    } else if has("may not") || has("not permitted") || has("not authorized") {
        (Cause::NotAllowed, "give our key there ('authorized_clients') 'may: central'")
    } else if has("host key") || has("serverkey") {
        (Cause::KeyChanged, "compare the key of the host; 'stheno keys forget' takes the next one")
    } else if has("login") || has("authenti") || has("password") {
        (Cause::KeyNotAuthorized, "correct user, key or password of the node, or let its sshd accept them")
    } else {
        (Cause::NoAnswer, "look into the log of the node")
    };
    report.bad(step, expected, text, cause, advice);
}
