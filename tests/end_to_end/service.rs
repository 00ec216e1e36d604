//! What a service manager sees, and the bound on memory.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use serde_json::json;

use crate::platform::zmtp::frame;
use crate::platform::{Daemon, Platform, STHENO, seconds, tail, until};

fn next(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = manager.recv(&mut bytes).expect("the daemon says something in time");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn the_service_manager_hears_readiness_then_the_watchdog_then_the_stop() {
    let platform = Platform::new();
    let socket = platform.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(seconds(40))).unwrap();
    let mut command = Command::new(STHENO);
    command.arg("run").env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "400000");
    let mut daemon = Daemon::start_as(platform.plan("poller", 2), command);
    assert_eq!(next(&manager), "READY=1");
    // An idle daemon reports, and more often than it must.
    for _ in 0..3 {
        assert_eq!(next(&manager), "WATCHDOG=1");
    }
    daemon.signal("TERM");
    until("STOPPING=1", seconds(5), || (next(&manager) == "STOPPING=1").then_some(()));
    assert!(daemon.wait_for_exit(seconds(40)).success());
}

#[test]
fn above_max_memory_the_daemon_reads_less_and_stays_there() {
    let platform = Platform::new();
    let plan = platform.plan("poller", 2).with_core("max_memory: 8388608");
    let log = plan.log_file();
    let mut daemon = Daemon::start(plan);
    let mut large = daemon.client();
    large.set_timeout(seconds(120));
    let text = "x".repeat(8 << 20);
    let message = frame(0, &large.seal(format!("[NOTHING] [large] [] {{\"text\":\"{text}\"}}").as_bytes()));
    // Everything but the end: so much must be kept.
    let (beginning, end) = message.split_at(message.len() - 10);
    large.send_bytes(beginning).unwrap();
    let mut small = daemon.client();
    until("a line of the log", seconds(20), || {
        assert_eq!(small.request("PING", "small", "", &json!({})).kind, "PONG");
        tail(&log, 50).contains("'max_memory' is 8 MiB").then_some(())
    });
    large.send_bytes(end).unwrap();
    let reply = large.receive().unwrap();
    assert!(reply.json.to_string().contains("unknown"), "{}", reply.json);
    daemon.assert_running();
}

#[test]
fn a_max_memory_that_no_daemon_can_keep_is_refused() {
    let platform = Platform::new();
    let (status, said) = Daemon::refused(platform.plan("poller", 2).with_core("max_memory: 4096"));
    assert!(!status.success());
    assert!(said.contains("max_memory") && said.contains("at least 8388608"), "{said}");
}
