//! Peers that violate ZMTP or the handshake are refused, and everyone else is served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::platform::client::{Client, SystemRandom};
use crate::platform::zmtp::{Dealer, frame, greeting, ready};
use crate::platform::{Daemon, Platform, STHENO, assert_within, seconds};

fn central(platform: &Platform) -> Daemon {
    Daemon::start(platform.plan("central", 1).with_api())
}

/// Fails unless a well-behaved client is served at this moment.
#[track_caller]
fn assert_serves(central: &mut Daemon) {
    central.assert_running();
    let start = Instant::now();
    let mut client = central.client();
    assert_eq!(client.request("PING", "others", "", &json!({})).kind, "PONG");
    assert_eq!(central.api().get("/api/internal/thumbprint").status, 200);
    assert_within(start.elapsed(), seconds(3));
}

/// Writes bytes on a fresh connection and waits until the daemon closes it.
#[track_caller]
fn assert_closed(port: u16, bytes: &[u8], what: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(seconds(10))).unwrap();
    let _may_be_cut_off = stream.write_all(bytes);
    let mut sink = Vec::new();
    match stream.read_to_end(&mut sink) {
        Ok(_) => (),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{what}: not closed: {error}"),
    }
}

#[test]
fn greetings_that_are_none_are_closed() {
    let platform = Platform::new();
    let mut central = central(&platform);
    let port = central.plan.port;
    let changed = |at: usize, byte: u8| {
        let mut bytes = greeting(1);
        bytes[at] = byte;
        bytes.to_vec()
    };
    for (what, bytes) in [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4)),
        ("TLS", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 100]].concat()),
        ("zeros", vec![0; 200]),
        ("no signature", changed(0, 1)),
        ("no end of the signature", changed(9, 0)),
        ("version 0", changed(10, 0)),
        ("version 2", changed(10, 2)),
        ("mechanism CURVE", [&greeting(1)[..12], b"CURVE", &[0; 47]].concat()),
        ("a message before READY", [&greeting(1)[..], &frame(0, b"[GETPUBKEY]")].concat()),
        (
            "READY with a broken property",
            [&greeting(1)[..], &frame(4, b"\x05READY\x0bSocket-Type\xff\xff\xff\xffx")].concat(),
        ),
        ("an unknown command first", [&greeting(1)[..], &frame(4, b"\x05HELLO")].concat()),
        (
            "a socket type that does not fit",
            [&greeting(1)[..], &frame(4, b"\x05READY\x0bSocket-Type\0\0\0\x03PUB")].concat(),
        ),
        ("reserved flags", [&greeting(1)[..], &ready(b"gorgone-x"), &[0xf8, 1, 0]].concat()),
    ] {
        assert_closed(port, &bytes, what);
    }
    assert_serves(&mut central);
}

#[test]
fn frames_of_impossible_length_are_closed_and_nothing_is_allocated() {
    let platform = Platform::new();
    let mut central = central(&platform);
    for length in [1_u64 << 63, u64::MAX, 1 << 40, 1 << 31] {
        let huge = [&[2_u8], &length.to_be_bytes()[..]].concat();
        let stranger = [&greeting(1)[..], &ready(b"gorgone-stranger"), &huge, b"some bytes"].concat();
        assert_closed(central.plan.port, &stranger, &format!("{length} bytes from a stranger"));
        let command = [&greeting(1)[..], &[6_u8], &length.to_be_bytes()[..]].concat();
        assert_closed(central.plan.port, &command, &format!("a command of {length} bytes"));
        let mut client = central.client();
        client.send_bytes(&huge).unwrap();
        assert_eq!(client.receive().unwrap().json["data"]["error"], json!("message_refused"));
        assert!(client.receive().is_err(), "an authorised client is cut off as well");
    }
    assert!(central.resident_kib() < 60_000, "{} KiB", central.resident_kib());
    assert_serves(&mut central);
}

#[test]
fn random_bytes_at_every_stage_kill_nothing() {
    use rsa::rand_core::TryRng as _;
    let platform = Platform::new();
    let mut central = central(&platform);
    for round in 0..200_usize {
        let mut noise = vec![0; 1 + round * 7];
        SystemRandom.try_fill_bytes(&mut noise).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", central.plan.port)).unwrap();
        let stages = [&greeting(1)[..], &ready(b"gorgone-noise"), &frame(0, b"[GETPUBKEY]")];
        for bytes in stages.iter().take(round % 4) {
            let _may_be_cut_off = stream.write_all(bytes);
        }
        let _may_be_cut_off = stream.write_all(if round % 8 < 4 { noise } else { frame(0, &noise) }.as_slice());
    }
    let mut client = central.client();
    for round in 0..100_usize {
        let mut noise = vec![0; 1 + round * 3];
        SystemRandom.try_fill_bytes(&mut noise).unwrap();
        client.send_bytes(&frame(0, &noise)).unwrap();
    }
    assert_serves(&mut central);
}

#[test]
fn two_thousand_connections_that_never_speak_keep_nobody_out() {
    let platform = Platform::new();
    // The daemon gets the usual limit of an init system, whatever the limit of this test is.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 1024; exec \"$0\" run \"$@\"", STHENO]);
    let mut central = Daemon::start_as(platform.plan("central", 1).with_api(), command);
    let open = |port: u16, count: usize| -> Vec<TcpStream> {
        let connect = || TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), seconds(5));
        (0..count)
            .map(|number| {
                connect().unwrap_or_else(|error| panic!("connection {number}: {error} (tests/run raises the limit)"))
            })
            .collect()
    };
    let silent = open(central.plan.port, 2_000);
    assert_serves(&mut central);
    let more = open(central.plan.api_port.unwrap(), 500);
    assert_serves(&mut central);
    assert!(central.resident_kib() < 100_000, "{} KiB", central.resident_kib());
    drop((silent, more));
    assert_serves(&mut central);
}

#[test]
fn peers_of_one_byte_at_a_time_are_waited_for_without_holding_up_others() {
    let platform = Platform::new();
    let mut central = central(&platform);
    let bytes: Vec<Vec<u8>> = (10..60)
        .map(|number| {
            [&greeting(1)[..], &ready(format!("gorgone-slow-{number}").as_bytes()), &frame(0, b"[GETPUBKEY]")].concat()
        })
        .collect();
    let mut slow: Vec<TcpStream> =
        bytes.iter().map(|_| TcpStream::connect(("127.0.0.1", central.plan.port)).unwrap()).collect();
    for at in 0..bytes[0].len() {
        for (stream, bytes) in slow.iter_mut().zip(&bytes) {
            stream.set_nodelay(true).unwrap();
            stream.write_all(&bytes[at..=at]).unwrap();
        }
        if at % 20 == 0 {
            assert_serves(&mut central);
        }
    }
    for stream in &mut slow {
        stream.set_read_timeout(Some(seconds(5))).unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.windows(8).any(|window| window == b"[PUBKEY]") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "closed: {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..count]);
        }
    }
}

#[test]
fn a_routing_id_that_is_not_ours_is_ignored_and_nobody_gets_out_of_step() {
    let platform = Platform::new();
    let mut central = central(&platform);
    let mut client = central.client();
    for identity in [b"other-1".as_slice(), b"", b"\0\xff\x80", b"Gorgone-1", b"gorgone", &[b'x'; 300]] {
        let mut dealer = Dealer::connect(central.plan.port, identity, 1).unwrap();
        dealer.set_timeout(Duration::from_millis(300));
        dealer.send(b"[GETPUBKEY]").unwrap();
        dealer.send(b"gorgone-client-0123456789ab0123456789ab").unwrap();
        dealer.send(&client.seal(b"[PING] [foreign] [] {}")).unwrap();
        assert!(dealer.receive().is_err(), "{:?} is served", String::from_utf8_lossy(identity));
        assert_eq!(client.request("PING", "in-step", "", &json!({})).token, "in-step");
    }
    // The log names the routing id.
    central.wait_for_log("other-1", seconds(5));
    assert_serves(&mut central);
}

#[test]
fn messages_replayed_outside_their_session_do_nothing() {
    let platform = Platform::new();
    let mut central = central(&platform);
    let client = central.client();
    let mark = platform.path("mark");
    let command = json!({ "content": [{ "command": format!("touch {}", mark.display()) }] });
    let sealed = client.seal(format!("[COMMAND] [replayed] [] {command}").as_bytes());
    let mut thief = Dealer::connect(central.plan.port, b"gorgone-thief-1", 1).unwrap();
    thief.send(&sealed).unwrap();
    // This is a session with the same routing id under the key of the thief: the message decrypts to noise.
    let mut other = Client::connect_as(central.plan.port, "client", "gorgone-other", b"gorgone-other-1").unwrap();
    other.send_bytes(&frame(0, &sealed)).unwrap();
    assert_serves(&mut central);
    let mut client = central.client();
    let rows = client.request("GETLOG", "look", "", &json!({ "token": "replayed" })).json;
    assert_eq!(rows["data"]["result"], json!([]), "{rows}");
    assert!(!mark.exists());
}
