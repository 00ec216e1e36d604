//! SIGHUP after a change of the configuration: what can change takes effect, what cannot is named, and a broken file
//! changes nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::platform::api::{code, data};
use crate::platform::client::Client;
use crate::platform::{Daemon, Plan, Platform, free_port, seconds};

/// Writes the changed configuration, sends SIGHUP and waits for `words` in the log.
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

#[test]
fn whoever_came_in_with_a_token_or_a_login_that_is_taken_out_is_let_go() {
    let platform = Platform::new();
    let port = free_port();
    let central = |token: &str, password: &str| {
        let plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss");
        let plan = plan.with_proxy("ping: 1").with_proxy("httpserver:").with_proxy("  enable: true");
        let plan = plan.with_proxy("  address: 127.0.0.1").with_proxy(&format!("  port: {port}"));
        let plan = plan.with_proxy(&format!("  token: {token}"));
        plan.with_api_option(&format!("auth: {{enabled: true, user: u, password: {password}}}"))
    };
    let mut daemon = Daemon::start(central("first-word", "kolibri"));
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), "token: first-word".to_owned()];
    let _node = Daemon::start(platform.plan("node", 7).with_module("pullwss", &lines));
    daemon.wait_for_log("node '7' is connected", seconds(20));

    // A connection that stays open sends another request after the change.
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.plan.api_port.unwrap())).unwrap();
    stream.set_read_timeout(Some(seconds(20))).unwrap();
    let request =
        "GET /api/internal/thumbprint HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic dTprb2xpYnJp\r\n\r\n";
    let mut ask = || {
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).unwrap();
        head.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(ask(), "200");
    let change = |_: Plan| central("second-word", "pelikan");
    reload(&mut daemon, change, "node 7: the token is not valid any more");
    assert_eq!(ask(), "401", "the same connection, with the password that was taken out");
    daemon.wait_for_log("token authorization unallowed", seconds(20));
}
