//! Hosts that refuse us, and host keys that are known by other lines than the host's own.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use super::hostile::Script;
use super::server::Sshd;
use super::{central, command, last_message};
use crate::platform::{Daemon, Platform, assert_within, seconds};

#[test]
fn a_host_that_takes_no_connections_for_now_is_said_to_and_left_alone() {
    let platform = Platform::new();
    let words = ["Not allowed at this time", "Exceeded MaxStartups"];
    let scripts = words.map(|line| Script::saying(&format!("{line}\r\n")));
    let nodes: Vec<_> = (4..).zip(&scripts).map(|(id, script)| (id, script.node())).collect();
    let central = Daemon::start(central(&platform, &nodes));
    for ((id, _), line) in nodes.iter().zip(words) {
        let said = last_message(&command(&central.api(), *id, &json!([{ "command": "true" }])));
        let whole =
            format!("cannot connect on target node '{id}': the host refuses connections for now, it says: {line}");
        assert_eq!(said, whole);
    }
    assert!(scripts.iter().all(|script| script.connections() == 1), "a refused host is tried again at once");
}

#[test]
fn where_no_algorithm_is_common_both_offers_are_named_and_the_advice_fits() {
    let platform = Platform::new();
    let certificate = platform.path("host_certificate");
    let mut authority = Command::new("ssh-keygen");
    authority.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(platform.path("authority"));
    assert!(authority.status().unwrap().success());
    let hosts = [
        (
            vec!["KexAlgorithms sntrup761x25519-sha512@openssh.com"],
            "no common key exchange: the host offers sntrup761x25519-sha512@openssh.com; we offer curve25519-sha256, ",
            "; allow one of ours there (KexAlgorithms in sshd_config)",
        ),
        (
            vec!["Ciphers aes128-ctr", "MACs umac-64@openssh.com,umac-128@openssh.com"],
            "no common MAC: the host offers umac-64@openssh.com, umac-128@openssh.com; we offer hmac-sha2-256-etm",
            "; allow one of ours there (MACs in sshd_config)",
        ),
        (
            vec!["Ciphers aes256-cbc"],
            "no common cipher: the host offers aes256-cbc; we offer aes128-gcm@openssh.com, ",
            "; ssh_legacy_algorithms: true offers older ones of the host's",
        ),
    ];
    let hosts: Vec<_> = (4..)
        .zip(hosts)
        .map(|(id, (lines, offers, advice))| (id, Sshd::start(&platform, &format!("host{id}"), &lines), offers, advice))
        .collect();
    let certified = Sshd::start(&platform, "certified", &[]);
    certified.certify(&platform.path("authority"), &certificate);
    let only = [
        "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com".to_owned(),
        format!("HostCertificate {}", certificate.display()),
    ];
    let certified = certified.start_again(&only);
    let mut nodes: Vec<_> = hosts.iter().map(|(id, host, ..)| (*id, host.node(&[]))).collect();
    nodes.push((9, certified.node(&[])));
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    let said = |id| last_message(&command(&api, id, &json!([{ "command": "true" }])));
    let asked = Instant::now();
    for (id, _, offers, advice) in &hosts {
        let said = said(*id);
        assert!(said.contains(offers) && said.contains(advice), "{said}");
    }
    let said = said(9);
    assert!(said.contains("offers ssh-ed25519-cert-v01@openssh.com; we offer ssh-ed25519, "), "{said}");
    assert!(said.ends_with("host certificates are not supported: have it offer the plain key, too"), "{said}");
    // A request does not wait for a host whose refusal is permanent.
    assert_within(asked.elapsed(), seconds(10));
}

#[test]
fn a_key_that_is_known_without_a_port_counts_and_an_authority_does_not() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let strict = "strict_serverkey_check: true".to_owned();
    let key = sshd.known_hosts_line("ed25519");
    let (_, key) = key.split_once(' ').unwrap();
    let other = fs::read_to_string(sshd.make_stranger("other").with_extension("pub")).unwrap();
    let file = |name: &str, line: &str| format!("ssh_known_hosts: {}", platform.write(name, line).display());
    let nodes = [
        (4, sshd.node(&[file("bare", &format!("127.0.0.1 {key}")), strict.clone()])),
        (5, sshd.node(&[file("other_bare", &format!("127.0.0.1 {other}")), strict.clone()])),
        (6, sshd.node(&[file("authority", &format!("@cert-authority 127.0.0.* {other}")), strict])),
        (7, sshd.node(&[file("authority_first", &format!("@cert-authority 127.0.0.* {other}"))])),
    ];
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    for id in [4, 7] {
        assert_eq!(api.output_of_ssh(id, "echo known"), "known");
    }
    let said = |id| last_message(&command(&api, id, &json!([{ "command": "true" }])));
    let unknown = said(5);
    assert!(
        unknown.contains("is not known, and strict_serverkey_check"),
        "a bare name makes no key a changed one: {unknown}"
    );
    let unused = said(6);
    assert!(unused.contains("authority, line 1 names an authority for it, which is not used"), "{unused}");
    central.wait_for_log("authority_first, line 1 names an authority for it, which is not used", seconds(5));
    // OpenSSH's own client agrees about the bare name.
    let mut ssh = Command::new("ssh");
    ssh.args(["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-F", "none"]);
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", platform.path("bare").display()));
    ssh.arg("-i").arg(platform.path("host/id")).args(["-p", &sshd.port.to_string(), "127.0.0.1", "true"]);
    assert!(ssh.stdin(Stdio::null()).status().unwrap().success());
}
