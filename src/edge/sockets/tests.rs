use mio::{Events, Poll};

use std::io::{Read as _, Write as _};
use std::time::Duration;

use super::*;
use crate::config::settings::{ClientTls, ServerTls};
use crate::edge::temp_dir::TempDir;
use crate::edge::tls::{client::ClientContext, server::ServerContext};

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.to_owned(), port }
}

fn refused(endpoint: &Endpoint) -> String {
    Listener::bind(endpoint, false).err().expect("the endpoint must be refused")
}

fn await_event(source: &mut impl Source, interests: Interest) {
    let mut poll = Poll::new().unwrap();
    poll.registry().register(source, Token(0), interests).unwrap();
    let mut events = Events::with_capacity(4);
    while let Err(error) = poll.poll(&mut events, Some(Duration::from_secs(10))) {
        // A signal of another test interrupted it.
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
    }
    assert!(!events.is_empty(), "nothing happened within 10 s");
    poll.registry().deregister(source).unwrap();
}

fn accept(listener: &mut Listener) -> (Stream, PeerAddress) {
    await_event(listener, Interest::READABLE);
    listener.accept().unwrap().unwrap()
}

fn await_connected(stream: &mut Stream) -> io::Result<bool> {
    await_event(stream, Interest::WRITABLE);
    stream.connected()
}

/// Writes `word` on one stream and reads it on the other.
fn assert_carries(from: &mut Stream, to: &mut Stream, word: &[u8]) {
    assert_eq!(from.write(word).unwrap(), word.len());
    await_event(to, Interest::READABLE);
    let mut bytes = [0_u8; 64];
    let length = to.read(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], word);
}

#[test]
fn tcp_connections_carry_bytes_both_ways_and_end() {
    let mut listener = Listener::bind(&tcp("127.0.0.1", 0), false).unwrap();
    assert!(listener.accept().unwrap().is_none());
    let mut near = Stream::connect(listener.local_address().unwrap()).unwrap();
    assert!(await_connected(&mut near).unwrap());
    near.set_keepalive().unwrap();
    let (mut far, peer) = accept(&mut listener);
    assert_eq!(peer, PeerAddress::Ip("127.0.0.1".parse().unwrap()));
    assert_carries(&mut near, &mut far, b"ping");
    assert_carries(&mut far, &mut near, b"pong");
    near.shutdown_write().unwrap();
    await_event(&mut far, Interest::READABLE);
    assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_mapped_address_is_given_as_ipv4() {
    let Ok(mut listener) = Listener::bind(&tcp("*", 0), true) else { return };
    let port = listener.local_address().unwrap().port();
    let mut near = Stream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    if await_connected(&mut near).is_ok() {
        assert_eq!(accept(&mut listener).1, PeerAddress::Ip("127.0.0.1".parse().unwrap()));
    }
}

#[test]
fn a_refused_connection_is_an_error_once_it_is_known() {
    let listener = Listener::bind(&tcp("127.0.0.1", 0), false).unwrap();
    let address = listener.local_address().unwrap();
    drop(listener);
    let mut stream = Stream::connect(address).unwrap();
    assert_eq!(await_connected(&mut stream).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_busy_port_and_a_foreign_address_are_named_with_the_remedy() {
    let listener = Listener::bind(&tcp("127.0.0.1", 0), false).unwrap();
    let port = listener.local_address().unwrap().port();
    let busy = refused(&tcp("127.0.0.1", port));
    assert!(busy.contains(&format!("tcp://127.0.0.1:{port}")) && busy.contains("another port"), "{busy}");
    let foreign = refused(&tcp("192.0.2.1", 0));
    assert!(foreign.contains("192.0.2.1") && foreign.contains("no such address"), "{foreign}");
    assert!(refused(&tcp("not a host", 1)).contains("'not a host'"));
}

/// A dropped listener is gone only when no command that is just starting has a copy of its descriptor.
fn bind_when_free(endpoint: &Endpoint) -> Listener {
    let start = std::time::Instant::now();
    loop {
        match Listener::bind(endpoint, false) {
            Ok(listener) => return listener,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "{error}"),
        }
    }
}

#[test]
fn a_port_can_be_bound_again_while_old_connections_linger() {
    let mut listener = Listener::bind(&tcp("127.0.0.1", 0), false).unwrap();
    let address = listener.local_address().unwrap();
    let mut near = Stream::connect(address).unwrap();
    let (far, _) = accept(&mut listener);
    // Our side closes first, so our connection stays in TIME-WAIT.
    drop((far, listener));
    await_event(&mut near, Interest::READABLE);
    drop(near);
    // TIME-WAIT lasts longer than that.
    bind_when_free(&tcp("127.0.0.1", address.port()));
}

#[test]
fn a_unix_socket_carries_bytes_and_its_file_goes_with_it() {
    let dir = TempDir::new();
    let path = dir.join("made/external.sock");
    let mut listener = Listener::bind(&Endpoint::Ipc(path.clone()), false).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut near = Stream::connect_path(&path).unwrap();
    assert!(near.connected().unwrap());
    near.set_keepalive().unwrap();
    let (mut far, peer) = accept(&mut listener);
    assert_eq!(peer, PeerAddress::Local);
    assert_carries(&mut near, &mut far, b"ping");
    drop(listener);
    assert!(!path.exists());
    assert!(Stream::connect_path(&path).is_err());
}

#[test]
fn a_stale_socket_is_replaced_but_a_live_one_or_a_file_is_not() {
    let dir = TempDir::new();
    let path = dir.join("external.sock");
    let endpoint = Endpoint::Ipc(path.clone());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the standard library leaves the file");
    let first = bind_when_free(&endpoint);
    let live = refused(&endpoint);
    assert!(live.contains("external.sock") && live.contains("another program listens"), "{live}");

    // A file of somebody else under our old name stays when we end.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a file").unwrap();
    drop(first);
    assert!(refused(&endpoint).contains("something else than a socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    assert!(refused(&Endpoint::Ipc(dir.join(&"x".repeat(120)))).contains("107 bytes"));
}

#[test]
fn running_out_of_descriptors_is_told_apart_from_a_broken_connection() {
    assert!(is_exhausted(&io::Error::from_raw_os_error(libc::EMFILE)));
    assert!(!is_exhausted(&io::Error::from_raw_os_error(libc::ECONNABORTED)));
}

fn tls_contexts() -> (ServerContext, ClientContext) {
    let directory = TempDir::new();
    let (certificate_file, key_file) = (directory.join("c.pem"), directory.join("k.pem"));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]);
    assert!(
        openssl.arg("-keyout").arg(&key_file).arg("-out").arg(&certificate_file).output().unwrap().status.success()
    );
    let server = ServerTls { certificate_file, key_file, passphrase: None };
    let server = ServerContext::load(&server, crate::edge::clock::wall()).unwrap().0;
    (server, ClientContext::load(&ClientTls::NoVerify).unwrap())
}

#[test]
fn a_step_of_a_handshake_is_not_done_once_its_connection_has_gone() {
    let (server, client) = tls_contexts();
    for has_gone in [false, true] {
        let mut listener = Listener::bind(&tcp("127.0.0.1", 0), false).unwrap();
        let mut near = Stream::connect(listener.local_address().unwrap()).unwrap();
        assert!(await_connected(&mut near).unwrap());
        let (mut far, _) = accept(&mut listener);
        near.start_tls(client.session("localhost").unwrap());
        far.start_tls(server.session().unwrap());
        assert_eq!(near.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        await_event(&mut far, Interest::READABLE);
        let mut step = far.take_step().unwrap();
        assert!(far.take_step().is_err(), "one at a time");
        let far = (!has_gone).then_some(far);
        step.run();
        assert_eq!(step.is_done(), far.is_some());
    }
}

#[test]
fn a_stream_becomes_tls_in_place_and_says_that_it_ends() {
    let (server, client) = tls_contexts();
    let mut listener = Listener::bind(&tcp("127.0.0.1", 0), false).unwrap();
    let mut near = Stream::connect(listener.local_address().unwrap()).unwrap();
    assert!(await_connected(&mut near).unwrap());
    let (mut far, _) = accept(&mut listener);
    assert_carries(&mut near, &mut far, b"CONNECT");
    near.start_tls(client.session("localhost").unwrap());
    far.start_tls(server.session().unwrap());
    assert_eq!(near.write(b"early").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    while near.is_handshaking() || far.is_handshaking() {
        for stream in [&mut far, &mut near] {
            assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(stream.is_emptied(true) && !stream.wants_flush());
        }
    }
    assert_carries(&mut near, &mut far, b"ping");
    // The client may have to skip a session ticket first.
    assert_carries(&mut far, &mut near, b"pong");
    near.shutdown_write().unwrap();
    await_event(&mut far, Interest::READABLE);
    assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn many_connections_may_wait_to_be_accepted() {
    let any = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let listener = Listener::bind(&any, false).unwrap();
    let address = listener.local_address().unwrap();
    // This is more than the usual 128: a connection without a place would wait a second for its second attempt.
    let limit =
        std::fs::read_to_string("/proc/sys/net/core/somaxconn").map_or(128, |text| text.trim().parse().unwrap());
    let start = std::time::Instant::now();
    let waiting: Vec<_> = (0..limit.min(300)).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    assert!(start.elapsed() < Duration::from_millis(900), "{} took {:?}", waiting.len(), start.elapsed());
}
