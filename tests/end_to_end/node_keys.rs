//! `keys forget` and `keys trust`: a node gets a new key while the daemon that connects to it goes on running.

use std::process::{Command, Output};

use serde_json::json;

use crate::platform::api::code;
use crate::platform::{Daemon, Platform, STHENO, keys, seconds, until};

/// Runs `keys VERB` for the daemon of `central`.
fn keys_command(central: &Daemon, verb: &str, words: &[&str]) -> Output {
    let mut command = Command::new(STHENO);
    command.args(["keys", verb, "--config"]).arg(central.plan.config_file()).args(words);
    command.output().unwrap()
}

#[track_caller]
fn assert_done(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(words), "{output:?}");
}

#[track_caller]
fn assert_refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(words) && said.lines().count() == 1, "{output:?}");
}

/// Stops the node and restarts it with the key of `owner`.
fn with_key_of(node: &mut Daemon, owner: &str) {
    node.kill();
    node.plan.keys = keys::folder(owner);
    node.plan.write();
    node.start_again();
}

fn stored_key(central: &Daemon) -> Option<String> {
    let database = central.database();
    database.query_row("SELECT fingerprint FROM gorgone_target_fingerprint", [], |row| row.get(0)).ok()
}

#[test]
fn a_replaced_key_is_refused_until_it_is_trusted_or_the_old_one_forgotten() {
    let platform = Platform::new();
    let mut node = Daemon::start(platform.plan("node", 2));
    let mut central =
        Daemon::start(platform.central_with(&[&node]).with_dial_in_node(3, "wss").with_dial_in_node(4, "pull"));
    let api = central.api();
    assert_eq!(api.output_of(2, "echo first", seconds(10)), "first");

    with_key_of(&mut node, "second-node");
    let second = keys::thumbprint("second-node");
    central.wait_for_log(&format!("stheno keys trust --config FILE 2 {second}"), seconds(20));
    assert_done(&keys_command(&central, "trust", &["2", &second]), &second);
    assert_eq!(api.output_of(2, "echo trusted", seconds(5)), "trusted");
    until("the trusted key is stored", seconds(5), || (stored_key(&central)? == second).then_some(()));

    with_key_of(&mut node, "third-node");
    let third = keys::thumbprint("third-node");
    central.wait_for_log(&format!("stheno keys trust --config FILE 2 {third}"), seconds(20));
    assert_done(&keys_command(&central, "forget", &["2"]), "forgotten");
    assert_eq!(api.output_of(2, "echo learnt", seconds(5)), "learnt");
    until("the new key is stored", seconds(5), || (stored_key(&central)? == third).then_some(()));

    // What cannot be done is reported in one line and changes nothing.
    assert_refused(&keys_command(&central, "trust", &["2", "short"]), "43 letters");
    assert_refused(&keys_command(&central, "forget", &["7"]), "node '7' is not one of this daemon's own nodes");
    assert_refused(&keys_command(&central, "forget", &["3"]), "connects to us");
    assert_refused(&keys_command(&central, "trust", &["4", &second]), "connects to us");
    assert_done(&keys_command(&central, "forget", &["4"]), "met sealed");
    let answer = api.post("/api/internal/keys", &json!({ "thumbprint": second })).json();
    assert_eq!(answer["error"], "refused", "{answer}");
    assert_eq!(stored_key(&central), Some(third));
    assert_eq!(api.output_of(2, "echo still", seconds(5)), "still");
    central.stop();
    assert_refused(&keys_command(&central, "forget", &["2"]), "does the daemon run?");
}

#[test]
fn under_strict_a_first_contact_waits_for_its_key_to_be_named() {
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 2));
    let central = Daemon::start(platform.central_with(&[&node]).with_core("fingerprint_mode: strict"));
    let thumbprint = keys::thumbprint("poller");
    central.wait_for_log(&format!("stheno keys trust --config FILE 2 {thumbprint}"), seconds(20));
    assert_done(&keys_command(&central, "trust", &["2", &thumbprint]), &thumbprint);
    assert_eq!(central.api().output_of(2, "echo strict", seconds(5)), "strict");

    assert_done(&keys_command(&central, "forget", &["2"]), "keys trust");
    until("the key is unknown again", seconds(10), || {
        let log = central.log();
        (log.matches("which fingerprint_mode: strict demands").count() > 1 && stored_key(&central).is_none())
            .then_some(())
    });
}

#[test]
fn a_relay_without_an_api_is_told_through_its_central() {
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 2).with_authorized("poller"));
    let relay = platform.plan("relay", 3).with_core("fingerprint_mode: strict").with_node(2, node.plan.port);
    let relay = Daemon::start(relay);
    let central = Daemon::start(platform.central_with(&[&relay]).with_proxy("ping: 1"));
    relay.wait_for_log("which fingerprint_mode: strict demands", seconds(20));
    let api = central.api();
    api.wait_for_pong(3, seconds(10));
    let path = "/api/nodes/3/internal/keys/2";
    let token = api.post(path, &json!({ "thumbprint": keys::thumbprint("poller") })).json()["token"].clone();
    let rows = api.finished_rows(3, token.as_str().unwrap(), seconds(10));
    assert_eq!(code(rows.last().unwrap()), 2, "{rows:?}");
    relay.wait_for_log("is up", seconds(10));

    let token = api.post(path, &json!({ "thumbprint": 7 })).json()["token"].clone();
    let rows = api.finished_rows(3, token.as_str().unwrap(), seconds(10));
    assert_eq!(code(rows.last().unwrap()), 1, "{rows:?}");
}
