//! A large synchronisation of a history, and its effect on others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::gorgone_client::GorgoneClient;
use crate::http_client::HttpClient;
use crate::load::{count_rows, percentile_ms, put_logs};
use crate::platform::{Daemon, Role, key};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Interval between two pings of the observing client.
const PING_PAUSE: Duration = Duration::from_millis(1);

/// Time from the request for a node's log until the last of its 50,000 rows is in the central's history, while a client
/// pings the central.
pub fn sync_50000(scale: Scale) -> Outcome<Vec<Figure>> {
    let pollers = [Daemon::start_ready(&Role::poller(2))?];
    let mut central = Daemon::start_ready(&Role::central(&pollers))?;
    central.wait_for_pongs(1)?;
    let count = scale.of(50_000);
    for poller in &pollers {
        let mut filler = GorgoneClient::connect(poller.port, key()?)?;
        let frames = put_logs(&mut filler, "sync", count);
        filler.pipeline(&frames, count, "ACK", "put-", "message inserted")?;
    }
    let mut pinger = GorgoneClient::connect(central.port, key()?)?;
    let done = AtomicBool::new(false);
    let last_token = format!("sync-{}", count.saturating_sub(1));
    let (elapsed, mut pings) = std::thread::scope(|scope| {
        let pinging = scope.spawn(|| ping_until(&mut pinger, &done));
        let elapsed = sync(&mut central, &last_token);
        done.store(true, Ordering::Relaxed);
        let pings = pinging.join().map_err(|_| "the pinging thread died")??;
        Outcome::Ok((elapsed?, pings))
    })?;
    central.kill()?;
    let rows = count_rows(&central, "sync-%")?;
    if rows != count {
        return Err(format!("the node has {count} rows, {rows} came over").into());
    }
    let p99 = percentile_ms(&mut pings, 99);
    Ok(vec![
        Figure { part: "", value: elapsed.as_secs_f64(), unit: "s", target: Target::AtMost(2.0), original: Some(2.4) },
        Figure { part: "ping p99", value: p99, unit: "ms", target: Target::AtMost(20.0), original: Some(1_400.0) },
    ])
}

/// Requests the log of node 2 and waits until its last row has arrived.
pub fn sync(central: &mut Daemon, last_token: &str) -> Outcome<Duration> {
    let mut client = HttpClient::connect(central.api_port)?;
    let begun = Instant::now();
    // The answer does not matter, because the synchronisation continues.
    client.get(&format!("/api/nodes/2/log/{last_token}?sync_wait=0"))?;
    let path = format!("/api/log/{last_token}");
    let mut elapsed = Duration::ZERO;
    let mut is_there = || -> Outcome<bool> {
        let answer = client.get(&path)?.json()?;
        elapsed = begun.elapsed();
        Ok(answer.get("data").and_then(|rows| rows.as_array()).is_some_and(|rows| !rows.is_empty()))
    };
    central.wait_until("the node's last row", |_| is_there())?;
    Ok(elapsed)
}

fn ping_until(pinger: &mut GorgoneClient, done: &AtomicBool) -> Outcome<Vec<Duration>> {
    let mut measurements = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        pinger.request("[PING] [watch] [] {}")?;
        measurements.push(begun.elapsed());
        std::thread::sleep(PING_PAUSE);
    }
    Ok(measurements)
}
