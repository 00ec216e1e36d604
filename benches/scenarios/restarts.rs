//! Stopping and restarting daemons.

use std::time::{Duration, Instant};

use serde_json::Value;
use stheno::model::code::Code;
use stheno::model::history::is_last_row;

use crate::commands::post_commands;
use crate::http_client::HttpClient;
use crate::load::percentile_ms;
use crate::platform::{Daemon, Role};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Time limit of every wait.
const PATIENCE: Duration = Duration::from_secs(90);

/// Time after which a link counts as stable.
const STABLE: Duration = Duration::from_millis(1_500);

/// Time from SIGTERM to the end of a central with a node, and of that node: median of several.
pub fn stop(scale: Scale) -> Outcome<Vec<Figure>> {
    let (mut centrals, mut nodes) = (Vec::new(), Vec::new());
    for _ in 0..scale.of(10) {
        let mut pollers = [Daemon::start_ready(&Role::poller(2))?];
        let mut central = Daemon::start_ready(&Role::central(&pollers))?;
        central.wait_for_pongs(1)?;
        centrals.push(central.stop()?);
        for poller in &mut pollers {
            nodes.push(poller.stop()?);
        }
    }
    let (central, poller) = (percentile_ms(&mut centrals, 50) / 1e3, percentile_ms(&mut nodes, 50) / 1e3);
    Ok(vec![
        Figure { part: "central", value: central, unit: "s", target: Target::AtMost(1.0), original: Some(17.0) },
        Figure { part: "poller", value: poller, unit: "s", target: Target::AtMost(1.0), original: Some(8.0) },
    ])
}

/// Time from the restart of a push node until the result of a command for it is in the central's history.
pub fn push_node_back(scale: Scale) -> Outcome<Vec<Figure>> {
    let mut pollers = [Daemon::start_ready(&Role::poller(2))?];
    let mut central = Daemon::start_ready(&Role::central(&pollers))?;
    central.wait_for_pongs(1)?;
    let mut client = HttpClient::connect(central.api_port)?;
    let mut measurements = Vec::new();
    for _ in 0..scale.of(5) {
        for poller in &mut pollers {
            // A link that was up only briefly is reconnected after a longer delay.
            std::thread::sleep(STABLE);
            poller.restart()?;
            wait_for_command(&mut client)?;
            measurements.push(poller.started.elapsed());
        }
    }
    let value = percentile_ms(&mut measurements, 50) / 1e3;
    Ok(vec![Figure { part: "", value, unit: "s", target: Target::AtMost(1.0), original: Some(0.5) }])
}

/// Posts a command for node 2 and requests its rows until it succeeds; a failed command is posted again.
fn wait_for_command(client: &mut HttpClient) -> Outcome<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let tokens = post_commands(client, "true", 1)?;
        let token = tokens.first().ok_or("no token")?;
        let mut ends = Vec::new();
        while ends.is_empty() && begun.elapsed() < PATIENCE {
            client.get(&format!("/api/nodes/2/log/{token}?sync_wait=20000"))?;
            let answer = client.get(&format!("/api/log/{token}"))?.json()?;
            let rows = answer.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
            ends = rows.iter().filter(|row| is_last(row)).filter_map(code_of).collect();
        }
        if ends.contains(&2) {
            return Ok(());
        }
    }
    Err(format!("no command was run within {} s", PATIENCE.as_secs()).into())
}

/// Reads the code, which may be written as text.
fn code_of(row: &Value) -> Option<i64> {
    let code = row.get("code")?;
    code.as_i64().or_else(|| code.as_str()?.parse().ok())
}

fn is_last(row: &Value) -> bool {
    let data = row.get("data").and_then(Value::as_str).unwrap_or_default();
    code_of(row).is_some_and(|code| is_last_row(Code(code), data))
}

/// Time from the restart of a central until a node that dials in has answered a ping again, for each kind.
pub fn dial_in_back(_: Scale) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for part in ["pull", "pullwss"] {
        let mut central = Daemon::start_ready(&Role::websocket_server(1, 1, false))?;
        let role = if part == "pull" { Role::pull_node(2, &central) } else { Role::websocket_dialer(2, &central) };
        let _node = Daemon::start_ready(&role)?;
        central.wait_for_pongs(1)?;
        central.restart()?;
        let value = central.wait_for_pongs(1)?.as_secs_f64();
        figures.push(Figure { part, value, unit: "s", target: Target::AtMost(5.0), original: Some(21.0) });
    }
    Ok(figures)
}

/// Time from the restart of a central until each of its 20 push nodes has answered a ping.
pub fn nodes_back(_: Scale) -> Outcome<Vec<Figure>> {
    let mut pollers = Vec::new();
    for id in 2..22 {
        pollers.push(Daemon::start_ready(&Role::poller(id))?);
    }
    let mut central = Daemon::start_ready(&Role::central(&pollers))?;
    central.wait_for_pongs(pollers.len())?;
    central.restart()?;
    let value = central.wait_for_pongs(pollers.len())?.as_secs_f64();
    Ok(vec![Figure { part: "", value, unit: "s", target: Target::AtMost(2.0), original: Some(21.0) }])
}
