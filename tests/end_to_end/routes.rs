//! Which nodes are known, and the ways to those behind others (protocol.md sections 5 and 7).

use std::fs;

use crate::platform::{Daemon, Platform, seconds, until};

/// Sessions that a central has opened with a poller so far.
fn sessions(poller: &Daemon) -> usize {
    poller.log().lines().filter(|line| line.contains("gorgone-proxy-1-")).count()
}

#[test]
fn a_changed_register_file_takes_effect_and_leaves_the_other_connections_alone() {
    let platform = Platform::new();
    let pollers: Vec<Daemon> = (2..5).map(|id| Daemon::start(platform.plan(&format!("poller{id}"), id))).collect();
    let [kept, dropped, added] = &pollers[..] else { unreachable!() };
    let mut central = Daemon::start(platform.central_with(&[kept, dropped]));
    let api = central.api();
    api.wait_for_pong(2, seconds(5));
    api.wait_for_pong(3, seconds(5));
    let before = sessions(kept);
    assert!(before > 0, "{}", kept.log());

    let register = platform.path("central-nodes.yaml");
    fs::write(&register, "nodes:\n  - id: 2\n    type: push_zmq\n   broken").unwrap();
    central.wait_for_log("the nodes stay as they were", seconds(5));
    assert!(!api.node_status(3).is_null());

    let mut staged = platform.central_with(&[kept, added]);
    "staged".clone_into(&mut staged.name);
    staged.write();
    // As editors do it: a new file takes the place of the old one.
    fs::rename(platform.path("staged-nodes.yaml"), &register).unwrap();
    api.wait_for_pong(4, seconds(5));
    assert!(api.node_status(3).is_null());
    assert_eq!(api.output_of(4, "echo added", seconds(5)), "added");
    assert_eq!(sessions(kept), before, "an untouched connection was dropped");

    // A file that says the same again changes nothing; SIGHUP reads it, too.
    central.signal("HUP");
    central.wait_for_log("lists the same 2 nodes as before", seconds(5));
    fs::write(&register, "nodes: []\n").unwrap();
    until("no node is left", seconds(5), || {
        (api.node_status(2).is_null() && api.node_status(4).is_null()).then_some(())
    });
    central.assert_running();
}
