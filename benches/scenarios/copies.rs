//! Copies from a central to a push node, both Stheno, over loopback.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::commands::{post_commands, wait_for_all};
use crate::footprint::megabytes;
use crate::http_client::{HttpClient, request};
use crate::load::{float, percentile_ms};
use crate::platform::{Daemon, Role};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale, process};

const PATIENCE: Duration = Duration::from_secs(180);
/// Size in bytes of the large file.
pub const FILE_BYTES: usize = 1_000_000_000;
const PART_BYTES: usize = 1_000_000;
/// Number of small files.
pub const FILES: usize = 2_000;
/// Interval between two measurements of a daemon's memory, which themselves cost processor time.
const MEMORY_LOOK: Duration = Duration::from_millis(200);

/// Copies one large file: the rate until it is in place, and the memory of both ends.
pub fn copy_1gb(scale: Scale) -> Outcome<Vec<Figure>> {
    let (poller, central) = pair()?;
    let source = central.directory().join("large");
    let bytes = scale.of(FILE_BYTES);
    write_large(&source, bytes)?;
    let destination = poller.directory().join("large");
    let mut memory = (0, 0);
    let mut look_at = Instant::now();
    let took = copy(&central, &source, &destination, || {
        if look_at > Instant::now() {
            return Ok(());
        }
        look_at = Instant::now() + MEMORY_LOOK;
        memory.0 = process::pss_bytes(central.process())?.max(memory.0);
        memory.1 = process::pss_bytes(poller.process())?.max(memory.1);
        Ok(())
    })?;
    if fs::metadata(&destination)?.len() != fs::metadata(&source)?.len() {
        return Err("the file is not there whole".into());
    }
    let rate = float(bytes) / 1e6 / took.as_secs_f64();
    let pss = |part, value| Figure { part, value, unit: "MB", target: Target::AtMost(12.0), original: None };
    Ok(vec![
        Figure { part: "", value: rate, unit: "MB/s", target: Target::AtLeast(150.0), original: Some(7.9) },
        pss("PSS of the central", megabytes(memory.0)),
        pss("PSS of the node", megabytes(memory.1)),
    ])
}

/// COMMANDs, one at a time, while a large file is copied to the same node over the same link.
pub fn copy_beside_commands(scale: Scale) -> Outcome<Vec<Figure>> {
    let (poller, central) = pair()?;
    let source = central.directory().join("large");
    write_large(&source, scale.of(FILE_BYTES).saturating_mul(2))?;
    let destination = poller.directory().join("large");
    let is_over = AtomicBool::new(false);
    let mut taken = std::thread::scope(|scope| {
        let commands = scope.spawn(|| -> Outcome<Vec<Duration>> {
            let mut client = HttpClient::connect(central.api_port)?;
            let mut taken = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let tokens = post_commands(&mut client, "true", 1)?;
                wait_for_all(&mut client, tokens)?;
                taken.push(begun.elapsed());
            }
            Ok(taken)
        });
        let copied = copy(&central, &source, &destination, || Ok(()));
        is_over.store(true, Ordering::Relaxed);
        let taken = commands.join().map_err(|_| "the commands died")?;
        copied.and(taken)
    })?;
    let value = percentile_ms(&mut taken, 99);
    Ok(vec![
        Figure { part: "p99", value, unit: "ms", target: Target::AtMost(30.0), original: None },
        Figure { part: "p50", value: percentile_ms(&mut taken, 50), unit: "ms", target: Target::Small, original: None },
    ])
}

/// Copies a directory of small files, which is packed, sent and unpacked.
pub fn copy_2000_files(scale: Scale) -> Outcome<Vec<Figure>> {
    let (poller, central) = pair()?;
    let source = central.directory().join("many");
    let count = scale.of(FILES);
    write_many(&source, count)?;
    let destination = poller.directory().join("many");
    let took = copy(&central, &source, &destination, || Ok(()))?;
    if fs::read_dir(&destination)?.count() != count {
        return Err("not all files are there".into());
    }
    let value = took.as_secs_f64();
    Ok(vec![Figure { part: "", value, unit: "s", target: Target::AtMost(1.0), original: Some(1.0) }])
}

fn pair() -> Outcome<(Daemon, Daemon)> {
    let pollers = [Daemon::start_ready(&Role::poller(2))?];
    let mut central = Daemon::start_ready(&Role::central(&pollers))?;
    central.wait_for_pongs(1)?;
    let [poller] = pollers;
    Ok((poller, central))
}

/// Creates a directory of small files.
///
/// # Errors
/// The error of the file system.
pub fn write_many(directory: &Path, count: usize) -> Outcome<()> {
    fs::create_dir(directory)?;
    for number in 0..count {
        fs::write(directory.join(format!("{number}.cfg")), format!("define host {number}\n").repeat(100))?;
    }
    Ok(())
}

/// Writes a file without repeated parts.
///
/// # Errors
/// The error of the file system.
pub fn write_large(path: &Path, bytes: usize) -> Outcome<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut part: Vec<u8> = (0..PART_BYTES).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for number in 0..bytes.div_ceil(PART_BYTES) {
        part.splice(..8, (number as u64).to_le_bytes());
        file.write_all(&part)?;
    }
    file.flush()?;
    // The disk should be idle when the measurement begins.
    file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(())
}

/// Copies to node 2 and returns the time until the row of its end was in the central's history.
///
/// # Errors
/// The copy failed or does not end.
pub fn copy(
    central: &Daemon,
    source: &Path,
    destination: &Path,
    mut meanwhile: impl FnMut() -> Outcome<()>,
) -> Outcome<Duration> {
    let body = serde_json::json!({
        "source": source, "destination": destination, "cache_dir": destination.parent(),
    });
    let mut client = HttpClient::connect(central.api_port)?;
    let begun = Instant::now();
    client.send(request("POST", "/api/nodes/2/core/proxy/remotecopy", &body.to_string()).as_bytes())?;
    let answer = client.receive()?.json()?;
    let token = answer.get("token").and_then(|token| token.as_str()).ok_or("an answer without token")?.to_owned();
    loop {
        let answer = client.get(&format!("/api/log/{token}?limit=1"))?.json()?;
        let code = answer.pointer("/data/0/code").and_then(serde_json::Value::as_i64);
        match code {
            Some(2) => return Ok(begun.elapsed()),
            Some(1) => return Err(format!("the copy failed: {answer}").into()),
            _ if begun.elapsed() > PATIENCE => return Err("the copy does not end".into()),
            _ => {}
        }
        meanwhile()?;
        std::thread::sleep(Duration::from_millis(20));
    }
}
