mod files;
mod loading;
mod pipe;

use std::io;
use std::sync::Arc;

use ring::digest;
use rustls::SupportedProtocolVersion;
use rustls::client::ClientConnection;

use self::files::Files;
use self::pipe::{Peer, exchange, join};
use super::client::ClientContext;
use super::server::ServerContext;
use super::session::Session;
use super::verifier::{Accepted, Verifier};
use super::{certificate, provider};
use crate::config::settings::{ClientTls, ServerTls};
use crate::edge::clock;

fn context(settings: &ServerTls) -> ServerContext {
    ServerContext::load(settings, clock::wall()).unwrap().0
}

fn client(settings: &ClientTls, server_name: &str) -> Session {
    ClientContext::load(settings).unwrap().session(server_name).unwrap()
}

fn trusting(files: &Files) -> ClientTls {
    ClientTls::Verify { ca_file: Some(files.path("ca.pem")) }
}

fn client_of_version(version: &'static SupportedProtocolVersion) -> Session {
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { accepted: Accepted::Any, provider: provider() }))
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    Session::client(connection, "localhost".into())
}

/// Does a handshake and sends a word in each direction.
fn talk(client: Session, server: &ServerContext) -> io::Result<(Peer, Peer)> {
    let (mut client, mut server) = join(client, server.session().unwrap(), 1 << 16);
    exchange(&mut client, &mut server, b"ping", b"pong")?;
    assert_eq!((client.received.as_slice(), server.received.as_slice()), (b"pong".as_slice(), b"ping".as_slice()));
    Ok((client, server))
}

fn refusal(settings: &ClientTls, server_name: &str, server: &ServerContext) -> String {
    talk(client(settings, server_name), server).err().expect("the certificate must be refused").to_string()
}

#[test]
fn both_versions_carry_bytes_both_ways() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    let server = context(&files.server("node.pem", "node.key", None));
    talk(client_of_version(&rustls::version::TLS12), &server).unwrap();
    talk(client_of_version(&rustls::version::TLS13), &server).unwrap();
}

#[test]
fn large_data_passes_through_narrow_pipes_in_both_directions_at_once() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    let server = context(&files.server("node.pem", "node.key", None));
    let there: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    let back: Vec<u8> = there.iter().rev().copied().collect();
    for (capacity, len) in [(1, 300), (7, 2_000), (1_000, 100_000), (100_000, 100_000)] {
        let (mut client, mut server) =
            join(client(&trusting(&files), "localhost"), server.session().unwrap(), capacity);
        exchange(&mut client, &mut server, &there[..len], &back[..len]).unwrap();
        assert!(client.received == back[..len] && server.received == there[..len], "capacity {capacity}");
    }
}

#[test]
fn nothing_is_taken_for_sending_before_the_handshake_is_over_and_little_while_the_peer_does_not_read() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    let server = context(&files.server("node.pem", "node.key", None));
    let (mut near, mut far) = join(client(&trusting(&files), "localhost"), server.session().unwrap(), 1 << 16);
    assert_eq!(near.session.write(&mut near.end, b"early").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    exchange(&mut near, &mut far, b"x", b"y").unwrap();
    let mut taken = 0;
    let blocked = loop {
        match near.session.write(&mut near.end, &[0; 10_000]) {
            Ok(len) => taken += len,
            Err(error) => break error,
        }
    };
    assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
    assert!((60_000..140_000).contains(&taken), "{taken} bytes taken");
    assert!(near.session.wants_write());
}

#[test]
fn an_end_is_seen_whether_the_peer_says_so_or_not() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    let server = context(&files.server("node.pem", "node.key", None));
    for says_so in [true, false] {
        let (mut near, mut far) = talk(client(&trusting(&files), "localhost"), &server).unwrap();
        if says_so {
            near.session.end();
            assert!(near.session.flush(&mut near.end).unwrap(), "the socket is to be ended");
            assert!(!near.session.flush(&mut near.end).unwrap(), "only once");
        } else {
            near.end.end();
        }
        far.step(&mut [].as_slice()).unwrap();
        assert!(far.has_ended);
        // The other direction is still open.
        exchange(&mut near, &mut far, b"", b"last words").unwrap();
    }
}

#[test]
fn plain_http_on_the_tls_port_is_named() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    let mut session = context(&files.server("node.pem", "node.key", None)).session().unwrap();
    let (mut near, mut far) = pipe::pipes(1 << 16);
    io::Write::write_all(&mut near, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let error = session.read(&mut far, &mut [0; 100]).unwrap_err();
    assert!(error.to_string().contains("plain HTTP"), "{error}");
    // The error remains.
    assert!(session.read(&mut far, &mut [0; 100]).unwrap_err().to_string().contains("plain HTTP"));
}

#[test]
fn a_peer_that_ends_before_its_handshake_is_seen_to_have_ended() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    let mut session = context(&files.server("node.pem", "node.key", None)).session().unwrap();
    let (mut near, _far) = pipe::pipes(1 << 16);
    session.take_in(&[]);
    assert!(!session.is_server_handshaking());
    assert_eq!(session.read(&mut near, &mut [0; 100]).unwrap(), 0, "an end, and not Interrupted for ever");
}

#[test]
fn a_peer_that_stops_within_the_handshake_gives_an_end_or_its_name() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    let server = context(&files.server("node.pem", "node.key", None));
    let (mut near, mut far) = join(client(&trusting(&files), "localhost"), server.session().unwrap(), 100);
    near.step(&mut [].as_slice()).unwrap();
    near.end.end();
    far.step(&mut [].as_slice()).unwrap();
    assert!(far.has_ended);
    far.end.end();
    let error = (0..10).find_map(|_| near.step(&mut [].as_slice()).err()).unwrap();
    assert!(error.to_string().contains("'localhost' closed the connection"), "{error}");
}

#[test]
fn a_certificate_of_a_trusted_issuer_is_taken_by_name_and_by_address() {
    let files = Files::new();
    files.issue("node", "DNS:localhost,IP:127.0.0.1,IP:::1");
    let server = context(&files.server("node.pem", "node.key", None));
    for name in ["localhost", "127.0.0.1", "::1", "[::1]"] {
        talk(client(&trusting(&files), name), &server).unwrap();
    }
}

#[test]
fn refusals_say_why_and_what_to_do() {
    let files = Files::new();
    files.issue("node", "DNS:node.example");
    files.issue_expired("old", "DNS:localhost");
    files.openssl("req -x509 -key node.key -out self.pem -days 3 -subj /CN=self -addext subjectAltName=DNS:localhost");
    let node = context(&files.server("node.pem", "node.key", None));
    let old = context(&files.server("old.pem", "old.key", None));
    let own = context(&files.server("self.pem", "node.key", None));
    let wrong_host = refusal(&trusting(&files), "localhost", &node);
    assert!(wrong_host.contains("node.example") && wrong_host.contains("ssl_fingerprint"), "{wrong_host}");
    let expired = refusal(&trusting(&files), "localhost", &old);
    assert!(expired.contains("expired") && expired.contains("renew"), "{expired}");
    let self_signed = refusal(&trusting(&files), "localhost", &own);
    assert!(self_signed.contains("self-signed") && self_signed.contains("ssl_fingerprint"), "{self_signed}");
    let others = Files::new();
    let unknown = refusal(&trusting(&others), "node.example", &node);
    assert!(unknown.contains("issuer is unknown") && unknown.contains("ssl_ca_file"), "{unknown}");
}

#[test]
fn a_pinned_certificate_is_taken_whatever_its_names_and_dates_and_no_other_is() {
    let files = Files::new();
    files.issue_expired("old", "DNS:elsewhere");
    files.issue("node", "DNS:localhost");
    let chain = certificate::read_chain(&files.path("old.pem")).unwrap();
    let sha256: [u8; 32] = digest::digest(&digest::SHA256, &chain[0]).as_ref().try_into().unwrap();
    let pinned = ClientTls::Pinned(sha256);
    talk(client(&pinned, "localhost"), &context(&files.server("old.pem", "old.key", None))).unwrap();
    let refused = refusal(&pinned, "localhost", &context(&files.server("node.pem", "node.key", None)));
    assert!(refused.contains("SHA-256") && refused.contains("ssl_fingerprint"), "{refused}");
}

#[test]
fn no_verification_takes_every_certificate() {
    let files = Files::new();
    files.issue_expired("old", "DNS:elsewhere");
    talk(client(&ClientTls::NoVerify, "localhost"), &context(&files.server("old.pem", "old.key", None))).unwrap();
}

#[test]
fn a_connection_outlives_the_certificate_it_began_with() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    let mut listener = context(&files.server("node.pem", "node.key", None));
    let (mut near, mut far) = talk(client(&trusting(&files), "localhost"), &listener).unwrap();
    files.issue("node", "DNS:renamed");
    listener = context(&files.server("node.pem", "node.key", None));
    exchange(&mut near, &mut far, b"still", b"here").unwrap();
    talk(client(&trusting(&files), "renamed"), &listener).unwrap();
}
