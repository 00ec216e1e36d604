//! TLS of the REST API, of the WebSocket listener and of the pullwss node, opposite curl and OpenSSL.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::platform::{Daemon, Plan, Platform, STHENO, free_port, seconds, until};
use crate::script::Script;
use crate::websocket::{TOKEN, central, node};

/// A platform with the certificates of `certificates.py`.
fn platform() -> Platform {
    let platform = Platform::new();
    let folder = platform.path("");
    Script::start("certificates", &[folder.to_str().unwrap()]).succeeds(seconds(30));
    platform
}

/// The options of a listener with the certificate NAME.pem and a key.
fn tls(platform: &Platform, certificate: &str, key: &str) -> [String; 3] {
    let path = |name: String| platform.path(&name).display().to_string();
    [
        "ssl: true".to_owned(),
        format!("ssl_cert_file: {}", path(format!("{certificate}.pem"))),
        format!("ssl_key_file: {}", path(format!("{key}.key"))),
    ]
}

/// A central whose REST API has TLS.
fn api_plan(platform: &Platform, certificate: &str, key: &str) -> Plan {
    let plan = platform.plan("central", 1).with_api();
    tls(platform, certificate, key).iter().fold(plan, |plan, line| plan.with_api_option(line))
}

#[test]
fn the_subcommands_trust_the_certificate_of_the_configuration_and_no_other() {
    let platform = platform();
    let plan = api_plan(&platform, "selfsigned", "selfsigned")
        .with_api_option("auth: {enabled: true, user: me, password: 'se cret:1'}");
    let central = Daemon::start(plan);
    let stheno = |arguments: &[&str]| {
        let mut command = Command::new(STHENO);
        command.args([arguments[0], "--config"]).arg(central.plan.config_file()).args(&arguments[1..]);
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    };
    assert_eq!(stheno(&["exec", "1", "--", "echo sealed; exit 4"]), (Some(4), "sealed\n".to_owned(), String::new()));
    let (status, out, err) = stheno(&["copy", "--json", "/nowhere", "7:/tmp/"]);
    assert!(status == Some(1) && out.contains("unknown target 7"), "{out}{err}");
    // The certificate was replaced, so the listener is not trusted.
    fs::copy(platform.path("good.pem"), platform.path("selfsigned.pem")).unwrap();
    let (status, out, err) = stheno(&["exec", "1", "--", "echo sealed"]);
    assert!(status == Some(255) && out.is_empty() && err.contains("certificate"), "{out}{err}");
}

/// A central with a WebSocket listener with TLS on `port`.
fn wss_plan(platform: &Platform, port: u16, certificate: &str) -> Plan {
    let lines = tls(platform, certificate, certificate);
    central(platform, port, &lines.each_ref().map(String::as_str))
}

fn curl(platform: &Platform, arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "10", "--cacert"]).arg(platform.path("ca.pem"));
    command.args(arguments).output().expect("curl is missing: run tests/run, which installs it")
}

/// Runs `openssl s_client` on a port without sending anything.
fn s_client(port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).args(arguments).stdin(Stdio::null());
    let output = command.output().expect("openssl is missing: run tests/run, which installs it");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The certificate that a port shows, in PEM.
fn shown_certificate(port: u16) -> String {
    let text = s_client(port, &[]);
    let begin = text.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("no certificate: {text}"));
    text[begin..].split_inclusive("-----END CERTIFICATE-----").next().unwrap().to_owned()
}

fn pem(path: &Path) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn the_rest_api_is_served_over_tls_with_keys_of_every_form() {
    let platform = platform();
    for (certificate, key, passphrase) in [
        ("good", "good", None),
        ("good", "good-pkcs1", None),
        ("other", "other-sec1", None),
        ("good", "good-encrypted", Some("passphrase: open sesame")),
    ] {
        let plan = passphrase.into_iter().fold(api_plan(&platform, certificate, key), Plan::with_api_option);
        let central = Daemon::start(plan);
        let url = format!("https://127.0.0.1:{}/api/internal/thumbprint", central.plan.api_port.unwrap());
        let output = curl(&platform, &[&url]);
        assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("thumbprint"), "{key}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_refused_with_what_to_do() {
    let platform = platform();
    let (status, said) =
        Daemon::refused(api_plan(&platform, "good", "good-legacy").with_api_option("passphrase: open sesame"));
    assert!(!status.success() && said.contains("openssl pkcs8 -topk8"), "{said}");
    let (status, said) =
        Daemon::refused(api_plan(&platform, "good", "good-encrypted").with_api_option("passphrase: wrong"));
    assert!(!status.success() && said.contains("good-encrypted.key") && !said.contains("passphrase: wrong"), "{said}");
    let (status, said) = Daemon::refused(api_plan(&platform, "good", "other"));
    assert!(!status.success() && said.contains("other.key"), "the key of another certificate: {said}");
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let platform = platform();
    let central = Daemon::start(api_plan(&platform, "good", "good"));
    let port = central.plan.api_port.unwrap();
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = s_client(port, &[option]);
        assert!(said.contains(version) && said.contains("BEGIN CERTIFICATE"), "{option}: {said}");
    }
    let said = s_client(port, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
    assert!(!said.contains("BEGIN CERTIFICATE"), "{said}");
}

#[test]
fn plain_http_and_half_a_handshake_on_the_tls_port_harm_nobody() {
    let platform = platform();
    let mut central = Daemon::start(api_plan(&platform, "good", "good"));
    let port = central.plan.api_port.unwrap();
    let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain.set_read_timeout(Some(seconds(10))).unwrap();
    plain.write_all(b"GET /api/internal/thumbprint HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("use https:// or wss://"), "{answer}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{answer}");
    let mut half = TcpStream::connect(("127.0.0.1", port)).unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
    let url = format!("https://localhost:{port}/api/internal/thumbprint");
    assert!(curl(&platform, &["-4", &url]).status.success());
    central.assert_running();
}

#[test]
fn our_node_connects_with_an_authority_a_pin_or_no_check_at_all() {
    let platform = platform();
    let authority = format!("ssl_ca_file: {}", platform.path("ca.pem").display());
    let pin = format!("ssl_fingerprint: {}", pem(&platform.path("selfsigned.sha256")));
    for (certificate, line) in [
        ("good", authority.as_str()),
        ("selfsigned", &pin),
        ("expired", "https_cert_no_verify: true"),
        ("wronghost", "https_cert_no_verify: true"),
    ] {
        let port = free_port();
        let central = Daemon::start(wss_plan(&platform, port, certificate));
        let node = Daemon::start(node(&platform, port, &["ssl: true", line]));
        central.api().wait_for_pong(7, seconds(15));
        assert_eq!(central.api().output_of(7, "echo sealed", seconds(15)), "sealed");
        if line.starts_with("https_cert_no_verify") {
            node.wait_for_log("https_cert_no_verify", seconds(5));
        }
        fs::remove_file(node.plan.log_file()).unwrap();
    }
}

#[test]
fn our_node_refuses_certificates_that_prove_nothing_and_says_why() {
    let platform = platform();
    let authority = format!("ssl_ca_file: {}", platform.path("ca.pem").display());
    let wrong_pin = format!("ssl_fingerprint: {}", "00".repeat(32));
    for (certificate, line, reason) in [
        ("expired", Some(authority.as_str()), "expired"),
        ("wronghost", Some(&authority), "127.0.0.1"),
        ("selfsigned", Some(&authority), "certificate"),
        ("good", None, "certificate"),
        ("good", Some(&wrong_pin), "fingerprint"),
    ] {
        let port = free_port();
        let central = Daemon::start(wss_plan(&platform, port, certificate));
        let lines: Vec<&str> = std::iter::once("ssl: true").chain(line).collect();
        let node = Daemon::start(node(&platform, port, &lines));
        until(&format!("{certificate} {line:?} is refused in the log"), seconds(15), || {
            let log = node.log();
            let mut lines = log.lines().filter(|line| line.contains("certificate"));
            lines.any(|line| line.contains(reason) && !line.contains("- DEBUG -")).then_some(())
        });
        let status = central.api().node_status(7);
        assert_eq!(status["ping_ok"].as_i64().unwrap_or(0), 0, "{certificate}: {status}");
        drop(node);
        fs::remove_file(platform.path("node.log")).unwrap();
    }
}

#[test]
fn a_node_whose_ssl_does_not_fit_its_central_says_so() {
    let platform = platform();
    let authority = format!("ssl_ca_file: {}", platform.path("ca.pem").display());
    for (is_tls, lines, reason) in [
        (true, vec!["ssl: false"], "wants 'ssl: true'"),
        (false, vec!["ssl: true", &authority], "does not speak TLS there"),
    ] {
        let port = free_port();
        let plan = if is_tls { wss_plan(&platform, port, "good") } else { central(&platform, port, &[]) };
        let _central = Daemon::start(plan);
        let node = Daemon::start(node(&platform, port, &lines));
        node.wait_for_log(reason, seconds(15));
        drop(node);
        fs::remove_file(platform.path("node.log")).unwrap();
    }
}

#[test]
fn a_hangup_signal_reads_the_certificate_again_and_drops_nobody() {
    let platform = platform();
    let copy = |from: &str| {
        for ending in ["pem", "key"] {
            fs::copy(platform.path(&format!("{from}.{ending}")), platform.path(&format!("current.{ending}"))).unwrap();
        }
    };
    copy("good");
    let port = free_port();
    let mut central = Daemon::start(wss_plan(&platform, port, "current"));
    let authority = format!("ssl_ca_file: {}", platform.path("ca.pem").display());
    let node = Daemon::start(node(&platform, port, &["ssl: true", &authority]));
    central.api().wait_for_pong(7, seconds(15));
    assert_eq!(shown_certificate(port), pem(&platform.path("good.pem")));
    let connects = || node.log().lines().filter(|line| line.contains("connect")).count();
    let before = connects();
    copy("other");
    central.signal("HUP");
    until("the new certificate is shown", seconds(10), || {
        (shown_certificate(port) == pem(&platform.path("other.pem"))).then_some(())
    });
    assert_eq!(central.api().output_of(7, "echo still here", seconds(15)), "still here");
    assert_eq!(connects(), before, "the node's connection was left alone");
    // Invalid files have no effect.
    platform.write("current.pem", "no certificate");
    central.signal("HUP");
    central.wait_for_log("current.pem", seconds(10));
    assert_eq!(shown_certificate(port), pem(&platform.path("other.pem")));
    central.assert_running();
}

/// A central whose REST API and WebSocket listener share one port with TLS.
fn shared_plan(platform: &Platform) -> Plan {
    let plan = api_plan(platform, "good", "good").with_dial_in_node(7, "wss").with_proxy("ping: 1");
    let port = plan.api_port.unwrap();
    let mut lines = vec!["enable: true".to_owned(), "address: 127.0.0.1".to_owned()];
    lines.extend([format!("port: {port}"), format!("token: {TOKEN}")]);
    lines.extend(tls(platform, "good", "good"));
    lines.iter().fold(plan.with_proxy("httpserver:"), |plan, line| plan.with_proxy(&format!("  {line}")))
}

#[test]
fn api_and_websocket_share_one_port_with_tls() {
    let platform = platform();
    let central = Daemon::start(shared_plan(&platform));
    let port = central.plan.api_port.unwrap();
    let authority: PathBuf = platform.path("ca.pem");
    let script = Script::start(
        "websocket_node",
        &[&format!("wss://127.0.0.1:{port}/"), TOKEN, "sealed", authority.to_str().unwrap()],
    );
    script.succeeds(seconds(60));
    let url = format!("https://127.0.0.1:{port}/api/internal/constatus");
    let output = curl(&platform, &[&url]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_request_right_behind_the_tls_handshake_is_answered_however_it_is_cut() {
    let platform = platform();
    let central = Daemon::start(shared_plan(&platform));
    let port = central.plan.api_port.unwrap().to_string();
    let authority = platform.path("ca.pem");
    let said = Script::start("tls_pieces", &[&port, TOKEN, authority.to_str().unwrap()]).succeeds(seconds(120));
    let cuts: u32 = said.split_whitespace().next().unwrap().parse().unwrap();
    assert!(cuts > 300, "{said}");
}

#[test]
fn a_client_that_refuses_our_certificate_is_told_of_once_with_port_and_remedy() {
    let platform = platform();
    let central = Daemon::start(api_plan(&platform, "good", "good"));
    let port = central.plan.api_port.unwrap();
    let roots = platform.path("other.pem").display().to_string();
    for _ in 0..4 {
        let said = s_client(port, &["-verify_return_error", "-CAfile", &roots]);
        assert!(said.contains("verify error"), "{said}");
    }
    let line = format!(
        "WARNING - [tls] 127.0.0.1: port {port}: the client refused our TLS handshake (UnknownCA): it does not"
    );
    central.wait_for_log(&line, seconds(10));
    // Each connection was closed before the next one began, so all of them were seen.
    assert_eq!(curl(&platform, &[&format!("https://127.0.0.1:{port}/api/internal/thumbprint")]).status.code(), Some(0));
    assert_eq!(central.log().matches("refused our TLS handshake").count(), 1, "{}", central.log());
}
