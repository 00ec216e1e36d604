//! The daemon as a process: signals, log file, and the name under which it is called (docs/protocol.md section 14).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, STHENO, assert_within, seconds, until};

#[test]
fn a_daemon_stops_within_two_seconds_of_sigterm_with_status_0() {
    let platform = Platform::new();
    let (mut central, mut poller) = platform.pair();
    central.api().wait_for_pong(2, seconds(5));
    let _client = central.client();
    for daemon in [&mut central, &mut poller] {
        let (status, time) = daemon.stop();
        assert!(status.success(), "{status}");
        assert!(time < seconds(4), "{} took {time:?}; 2 s, and as much again on a loaded machine", daemon.plan.name);
    }
}

#[test]
fn a_running_command_does_not_outlive_the_daemon() {
    let platform = Platform::new();
    let mut central = Daemon::start(platform.plan("central", 1).with_api().with_core("timeout: 1"));
    let pid_file = platform.path("pid");
    central.api().command(0, &format!("echo $$ > {}; sleep 300", pid_file.display()));
    let pid = until("the command runs", seconds(5), || {
        fs::read_to_string(&pid_file).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    });
    let (status, time) = central.stop();
    assert!(status.success(), "{status}");
    assert_within(time, seconds(5));
    until("the command is dead", seconds(2), || {
        let stat = fs::read_to_string(Path::new("/proc").join(&pid).join("stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_stopping_daemon_says_so_to_new_requests() {
    let platform = Platform::new();
    let mut central = Daemon::start(platform.plan("central", 1).with_api().with_core("timeout: 3"));
    let mut client = central.client();
    // This gives the daemon something to wait for, so that it does not stop at once.
    let started = platform.path("started");
    central.api().command(0, &format!("touch {}; sleep 300", started.display()));
    until("the command runs", seconds(5), || started.exists().then_some(()));
    central.signal("TERM");
    let refusal = until("a refusal", seconds(3), || {
        let reply = client.request("SYNCLOGS", "late", "", &json!({ "data": { "id": 9 } }));
        let message = reply.json["data"]["message"].as_str().unwrap_or_default().to_owned();
        message.contains("stopping").then_some((reply.json["code"].clone(), message))
    });
    assert_eq!(refusal, (json!(1), "gorgone is stopping/restarting. Cannot proceed request.".to_owned()));
    // The end of the daemon also ends the command.
    central.stop();
}

#[test]
fn sighup_opens_the_log_again() {
    let platform = Platform::new();
    let mut central = Daemon::start(platform.plan("central", 1));
    let rotated = platform.path("central.log.1");
    fs::rename(central.plan.log_file(), &rotated).unwrap();
    central.signal("HUP");
    // Each new session writes a line.
    until("a line in the new file", seconds(5), || {
        drop(central.client());
        fs::metadata(central.plan.log_file()).ok().filter(|file| file.len() > 0)
    });
    let old = fs::metadata(&rotated).unwrap().len();
    drop(central.client());
    central.wait_for_log("gorgone-client", seconds(5));
    assert_eq!(fs::metadata(&rotated).unwrap().len(), old, "the old file grows no more");
    central.assert_running();
}

#[test]
fn every_line_of_the_log_has_the_form_of_the_original() {
    let platform = Platform::new();
    let mut plan = platform.plan("central", 1).with_api();
    plan.severity = "debug".to_owned();
    let mut central = Daemon::start(plan);
    let _refused = Client::connect(central.plan.port, "stranger", "gorgone-stranger\nforged - line");
    let token = central.api().command(0, "printf 'a\\nb'");
    central.api().finished_rows(0, &token, seconds(5));
    central.stop();
    let log = central.log();
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        // 2026-01-31 12:00:00 - INFO - [module] text
        let mut parts = line.splitn(3, " - ");
        let (time, severity, text) = (parts.next().unwrap(), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let shape: String = time.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        assert_eq!(shape, "0000-00-00 00:00:00", "{line}");
        assert!(matches!(severity, "DEBUG" | "INFO" | "NOTICE" | "WARNING" | "ERROR" | "FATAL"), "{line}");
        assert!(text.starts_with('[') && text.contains("] "), "{line}");
    }
    let secret = fs::read_to_string(central.plan.keys.join("rsakey.priv.pem")).unwrap();
    assert!(!log.contains(secret.lines().nth(1).unwrap()));
}

#[test]
fn a_symlink_named_gorgoned_takes_the_options_of_the_original() {
    let platform = Platform::new();
    let link = platform.path("gorgoned");
    symlink(STHENO, &link).unwrap();
    let mut central = Daemon::start_as(platform.plan("central", 1).with_api(), Command::new(link));
    assert_eq!(central.api().output_of(0, "echo as gorgoned", seconds(5)), "as gorgoned");
    assert!(central.stop().0.success());
    assert!(!central.log().is_empty(), "--logfile is used");
}

#[test]
fn an_idle_daemon_does_not_wake_up() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1));
    let switches = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", central.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // The test measures the difference of two readings; the start itself is over when they agree.
    let (mut before, mut quiet) = (switches(), false);
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(500));
        let now = switches();
        quiet = now == before;
        if quiet {
            break;
        }
        before = now;
    }
    assert!(quiet, "the daemon woke up in each of ten half seconds");
}

/// Makes the program usable for a user without rights: `nobody`, if the tests run as root. The folder becomes that
/// user's.
fn without_rights(platform: &Platform) -> Command {
    let folder = platform.path("");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(STHENO);
    }
    let (nobody, program) = (65_534, platform.path("stheno"));
    // The checkout may be in a folder that `nobody` cannot read.
    fs::copy(STHENO, &program).unwrap();
    chown(&folder, Some(nobody), Some(nobody)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

#[test]
fn a_user_without_rights_runs_it_and_what_it_may_not_do_is_said() {
    let platform = Platform::new();
    let central = platform.plan("central", 1).with_api();
    central.write();
    let mut program = without_rights(&platform);
    program.arg("run");
    for file in [&central.keys, &central.keys.join("rsakey.priv.pem"), &central.keys.join("rsakey.pub.pem")] {
        chown(file, Some(fs::metadata(platform.path("")).unwrap().uid()), None).unwrap();
    }
    let mut central = Daemon::start_as(central, program);
    let api = central.api();
    let user = fs::metadata(format!("/proc/{}", central.pid())).unwrap().uid();
    assert_ne!(user, 0);
    assert_eq!(api.output_of(0, "id -u", seconds(10)), user.to_string());
    assert_eq!(fs::metadata(&central.plan.database).unwrap().uid(), user);

    // A copy belongs to this user, whatever owner it asks for, and the log says so.
    let source = platform.write("source", "text");
    let there = platform.path("there");
    let copy = |destination: &Path| {
        let content = json!({
            "status": "inprogress", "type": "regular", "chunk": { "data": "dGV4dA==", "size": 4 }, "md5": null,
            "destination": destination, "cache_dir": platform.path(""), "owner": "root", "mode": "0600",
        });
        let mut end = content.clone();
        let md5 = "1cb251ec0d568de6a929b520c4aed8d1";
        (end["status"], end["chunk"], end["md5"]) = (json!("end"), json!(null), json!(md5));
        let token = format!("copy-{}", destination.display().to_string().replace('/', "-"));
        let mut client = central.client();
        for content in [content, end] {
            client.request("PROCESSCOPY", &token, "", &json!({ "content": content }));
        }
        let rows = api.finished_rows(0, &token, seconds(10));
        crate::platform::api::data(rows.iter().find(|row| matches!(crate::platform::api::code(row), 1 | 2)).unwrap())
    };
    assert_eq!(copy(&there)["message"], "process copy finished successfully");
    assert_eq!((fs::read(&there).unwrap(), fs::metadata(&there).unwrap().uid()), (fs::read(&source).unwrap(), user));
    central.wait_for_log("can't change permission of file", seconds(5));
    let refused = copy(Path::new("/etc/stheno-nobody"));
    assert!(refused["message"].as_str().unwrap().ends_with("Permission denied"), "{refused}");
    assert!(central.stop().0.success());
}
