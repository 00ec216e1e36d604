//! SIGHUP after a change of the configuration: what can change does, what cannot is named, a broken file changes nothing.

use std::fs;

use serde_json::json;

use crate::platform::api::{code, data};
use crate::platform::client::Client;
use crate::platform::{Daemon, Plan, Platform, seconds};

/// Writes the changed configuration and has it read; waits for `words` in the log.
fn reload(daemon: &mut Daemon, change: impl FnOnce(Plan) -> Plan, words: &str) {
    daemon.plan = change(daemon.plan.clone());
    daemon.plan.write();
    daemon.signal("HUP");
    daemon.wait_for_log(words, seconds(20));
}

#[test]
fn keys_and_the_allow_list_take_effect_without_a_restart() {
    let platform = Platform::new();
    let mut daemon = Daemon::start(platform.plan("poller", 2).with_api());
    let connect = |daemon: &Daemon| Client::connect(daemon.plan.port, "poller", "gorgone-client-poller");
    assert!(connect(&daemon).is_err(), "its key is not authorized yet");

    reload(&mut daemon, |plan| plan.with_authorized("poller"), "may connect now");
    let mut client = connect(&daemon).unwrap();
    assert_eq!(client.request("PING", "one", "", &json!({})).kind, "PONG");

    let remove = |plan: Plan| Plan { authorized: Vec::new(), ..plan };
    reload(&mut daemon, remove, "may no longer connect, and its sessions are closed");
    assert!(connect(&daemon).is_err(), "its key is no longer authorized");
    let mut other = daemon.client();
    assert_eq!(other.request("PING", "two", "", &json!({})).kind, "PONG", "other keys are not touched");

    let api = daemon.api();
    let run = || {
        let answer = api.post("/api/core/action/command", &json!([{ "command": "echo hello" }])).json();
        let rows = api.finished_rows(0, answer["token"].as_str().unwrap(), seconds(20));
        rows.last().map(|row| (code(row), data(row)["message"].as_str().unwrap_or_default().to_owned())).unwrap()
    };
    assert_eq!(run().0, 2);
    let restrict = |plan: Plan| plan.with_action("whitelist_cmds: true").with_action("allowed_cmds: ['^id$']");
    reload(&mut daemon, restrict, "modules[action].allowed_cmds: the new list is in effect");
    let (code, message) = run();
    assert_eq!(code, 1);
    assert!(message.contains("command not allowed (whitelist)"), "{message}");
}

#[test]
fn what_needs_a_restart_is_named_and_a_broken_file_changes_nothing() {
    let platform = Platform::new();
    let mut daemon = Daemon::start(platform.plan("poller", 2).with_api());
    let restart = "configuration: gorgonecore.timeout has changed, which takes effect after a restart";
    reload(&mut daemon, |plan| plan.with_core("timeout: 7"), restart);

    fs::write(daemon.plan.config_file(), "configuration: [\n").unwrap();
    daemon.signal("HUP");
    daemon.wait_for_log("ERROR - [core] the configuration cannot be used as it is now", seconds(20));
    assert_eq!(daemon.client().request("PING", "one", "", &json!({})).kind, "PONG");
    daemon.assert_running();

    reload(
        &mut daemon,
        |plan| plan.with_api_option("auth: {enabled: true, user: u, password: kolibri}"),
        "[httpserver].auth",
    );
    let mut api = daemon.api();
    assert_eq!(api.get("/api/internal/thumbprint").status, 401, "the new login holds");
    api.headers = "Authorization: Basic dTprb2xpYnJp\r\n".to_owned();
    assert_eq!(api.get("/api/internal/thumbprint").status, 200);
    assert!(!daemon.log().contains("kolibri"), "no secret in the log");
}
