//! Stability of memory use under work.

use std::time::{Duration, Instant};

use crate::commands::{post_commands, wait_for_all};
use crate::copies::{copy, write_large};
use crate::footprint::{SETTLE, megabytes};
use crate::gorgone_client::GorgoneClient;
use crate::http_client::HttpClient;
use crate::platform::{Daemon, Role, key};
use crate::process::{anonymous_bytes, pss_bytes};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

const COMMANDS: usize = 10_000;
const COMMANDS_AT_ONCE: usize = 200;
const COPIED_BYTES: usize = 100_000_000;

/// Duration of the soak in seconds.
const SOAK_S: usize = 300;
const WARM_UP_S: usize = 60;

/// PSS of a poller before and after 10,000 commands and a copy of 100 MB through a central.
pub fn memory_after_work(scale: Scale) -> Outcome<Vec<Figure>> {
    let pollers = [Daemon::start_ready(&Role::poller(2))?];
    let mut central = Daemon::start_ready(&Role::central(&pollers))?;
    central.wait_for_pongs(1)?;
    let [poller] = &pollers;
    std::thread::sleep(SETTLE);
    let before = pss_bytes(poller.process())?;
    let mut client = HttpClient::connect(central.api_port)?;
    for _ in 0..scale.of(COMMANDS).div_ceil(COMMANDS_AT_ONCE) {
        let tokens = post_commands(&mut client, "true", COMMANDS_AT_ONCE)?;
        wait_for_all(&mut client, tokens)?;
    }
    let source = central.directory().join("large");
    write_large(&source, scale.of(COPIED_BYTES))?;
    copy(&central, &source, &poller.directory().join("large"), || Ok(()))?;
    std::thread::sleep(SETTLE);
    let after = pss_bytes(poller.process())?;
    let growth = megabytes(after) - megabytes(before);
    Ok(vec![
        Figure { part: "", value: megabytes(after), unit: "MB", target: Target::Small, original: None },
        Figure { part: "growth", value: growth, unit: "MB", target: Target::AtMost(1.0), original: None },
    ])
}

/// Growth of heap and stacks of a poller and its central from the first to the fifth minute of steady work.
pub fn soak(scale: Scale) -> Outcome<Vec<Figure>> {
    let pollers = [Daemon::start_ready(&Role::poller(2))?];
    let mut central = Daemon::start_ready(&Role { ping_s: Some(5), ..Role::central(&pollers) })?;
    central.wait_for_pongs(1)?;
    let [poller] = &pollers;
    let mut client = HttpClient::connect(central.api_port)?;
    let mut direct = GorgoneClient::connect(poller.port, key()?)?;
    let begun = Instant::now();
    let (end, warm) = (scale.of(SOAK_S), scale.of(WARM_UP_S));
    let mut at_first = None;
    for second in 0.. {
        let tokens = post_commands(&mut client, "true", 20)?;
        for _ in 0..50 {
            direct.request("[PING] [] [] {}")?;
            client.get("/api/internal/constatus")?;
        }
        wait_for_all(&mut client, tokens)?;
        if second >= warm && at_first.is_none() {
            at_first = Some((anonymous_bytes(poller.process())?, anonymous_bytes(central.process())?));
        }
        let next = Duration::from_secs(u64::try_from(second)?.saturating_add(1));
        if next.as_secs() >= u64::try_from(end)? {
            break;
        }
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    let (poller_before, central_before) = at_first.ok_or("it ended before it was warm")?;
    let growth = |before: u64, now: u64| megabytes(now) - megabytes(before);
    let poller_growth = growth(poller_before, anonymous_bytes(poller.process())?);
    let central_growth = growth(central_before, anonymous_bytes(central.process())?);
    Ok(vec![
        Figure { part: "poller", value: poller_growth, unit: "MB", target: Target::AtMost(0.5), original: None },
        Figure { part: "central", value: central_growth, unit: "MB", target: Target::AtMost(1.0), original: None },
    ])
}
