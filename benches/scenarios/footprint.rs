//! Start time, memory and idle wake-ups.

use std::time::Duration;

use crate::http_client::HttpClient;
use crate::load::percentile_ms;
use crate::platform::{Daemon, Role};
use crate::process::{pss_bytes, voluntary_switches};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Time of a measurement before memory is returned to the system, which happens 3 s after the start.
const BEFORE_RELEASE: Duration = Duration::from_secs(2);

/// Time after which the work of a start or a burst is finished and its memory is returned to the system.
pub const SETTLE: Duration = Duration::from_secs(12);

/// How long an idle daemon is observed.
const WATCH: Duration = Duration::from_secs(10);

/// Time from the start to the first answer of the API: median of several starts with an empty database.
pub fn start_to_api(scale: Scale) -> Outcome<Vec<Figure>> {
    let mut measurements = Vec::new();
    for _ in 0..scale.of(20) {
        let mut daemon = Daemon::start(&Role { with_api: true, ..Role::poller(1) })?;
        let elapsed = daemon.wait_until("answer of the API", |daemon| {
            let response = HttpClient::connect(daemon.api_port)?.get("/api/internal/thumbprint")?;
            Ok(response.status == 200)
        })?;
        measurements.push(elapsed);
    }
    let value = percentile_ms(&mut measurements, 50) / 1_000.0;
    Ok(vec![Figure { part: "", value, unit: "s", target: Target::AtMost(0.2), original: Some(4.7) }])
}

/// Time from the start of a central to the first PONG of a running push node: median of several starts.
pub fn start_to_first_pong(scale: Scale) -> Outcome<Vec<Figure>> {
    let pollers = [Daemon::start_ready(&Role::poller(2))?];
    let mut measurements = Vec::new();
    for _ in 0..scale.of(10) {
        let mut central = Daemon::start(&Role::central(&pollers))?;
        measurements.push(central.wait_for_pongs(1)?);
    }
    let value = percentile_ms(&mut measurements, 50) / 1_000.0;
    Ok(vec![Figure { part: "", value, unit: "s", target: Target::AtMost(1.0), original: Some(21.0) }])
}

/// PSS of a poller without connections.
pub fn memory_poller_idle(_: Scale) -> Outcome<Vec<Figure>> {
    let poller = Daemon::start_ready(&Role::poller(2))?;
    std::thread::sleep(BEFORE_RELEASE);
    let before = megabytes(pss_bytes(poller.process())?);
    std::thread::sleep(SETTLE);
    let value = megabytes(pss_bytes(poller.process())?);
    let figure = |part, value, target, original| Figure { part, value, unit: "MB", target, original };
    Ok(vec![
        figure("", value, Target::AtMost(6.0), Some(50.3)),
        figure("before pages are released", before, Target::Small, None),
    ])
}

/// PSS of a central whose 20 nodes, real pollers, have all answered a ping.
pub fn memory_central_20_nodes(_: Scale) -> Outcome<Vec<Figure>> {
    let mut pollers = Vec::new();
    for id in 2..22 {
        pollers.push(Daemon::start_ready(&Role::poller(id))?);
    }
    let mut central = Daemon::start_ready(&Role::central(&pollers))?;
    central.wait_for_pongs(pollers.len())?;
    std::thread::sleep(SETTLE);
    let value = megabytes(pss_bytes(central.process())?);
    Ok(vec![Figure { part: "", value, unit: "MB", target: Target::AtMost(10.0), original: Some(103.8) }])
}

/// Number of wake-ups of all threads of an idle poller.
pub fn idle_wakeups(_: Scale) -> Outcome<Vec<Figure>> {
    let poller = Daemon::start_ready(&Role::poller(2))?;
    std::thread::sleep(SETTLE);
    let before = voluntary_switches(poller.process())?;
    std::thread::sleep(WATCH);
    let switches = voluntary_switches(poller.process())?.saturating_sub(before);
    let value = f64::from(u32::try_from(switches).unwrap_or(u32::MAX));
    Ok(vec![Figure { part: "", value, unit: "in 10 s", target: Target::AtMost(0.0), original: None }])
}

/// Converts bytes to MB (10^6 bytes).
#[expect(clippy::cast_precision_loss, reason = "sizes of processes are far below 2^52")]
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
