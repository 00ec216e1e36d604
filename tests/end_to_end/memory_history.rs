//! `storage: memory`: a history in memory survives the daemon, is bounded, and reaches the central.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::platform::{Daemon, Plan, Platform, STHENO, seconds};

/// The folder of a history in memory; removed at the end.
struct MemoryFolder(PathBuf);

impl MemoryFolder {
    /// Returns the folder of a plan, as `stheno check` reports it.
    fn of(plan: &Plan) -> Self {
        plan.write();
        let output = Command::new(STHENO).arg("check").arg("--json").arg("--config").arg(plan.config_file()).output();
        let told: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        assert_eq!(told["storage"], json!("memory"), "{told}");
        let path = Path::new(told["database"].as_str().unwrap()).parent().unwrap().to_owned();
        assert!(path.starts_with("/dev/shm") || path.starts_with("/run"), "{}", path.display());
        Self(path)
    }
}

impl Drop for MemoryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn in_memory(plan: Plan) -> (Plan, MemoryFolder) {
    let plan = plan.with_core("storage: memory").with_core("storage_max: 1048576");
    let folder = MemoryFolder::of(&plan);
    (plan, folder)
}

#[test]
fn a_history_in_memory_outlives_a_crash_and_keeps_the_newest_rows() {
    let platform = Platform::new();
    let (plan, _folder) = in_memory(platform.plan("poller", 2));
    let mut daemon = Daemon::start(plan);
    let mut client = daemon.client();
    for number in 0..100 {
        let data = json!({ "n": number, "long": "x".repeat(30_000) });
        let row = json!({ "code": 4, "etime": 1, "token": format!("t{number}"), "instant": 0, "data": data });
        let reply = client.request("PUTLOG", &number.to_string(), "", &row).json;
        assert_eq!(reply["data"]["message"], json!("message inserted"), "{number}");
    }
    daemon.wait_for_log("the history in memory is full", seconds(10));
    daemon.kill();
    daemon.start_again();
    let mut client = daemon.client();
    let mut rows_of = |token: &str| {
        let reply = client.request("GETLOG", &format!("get-{token}"), "", &json!({ "token": token })).json;
        reply["data"]["result"].as_array().unwrap().len()
    };
    assert_eq!((rows_of("t0"), rows_of("t99")), (0, 1));
    assert!(!daemon.plan.database.exists(), "nothing is written to the disk");
}

#[test]
fn results_of_a_poller_whose_history_is_in_memory_reach_the_central() {
    let platform = Platform::new();
    let (plan, _folder) = in_memory(platform.plan("poller", 2));
    let poller = Daemon::start(plan);
    let central = Daemon::start(platform.central_with(&[&poller]).with_api());
    central.api().wait_for_pong(2, seconds(20));
    assert_eq!(central.api().output_of(2, "echo kept in memory", seconds(20)).trim(), "kept in memory");
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let platform = Platform::new();
    let (plan, folder) = in_memory(platform.plan("poller", 2));
    std::fs::create_dir(&folder.0).unwrap();
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o777)).unwrap();
    let config = plan.config_file();
    let (status, said) = Daemon::refused(plan);
    assert!(!status.success() && said.contains("is not a folder of this user alone: remove it"), "{said}");
    let check = Command::new(STHENO).arg("check").arg("--config").arg(config).output().unwrap();
    let told = [check.stdout, check.stderr].concat();
    assert!(!check.status.success() && String::from_utf8_lossy(&told).contains("of this user alone"));
}
