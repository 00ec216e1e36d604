//! Relays: the cost per message and relay, the cost of choosing a path, and the rate at which a backlog passes through
//! one.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use stheno::model::action::Action;
use stheno::model::connection::ClientId;
use stheno::model::message::Message;
use stheno::model::random::Random;
use stheno::model::stored::Restored;
use stheno::model::time::{Monotonic, Now, WallTime};
use stheno::node::CoreOptions;
use stheno::node::core::Core;
use stheno::node::input::Input;

use crate::gorgone_client::GorgoneClient;
use crate::http_client::HttpClient;
use crate::load::{count_rows, percentile_ms, put_logs};
use crate::platform::{Daemon, Role, key};
use crate::process::pss_bytes;
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Interval between two measurements of the memory of the daemons.
const LOOK: Duration = Duration::from_millis(50);
/// Time limit for the backlog to pass.
const DRAINING_MAX: Duration = Duration::from_secs(120);

/// Number of initial rounds that are not counted, to exclude one-time costs.
const WARM_UP: usize = 50;

/// Time until a row arrives at the last daemon of a chain: sent directly, through one relay, and through three daemons.
/// The cost of two relays is computed from pairs of measurements, because it is smaller than the variation of the rest.
pub fn relay_latency(scale: Scale) -> Outcome<Vec<Figure>> {
    let poller = Daemon::start_ready(&Role::poller(4))?;
    let lower = Daemon::start_ready(&Role { nodes: vec![(4, poller.port)], ..Role::poller(3) })?;
    let upper = Daemon::start_ready(&Role { nodes: vec![(3, lower.port)], ping_s: Some(1), ..Role::poller(2) })?;
    let nodes = vec![(2, upper.port)];
    let mut central = Daemon::start_ready(&Role { with_api: true, nodes, ping_s: Some(1), ..Role::poller(1) })?;
    central.wait_until("way to the poller", |central| {
        let routes = HttpClient::connect(central.api_port)?.get("/api/internal/routes/4")?.json()?;
        Ok(routes.pointer("/data/4/in_use").and_then(serde_json::Value::as_u64) == Some(2))
    })?;
    let mut watcher = GorgoneClient::connect(poller.port, key()?)?;
    let mut ways = [(&poller, ""), (&lower, "4"), (&central, "4")]
        .into_iter()
        .map(|(daemon, target)| Ok((GorgoneClient::connect(daemon.port, key()?)?, target, Vec::new())))
        .collect::<Outcome<Vec<(GorgoneClient, &str, Vec<Duration>)>>>()?;
    for number in 0..scale.of(500) + WARM_UP {
        // The paths are measured in turn, so that other load of the machine affects all of them.
        for (way, (client, target, times)) in ways.iter_mut().enumerate() {
            let took = row_arrives(client, &mut watcher, target, &format!("way{way}-{number}"))?;
            if number >= WARM_UP {
                times.push(took);
            }
        }
    }
    let [(.., direct), (.., relayed), (.., chain)] = ways.as_mut_slice() else { return Err("three ways".into()) };
    let figure = |part, value: f64, target| Figure { part, value, unit: "ms", target, original: None };
    let two_relays = median_difference_ms(chain, relayed);
    Ok(vec![
        figure("told directly, p50", percentile_ms(direct, 50), Target::Small),
        figure("through one relay, p50", percentile_ms(relayed, 50), Target::Small),
        figure("through the central and two, p50", percentile_ms(chain, 50), Target::Small),
        figure("two relays alone, p50", two_relays, Target::AtMost(0.5)),
    ])
}

/// Sends a row towards the observed daemon and returns the time until it arrived.
fn row_arrives(
    client: &mut GorgoneClient,
    watcher: &mut GorgoneClient,
    target: &str,
    token: &str,
) -> Outcome<Duration> {
    let row = format!(r#"{{"code":100,"etime":1700000000,"token":"{token}","instant":0,"data":{{}}}}"#);
    let question = format!(r#"[GETLOG] [look] [] {{"token":"{token}"}}"#);
    let begun = Instant::now();
    client.request(&format!("[PUTLOG] [put-{token}] [{target}] {row}"))?;
    while !String::from_utf8_lossy(&watcher.request(&question)?).contains(&format!("\"token\":\"{token}\"")) {}
    Ok(begun.elapsed())
}

/// Returns the median of the differences between the longer times and the shorter ones of the same pair; it may be
/// negative.
fn median_difference_ms(longer: &[Duration], shorter: &[Duration]) -> f64 {
    let mut differences: Vec<f64> = longer
        .iter()
        .zip(shorter)
        .map(|(longer, shorter)| 1e3 * (longer.as_secs_f64() - shorter.as_secs_f64()))
        .collect();
    differences.sort_by(f64::total_cmp);
    differences.get(differences.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A random source with negligible cost.
struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        for (byte, next) in bytes.iter_mut().zip(self.0.to_le_bytes().into_iter().cycle()) {
            *byte = next;
        }
    }
}

/// Time from the arrival of a request for a subnode to the outgoing message, with 5,000 nodes and 50,000 subnodes that
/// each have two paths. All connections are down, so that every candidate is examined.
pub fn pathway_choice(scale: Scale) -> Outcome<Vec<Figure>> {
    const NODES: u64 = 5_000;
    const SUBNODES_PER_NODE: u64 = 10;
    let first_subnode = 100_000;
    let mut nodes = String::from("nodes:\n");
    for node in 0..NODES {
        writeln!(
            nodes,
            "  - id: {}\n    type: push_zmq\n    address: 192.0.2.1\n    port: 5556\n    nodes:",
            node + 2
        )?;
        for (owner, score) in [(node, 1), ((node + 1) % NODES, 2)] {
            for subnode in 0..SUBNODES_PER_NODE {
                let id = first_subnode + owner * SUBNODES_PER_NODE + subnode;
                writeln!(nodes, "      - {{id: {id}, pathscore: {score}}}")?;
            }
        }
    }
    let directory =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-pathway-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("nodes.yaml"), nodes)?;
    let top = "gorgone:\n  gorgonecore:\n    id: 1\n  modules:\n    - {name: proxy, package: \
               \"gorgone::modules::core::proxy::hooks\", enable: true}\n    - {name: register, package: \
               \"gorgone::modules::core::register::hooks\", enable: true, config_file: nodes.yaml}\n";
    std::fs::write(directory.join("config.yaml"), top)?;
    let config = stheno::config::load(&directory.join("config.yaml"));
    std::fs::remove_dir_all(&directory)?;
    let config = config.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let options = CoreOptions::from_config(&config, "bench".to_owned(), false);
    let at = |millis| Now { monotonic: Monotonic::from_millis(millis), wall: WallTime::from_micros(0) };
    let mut core = Core::new(options, Restored::default(), Box::new(Counting(0)), at(0));
    while core.poll_output().is_some() {}
    let count = u64::try_from(scale.of(200_000))?;
    let now = at(40_000);
    let mut measurements = Vec::new();
    for number in 0..count {
        let target = first_subnode + number.wrapping_mul(7_919) % (NODES * SUBNODES_PER_NODE);
        let target = Some(target.to_string().into());
        let message = Message { action: Action::GetLog, token: None, target, data: "{}".to_owned() };
        let begun = Instant::now();
        core.handle_input(Input::ClientMessage { client: ClientId::Zmq(1), message }, now);
        while let Some(output) = core.poll_output() {
            black_box(&output);
        }
        measurements.push(begun.elapsed());
    }
    let value = percentile_ms(&mut measurements, 50) * 1e3;
    Ok(vec![Figure { part: "whole request, p50", value, unit: "µs", target: Target::AtMost(5.0), original: None }])
}

/// Time from the start of a relay between a poller with 200,000 rows and a central until the last row is in the
/// central's history.
pub fn relay_drain_200000(scale: Scale) -> Outcome<Vec<Figure>> {
    let mut poller = Daemon::start_ready(&Role::poller(4))?;
    let count = scale.of(200_000);
    let mut filler = GorgoneClient::connect(poller.port, key()?)?;
    let frames = put_logs(&mut filler, "drain", count);
    filler.pipeline(&frames, count, "ACK", "put-", "message inserted")?;
    drop((filler, frames));
    // The restart releases the memory used for filling the database.
    poller.restart()?;
    poller.wait_until("its external socket", |poller| {
        Ok(std::net::TcpStream::connect(("127.0.0.1", poller.port)).is_ok())
    })?;

    let mut relay = Daemon::start_ready(&Role { nodes: vec![(4, poller.port)], ..Role::poller(3) })?;
    let begun = relay.started;
    let mut central = Daemon::start_ready(&Role { with_api: true, nodes: vec![(3, relay.port)], ..Role::poller(1) })?;
    let mut client = HttpClient::connect(central.api_port)?;
    let last = format!("/api/log/drain-{}", count.saturating_sub(1));
    let mut peaks = [0_u64; 3];
    loop {
        for (peak, daemon) in peaks.iter_mut().zip([&poller, &relay, &central]) {
            *peak = (*peak).max(pss_bytes(daemon.process())?);
        }
        let rows = client.get(&last)?.json()?;
        if rows.get("data").and_then(serde_json::Value::as_array).is_some_and(|rows| !rows.is_empty()) {
            break;
        }
        if begun.elapsed() > DRAINING_MAX {
            return Err("the last row did not come".into());
        }
        std::thread::sleep(LOOK);
    }
    let elapsed = begun.elapsed();
    central.kill()?;
    relay.kill()?;
    for daemon in [&relay, &central] {
        let rows = count_rows(daemon, "drain-%")?;
        if rows != count {
            return Err(format!("the poller has {count} rows, {rows} came over").into());
        }
    }
    let memory = |part, bytes: u64| {
        let value = f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0;
        Figure { part, value, unit: "MB", target: Target::AtMost(16.0), original: None }
    };
    let [of_poller, of_relay, of_central] = peaks;
    Ok(vec![
        Figure { part: "", value: elapsed.as_secs_f64(), unit: "s", target: Target::AtMost(10.0), original: None },
        memory("PSS of the poller at most", of_poller),
        memory("PSS of the relay at most", of_relay),
        memory("PSS of the central at most", of_central),
    ])
}
