//! What a service manager sees of the command line: exit statuses, a reload, and levels in the journal.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use super::{Folder, stheno, text};

/// A configuration that needs only its own files.
const FINE: &str = "name: one\nconfiguration:\n  gorgone:\n    gorgonecore:\n      id: 1\n    modules: []\n";
const BROKEN: &str = "name: one\nconfiguration:\n  gorgone:\n    gorgonecore:\n      id: here\n    modules: []\n";

#[test]
fn a_start_with_a_broken_configuration_ends_with_the_status_that_the_unit_does_not_restart() {
    let folder = Folder::new();
    let file = folder.write("c.yaml", BROKEN);
    let output = stheno(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
    let unit = include_str!("../../config/systemd/stheno.service");
    assert!(unit.lines().any(|line| line == "RestartPreventExitStatus=78 2"), "{unit}");
}

#[test]
fn the_unit_gives_up_after_a_bounded_number_of_starts() {
    let unit = include_str!("../../config/systemd/stheno.service");
    let number = |key: &str| -> u32 {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key}"));
        line.parse().unwrap()
    };
    let starts = number("StartLimitBurst=");
    // After a failed start the service manager waits RestartSec: the limit must be reached within its interval.
    assert!(starts * (number("RestartSec=") + 1) < number("StartLimitIntervalSec="), "{unit}");
}

#[test]
fn a_reload_looks_at_the_files_alone_and_fails_on_a_broken_one() {
    let folder = Folder::new();
    let file = folder.write("c.yaml", FINE);
    let before = folder.contents();
    // The options are those with which the daemon was started.
    let words =
        ["check", "--syntax", "--config", file.to_str().unwrap(), "--logfile=/nonexistent/log", "--severity=info"];
    let output = stheno(&words);
    assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (Some(0), "", ""));
    assert!(folder.contents() == before);
    folder.write("c.yaml", BROKEN);
    let output = stheno(&words);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("gorgonecore.id: is 'here'"), "{said}");
    assert!(said.contains("1 problem in the configuration; a running daemon goes on as it is"), "{said}");
}

#[test]
fn complaints_carry_their_level_where_standard_error_is_the_journal() {
    let folder = Folder::new();
    let file = folder.write("c.yaml", BROKEN);
    let place = folder.path("journal");
    let said = |stream: Option<&str>| {
        let journal = File::create(&place).unwrap();
        let own = journal.metadata().unwrap();
        let stream = stream.map_or(format!("{}:{}", own.dev(), own.ino()), str::to_owned);
        let mut command = Command::new(env!("CARGO_BIN_EXE_stheno"));
        command.args(["run", "--config"]).arg(&file).env("JOURNAL_STREAM", stream).stderr(journal);
        assert_eq!(command.status().unwrap().code(), Some(78));
        fs::read_to_string(&place).unwrap()
    };
    let own = said(None);
    assert!(own.lines().count() == 2 && own.lines().all(|line| line.starts_with("<3>stheno: ")), "{own}");
    let other = said(Some("1:1"));
    assert!(other.lines().all(|line| line.starts_with("stheno: ")), "another program's stream: {other}");
}
