//! What all share (descriptors, memory, places of calls) is not used up by one.

use std::net::TcpStream;
use std::process::Command;

use serde_json::json;

use crate::platform::{Daemon, Platform, STHENO, seconds, until};

#[test]
fn strangers_that_hold_every_descriptor_keep_neither_clients_nor_commands_nor_the_history_out() {
    let platform = Platform::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 300; exec \"$0\" run \"$@\"", STHENO]);
    let mut central = Daemon::start_as(platform.plan("central", 1).with_api(), command);
    let address = ([127, 0, 0, 1], central.plan.port).into();
    let silent: Vec<_> = (0..800).filter_map(|_| TcpStream::connect_timeout(&address, seconds(5)).ok()).collect();
    for round in 0..5 {
        let mut client = central.client();
        assert_eq!(client.request("PING", "ping", "", &json!({})).kind, "PONG");
        let token = format!("command-{round}");
        client.send("COMMAND", &token, "", &json!({ "content": [{ "command": "echo here" }] })).unwrap();
        let rows = client.wait_for_rows(&token, seconds(20));
        assert!(rows.iter().any(|row| row.to_string().contains("here")), "{rows:?}");
    }
    drop(silent);
    central.assert_running();
}

#[test]
fn a_register_file_that_changes_while_the_daemon_starts_is_read() {
    let platform = Platform::new();
    for round in 0..8 {
        let name = format!("central{round}");
        let mut staged = platform.plan(&name, 1).with_node(77, 9);
        staged.name = format!("staged{round}");
        staged.write();
        let mut command = Command::new("sh");
        let delay = format!("0.0{:02}", 4 + 12 * round);
        let (new, old) =
            (platform.path(&format!("staged{round}-nodes.yaml")), platform.path(&format!("{name}-nodes.yaml")));
        let change = format!("(sleep {delay}; mv '{}' '{}') &", new.display(), old.display());
        command.args(["-c", &format!("{change} exec \"$0\" run \"$@\""), STHENO]);
        let central = Daemon::start_as(platform.plan(&name, 1).with_api().with_node(2, 9), command);
        let api = central.api();
        until("node 77 is known", seconds(10), || (!api.node_status(77).is_null()).then_some(()));
        assert!(api.node_status(2).is_null());
    }
}
