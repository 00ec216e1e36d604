//! The independent client on our daemon's external socket.

use std::process::Command;

use serde_json::{Value, json};

use crate::platform::client::{hello, server_key};
use crate::platform::zmtp::Dealer;
use crate::platform::{Daemon, Plan, Platform, free_port, keys, seconds};
use crate::script::Script;

/// Runs a scenario of `client.py` with the key of `owner`.
#[track_caller]
fn play(endpoint: &str, owner: &str, scenario: &str, arguments: &[&str]) -> String {
    let key = keys::private_file(owner);
    let all = [&[endpoint, key.to_str().unwrap(), scenario], arguments].concat();
    Script::start("client", &all).succeeds(seconds(60))
}

fn endpoint(plan: &Plan) -> String {
    format!("tcp://127.0.0.1:{}", plan.port)
}

/// Starts a central with a node 7 that does not exist.
fn lonely_central(platform: &Platform) -> Plan {
    platform.plan("central", 1).with_api().with_node(7, free_port())
}

#[test]
fn every_core_action_answers_as_the_contract_says() {
    let platform = Platform::new();
    let central = Daemon::start(lonely_central(&platform));
    play(&endpoint(&central.plan), "client", "core_actions", &[]);
}

#[test]
fn strange_messages_get_an_answer_and_the_session_goes_on() {
    let platform = Platform::new();
    let mut central = Daemon::start(lonely_central(&platform));
    play(&endpoint(&central.plan), "client", "strange_messages", &[]);
    central.assert_running();
}

#[test]
fn a_command_through_the_central_and_one_for_itself_leave_the_rows_of_the_contract() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    play(&endpoint(&central.plan), "client", "command", &["2"]);
    let platform = Platform::new();
    let alone = Daemon::start(platform.plan("central", 1));
    play(&endpoint(&alone.plan), "client", "command", &[""]);
}

#[test]
fn a_second_connection_of_a_routing_id_takes_over() {
    let platform = Platform::new();
    let central = Daemon::start(lonely_central(&platform));
    play(&endpoint(&central.plan), "client", "handover", &[]);
}

#[test]
fn a_key_that_rotates_every_second_under_load_costs_no_message() {
    let platform = Platform::new();
    let central = Daemon::start(lonely_central(&platform).with_core("external_com_rotation: 0.0167"));
    let sent: i64 = play(&endpoint(&central.plan), "client", "rotation", &[]).trim().parse().unwrap();
    let query = "SELECT count(*), count(DISTINCT data) FROM gorgone_history WHERE token = 'rotated'";
    let stored: (i64, i64) = central.database().query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(stored, (sent, sent), "each row once");
}

#[test]
fn a_session_outlives_its_connection() {
    let platform = Platform::new();
    let central = Daemon::start(lonely_central(&platform));
    play(&endpoint(&central.plan), "client", "replay", &[]);
}

#[test]
fn the_external_socket_listens_on_ipv6_and_on_ipc() {
    let platform = Platform::new();
    let mut plan = lonely_central(&platform).with_core("ipv6: true");
    plan.external = Some(("tcp".to_owned(), format!("[::1]:{}", plan.port)));
    let central = Daemon::start(plan);
    play(&format!("tcp://[::1]:{}", central.plan.port), "client", "ping", &[]);
    drop(central);
    let mut plan = lonely_central(&platform);
    let socket = platform.path("external.ipc").to_str().unwrap().to_owned();
    plan.external = Some(("ipc".to_owned(), socket.clone()));
    let _central = Daemon::start(plan);
    play(&format!("ipc://{socket}"), "client", "ping", &[]);
}

#[test]
fn peers_of_zmtp_3_0_and_3_1_are_served() {
    let platform = Platform::new();
    let central = Daemon::start(lonely_central(&platform));
    for minor in [0, 1] {
        let mut dealer = Dealer::connect(central.plan.port, b"gorgone-old-0", minor).unwrap();
        dealer.send(b"[GETPUBKEY]").unwrap();
        assert!(dealer.receive().unwrap().starts_with(b"[PUBKEY] ["), "ZMTP 3.{minor}");
    }
    // libzmq 4.3 offers 3.1 and sends its PING commands on request.
    play(&endpoint(&central.plan), "client", "ping", &[]);
}

#[test]
fn a_wrong_key_a_wrong_hello_and_random_bytes_get_one_and_the_same_answer() {
    let platform = Platform::new();
    let central = Daemon::start(lonely_central(&platform));
    play(&endpoint(&central.plan), "stranger", "refused", &[]);
    let answer = |owner: &str, text: &[u8], spoil: bool| {
        let mut dealer =
            Dealer::connect(central.plan.port, format!("gorgone-x-{owner}-{spoil}").as_bytes(), 1).unwrap();
        dealer.send(b"[GETPUBKEY]").unwrap();
        let server = server_key(&dealer.receive().unwrap()).unwrap();
        let server = if spoil { keys::private("stranger").to_public_key() } else { server };
        dealer.send(&hello(&server, &keys::private(owner), "gorgone-x", text)).unwrap();
        dealer.receive().unwrap()
    };
    let expected = br#"[ACK] [] {"code":1,"data":{"message":"handshake issue"}}"#;
    assert_eq!(answer("stranger", b"HELO", false), expected, "a key that is not authorised");
    assert_eq!(answer("client", b"HALLO", false), expected, "another word than HELO");
    assert_eq!(answer("client", b"HELO", true), expected, "sealed for another key, so it decrypts to noise");
    // The log shows the key to authorise.
    central.wait_for_log(&keys::thumbprint("stranger"), seconds(5));
}

#[test]
fn curl_is_served() {
    let platform = Platform::new();
    let central = Daemon::start(lonely_central(&platform));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", central.plan.api_port.unwrap());
    let curl = |arguments: &[&str]| -> Value {
        let output =
            Command::new("curl").args(["--silent", "--show-error", "--max-time", "10"]).args(arguments).output();
        let output = output.expect("curl is missing: run tests/run, which installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let body = r#"[{"command":"echo from curl"}]"#;
    let token = curl(&["--request", "POST", "--data", body, &url("/api/core/action/command?log_wait=5000000")]);
    let token = token["token"].as_str().map_or_else(|| panic!("{token}"), str::to_owned);
    let log = curl(&[&url(&format!("/api/log/{token}"))]);
    assert_eq!(log["message"], json!("Logs found"), "{log}");
    // A body above 1 KiB makes curl ask first with Expect: 100-continue.
    let long = format!(r#"[{{"command":"true # {}"}}]"#, "x".repeat(2_000_000));
    let file = platform.write("body.json", long);
    let answer =
        curl(&["--request", "POST", "--data", &format!("@{}", file.display()), &url("/api/core/action/command")]);
    assert!(answer["token"].is_string(), "{answer}");
}
