//! Tokens of nodes that a scripted web API knows, for a central without tokens of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::platform::{Daemon, Plan, Platform, free_port, seconds, until};
use crate::script::Script;

const REGISTER: &[u8] = br#"[REGISTERNODES] [] [] {"nodes":[{"id":7,"type":"wss","identity":7}]}"#;

/// A central whose tokens are all in a web API on that port.
fn central(platform: &Platform, port: u16, web: u16) -> Plan {
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss");
    let plan = plan.with_web_api(&format!("http://127.0.0.1:{web}/centreon/api/latest"), "gorgone", "p4ss-word");
    let lines = ["httpserver:", "  enable: true", "  address: 127.0.0.1", &format!("  port: {port}")];
    lines.iter().fold(plan, |plan, line| plan.with_proxy(line))
}

/// Our node 7, which dials to `port` with a token.
fn node(platform: &Platform, port: u16, token: &str) -> Daemon {
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), format!("token: '{token}'")];
    Daemon::start(platform.plan("node", 7).with_module("pullwss", &lines))
}

fn web_api(web: u16, mode: &std::path::Path) -> Script {
    let script = Script::start("web_api", &[web.to_string(), mode.display().to_string()]);
    until("the web API listens", seconds(20), || TcpStream::connect(("127.0.0.1", web)).ok());
    script
}

/// Returns the central's last message to a node with this token.
fn refusal(port: u16, token: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(seconds(60))).unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    // The text is masked with 0.
    bytes.extend([0x81, 0x80 | u8::try_from(REGISTER.len()).unwrap(), 0, 0, 0, 0]);
    bytes.extend(REGISTER);
    stream.write_all(&bytes).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\"}") && matches!(stream.read(&mut byte), Ok(1)) {
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_web_api_says_which_tokens_are_right_and_what_was_right_stays_so_while_it_fails() {
    let platform = Platform::new();
    let (port, web) = (free_port(), free_port());
    let mode = platform.write("mode", "tokens\n");
    let mut script = web_api(web, &mode);
    let mut central = Daemon::start(central(&platform, port, web));
    let first = node(&platform, port, "good:s3cret-value");
    central.api().wait_for_pong(7, seconds(20));
    let base = "/centreon/api/latest";
    assert_eq!(script.line(), format!("POST {base}/login"));
    assert_eq!(script.line(), format!("GET {base}/administration/tokens/good"));
    drop(first);

    const WRONG: &str = "token authorization unallowed";
    for token in ["good:other", "revoked:s3cret-value", "expired:s3cret-value", "none:s3cret-value", "s3cret-value"] {
        let told = refusal(port, token);
        assert!(told.starts_with("HTTP/1.1 101") && told.contains(WRONG), "{token}: {told}");
    }
    for failure in ["500", "html", "nothing"] {
        fs::write(&mode, failure).unwrap();
        let told = refusal(port, "none:s3cret-value");
        assert!(told.contains("the token cannot be checked now, try again later"), "{failure}: {told}");
        until("the pause after a failed call ends", seconds(40), || {
            fs::write(&mode, "tokens").unwrap();
            refusal(port, "none:s3cret-value").contains(WRONG).then_some(())
        });
    }
    central.wait_for_log("the web API answers again", seconds(20));
    drop(script);
    let told = refusal(port, "none:s3cret-value");
    assert!(told.contains("the token cannot be checked now"), "{told}");
    let _again = node(&platform, port, "good:s3cret-value");
    central.api().wait_for_pong(7, seconds(20));
    central.assert_running();
    let log = central.log();
    let line = format!("tokens of nodes cannot be checked: the web API at 127.0.0.1:{web}{base}: ");
    assert_eq!(log.matches(&line).count(), 4, "once for each failure: {log}");
    assert!(!log.contains("s3cret-value") && !log.contains("p4ss-word") && !log.contains("session\""), "{log}");
}
