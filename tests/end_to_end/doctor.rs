//! The mistakes whose cause `stheno doctor` names. Each test makes one of them in a platform that otherwise works.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

use crate::platform::small_disk::SmallDisk;
use crate::platform::{Daemon, Plan, Platform, STHENO, free_port, keys, seconds};

const TOKEN: &str = "t0k3n-0f-the-test";

/// Returns the JSON that it printed, after a check of its exit status.
#[track_caller]
fn doctor(plan: &Plan, arguments: &[&str]) -> Value {
    let mut command = Command::new(STHENO);
    command.args(["doctor", "--json", "--config"]).arg(plan.config_file()).args(arguments);
    judged(command.output().unwrap())
}

#[track_caller]
fn judged(output: Output) -> Value {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    let is_well = report["cause"] == "none";
    assert_eq!(output.status.code(), Some(i32::from(!is_well)), "{said}");
    for step in report["steps"].as_array().unwrap() {
        let members: Vec<&str> = step.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["advice", "expected", "ok", "seen", "step"], "{step}");
        assert_eq!(step["ok"] == true, step["advice"] == "", "advice where something is wrong: {step}");
    }
    report
}

#[track_caller]
fn finds(plan: &Plan, arguments: &[&str], cause: &str) -> String {
    let report = doctor(plan, arguments);
    assert_eq!(report["cause"], cause, "{report:#}");
    let wrong = report["steps"].as_array().unwrap().iter().find(|step| step["ok"] == false);
    wrong.map_or_else(String::new, |step| format!("{} {}", step["seen"], step["advice"]))
}

/// A central with both listeners for nodes that dial in.
fn central(platform: &Platform, port: u16, more: &[&str]) -> Plan {
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(6, "pull").with_dial_in_node(7, "wss");
    let plan = plan.with_authorized("poller").with_proxy("ping: 1").with_proxy("httpserver:");
    let plan = plan.with_proxy("  enable: true").with_proxy("  address: 127.0.0.1");
    let plan = plan.with_proxy(&format!("  port: {port}")).with_proxy(&format!("  token: {TOKEN}"));
    more.iter().fold(plan, |plan, line| plan.with_proxy(&format!("  {line}")))
}

fn pull(platform: &Platform, id: u32, port: u16) -> Plan {
    platform.plan(&format!("node-{id}"), id).with_module("pull", &[format!("target_path: 127.0.0.1:{port}")])
}

fn pullwss(platform: &Platform, id: u32, port: u16, more: &[&str]) -> Plan {
    let mut lines = vec!["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: {TOKEN}")];
    for line in more {
        let key = line.split(':').next().unwrap();
        lines.retain(|other| !other.starts_with(&format!("{key}:")));
        lines.push((*line).to_owned());
    }
    platform.plan(&format!("node-{id}"), id).with_module("pullwss", &lines)
}

/// A program that says something to each client and does not read.
fn other_service(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _gone = stream.write_all(greeting);
            open.push(stream);
        }
    });
    port
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let platform = Platform::new();
    let port = free_port();
    let plan = central(&platform, port, &[]);
    let push = Daemon::start(platform.plan("poller", 2));
    let nodes = [pull(&platform, 6, plan.port), pullwss(&platform, 7, port, &[])].map(Daemon::start);
    let central = Daemon::start(plan.with_node(2, push.plan.port));
    for id in [2, 6, 7] {
        central.api().wait_for_pong(id, seconds(10));
        finds(&central.plan, &[&id.to_string()], "none");
    }
    for daemon in nodes.iter().chain([&central, &push]) {
        finds(&daemon.plan, &[], "none");
    }
    let report = doctor(&nodes[1].plan, &[]);
    let steps: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    for step in [
        "configuration",
        "keys",
        "database",
        "disk",
        "ports",
        "unit",
        "time",
        "limits",
        "name",
        "upgrade",
        "token",
        "id",
    ] {
        assert!(steps.contains(&step), "{step} of {steps:?}");
    }
}

#[test]
fn a_node_that_cannot_be_reached_has_its_cause() {
    let platform = Platform::new();
    let (poller, three) = (Daemon::start(platform.plan("poller", 2)), Daemon::start(platform.plan("node-3", 3)));
    let nothing = free_port();
    let ssh = other_service(b"SSH-2.0-OpenSSH_9.2p1\r\n");
    let silent = other_service(b"");
    let mut plan = platform.plan("central", 1).with_api();
    plan.nodes = vec![
        (2, "127.0.0.1".to_owned(), nothing),
        (4, "127.0.0.1".to_owned(), ssh),
        (5, "127.0.0.1".to_owned(), silent),
        (6, "no-such-host.invalid".to_owned(), 5556),
    ];
    let mut central = Daemon::start(plan.clone());
    let text = finds(&central.plan, &["2"], "wrong_port");
    assert!(text.contains(&poller.plan.port.to_string()), "the right port is named: {text}");
    finds(&central.plan, &["4"], "other_service");
    finds(&central.plan, &["5"], "other_service");
    finds(&central.plan, &["6"], "name_not_found");
    finds(&central.plan, &["77"], "id_unlisted");
    central.stop();
    finds(&central.plan, &["4"], "daemon_not_running");
    // The addresses of two nodes are swapped.
    central.plan.nodes =
        vec![(2, "127.0.0.1".to_owned(), three.plan.port), (3, "127.0.0.1".to_owned(), poller.plan.port)];
    central.plan.write();
    central.start_again();
    let text = finds(&central.plan, &["2"], "ids_swapped");
    assert!(text.contains("node 3"), "{text}");
}

#[test]
fn a_node_that_has_stopped_refuses_the_connection() {
    let platform = Platform::new();
    let (central, mut poller) = platform.pair();
    central.api().wait_for_pong(2, seconds(10));
    poller.stop();
    finds(&central.plan, &["2"], "connection_refused");
}

#[test]
fn wrong_keys_on_either_side_are_told_apart() {
    let platform = Platform::new();
    let first = platform.plan("poller", 2);
    let mut stranger = first.clone();
    let mut poller = Daemon::start(first.clone());
    let mut plan = platform.central_with(&[&poller]);
    let mut central = Daemon::start(plan.clone());
    central.api().wait_for_pong(2, seconds(10));
    // The node gets a new key.
    poller.stop();
    stranger.keys = keys::folder("stranger");
    let mut poller = Daemon::start(stranger);
    let text = finds(&central.plan, &["2"], "key_changed");
    assert!(text.contains("keys trust") && text.contains(&keys::thumbprint("stranger")), "{text}");
    poller.stop();
    // The central gets a new key, which the node does not know.
    central.stop();
    plan.keys = keys::folder("other-central");
    let _poller = Daemon::start(first);
    let central = Daemon::start(plan);
    let text = finds(&central.plan, &["2"], "key_not_authorized");
    assert!(text.contains(&keys::thumbprint("other-central")), "{text}");
}

#[test]
fn what_a_node_lacks_is_found_from_its_central() {
    let platform = Platform::new();
    let mut no_action = platform.plan("no-action", 2);
    no_action.has_action = false;
    let strict =
        platform.plan("strict", 3).with_action("whitelist_cmds: true").with_action("allowed_cmds: ['^uptime$']");
    let usual = platform.plan("usual", 4).with_action("whitelist_cmds: true");
    let usual = usual.with_action(r"allowed_cmds: ['^cat\s+/var/lib/centreon-engine/[a-zA-Z0-9\-]+-stats\.json\s*$']");
    let nodes = [no_action, strict, usual].map(Daemon::start);
    let central = Daemon::start(platform.central_with(&nodes.iter().collect::<Vec<_>>()));
    for id in [2, 3, 4] {
        central.api().wait_for_pong(id, seconds(10));
    }
    finds(&central.plan, &["2"], "module_missing");
    finds(&central.plan, &["3"], "command_not_allowed");
    finds(&central.plan, &["4"], "none");
}

#[test]
fn a_clock_that_is_off_is_found_from_the_central() {
    if Command::new("faketime").args(["-f", "+1h", "true"]).output().is_err() {
        return println!("SKIPPED: faketime is not installed");
    }
    let platform = Platform::new();
    let mut command = Command::new("faketime");
    command.args(["-f", "+3600s", STHENO, "run"]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let poller = Daemon::start_as(platform.plan("poller", 2), command);
    let central = Daemon::start(platform.central_with(&[&poller]));
    central.api().wait_for_pong(2, seconds(10));
    let text = finds(&central.plan, &["2"], "clock_off");
    assert!(text.contains("ahead"), "{text}");
}

#[test]
fn a_node_that_dials_in_finds_what_is_wrong_with_its_key_token_id_and_port() {
    let platform = Platform::new();
    let port = free_port();
    let plan = central(&platform, port, &[]);
    let zmq_port = plan.port;
    let _six = Daemon::start(pull(&platform, 6, zmq_port));
    let _seven = Daemon::start(pullwss(&platform, 7, port, &[]));
    let central = Daemon::start(plan);
    for id in [6, 7] {
        central.api().wait_for_pong(id, seconds(10));
    }
    let look = |mut plan: Plan, name: &str, cause: &str| {
        plan.name = name.to_owned();
        plan.database = platform.path(&format!("{name}.sdb"));
        plan.write();
        finds(&plan, &[], cause)
    };
    look(pull(&platform, 8, zmq_port), "unlisted-pull", "id_unlisted");
    look(pullwss(&platform, 8, port, &[]), "unlisted-wss", "id_unlisted");
    look(pull(&platform, 6, zmq_port), "twice-pull", "id_twice");
    look(pullwss(&platform, 7, port, &[]), "twice-wss", "id_twice");
    look(pullwss(&platform, 7, port, &["token: wr0ng"]), "token", "wrong_token");
    look(pull(&platform, 6, free_port()), "port", "wrong_port");
    look(pull(&platform, 6, port), "listener", "other_service");
    look(pullwss(&platform, 7, zmq_port, &[]), "socket", "other_service");
    look(pullwss(&platform, 7, free_port(), &[]), "refused", "connection_refused");
    look(pullwss(&platform, 7, port, &["ssl: true"]), "tls-here", "tls_on_one_side");
    let mut stranger = pull(&platform, 6, zmq_port);
    stranger.keys = keys::folder("stranger");
    let text = look(stranger, "stranger", "key_not_authorized");
    assert!(text.contains(&keys::thumbprint("stranger")), "{text}");
}

#[test]
fn a_central_with_a_new_key_is_found_from_the_node() {
    let platform = Platform::new();
    let mut plan = platform.plan("central", 1).with_api().with_dial_in_node(6, "pull").with_authorized("poller");
    let node = Daemon::start(pull(&platform, 6, plan.port));
    let mut before = Daemon::start(plan.clone());
    before.api().wait_for_pong(6, seconds(10));
    before.stop();
    plan.keys = keys::folder("other-central");
    let _after = Daemon::start(plan);
    finds(&node.plan, &[], "key_changed");
}

/// Makes an authority and certificates: a valid one, an expired one, one for another name, and one of another
/// authority.
fn certificates(folder: &Path) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("good.ext", "subjectAltName = IP:127.0.0.1\n");
    write("name.ext", "subjectAltName = DNS:elsewhere.example\n");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let mut lines = Vec::new();
    for authority in ["ca", "other-ca"] {
        lines.push(format!(
            "req -x509 {key} -days 9 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
        ));
    }
    for (name, authority, extensions, dates) in [
        ("good", "ca", "good", "-days 9"),
        ("expired", "ca", "good", "-not_before 20200101000000Z -not_after 20200201000000Z"),
        ("name", "ca", "name", "-days 9"),
    ] {
        lines.push(format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        lines.push(format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -extfile \
             {extensions}.ext -out {name}.pem {dates}"
        ));
    }
    for line in lines {
        let run = |line: &str| Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
        let mut output = run(&line);
        if !output.status.success() && line.contains("-not_before") {
            // OpenSSL before 3.4 can only set a number of days.
            let (begin, _) = line.split_once(" -not_before").unwrap();
            output = Command::new("faketime")
                .arg("2020-01-01")
                .arg("openssl")
                .args(format!("{begin} -days 9").split(' '))
                .current_dir(folder)
                .output()
                .unwrap();
        }
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_certificate_that_is_refused_has_its_cause() {
    let platform = Platform::new();
    let folder = platform.path("");
    certificates(&folder);
    let file = |name: &str| folder.join(name).display().to_string();
    let look = |certificate: &str, more: &[&str], cause: &str| {
        let port = free_port();
        let lines = [
            "ssl: true".to_owned(),
            format!("ssl_cert_file: {}", file(&format!("{certificate}.pem"))),
            format!("ssl_key_file: {}", file(&format!("{certificate}.key"))),
        ];
        let central = Daemon::start(central(&platform, port, &lines.each_ref().map(String::as_str)));
        let node = pullwss(&platform, 7, port, more);
        node.write();
        finds(&node, &[], cause);
        if certificate == "expired" {
            finds(&central.plan, &[], "certificate_expired");
        }
    };
    let ca = format!("ssl_ca_file: {}", file("ca.pem"));
    let other = format!("ssl_ca_file: {}", file("other-ca.pem"));
    let pin = format!("ssl_fingerprint: {}", "ab".repeat(32));
    look("good", &["ssl: true", &ca], "none");
    look("good", &["ssl: true", &other], "certificate_unknown_issuer");
    look("good", &["ssl: true", &pin], "certificate_not_trusted_pin");
    look("good", &["ssl: false"], "tls_on_one_side");
    look("expired", &["ssl: true", &ca], "certificate_expired");
    look("name", &["ssl: true", &ca], "certificate_wrong_name");
    look("good", &["ssl: true", &format!("ssl_ca_file: {}", file("missing.pem"))], "file_not_readable");
}

#[test]
fn a_clock_that_is_off_is_not_taken_for_an_expired_certificate() {
    if Command::new("faketime").args(["-f", "+1h", "true"]).output().is_err() {
        return println!("SKIPPED: faketime is not installed");
    }
    let platform = Platform::new();
    let folder = platform.path("");
    certificates(&folder);
    let file = |name: &str| folder.join(name).display().to_string();
    let port = free_port();
    let lines = [
        "ssl: true".to_owned(),
        format!("ssl_cert_file: {}", file("good.pem")),
        format!("ssl_key_file: {}", file("good.key")),
    ];
    let _central = Daemon::start(central(&platform, port, &lines.each_ref().map(String::as_str)));
    let node = pullwss(&platform, 7, port, &["ssl: true", &format!("ssl_ca_file: {}", file("ca.pem"))]);
    node.write();
    let mut command = Command::new("faketime");
    command.args(["-f", "+400d", STHENO, "doctor", "--json", "--config"]).arg(node.config_file());
    let report = judged(command.output().unwrap());
    assert_eq!(report["cause"], "clock_off", "{report:#}");
}

#[test]
fn packets_that_are_dropped_are_no_refusal() {
    let platform = Platform::new();
    let node = pull(&platform, 6, 5556);
    node.write();
    let line = format!(
        "ip link set lo up && iptables -A INPUT -p tcp --dport 5556 -j DROP && exec {STHENO} doctor --json --config {}",
        node.config_file().display()
    );
    let output = Command::new("unshare").args(["-n", "sh", "-c", &line]).output();
    match output {
        Ok(output) if !output.stdout.is_empty() => assert_eq!(judged(output)["cause"], "packets_dropped"),
        _ => println!("SKIPPED: network namespaces and iptables are not allowed here"),
    }
}

#[test]
fn mistakes_of_this_machine_have_their_cause() {
    let platform = Platform::new();
    let mut running = Daemon::start(platform.plan("running", 2));
    let look = |mut plan: Plan, name: &str, cause: &str| {
        plan.name = name.to_owned();
        plan.write();
        finds(&plan, &[], cause)
    };
    look(platform.plan("unknown", 3).with_core("fingerprint_modus: first"), "unknown", "unknown_option");
    look(platform.plan("wrong", 3).with_core("timeout: soon"), "wrong", "wrong_option");
    let mut same_database = platform.plan("same", 3);
    same_database.database.clone_from(&running.plan.database);
    look(same_database, "same-database", "database_in_use");
    let mut same_port = platform.plan("port", 3);
    same_port.port = running.plan.port;
    let text = look(same_port, "same-port", "port_in_use");
    assert!(text.contains("process"), "who has it: {text}");
    let mut no_database = platform.plan("nonsense", 3);
    fs::write(&no_database.database, "this is no database ".repeat(100)).unwrap();
    no_database.name = "nonsense".to_owned();
    look(no_database, "nonsense", "database_unusable");
    let missing = Plan { name: "missing".to_owned(), ..platform.plan("missing", 3) };
    finds(&missing, &[], "file_not_readable");
    let lone = platform.plan("lone", 3);
    lone.write();
    let text = fs::read_to_string(lone.config_file()).unwrap();
    let text: String = text.replace("enable: \"true\"", "enable: false");
    fs::write(lone.config_file(), text).unwrap();
    finds(&lone, &[], "module_missing");
    running.stop();
}

#[test]
fn a_full_and_a_read_only_disk_are_told_apart() {
    let platform = Platform::new();
    let place: PathBuf = platform.path("disk");
    let Some(disk) = SmallDisk::new(place.clone()) else { return };
    let mut plan = platform.plan("poller", 2);
    plan.database = place.join("history.sdb");
    plan.write();
    // The file system has 1 MB.
    finds(&plan, &[], "disk_full");
    disk.remount_read_only();
    finds(&plan, &[], "read_only");
}

#[test]
fn a_relay_and_what_is_behind_it_are_looked_at() {
    let platform = Platform::new();
    let behind = Daemon::start(platform.plan("node-8", 8).with_authorized("poller"));
    let relay = Daemon::start(platform.plan("node-3", 3).with_node(8, behind.plan.port));
    let central = Daemon::start(platform.central_with(&[&relay]));
    central.api().wait_for_pong(3, seconds(10));
    crate::platform::until("the relay tells of node 8", seconds(20), || {
        (doctor(&central.plan, &["8"])["cause"] == "none").then_some(())
    });
    finds(&central.plan, &["3"], "none");
}
