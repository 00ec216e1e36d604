//! Nodes that dial in over WebSockets.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::certificate::authority;
use crate::footprint::SETTLE;
use crate::gorgone_client::GorgoneClient;
use crate::http_client::{HttpClient, request};
use crate::load::{count_rows, per_second, put_logs};
use crate::platform::{Daemon, Role, key};
use crate::process::pss_bytes;
use crate::report::{Figure, Target};
use crate::sync::sync;
use crate::websocket_nodes::{Behaviour, WebSocketNodes};
use crate::{Outcome, Scale};

/// Time limit of every wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// Number of commands to each node between two pauses.
const WAVE: usize = 5;
const WAVES: usize = 20;
const WAVE_PAUSE: Duration = Duration::from_millis(250);

fn nodes_of(central: &Daemon, count: usize, with_tls: bool, pongs_per_second: u32) -> Outcome<WebSocketNodes> {
    let authority = with_tls.then(|| authority(central.directory()));
    WebSocketNodes::start(Behaviour { first_id: 2, count, port: central.websocket_port, authority, pongs_per_second })
}

fn wait_for_pings(nodes: &WebSocketNodes, count: usize) -> Outcome<()> {
    if nodes.wait_for(|seen| &seen.pinged, count, PATIENCE) {
        return Ok(());
    }
    let (up, pinged) = (nodes.seen.up.load(Ordering::Relaxed), nodes.seen.pinged.load(Ordering::Relaxed));
    Err(format!("of {count} nodes {up} connected and {pinged} were pinged after {} s", PATIENCE.as_secs()).into())
}

/// PSS of a central with 1,000 connected nodes that have answered a ping.
pub fn wss_1000_memory(scale: Scale) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for (with_tls, part, bound) in [(false, "plain", 24.0), (true, "TLS", 60.0)] {
        let count = scale.of(1_000);
        let central = Daemon::start_ready(&Role::websocket_server(count, 5, with_tls))?;
        let nodes = nodes_of(&central, count, with_tls, 0)?;
        wait_for_pings(&nodes, count)?;
        std::thread::sleep(SETTLE);
        wait_for_pings(&nodes, count)?;
        let value = crate::footprint::megabytes(pss_bytes(central.process())?);
        figures.push(Figure { part, value, unit: "MB", target: Target::AtMost(bound), original: None });
    }
    Ok(figures)
}

/// Time from the restart of a central until its 1,000 nodes are connected again with TLS and have answered a ping.
pub fn wss_1000_restart(scale: Scale) -> Outcome<Vec<Figure>> {
    let count = scale.of(1_000);
    let mut central = Daemon::start_ready(&Role::websocket_server(count, 5, true))?;
    let nodes = nodes_of(&central, count, true, 0)?;
    wait_for_pings(&nodes, count)?;
    let before = nodes.seen.up.load(Ordering::Relaxed);
    central.restart()?;
    if !nodes.wait_for(|seen| &seen.up, before.saturating_add(count), PATIENCE) {
        return Err(format!("not all {count} nodes came back").into());
    }
    let connected = central.started.elapsed();
    wait_for_pings(&nodes, count)?;
    let pinged = central.started.elapsed();
    Ok(vec![
        Figure { part: "", value: connected.as_secs_f64(), unit: "s", target: Target::AtMost(10.0), original: None },
        Figure { part: "pinged", value: pinged.as_secs_f64(), unit: "s", target: Target::AtMost(10.0), original: None },
    ])
}

/// Time from the request for a pullwss node's log until the last of its 100,000 rows is in the central's history.
pub fn wss_sync_100000(scale: Scale) -> Outcome<Vec<Figure>> {
    let count = scale.of(100_000);
    let mut central = Daemon::start_ready(&Role::websocket_server(1, 2, false))?;
    let poller = Daemon::start_ready(&Role::websocket_dialer(2, &central))?;
    central.wait_for_pongs(1)?;
    let mut filler = GorgoneClient::connect(poller.port, key()?)?;
    let frames = put_logs(&mut filler, "sync", count);
    filler.pipeline(&frames, count, "ACK", "put-", "message inserted")?;
    let elapsed = sync(&mut central, &format!("sync-{}", count.saturating_sub(1)))?;
    central.kill()?;
    let rows = count_rows(&central, "sync-%")?;
    if rows != count {
        return Err(format!("the node has {count} rows, {rows} came over").into());
    }
    let value = elapsed.as_secs_f64();
    Ok(vec![Figure { part: "", value, unit: "s", target: Target::AtMost(5.0), original: None }])
}

/// 2,000 commands to 20 nodes that send 200 PONGs per second: spread over some seconds, then 2,000 more at once.
pub fn wss_commands_2000(scale: Scale) -> Outcome<Vec<Figure>> {
    const NODES: usize = 20;
    let mut central = Daemon::start_ready(&Role::websocket_server(NODES, 5, false))?;
    let nodes = nodes_of(&central, NODES, false, 200)?;
    wait_for_pings(&nodes, NODES)?;
    central.wait_until("its API", |daemon| Ok(HttpClient::connect(daemon.api_port).is_ok()))?;
    let mut clients = Vec::new();
    for _ in 0..NODES {
        clients.push(HttpClient::connect(central.api_port)?);
    }
    let mut tokens = vec![Vec::new(); NODES];
    let (waves, pongs_before, begun) = (scale.of(WAVES), nodes.seen.pongs.load(Ordering::Relaxed), Instant::now());
    for _ in 0..waves {
        post(&mut clients, &mut tokens, WAVE)?;
        std::thread::sleep(WAVE_PAUSE);
    }
    let pongs = nodes.seen.pongs.load(Ordering::Relaxed).saturating_sub(pongs_before);
    let pong_rate = per_second(pongs, begun.elapsed());
    let spread = WAVE.saturating_mul(waves).saturating_mul(NODES);
    let lost_spread = lost(&nodes, &tokens, spread);
    let each = scale.of(100);
    let begun = Instant::now();
    post(&mut clients, &mut tokens, each)?;
    let burst = each.saturating_mul(NODES);
    let lost_burst = lost(&nodes, &tokens, spread.saturating_add(burst));
    let rate = per_second(burst, begun.elapsed());
    Ok(vec![
        Figure {
            part: "lost or out of order",
            value: lost_spread,
            unit: "",
            target: Target::AtMost(0.0),
            original: None,
        },
        Figure { part: "… at once", value: lost_burst, unit: "", target: Target::AtMost(0.0), original: None },
        Figure { part: "at once", value: rate, unit: "/s", target: Target::Large, original: None },
        Figure { part: "PONGs", value: pong_rate, unit: "/s", target: Target::AtLeast(190.0), original: None },
    ])
}

/// Posts `each` commands for each node, on one connection per node, and stores their tokens.
fn post(clients: &mut [HttpClient], tokens: &mut [Vec<String>], each: usize) -> Outcome<()> {
    for (id, client) in (2..).zip(clients.iter_mut()) {
        let path = format!("/api/nodes/{id}/core/action/command");
        client.send(request("POST", &path, r#"[{"command":"true"}]"#).repeat(each).as_bytes())?;
    }
    for (client, tokens) in clients.iter_mut().zip(tokens) {
        for _ in 0..each {
            let answer = client.receive()?.json()?;
            let token = answer.get("token").and_then(|token| token.as_str()).ok_or("an answer without token")?;
            tokens.push(token.to_owned());
        }
    }
    Ok(())
}

/// Returns how many of the posted commands did not arrive, or arrived in the wrong order.
fn lost(nodes: &WebSocketNodes, posted: &[Vec<String>], count: usize) -> f64 {
    nodes.wait_for(|seen| &seen.commands, count, Duration::from_secs(10));
    let came = nodes.seen.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let mut wrong = 0_u32;
    for (posted, came) in posted.iter().zip(came.iter()) {
        let places = (0..posted.len().max(came.len())).filter(|place| posted.get(*place) != came.get(*place));
        wrong = wrong.saturating_add(u32::try_from(places.count()).unwrap_or(u32::MAX));
    }
    f64::from(wrong)
}
