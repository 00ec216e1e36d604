//! `stheno backup` while a daemon runs, and `stheno restore`.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::platform::api::code;
use crate::platform::{Daemon, Plan, Platform, STHENO, seconds};

fn stheno(plan: &Plan, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(STHENO)
        .args(arguments)
        .arg("--config")
        .arg(plan.config_file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _read_or_not = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn done(plan: &Plan, arguments: &[&str], input: &str) -> String {
    let output = stheno(plan, arguments, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn refused(plan: &Plan, arguments: &[&str], input: &str) -> String {
    let output = stheno(plan, arguments, input);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_backup_of_a_running_daemon_brings_its_history_and_key_back() {
    let platform = Platform::new();
    let mut plan = platform.plan("central", 1).with_api();
    // The node has its own copy of the keys, which are deleted below.
    let keys = platform.path("keys");
    fs::create_dir(&keys).unwrap();
    for file in fs::read_dir(&plan.keys).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), keys.join(file.file_name())).unwrap();
    }
    plan.keys = keys;
    let mut central = Daemon::start(plan);
    let token = central.api().command(1, "echo kept");
    central.api().finished_rows(1, &token, seconds(20));
    let (plain, sealed) = (platform.path("plain.tar.gz"), platform.path("sealed"));
    let (plain, sealed) = (plain.to_str().unwrap(), sealed.to_str().unwrap());
    done(&central.plan, &["backup", plain], "");
    done(&central.plan, &["backup", "--seal", sealed], "correct horse battery\n");
    assert!(refused(&central.plan, &["backup", plain], "").contains("is there already"));
    assert!(refused(&central.plan, &["backup", "--seal", "x"], "short\n").contains("needs 8 characters"));
    let list = Command::new("tar").args(["-tzf", plain]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.starts_with("database\nprivate-key\npublic-key\n") && list.contains("configuration-0"), "{list}");
    assert!(refused(&central.plan, &["restore", plain], "").contains("stop the daemon first"));
    central.stop();
    for backup in [sealed, plain] {
        for lost in [central.plan.database.clone(), central.plan.keys.join("rsakey.priv.pem")] {
            fs::write(lost, "lost").unwrap();
        }
        if backup == sealed {
            let text = refused(&central.plan, &["restore", backup], "wrong horse battery\n");
            assert!(text.contains("the passphrase is wrong"), "{text}");
            assert_eq!(fs::read(&central.plan.database).unwrap(), b"lost", "nothing was changed");
        }
        let said = done(&central.plan, &["restore", backup], "correct horse battery\n");
        assert!(said.contains(".before-restore-"), "what was there is kept: {said}");
        central.start_again();
        let rows = central.api().rows(1, &token);
        assert!(rows.iter().any(|row| code(row) == 2), "{rows:?}");
        central.stop();
    }
    // A restore that fails half-way: the place of the public key cannot be made.
    let before = fs::read(&central.plan.database).unwrap();
    let key = central.plan.keys.join("rsakey.pub.pem");
    let config = central.plan.config_file();
    let text = fs::read_to_string(&config).unwrap();
    let (shown, nowhere) = (key.display().to_string(), format!("{}/x", platform.path("file").display()));
    platform.write("file", "no folder");
    fs::write(&config, text.replace(&shown, &nowhere)).unwrap();
    let said = refused(&central.plan, &["restore", plain], "");
    assert!(said.contains("what was there is in its place again"), "{said}");
    assert_eq!(fs::read(&central.plan.database).unwrap(), before);
    fs::write(&config, text).unwrap();
    central.start_again();
    central.stop();
    let no_backup = platform.write("other", "no backup at all");
    assert!(refused(&central.plan, &["restore", no_backup.to_str().unwrap()], "").contains("is not a backup"));
}
