//! `stheno keys rotate`: a daemon gets a new key without anybody listing it anywhere.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::platform::{Daemon, Plan, Platform, STHENO, keys, seconds, until};

/// The plan with a copy of its keys that may be replaced.
fn with_own_keys(platform: &Platform, mut plan: Plan) -> Plan {
    let folder = platform.path(&format!("keys-{}", plan.id));
    fs::create_dir(&folder).unwrap();
    for name in ["rsakey.priv.pem", "rsakey.pub.pem"] {
        fs::copy(plan.keys.join(name), folder.join(name)).unwrap();
    }
    plan.keys = folder;
    plan
}

fn rotate(daemon: &Daemon, overlap: &str) -> Output {
    let mut command = Command::new(STHENO);
    command.args(["keys", "rotate", "--overlap", overlap, "--config"]).arg(daemon.plan.config_file());
    command.output().unwrap()
}

fn thumbprint(file: PathBuf) -> String {
    let output = Command::new(STHENO).args(["keys", "thumbprint"]).arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn own_key(daemon: &Daemon) -> String {
    thumbprint(daemon.plan.keys.join("rsakey.pub.pem"))
}

/// A central with a push node and a pull node. Each link is of this kind.
fn platform_of_three(platform: &Platform, link: &str) -> (Daemon, Daemon, Daemon) {
    let link = format!("link: {link}");
    let push = Daemon::start(with_own_keys(platform, platform.plan("push", 2)).with_core(&link));
    let central = platform.central_with(&[&push]).with_dial_in_node(3, "pull").with_authorized("pull-node");
    let central = Daemon::start(with_own_keys(platform, central.with_proxy("ping: 1")).with_core(&link));
    let lines = [format!("target_path: 127.0.0.1:{}", central.plan.port), "ping: 60".to_owned()];
    let mut pull = platform.plan("pull", 3).with_module("pull", &lines).with_core(&link);
    pull.keys = keys::folder("pull-node");
    let pull = Daemon::start(with_own_keys(platform, pull));
    for id in [2, 3] {
        central.api().wait_for_pong(id, seconds(20));
        assert_eq!(central.api().output_of(id, "echo hello", seconds(20)), "hello");
    }
    (central, push, pull)
}

fn assert_works(central: &mut Daemon, others: [&mut Daemon; 2]) {
    for daemon in others {
        daemon.stop();
        daemon.start_again();
    }
    central.stop();
    central.start_again();
    for id in [2, 3] {
        central.api().wait_for_pong(id, seconds(20));
        assert_eq!(central.api().output_of(id, "echo new", seconds(20)), "new");
    }
}

fn rotates_everywhere(link: &str) {
    let platform = Platform::new();
    let (mut central, mut push, mut pull) = platform_of_three(&platform, link);
    let old = [own_key(&central), own_key(&push), own_key(&pull)];
    for daemon in [&central, &push, &pull] {
        let output = rotate(daemon, "12s");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("the new key "), "{said} {output:?}");
        daemon.wait_for_log("our new key ", seconds(30));
        daemon.wait_for_log(" is in use", seconds(30));
    }
    let new = [own_key(&central), own_key(&push), own_key(&pull)];
    assert!(old.iter().all(|key| !new.contains(key)), "{old:?} {new:?}");
    assert_works(&mut central, [&mut push, &mut pull]);
    // Nobody was told by hand, and the old key is not taken any more.
    let config = fs::read_to_string(push.plan.config_file()).unwrap();
    assert!(config.contains(&old[0]) && !config.contains(&new[0]));
    push.wait_for_log(&format!("{} may no longer connect", old[0]), seconds(40));
    assert_works(&mut central, [&mut push, &mut pull]);
}

#[test]
fn every_daemon_gets_a_new_key_over_sealed_links_and_nothing_is_listed_by_hand() {
    rotates_everywhere("auto");
}

#[test]
fn every_daemon_gets_a_new_key_over_classic_links_and_nothing_is_listed_by_hand() {
    rotates_everywhere("classic");
}

#[test]
fn a_crash_at_any_step_leaves_a_working_daemon_that_goes_on() {
    let platform = Platform::new();
    let (mut central, mut push, mut pull) = platform_of_three(&platform, "auto");
    let old = own_key(&central);
    // Nobody may learn it before the crash.
    push.signal("STOP");
    let output = rotate(&central, "20s");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("node '2': "), "{said}");
    central.kill();
    // As after a crash between the removal of the public key and the renaming of the private one.
    fs::remove_file(central.plan.keys.join("rsakey.pub.pem")).unwrap();
    push.signal("CONT");
    central.start_again();
    central.wait_for_log(" is in use", seconds(60));
    let new = own_key(&central);
    assert_ne!(new, old);
    assert!(!central.plan.keys.join("rsakey.priv.pem.next").exists());
    assert_works(&mut central, [&mut push, &mut pull]);
    // As after a crash between the renaming and the writing of the public key.
    central.kill();
    fs::remove_file(central.plan.keys.join("rsakey.pub.pem")).unwrap();
    central.start_again();
    assert_eq!(own_key(&central), new);
    assert_works(&mut central, [&mut push, &mut pull]);
}

#[test]
fn whoever_does_not_learn_a_new_key_is_named_and_the_key_is_used_all_the_same() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api().with_node(2, 1);
    let central = Daemon::start(with_own_keys(&platform, plan));
    let old = own_key(&central);
    let said = String::from_utf8(rotate(&central, "10s").stdout).unwrap();
    assert!(said.contains("node '2': not connected") && said.contains("by hand"), "{said}");
    // The one that is under way is shown, and no second one begins.
    let again = String::from_utf8(rotate(&central, "10s").stdout).unwrap();
    let key = |text: &str| text.split_whitespace().find(|word| word.len() == 43).map(str::to_owned);
    assert_eq!(key(&said), key(&again), "{said}\n{again}");
    until("the new key", seconds(60), || (own_key(&central) != old).then_some(()));
    central.wait_for_log("is not known to ", seconds(20));
    let in_use = until("the end of the change", seconds(20), || {
        let said = String::from_utf8(rotate(&central, "1h").stdout).unwrap();
        said.contains("is in use").then_some(said)
    });
    assert_eq!(key(&said), key(&in_use), "{said}\n{in_use}");
    assert!(central.log().contains("node '2' (not connected)"), "{}", central.log());
}
