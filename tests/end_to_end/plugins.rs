//! Plugins that a command needs (`pkg_install`, `plugins`, `paranoid_plugins`), with stand-ins for the package manager,
//! `sudo` and the installer of the original.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, STHENO, seconds};

/// Stand-ins in the path of a daemon, and the record of their calls.
struct StandIns {
    bin: PathBuf,
    asked: PathBuf,
    installed: PathBuf,
}

impl StandIns {
    /// Makes stand-ins: `dpkg` and `rpm` print the content of a file; `sudo` adds to it what it is told to install if
    /// `installs` is set.
    fn new(platform: &Platform, installs: bool) -> Self {
        let bin = platform.path("bin");
        fs::create_dir_all(&bin).unwrap();
        let (asked, installed) = (platform.write("asked", ""), platform.write("installed", ""));
        let script = |name: &str, text: &str| {
            let file = bin.join(name);
            let head = format!("#!/bin/sh\necho \"{name} $*\" >> '{}'\n", asked.display());
            fs::write(&file, head + text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let there = installed.display();
        script(
            "dpkg",
            &format!(
                "while IFS== read -r name version; do echo \"ii  $name  $version-120000 all x\"; done < '{there}'\n"
            ),
        );
        script(
            "rpm",
            &format!("sed 's/$/-120000.el9.noarch/' '{there}'; echo 'package other is not installed'; exit 1\n"),
        );
        let install = if installs {
            format!("shift 2; for one in \"$@\"; do echo \"$one\" >> '{there}'; done\n")
        } else {
            "exit 1\n".to_owned()
        };
        script("sudo", &install);
        Self { bin, asked, installed }
    }

    fn start(&self, platform: &Platform, lines: &[&str], mut command: Command) -> Daemon {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.bin.display()));
        let plan = lines.iter().fold(platform.plan("central", 1).with_api(), |plan, line| plan.with_action(line));
        Daemon::start_as(plan, command)
    }

    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(&self.asked).unwrap();
        fs::write(&self.asked, "").unwrap();
        asked.lines().map(str::to_owned).collect()
    }
}

fn run() -> Command {
    let mut command = Command::new(STHENO);
    command.arg("run");
    command
}

fn rows(daemon: &Daemon, path: &str, body: &Value) -> Vec<(i64, Value)> {
    let api = daemon.api();
    let token = api.post(path, body).json()["token"].as_str().unwrap().to_owned();
    api.finished_rows(0, &token, seconds(20)).iter().map(|row| (code(row), data(row))).collect()
}

fn command(daemon: &Daemon, plugins: Value) -> Vec<(i64, Value)> {
    let content = json!([{ "command": "echo it runs", "metadata": { "pkg_install": plugins } }]);
    rows(daemon, "/api/core/action/command", &content)
}

const INSTALLER: &str = "/usr/local/bin/gorgone_install_plugins.pl";

#[test]
fn plugins_that_are_missing_are_installed_before_the_command_runs() {
    let platform = Platform::new();
    let stand_ins = StandIns::new(&platform, true);
    let daemon = stand_ins.start(&platform, &["paranoid_plugins: true"], run());
    let plugins = json!({ "centreon-plugin-Applications-A": 20_230_101, "centreon-plugin-B": "20220202" });
    let found = command(&daemon, plugins.clone());
    assert_eq!(found.last().unwrap().0, 2, "{found:?}");
    assert_eq!(found[2].1["result"]["stdout"], "it runs");
    let ask = "dpkg -l centreon-plugin-*";
    let install =
        format!("sudo {INSTALLER} --type=deb centreon-plugin-applications-a=20230101 centreon-plugin-b=20220202");
    assert_eq!(stand_ins.asked(), [ask, &install, ask]);
    // A plugin that is installed in that version or a later one is not installed again.
    let plugins = json!({ "centreon-plugin-Applications-A": 20_220_101, "centreon-plugin-b": 20_220_202 });
    assert_eq!(command(&daemon, plugins).last().unwrap().0, 2);
    assert_eq!(stand_ins.asked(), [ask]);
    // An ACTIONENGINE names a file.
    fs::write(&stand_ins.installed, "").unwrap();
    let file = platform.write("plugins.json", json!({ "centreon-plugin-c": 3 }).to_string());
    let content = json!({ "command": "true", "plugins": file });
    assert_eq!(rows(&daemon, "/api/core/action/engine", &content).last().unwrap().0, 2);
    assert_eq!(stand_ins.asked(), [ask, &format!("sudo {INSTALLER} --type=deb centreon-plugin-c=3"), ask]);
    let content = json!({ "command": "true", "plugins": platform.path("missing.json") });
    let found = rows(&daemon, "/api/core/action/engine", &content);
    assert!(found.last().unwrap().1["message"].as_str().unwrap().contains("missing.json"), "{found:?}");
}

#[test]
fn plugins_that_cannot_be_installed_stop_the_command_only_where_that_is_asked() {
    let platform = Platform::new();
    let stand_ins = StandIns::new(&platform, false);
    let text = "validate plugins - still some to install: centreon-plugin-a=7";
    let paranoid = stand_ins.start(&platform, &["paranoid_plugins: true"], run());
    let found = command(&paranoid, json!({ "centreon-plugin-a": 7 }));
    assert_eq!(found.last().unwrap().0, 1);
    let issue = found.iter().find(|(_, data)| data["message"] == "command execution issue").unwrap();
    assert_eq!(issue.1["result"], json!({ "exit_code": 1, "stdout": text }));
    assert!(!found.iter().any(|(code, _)| *code == 100), "{found:?}");
    let found = command(&paranoid, json!({ "--allow-unauthenticated": 1 }));
    assert!(found.iter().any(|(_, data)| data.to_string().contains("is not a package name")), "{found:?}");
    drop(paranoid);
    let tolerant = stand_ins.start(&platform, &[], run());
    assert_eq!(command(&tolerant, json!({ "centreon-plugin-a": 7 })).last().unwrap().0, 2);
    tolerant.wait_for_log(text, seconds(5));
}

#[test]
fn a_system_with_rpm_is_asked_in_its_own_way() {
    let platform = Platform::new();
    let stand_ins = StandIns::new(&platform, true);
    let release = platform.write("os-release", "ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n");
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a mount namespace is not allowed here");
        return;
    }
    let mut command_line = Command::new("unshare");
    let mounted = format!("mount --bind '{}' /etc/os-release && exec \"$0\" \"$@\"", release.display());
    command_line.args(["--mount", "sh", "-c", &mounted, STHENO, "run"]);
    let daemon = stand_ins.start(&platform, &["paranoid_plugins: true"], command_line);
    let found = command(&daemon, json!({ "centreon-plugin-Applications-A": 20_230_101 }));
    assert_eq!(found.last().unwrap().0, 2, "{found:?}");
    let ask = "rpm -q centreon-plugin-Applications-A";
    let install = format!("sudo {INSTALLER} --type=rpm centreon-plugin-Applications-A-20230101");
    assert_eq!(stand_ins.asked(), [ask, &install, ask]);
}
