//! Many small requests to one daemon.

use std::time::{Duration, Instant};

use crate::gorgone_client::GorgoneClient;
use crate::http_client::{HttpClient, request};
use crate::platform::{Daemon, Role, key};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Returns `count` per second for the duration `elapsed`.
pub fn per_second(count: usize, elapsed: Duration) -> f64 {
    float(count) / elapsed.as_secs_f64().max(1e-9)
}

/// Converts a count to a figure.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub const fn float(count: usize) -> f64 {
    count as f64
}

/// Sorts the measurements and returns the percentile in milliseconds.
pub fn percentile_ms(measurements: &mut [Duration], percent: usize) -> f64 {
    measurements.sort_unstable();
    let rank = measurements.len().saturating_mul(percent).div_ceil(100).max(1);
    measurements.get(rank.saturating_sub(1)).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1_000.0)
}

/// PINGs over one session, pipelined as fast as possible.
pub fn ping_pipelined(scale: Scale) -> Outcome<Vec<Figure>> {
    let daemon = Daemon::start_ready(&Role::poller(2))?;
    let mut client = GorgoneClient::connect(daemon.port, key()?)?;
    let count = scale.of(300_000);
    let warm_up = client.frames((0..1_000).map(|number| format!("[PING] [warm-{number}] [] {{}}")));
    client.pipeline(&warm_up, 1_000, "PONG", "warm-", "ping ok")?;
    let frames = client.frames((0..count).map(|number| format!("[PING] [ping-{number}] [] {{}}")));
    let elapsed = client.pipeline(&frames, count, "PONG", "ping-", "ping ok")?;
    let value = per_second(count, elapsed);
    Ok(vec![Figure { part: "", value, unit: "/s", target: Target::AtLeast(100_000.0), original: Some(4_400.0) }])
}

/// PUTLOGs over one session. Every reply means that a row is on the disk. The rows are counted afterwards.
pub fn putlog_pipelined(scale: Scale) -> Outcome<Vec<Figure>> {
    let mut daemon = Daemon::start_ready(&Role::poller(2))?;
    let mut client = GorgoneClient::connect(daemon.port, key()?)?;
    let count = scale.of(150_000);
    let frames = put_logs(&mut client, "load", count);
    let elapsed = client.pipeline(&frames, count, "ACK", "put-", "message inserted")?;
    daemon.kill()?;
    let rows = count_rows(&daemon, "load-%")?;
    if rows != count {
        return Err(format!("{count} rows were acknowledged, {rows} are stored").into());
    }
    let value = per_second(count, elapsed);
    Ok(vec![Figure { part: "", value, unit: "/s", target: Target::AtLeast(50_000.0), original: Some(560.0) }])
}

/// Returns PUTLOGs with the tokens `PREFIX-0` …, ready to be written.
pub fn put_logs(client: &mut GorgoneClient, prefix: &str, count: usize) -> Vec<u8> {
    client.frames((0..count).map(|number| put_log(prefix, number)))
}

fn put_log(prefix: &str, number: usize) -> String {
    format!(
        r#"[PUTLOG] [put-{number}] [] {{"code":100,"etime":1700000000,"token":"{prefix}-{number}","instant":0,"data":{{"message":"row {number}","metadata":{{"kind":"measurement"}}}}}}"#
    )
}

/// Returns the number of rows with a matching token in a daemon's database; the daemon must not be running.
pub fn count_rows(daemon: &Daemon, pattern: &str) -> Outcome<usize> {
    let database = rusqlite::Connection::open(daemon.database())?;
    let count: i64 =
        database.query_row("SELECT count(*) FROM gorgone_history WHERE token LIKE ?1", [pattern], |row| row.get(0))?;
    Ok(usize::try_from(count)?)
}

/// PINGs one at a time.
pub fn ping_latency(scale: Scale) -> Outcome<Vec<Figure>> {
    let daemon = Daemon::start_ready(&Role::poller(2))?;
    let mut client = GorgoneClient::connect(daemon.port, key()?)?;
    let mut measurements = Vec::new();
    for number in 0..scale.of(20_000) {
        let begun = Instant::now();
        client.request(&format!("[PING] [ping-{number}] [] {{}}"))?;
        measurements.push(begun.elapsed());
    }
    let p50 = percentile_ms(&mut measurements, 50);
    let p99 = percentile_ms(&mut measurements, 99);
    Ok(vec![
        Figure { part: "p50", value: p50, unit: "ms", target: Target::AtMost(0.1), original: Some(0.5) },
        Figure { part: "p99", value: p99, unit: "ms", target: Target::AtMost(1.0), original: None },
    ])
}

/// PUTLOGs one at a time; every reply waits for the disk.
pub fn putlog_latency(scale: Scale) -> Outcome<Vec<Figure>> {
    let daemon = Daemon::start_ready(&Role::poller(2))?;
    let mut client = GorgoneClient::connect(daemon.port, key()?)?;
    let mut measurements = Vec::new();
    for number in 0..scale.of(2_000) {
        let frame = put_log("one", number);
        let begun = Instant::now();
        client.request(&frame)?;
        measurements.push(begun.elapsed());
    }
    let p50 = percentile_ms(&mut measurements, 50);
    let p99 = percentile_ms(&mut measurements, 99);
    Ok(vec![
        Figure { part: "p50", value: p50, unit: "ms", target: Target::Small, original: Some(1.9) },
        Figure { part: "p99", value: p99, unit: "ms", target: Target::Small, original: None },
    ])
}

/// Requests that need no history (an unknown action): the cost of HTTP and of dispatching a call.
pub fn rest_pipelined(scale: Scale) -> Outcome<Vec<Figure>> {
    let (value, p99) = rest("/api/internal/nothing", 404, scale.of(300_000), scale.of(20_000))?;
    Ok(vec![
        Figure { part: "", value, unit: "/s", target: Target::AtLeast(100_000.0), original: None },
        Figure { part: "one at a time p99", value: p99, unit: "ms", target: Target::AtMost(1.0), original: None },
    ])
}

/// Queries of the history.
pub fn rest_log(scale: Scale) -> Outcome<Vec<Figure>> {
    let (value, p99) = rest("/api/log/no-such-token", 200, scale.of(100_000), scale.of(20_000))?;
    Ok(vec![
        Figure { part: "", value, unit: "/s", target: Target::Large, original: None },
        Figure { part: "one at a time p99", value: p99, unit: "ms", target: Target::Small, original: None },
    ])
}

/// `GET constatus`; only the first of identical answers causes a history row.
pub fn rest_constatus(scale: Scale) -> Outcome<Vec<Figure>> {
    let (value, p99) = rest("/api/internal/constatus", 200, scale.of(100_000), scale.of(2_000))?;
    Ok(vec![
        Figure { part: "", value, unit: "/s", target: Target::Large, original: Some(238.0) },
        Figure { part: "one at a time p99", value: p99, unit: "ms", target: Target::Small, original: None },
    ])
}

/// Measures the answers per second when pipelined, and the 99th percentile of single ones in milliseconds.
fn rest(path: &str, status: u16, pipelined: usize, single: usize) -> Outcome<(f64, f64)> {
    let mut daemon = Daemon::start_ready(&Role { with_api: true, ..Role::poller(1) })?;
    daemon.wait_until("its API", |daemon| Ok(HttpClient::connect(daemon.api_port).is_ok()))?;
    let mut client = HttpClient::connect(daemon.api_port)?;
    let text = request("GET", path, "");
    client.pipeline(text.repeat(1_000).as_bytes(), 1_000, status)?;
    let elapsed = client.pipeline(text.repeat(pipelined).as_bytes(), pipelined, status)?;
    let mut measurements = Vec::new();
    for _ in 0..single {
        let begun = Instant::now();
        client.get(path)?;
        measurements.push(begun.elapsed());
    }
    Ok((per_second(pipelined, elapsed), percentile_ms(&mut measurements, 99)))
}
