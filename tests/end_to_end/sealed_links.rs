//! Links between our daemons are sealed, say so, and cannot be downgraded or changed on the way (docs/security.md).

use std::fs;
use std::process::{Command, Output};

use crate::platform::between::Between;
use crate::platform::{Daemon, Plan, Platform, STHENO, seconds, until};

/// After the handshake, messages inside TLS begin with this octet.
const SEALED: u8 = 23;

fn link_of(central: &Daemon, id: u32) -> Option<String> {
    central.api().node_status(id)["link"].as_str().map(str::to_owned)
}

fn forget(central: &Daemon, id: u32) -> Output {
    let mut command = Command::new(STHENO);
    command.args(["keys", "forget", "--config"]).arg(central.plan.config_file()).arg(id.to_string());
    command.output().unwrap()
}

/// The plan of the node, which dials `port` instead of its central.
fn pull_node(platform: &Platform, id: u32, port: u16) -> Plan {
    let lines = [format!("target_path: 127.0.0.1:{port}"), "ping: 60".to_owned()];
    platform.plan("pull", id).with_module("pull", &lines)
}

/// Removes our offer.
fn without_offer(is_near: bool, mut message: Vec<u8>) -> Vec<Vec<u8>> {
    let at = message.windows(7).position(|window| window == b" [LINK]");
    if let (false, Some(at)) = (is_near, at) {
        message.truncate(at);
    }
    vec![message]
}

fn warnings(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let lines = log.lines().filter(|line| line.contains(" - WARNING - ") && line.contains("sealed"));
    lines.map(str::to_owned).collect()
}

#[test]
fn links_to_push_and_pull_nodes_are_sealed_and_say_so() {
    let platform = Platform::new();
    let push = Daemon::start(platform.plan("push", 2));
    let plan =
        platform.central_with(&[&push]).with_dial_in_node(3, "pull").with_authorized("poller").with_proxy("ping: 1");
    let mut central = Daemon::start(plan);
    let pull = Daemon::start(pull_node(&platform, 3, central.plan.port));
    for id in [2, 3] {
        central.api().wait_for_pong(id, seconds(20));
        assert_eq!(central.api().output_of(id, "echo hello", seconds(20)), "hello");
        assert_eq!(link_of(&central, id).as_deref(), Some("sealed"));
        let routes = central.api().get(&format!("/api/internal/routes/{id}")).json();
        let link = routes.pointer(&format!("/data/{id}/candidates/0/link")).cloned();
        assert_eq!(link, Some("sealed".into()), "{routes}");
    }
    assert!(push.log().contains("sealed link)") && pull.log().contains("is up (sealed)"));
    // Restarts of each end, together and in turn.
    central.kill();
    central.start_again();
    for id in [2, 3] {
        central.api().wait_for_pong(id, seconds(20));
        assert_eq!(central.api().output_of(id, "echo again", seconds(20)), "again");
        assert_eq!(link_of(&central, id).as_deref(), Some("sealed"));
    }
}

#[test]
fn a_node_that_goes_back_to_classic_is_refused_until_it_is_forgotten() {
    let platform = Platform::new();
    let mut node = Daemon::start(platform.plan("node", 2));
    let central = Daemon::start(platform.central_with(&[&node]).with_proxy("ping: 1"));
    assert_eq!(central.api().output_of(2, "echo first", seconds(20)), "first");
    node.kill();
    node.plan.core.push("link: classic".to_owned());
    node.plan.write();
    node.start_again();
    central.wait_for_log("was met sealed and offers no sealed link any more", seconds(20));
    let failed = |central: &Daemon| central.api().node_status(2)["ping_failed"].as_i64().unwrap();
    let before = failed(&central);
    until("pings fail", seconds(10), || (failed(&central) > before).then_some(()));
    let warned: Vec<_> = warnings(&central).into_iter().filter(|line| line.contains("node '2'")).collect();
    assert!(warned.len() == 1 && warned[0].contains("keys forget --config FILE 2"), "{warned:?}");
    assert!(forget(&central, 2).status.success());
    assert_eq!(central.api().output_of(2, "echo back", seconds(20)), "back");
    assert_eq!(link_of(&central, 2).as_deref(), Some("classic"));
}

#[test]
fn a_stripped_offer_lets_no_command_pass_in_either_direction() {
    let platform = Platform::new();
    let push = Daemon::start(platform.plan("push", 2));
    let to_push = Between::new(push.plan.port);
    let plan = platform.plan("central", 1).with_api().with_node(2, to_push.port).with_dial_in_node(3, "pull");
    let central = Daemon::start(plan.with_authorized("poller").with_proxy("ping: 1"));
    let to_central = Between::new(central.plan.port);
    let pull = Daemon::start(pull_node(&platform, 3, to_central.port));
    for id in [2, 3] {
        central.api().wait_for_pong(id, seconds(20));
        assert_eq!(central.api().output_of(id, "echo first", seconds(20)), "first");
    }
    let marker = platform.path("ran");
    for between in [&to_push, &to_central] {
        between.meddle(without_offer);
        between.cut();
    }
    central.wait_for_log("node '2': tcp://127.0.0.1", seconds(20));
    pull.wait_for_log("was met sealed and offers no sealed link any more", seconds(20));
    let tokens: Vec<String> =
        [2, 3].map(|id| central.api().command(id, &format!("echo x >> {}", marker.display()))).to_vec();
    central.wait_for_log("was met sealed and offers no sealed link any more", seconds(20));
    let rows = central.api().finished_rows(2, &tokens[0], seconds(30));
    assert_eq!(rows.last().unwrap()["code"], 1, "{rows:?}");
    assert!(!marker.exists(), "no command passed");
    for between in [&to_push, &to_central] {
        between.meddle(|_, message| vec![message]);
    }
    for id in [2, 3] {
        let is_sealed = || (link_of(&central, id).as_deref() == Some("sealed")).then_some(());
        until("the link is there again", seconds(40), is_sealed);
        assert_eq!(central.api().output_of(id, "echo again", seconds(20)), "again");
        assert_eq!(link_of(&central, id).as_deref(), Some("sealed"));
    }
}

#[test]
fn messages_that_are_changed_repeated_reordered_or_cut_end_the_link_and_no_command_runs_twice() {
    type Kind = fn(&mut Vec<Vec<u8>>, Vec<u8>) -> Vec<Vec<u8>>;
    let kinds: [(&str, Kind); 4] = [
        ("changed", |_, mut message| {
            let last = message.len() - 1;
            message[last] ^= 1;
            vec![message]
        }),
        ("repeated", |_, message| vec![message.clone(), message]),
        ("reordered", |held, message| {
            held.push(message);
            if held.len() < 2 { Vec::new() } else { held.drain(..).rev().collect() }
        }),
        ("cut", |_, message| vec![message[..message.len() / 2].to_vec()]),
    ];
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 2));
    let between = Between::new(node.plan.port);
    let plan = platform.plan("central", 1).with_api().with_node(2, between.port).with_proxy("ping: 1");
    let central = Daemon::start(plan);
    assert_eq!(central.api().output_of(2, "echo first", seconds(20)), "first");
    for (name, kind) in kinds {
        for towards_node in [true, false] {
            let mut held = Vec::new();
            between.meddle(move |is_near, message| {
                let is_sealed = message.first() == Some(&SEALED) && is_near == towards_node;
                if is_sealed { kind(&mut held, message) } else { vec![message] }
            });
            let ran = platform.path(&format!("{name}-{towards_node}"));
            let sessions = || node.log().matches("has a new session").count();
            let before = sessions();
            let token = central.api().command(2, &format!("echo x >> {}", ran.display()));
            until("the link is closed and made again", seconds(20), || (sessions() > before).then_some(()));
            between.meddle(|_, message| vec![message]);
            let rows = central.api().finished_rows(2, &token, seconds(40));
            assert!(!rows.is_empty(), "{name}");
            let times = fs::read_to_string(&ran).unwrap_or_default().lines().count();
            assert!(times <= 1, "{name}: {times}");
            assert_eq!(central.api().output_of(2, "echo on", seconds(40)), "on");
        }
    }
    let lines = central.log() + &node.log();
    assert!(lines.contains("the sealed link to") && lines.contains("the sealed link of client"));
}

#[test]
fn ends_that_are_set_to_different_links_refuse_each_other_with_a_sentence_at_both() {
    for (here, there) in [("sealed", "classic"), ("classic", "sealed")] {
        let platform = Platform::new();
        let node = Daemon::start(platform.plan("node", 2).with_core(&format!("link: {there}")));
        let central = Daemon::start(platform.central_with(&[&node]).with_core(&format!("link: {here}")));
        central.wait_for_log(&format!("is set to link: {there}, but link: {here} is set here"), seconds(20));
        node.wait_for_log(&format!("it is set to link: {here}, but link: {there} is set here"), seconds(20));
    }
}
