//! Requests that wait on disk for a node that is away.

use crate::footprint::megabytes;
use crate::gorgone_client::GorgoneClient;
use crate::load::{per_second, put_logs};
use crate::platform::{Daemon, Role, key};
use crate::process::anonymous_bytes;
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// A port where nobody listens.
const NOBODY: u16 = 1;
const PAUSE: std::time::Duration = std::time::Duration::from_secs(10);

/// ENGINECOMMANDs with a time to live over one session, each on the disk before its reply, and PUTLOGs to the same
/// daemon before; then the memory of what waits.
pub fn queue_accepted(scale: Scale) -> Outcome<Vec<Figure>> {
    let daemon = Daemon::start_ready(&Role { nodes: vec![(2, NOBODY)], ..Role::poller(1) })?;
    let mut client = GorgoneClient::connect(daemon.port, key()?)?;
    let count = scale.of(100_000);
    let frames = put_logs(&mut client, "load", count);
    let put_log = per_second(count, client.pipeline(&frames, count, "ACK", "put-", "message inserted")?);
    std::thread::sleep(PAUSE);
    let before = anonymous_bytes(daemon.process())?;
    let request = |number| {
        format!(r#"[ENGINECOMMAND] [queued-{number}] [2] {{"content":{{"commands":["[1] A;{number}"]}},"ttl":3600}}"#)
    };
    let frames = client.frames((0..count).map(request));
    let value = per_second(count, client.pipeline(&frames, count, "ACK", "queued-", "\"code\":0")?);
    std::thread::sleep(PAUSE);
    let grown = megabytes(anonymous_bytes(daemon.process())?) - megabytes(before);
    let ratio = value / put_log;
    Ok(vec![
        Figure { part: "", value, unit: "/s", target: Target::Large, original: None },
        Figure { part: "of PUTLOG", value: ratio, unit: "", target: Target::AtLeast(0.6), original: None },
        Figure { part: "memory", value: grown, unit: "MB", target: Target::AtMost(4.0), original: None },
    ])
}
