//! The status of a central's nodes over the API, measured with `wrk`.

use std::process::Command;

use crate::certificate::authority;
use crate::platform::{Daemon, Role};
use crate::report::{Figure, Target};
use crate::websocket_nodes::{Behaviour, WebSocketNodes};
use crate::{Outcome, Scale};

const NODES: usize = 20;

/// Duration in seconds of a measurement with `wrk`.
pub const SECONDS: usize = 10;

/// Approximate size in bytes of the status of the nodes.
pub const ANSWER_BYTES: usize = 2_000;

/// `GET constatus` over 16 connections to a central with 20 pullwss nodes that have answered a ping.
pub fn rest_constatus_20_nodes(scale: Scale) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for (with_tls, part, bound) in [(false, "plain", 20_000.0), (true, "TLS", 10_000.0)] {
        let central = Daemon::start_ready(&Role::websocket_server(NODES, 5, with_tls))?;
        let behaviour = Behaviour {
            first_id: 2,
            count: NODES,
            port: central.websocket_port,
            authority: with_tls.then(|| authority(central.directory())),
            pongs_per_second: 0,
        };
        let nodes = WebSocketNodes::start(behaviour)?;
        if !nodes.wait_for(|seen| &seen.pinged, NODES, std::time::Duration::from_secs(30)) {
            return Err("not all nodes were pinged".into());
        }
        let scheme = if with_tls { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}/api/internal/constatus", central.api_port);
        let value = wrk(&url, scale.of(SECONDS))?;
        figures.push(Figure { part, value, unit: "/s", target: Target::AtLeast(bound), original: None });
    }
    Ok(figures)
}

/// Requests per second over 16 connections, as counted by `wrk`.
///
/// # Errors
/// `wrk` is not installed, or its output.
pub fn wrk(url: &str, seconds: usize) -> Outcome<f64> {
    let output = Command::new("wrk")
        .args(["-t2", "-c16", &format!("-d{seconds}s"), url])
        .output()
        .map_err(|error| format!("wrk cannot be run ({error}): it measures this; on Debian 'apt-get install wrk'"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("wrk {url}: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.ok_or_else(|| format!("wrk said no rate: {text}"))?.trim().parse()?)
}
