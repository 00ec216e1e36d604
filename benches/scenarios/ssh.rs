//! Nodes reached by SSH, with OpenSSH's sshd.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::copies::{self, write_large};
use crate::floors::largest_pss;
use crate::footprint::megabytes;
use crate::gorgone_client::GorgoneClient;
use crate::http_client::HttpClient;
use crate::load::{float, per_second, percentile_ms};
use crate::platform::{Daemon, Role, key};
use crate::process::{pss_bytes, waited_for_processor};
use crate::report::{Figure, Target};
use crate::ssh_host::SshHost;
use crate::{Outcome, Scale, commands};

/// Number of commands over one session.
pub const COMMANDS: usize = 100;
/// Size in bytes of the copied file.
pub const COPIED_BYTES: usize = 100_000_000;
const SESSIONS: usize = 100;
/// Time limit of every wait.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time after which all work of the logins is finished.
const SETTLE: Duration = Duration::from_secs(12);

fn central(nodes: Vec<String>) -> Role {
    Role { with_api: true, ssh_nodes: (2..).zip(nodes).collect(), ..Role::poller(1) }
}

/// Commands on one host over its single session: time until each has its last row.
pub fn ssh_commands_100(scale: Scale) -> Outcome<Vec<Figure>> {
    let host = SshHost::start("")?;
    let mut central = Daemon::start_ready(&central(vec![host.node(&host.identity())]))?;
    central.wait_for_pongs(1)?;
    let mut client = HttpClient::connect(central.api_port)?;
    let count = scale.of(COMMANDS);
    let begun = Instant::now();
    let mut tokens = commands::post_commands(&mut client, "true", count)?;
    while let Some(token) = tokens.last() {
        let answer = client.get(&format!("/api/log/{token}?code=2"))?.json()?;
        if answer.get("data").and_then(|rows| rows.as_array()).is_some_and(|rows| !rows.is_empty()) {
            tokens.pop();
        } else if begun.elapsed() > PATIENCE {
            return Err(format!("{} commands have no result", tokens.len()).into());
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let value = per_second(count, begun.elapsed());
    Ok(vec![Figure { part: "", value, unit: "/s", target: Target::AtLeast(50.0), original: None }])
}

/// The same with OpenSSH's client over one connection, also a few at a time.
///
/// # Errors
/// It cannot be measured.
pub fn openssh_commands_per_second(scale: Scale) -> Outcome<f64> {
    const AT_ONCE: usize = 7;
    let host = SshHost::start("")?;
    let _open = host.open_client()?;
    let each = scale.of(COMMANDS).div_ceil(AT_ONCE);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let run = || -> Outcome<()> {
            for _ in 0..each {
                let status = host.client("ssh").args(["127.0.0.1", "true"]).stdin(Stdio::null()).status()?;
                if !status.success() {
                    return Err(format!("ssh: {status}").into());
                }
            }
            Ok(())
        };
        let running: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(run)).collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread died")?)
    })?;
    Ok(per_second(each.saturating_mul(AT_ONCE), begun.elapsed()))
}

/// Copies one file: the rate until it is in place on the host.
pub fn ssh_copy_100mb(scale: Scale) -> Outcome<Vec<Figure>> {
    let host = SshHost::start("")?;
    let mut central = Daemon::start_ready(&central(vec![host.node(&host.identity())]))?;
    central.wait_for_pongs(1)?;
    let (source, destination) = (central.directory().join("large"), host.directory().join("large"));
    let bytes = scale.of(COPIED_BYTES);
    write_large(&source, bytes)?;
    let mut memory = 0;
    let took = copies::copy(&central, &source, &destination, || {
        memory = pss_bytes(central.process())?.max(memory);
        Ok(())
    })?;
    if fs::metadata(&destination)?.len() != fs::metadata(&source)?.len() {
        return Err("the file is not there whole".into());
    }
    let value = float(bytes) / 1e6 / took.as_secs_f64();
    let memory = megabytes(memory);
    Ok(vec![
        Figure { part: "", value, unit: "MB/s", target: Target::AtLeast(60.0), original: None },
        Figure { part: "PSS of the central", value: memory, unit: "MB", target: Target::Small, original: None },
    ])
}

/// The same with OpenSSH's `sftp` over an open connection.
///
/// # Errors
/// It cannot be measured.
pub fn openssh_sftp_megabytes_per_second(scale: Scale) -> Outcome<f64> {
    let host = SshHost::start("")?;
    let _open = host.open_client()?;
    let (source, batch) = (host.directory().join("source"), host.directory().join("batch"));
    let bytes = scale.of(COPIED_BYTES);
    write_large(&source, bytes)?;
    // With -f `sftp` waits for the disk, like the copy that it is compared to.
    fs::write(&batch, format!("put -f \"{}\" \"{}/copied\"\n", source.display(), host.directory().display()))?;
    let begun = Instant::now();
    let status = host.client("sftp").arg("-b").arg(&batch).arg("127.0.0.1").stdout(Stdio::null()).status()?;
    let took = begun.elapsed();
    if !status.success() || fs::metadata(host.directory().join("copied"))?.len() != fs::metadata(&source)?.len() {
        return Err("sftp did not copy the file".into());
    }
    Ok(float(bytes) / 1e6 / took.as_secs_f64())
}

/// Maximum PSS in MB of OpenSSH's client while it copies the file.
///
/// # Errors
/// It cannot be measured.
pub fn openssh_sftp_megabytes(scale: Scale) -> Outcome<f64> {
    let host = SshHost::start("")?;
    let (source, batch) = (host.directory().join("source"), host.directory().join("batch"));
    write_large(&source, scale.of(COPIED_BYTES))?;
    fs::write(&batch, format!("put \"{}\" \"{}/copied\"\n", source.display(), host.directory().display()))?;
    let mut command = host.client("sftp");
    let child = command.arg("-b").arg(&batch).arg("127.0.0.1").stdout(Stdio::null()).process_group(0).spawn()?;
    Ok(megabytes(largest_pss(child)?))
}

/// PSS in MB of the same number of idle clients of OpenSSH; a tenth of them is measured.
///
/// # Errors
/// It cannot be measured.
pub fn openssh_idle_megabytes(scale: Scale) -> Outcome<f64> {
    let host = SshHost::start("")?;
    let count = scale.of(SESSIONS).div_ceil(10);
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut command = host.client("ssh");
        clients.push(command.args(["-N", "127.0.0.1"]).stdin(Stdio::null()).process_group(0).spawn()?);
    }
    std::thread::sleep(Duration::from_secs(3));
    let measured: Outcome<u64> = clients.iter().map(|client| pss_bytes(client.id())).sum();
    for client in &mut clients {
        client.kill()?;
        client.wait()?;
    }
    Ok(megabytes(measured?) * float(scale.of(SESSIONS)) / float(count))
}

/// Memory of a central with idle sessions, compared to one without.
pub fn ssh_100_idle(scale: Scale) -> Outcome<Vec<Figure>> {
    let host = SshHost::start("")?;
    let alone = Daemon::start_ready(&Role { with_api: true, ..Role::poller(1) })?;
    std::thread::sleep(SETTLE);
    let before = pss_bytes(alone.process())?;
    drop(alone);
    let count = scale.of(SESSIONS);
    let mut central = Daemon::start_ready(&central(vec![host.node(&host.identity()); count]))?;
    central.wait_for_pongs(count)?;
    std::thread::sleep(SETTLE);
    let after = pss_bytes(central.process())?;
    let value = megabytes(after) - megabytes(before);
    Ok(vec![Figure { part: "more than none", value, unit: "MB", target: Target::AtMost(30.0), original: None }])
}

/// How long a PING waits while sessions perform the longest key exchanges and decrypt keys. If all processors are busy,
/// part of that time is spent waiting for one, which is reported separately.
pub fn ssh_loop_hold(scale: Scale) -> Outcome<Vec<Figure>> {
    let host = SshHost::start("KexAlgorithms diffie-hellman-group16-sha512\n")?;
    let login = host.sealed_identity()?;
    let count = scale.of(SESSIONS);
    let mut central = Daemon::start(&central(vec![host.node(&login); count]))?;
    central.wait_until("its external socket", |daemon| {
        Ok(std::net::TcpStream::connect(("127.0.0.1", daemon.port)).is_ok())
    })?;
    let mut client = GorgoneClient::connect(central.port, key()?)?;
    let (mut waits, mut held): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let end = Instant::now() + PATIENCE;
    let mut exchanged = 0;
    while exchanged < count {
        if Instant::now() > end {
            return Err(format!("only {exchanged} of {count} sessions are there").into());
        }
        for number in 0..50 {
            let waited = waited_for_processor(central.process())?;
            let begun = Instant::now();
            let answer = client.request(&format!("[PING] [hold-{number}] [] {{}}"))?;
            let wait = begun.elapsed();
            // The time that the loop and this process waited for a processor is not caused by the turn.
            held.push(wait.saturating_sub(waited_for_processor(central.process())?.saturating_sub(waited)));
            waits.push(wait);
            exchanged = String::from_utf8_lossy(&answer).matches("\"ping_ok\":1").count();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let figure = |part, value, target| Figure { part, value, unit: "ms", target, original: None };
    Ok(vec![
        figure("PING p99", percentile_ms(&mut waits, 99), Target::Small),
        figure("longest PING", percentile_ms(&mut waits, 100), Target::Small),
        figure("longest turn", percentile_ms(&mut held, 100), Target::AtMost(20.0)),
    ])
}
