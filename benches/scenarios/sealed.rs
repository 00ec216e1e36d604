//! Sealed links beside classic ones, in one run.

use std::time::Instant;

use crate::gorgone_client::GorgoneClient;
use crate::load::{per_second, percentile_ms, put_logs};
use crate::platform::{Daemon, Role, key};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// PING and PUTLOG, pipelined and one at a time, over a sealed and a classic link.
pub fn sealed(scale: Scale) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for (is_sealed, parts) in [
        (true, ["sealed: PING", "sealed: PUTLOG", "sealed: one PING, p50"]),
        (false, ["classic: PING", "classic: PUTLOG", "classic: one PING, p50"]),
    ] {
        let daemon = Daemon::start_ready(&Role::poller(2))?;
        let connect = if is_sealed { GorgoneClient::connect_sealed } else { GorgoneClient::connect };
        let mut client = connect(daemon.port, key()?)?;
        let pings = scale.of(300_000);
        let frames = client.frames((0..pings).map(|number| format!("[PING] [ping-{number}] [] {{}}")));
        let ping = per_second(pings, client.pipeline(&frames, pings, "PONG", "ping-", "ping ok")?);
        let rows = scale.of(150_000);
        let frames = put_logs(&mut client, "load", rows);
        let put = per_second(rows, client.pipeline(&frames, rows, "ACK", "put-", "message inserted")?);
        let mut one = Vec::new();
        for number in 0..scale.of(20_000) {
            let begun = Instant::now();
            client.request(&format!("[PING] [one-{number}] [] {{}}"))?;
            one.push(begun.elapsed());
        }
        let values = [(ping, "/s"), (put, "/s"), (percentile_ms(&mut one, 50), "ms")];
        figures.extend(parts.into_iter().zip(values).map(|(part, (value, unit))| {
            let target = if unit == "ms" { Target::Small } else { Target::Large };
            Figure { part, value, unit, target, original: None }
        }));
    }
    Ok(figures)
}
