//! A card that is full, turns read-only while the daemon runs, fails or takes 20 s to synchronise. strace(1) makes the
//! system calls of the running daemon fail; without it the tests are skipped.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, seconds, until};

/// Makes calls of a daemon fail until it is dropped.
struct Trouble(Child);

impl Trouble {
    /// `calls` are names with commas, `fault` is one of strace (`error=EIO`, `delay_enter=…`). `None` where processes
    /// may not be traced.
    fn begin(daemon: &Daemon, calls: &str, fault: &str) -> Option<Self> {
        let log = daemon.plan.folder.join("strace.log");
        let _none_yet = std::fs::remove_file(&log);
        let strace = Command::new("strace")
            .args(["-f", "-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{fault}")])
            .args(["-e", "signal=none", "-p", &daemon.pid().to_string(), "-o"])
            .arg(&log)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut strace) = strace else {
            eprintln!("SKIPPED: strace is absent");
            return None;
        };
        let traced = format!("/proc/{}/status", daemon.pid());
        let is_traced = || {
            let status = std::fs::read_to_string(&traced).unwrap();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        let start = Instant::now();
        while !is_traced() {
            if strace.try_wait().unwrap().is_some() {
                eprintln!("SKIPPED: processes may not be traced here");
                return None;
            }
            assert!(start.elapsed() < seconds(20), "strace does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self(strace))
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        // It lets the daemon go.
        let _gone = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _reaped = self.0.wait();
    }
}

/// Puts a row; returns whether that was acknowledged.
fn put(client: &mut Client, token: &str) -> bool {
    let row = json!({ "code": 4, "etime": 1, "token": token, "instant": 0, "data": { "is": "x".repeat(2_000) } });
    let reply = client.request("PUTLOG", &format!("{token}-ack"), "", &row);
    reply.json["data"]["message"] == json!("message inserted")
}

fn assert_stored(daemon: &mut Daemon, tokens: &[String]) {
    daemon.kill();
    daemon.start_again();
    let database = daemon.database();
    for token in tokens {
        let sql = "SELECT count(*) FROM gorgone_history WHERE token = ?1";
        let count: i64 = database.query_row(sql, [token], |row| row.get(0)).unwrap();
        assert_eq!(count, 1, "{token}");
    }
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[test]
fn a_card_that_takes_nothing_for_a_while_gets_rows_refused_and_loses_none_that_was_acknowledged() {
    let faults = [
        ("pwrite64", "error=ENOSPC", "make room"),
        ("pwrite64", "error=EROFS", "check the disk"),
        ("pwrite64", "error=EIO", "check the disk"),
        ("fsync,fdatasync", "error=EIO", "check the disk"),
    ];
    for (calls, fault, advice) in faults {
        let platform = Platform::new();
        let mut daemon = Daemon::start(platform.plan("poller", 2));
        let mut client = daemon.client();
        let mut acknowledged = Vec::new();
        let mut note = |client: &mut Client, token: &str| {
            let is_stored = put(client, token);
            if is_stored {
                acknowledged.push(token.to_owned());
            }
            is_stored
        };
        (0..5).for_each(|number| assert!(note(&mut client, &format!("before-{number}"))));
        let Some(trouble) = Trouble::begin(&daemon, calls, fault) else { return };
        for number in 0..3 {
            assert!(!note(&mut client, &format!("meanwhile-{number}")), "{calls} {fault}");
        }
        daemon.wait_for_log(advice, seconds(5));
        drop(trouble);
        until("rows are taken again", seconds(20), || note(&mut client, "after-0").then_some(()));
        (1..5).for_each(|number| assert!(note(&mut client, &format!("after-{number}"))));
        daemon.assert_running();
        acknowledged.dedup();
        assert_stored(&mut daemon, &acknowledged);
    }
}

#[test]
fn a_card_that_takes_twenty_seconds_for_a_sync_delays_the_acknowledgement_and_nothing_is_lost() {
    let platform = Platform::new();
    let mut daemon = Daemon::start(platform.plan("poller", 2));
    let mut client = daemon.client();
    client.set_timeout(seconds(120));
    assert!(put(&mut client, "before"));
    let Some(trouble) = Trouble::begin(&daemon, "fsync,fdatasync", "delay_enter=20000000:when=1") else { return };
    let start = Instant::now();
    assert!(put(&mut client, "slow"));
    assert!(start.elapsed() >= seconds(19), "acknowledged after {:?}, before it was stored", start.elapsed());
    assert!(put(&mut client, "after"));
    drop(trouble);
    assert_stored(&mut daemon, &["before", "slow", "after"].map(str::to_owned));
}
