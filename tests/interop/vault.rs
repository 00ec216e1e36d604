//! References to a scripted vault over TLS, which is not reachable at first.

use std::process::Command;

use serde_json::Value;

use crate::platform::{Daemon, Platform, free_port, program, seconds, until};
use crate::script::Script;

const CERTIFICATES: &str = "set -e; \
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem; \
    openssl req -newkey rsa:2048 -nodes -subj /CN=vault -keyout vault.key -out vault.csr; \
    printf 'subjectAltName=IP:127.0.0.1' >vault.ext; \
    openssl x509 -req -in vault.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile vault.ext -out vault.pem";

fn has_engine(daemon: &Daemon) -> Option<bool> {
    let answer: Value = daemon.api().get("/api/internal/information").json();
    Some(answer["data"]["modules"].as_object()?.contains_key("engine"))
}

#[test]
fn what_needs_a_vault_that_is_down_waits_and_says_so_while_the_rest_runs() {
    let platform = Platform::new();
    let folder = platform.path("");
    let made = Command::new("sh").args(["-c", CERTIFICATES]).current_dir(&folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = free_port();
    let file = platform.write(
        "vault.json",
        format!(
            r#"{{"name":"v","url":"127.0.0.1","port":{port},"role_id":"role","secret_id":"secret-id","ssl_ca_file":"{}"}}"#,
            platform.path("ca.pem").display()
        ),
    );
    let reference = "command_file: \"secret::hashicorp_vault::secret/data/engine::pipe\"".to_owned();
    let plan = platform.plan("central", 1).with_api().with_module("engine", &[reference]);
    let mut command = Command::new(program());
    command.arg("run").arg("--vault").arg(&file);
    let central = Daemon::start_as(plan, command);
    central.wait_for_log("parts of the configuration wait for the vault: 127.0.0.1", seconds(20));
    assert!(central.log().contains("it needs the key 'pipe' at 'secret/data/engine'"), "{}", central.log());
    assert_eq!(central.api().output_of(0, "echo the rest runs", seconds(20)), "the rest runs");
    assert_eq!(has_engine(&central), Some(false));
    let path = |name: &str| platform.path(name).display().to_string();
    let _vault = Script::start("vault", &[port.to_string(), path("vault.pem"), path("vault.key")]);
    central.wait_for_log("the vault has answered", seconds(60));
    until("the module is there", seconds(60), || {
        let is_there = std::panic::catch_unwind(|| has_engine(&central)).ok().flatten();
        (is_there == Some(true)).then_some(())
    });
    let log = central.log();
    assert!(!log.contains("secret-id") && !log.contains("a-secret-pipe") && !log.contains("s.token"), "{log}");
}
