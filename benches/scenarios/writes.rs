//! The amount of data that commands write to flash memory.

use std::time::{Duration, Instant};

use std::path::Path;

use crate::commands::post_commands;
use crate::http_client::HttpClient;
use crate::load::float;
use crate::platform::{Daemon, Role};
use crate::process::Writes;
use crate::report::{Figure, Target};
use crate::{Outcome, Scale, peer};

/// Time limit for the result of a command.
const PATIENCE: Duration = Duration::from_secs(10);
/// Interval between two requests, whose answers count as write calls of the central.
const POLL: Duration = Duration::from_millis(10);
/// Number of commands before the measurement, so that files have grown.
const WARM_UP: usize = 20;

/// COMMAND `true` to a pullwss node, one at a time until the last row is at the central: the data that each of the two
/// writes for it.
pub fn flash_bytes_per_command(scale: Scale) -> Outcome<Vec<Figure>> {
    compare(false, scale.of(1_000), 1)
}

/// The same where both batch their commits, with 20 commands at once. The other build does not batch, and runs them one
/// at a time.
pub fn flash_bytes_batched(scale: Scale) -> Outcome<Vec<Figure>> {
    compare(true, scale.of(600), 20)
}

/// Measures this build, and then the one beside it with the ratios to it.
fn compare(is_batched: bool, count: usize, at_once: usize) -> Outcome<Vec<Figure>> {
    let mut figures = measure(None, is_batched, count, at_once)?;
    if let Some(program) = peer::beside() {
        let beside = measure(Some(program), false, count, 1)?;
        const RATIOS: [&str; 4] = [
            "bytes of the central, ratio",
            "writes of the central, ratio",
            "bytes of the node, ratio",
            "writes of the node, ratio",
        ];
        for (index, part) in RATIOS.into_iter().enumerate() {
            if let (Some(ours), Some(theirs)) = (figures.get(index), beside.get(index)) {
                let value = ours.value / theirs.value;
                figures.push(Figure { part, value, unit: "of the other build", target: Target::Small, original: None });
            }
        }
    }
    Ok(figures)
}

fn measure(program: Option<&'static Path>, is_batched: bool, count: usize, at_once: usize) -> Outcome<Vec<Figure>> {
    let role = |role: Role| Role { is_batched, program, ..role };
    let mut central = Daemon::start_ready(&role(Role::websocket_server(1, 60, false)))?;
    let node = Daemon::start_ready(&role(Role::websocket_dialer(2, &central)))?;
    central.wait_for_pongs(1)?;
    let mut client = HttpClient::connect(central.api_port)?;
    run(&mut client, WARM_UP, at_once)?;
    let writes = || {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>([Writes::of(central.process())?, Writes::of(node.process())?])
    };
    let before = writes()?;
    run(&mut client, count, at_once)?;
    let mut figures = Vec::new();
    let names = [("bytes of the central", "writes of the central"), ("bytes of the node", "writes of the node")];
    for ((after, before), (bytes, calls)) in writes()?.into_iter().zip(before).zip(names) {
        let used = after.since(before);
        let each = |total: u64| Ok::<_, std::num::TryFromIntError>(float(usize::try_from(total)?) / float(count));
        let figure = |part, value, unit| Figure { part, value, unit, target: Target::Small, original: None };
        figures.push(figure(bytes, each(used.file_bytes)? / 1_000.0, "kB"));
        figures.push(figure(calls, each(used.calls)?, "calls"));
    }
    Ok(figures)
}

/// Runs `count` commands, `at_once` together.
fn run(client: &mut HttpClient, count: usize, at_once: usize) -> Outcome<()> {
    for _ in 0..count.div_ceil(at_once) {
        let begun = Instant::now();
        for token in post_commands(client, "true", at_once)? {
            while !has_ended(client, &token)? {
                if begun.elapsed() > PATIENCE {
                    return Err(format!("a command has no result after {} s", PATIENCE.as_secs()).into());
                }
                std::thread::sleep(POLL);
            }
        }
    }
    Ok(())
}

fn has_ended(client: &mut HttpClient, token: &str) -> Outcome<bool> {
    let answer = client.get(&format!("/api/log/{token}?code=2"))?.json()?;
    Ok(answer.get("data").and_then(|rows| rows.as_array()).is_some_and(|rows| !rows.is_empty()))
}
