use super::*;
use crate::wire::gorgone::seeded_random::SeededRandom;
use crate::wire::websocket::connection::Event;

fn at(milliseconds: u64) -> Now {
    Now { monotonic: Monotonic::from_millis(milliseconds), ..Now::default() }
}

fn settings(proxy: Option<WebSocketProxy>, is_tls: bool) -> WebSocketDialerSettings {
    WebSocketDialerSettings {
        host: "central".to_owned(),
        port: 8443,
        uri: "/".to_owned(),
        token: "s3cret".to_owned(),
        is_tls,
        proxy,
        step_timeout: Duration::from_secs(10),
        silence_timeout: Duration::from_secs(120),
        max_message_bytes: 262_144,
        max_waiting_bytes: 1 << 20,
    }
}

fn proxy() -> WebSocketProxy {
    WebSocketProxy { host: "proxy".to_owned(), port: 3128, auth: Some(("u".to_owned(), "p".to_owned())) }
}

struct World {
    node: WebSocketDialer,
    random: SeededRandom,
}

impl World {
    fn started(settings: WebSocketDialerSettings) -> Self {
        let mut world = Self { node: WebSocketDialer::new(settings), random: SeededRandom::new(&[9; 32]) };
        world.node.handle_start(at(0));
        world
    }

    /// Brings the connection up. Returns the central's end of it as well.
    fn up(settings: WebSocketDialerSettings) -> (Self, WebSocketConnection) {
        let mut world = Self::started(settings);
        world.node.handle_connected(at(0), &mut world.random);
        let server = world.upgrade();
        world.outputs();
        assert!(world.node.is_up());
        (world, server)
    }

    fn upgrade(&mut self) -> WebSocketConnection {
        let request = self.sent();
        let mut parser = crate::wire::http::request::RequestParser::new(Default::default());
        parser.receive(&request);
        let Ok(Some(crate::wire::http::request::RequestEvent::Head(head))) = parser.poll_event() else {
            panic!("{}", String::from_utf8_lossy(&request))
        };
        assert_eq!(head.authorization.as_deref(), Some(&b"Bearer s3cret"[..]));
        let response = upgrade::accept(&head).unwrap();
        self.receive(&response, at(0));
        WebSocketConnection::server(Settings::default(), ReceiveBuffer::new())
    }

    fn receive(&mut self, bytes: &[u8], now: Now) {
        for byte in bytes {
            self.node.receive(&[*byte], now, &mut self.random);
        }
    }

    fn sent(&mut self) -> Vec<u8> {
        drain(self.node.send_queue())
    }

    fn outputs(&mut self) -> Vec<WebSocketDialerOutput> {
        std::iter::from_fn(|| self.node.poll_output())
            .filter(|output| !matches!(output, WebSocketDialerOutput::Log(_)))
            .collect()
    }

    /// Returns the reason for the end of an attempt, and when the next one begins.
    fn down(&mut self, now: u64) -> (String, u64) {
        let outputs = self.outputs();
        let [WebSocketDialerOutput::Disconnect, WebSocketDialerOutput::Down { reason }] = outputs.as_slice() else {
            panic!("{outputs:?}")
        };
        (reason.clone(), self.node.poll_timeout().unwrap().as_millis() - now)
    }
}

fn drain(queue: &mut SendQueue) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        let count = queue.front().len();
        bytes.extend_from_slice(queue.front());
        queue.consume(count);
    }
    bytes
}

fn connect(host: &str, port: u16) -> WebSocketDialerOutput {
    WebSocketDialerOutput::Connect { endpoint: Endpoint::Tcp { host: host.to_owned(), port } }
}

#[test]
fn tls_begins_before_the_first_byte() {
    let mut world = World::started(settings(None, true));
    assert_eq!(world.outputs(), [connect("central", 8443)]);
    assert!(world.sent().is_empty());
    world.node.handle_connected(at(0), &mut world.random);
    assert_eq!(world.outputs(), [WebSocketDialerOutput::StartTls { server_name: "central".to_owned() }]);
    world.upgrade();
    assert_eq!(world.outputs(), [WebSocketDialerOutput::Up]);
}

#[test]
fn a_proxy_is_asked_first_and_tls_begins_behind_it() {
    let mut world = World::started(settings(Some(proxy()), true));
    assert_eq!(world.outputs(), [connect("proxy", 3128)]);
    world.node.handle_connected(at(0), &mut world.random);
    assert_eq!(world.outputs(), []);
    let request = String::from_utf8(world.sent()).unwrap();
    assert!(request.starts_with("CONNECT central:8443 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Proxy-Authorization: Basic dTpw\r\n"), "{request}");
    world.receive(b"HTTP/1.1 200 OK\r\n\r\n", at(0));
    assert_eq!(world.outputs(), [WebSocketDialerOutput::StartTls { server_name: "central".to_owned() }]);
    world.upgrade();
    assert_eq!(world.outputs(), [WebSocketDialerOutput::Up]);
}

#[test]
fn a_refusal_names_the_option_to_change() {
    for (proxy_is_used, response, words) in [
        (true, "HTTP/1.1 407 Auth\r\n\r\n", "'proxy'"),
        (true, "HTTP/1.0 401 Unauthorized\r\n\r\n", "user and password into 'proxy'"),
        (true, "HTTP/1.1 403 No\r\n\r\n", "CONNECT"),
        (false, "HTTP/1.1 401 Unauthorized\r\n\r\n", "'token'"),
        (false, "HTTP/1.1 200 OK\r\n\r\n<html>", "'central_uri' and 'ssl'"),
        (false, "HTTP/1.1 302 Found\r\n\r\n", "'ssl'"),
        (false, "HTTP/1.1 404 Not Found\r\n\r\n", "'central_uri'"),
        (false, "\x15\x03\x01\x00", "'ssl: true'"),
    ] {
        let mut world = World::started(settings(proxy_is_used.then(proxy), false));
        world.outputs();
        world.node.handle_connected(at(0), &mut world.random);
        world.sent();
        world.receive(response.as_bytes(), at(0));
        let (reason, delay) = world.down(0);
        assert!(reason.contains(words) && !reason.contains("s3cret"), "{reason}");
        assert!((500..=1000).contains(&delay), "{delay}");
    }
}

#[test]
fn a_json_refusal_of_the_central_takes_it_down() {
    for (message, words) in [
        ("token authorization unallowed", "'token'"),
        ("please registernodes", "'id'"),
        ("decode error: unsupported format", "log of the central"),
    ] {
        let (mut world, mut server) = World::up(settings(None, false));
        server.send_text(format!("{{\"code\":500,\"message\":\"{message}\"}}").into_bytes());
        server.send_close(None, "");
        world.receive(&drain(server.send_queue()), at(1));
        let (reason, delay) = world.down(1);
        assert!(reason.contains(message) && reason.contains(words), "{reason}");
        assert!(delay >= 500, "{delay}");
    }
}

#[test]
fn what_is_sent_is_written_as_html_but_for_the_registration() {
    let (mut world, mut server) = World::up(settings(None, false));
    // A central of our kind gets only the references that any reader needs.
    assert_eq!(world.node.send("[PONG] [] [] {\"a\":\"<é&'>\"}".into()), Ok(()));
    server.receive(&world.sent());
    let least = "[PONG] [] [] {\"a\":\"<&#195;&#169;&amp;'>\"}";
    assert_eq!(server.poll_event(), Ok(Some(Event::Text(least.into()))));
    world.node.is_ours = false;
    let register = "[REGISTERNODES] [] [] {\"nodes\":[]}";
    for text in [register, "[PONG] [] [] {\"a\":\"<é&'>\"}", "[PONG] [] [] {}"] {
        assert_eq!(world.node.send(text.into()), Ok(()));
    }
    server.receive(&world.sent());
    for expected in
        [register, "[PONG] [] [] {&quot;a&quot;:&quot;&lt;&#195;&#169;&amp;&#39;&gt;&quot;}", "[PONG] [] [] {}"]
    {
        assert_eq!(server.poll_event(), Ok(Some(Event::Text(expected.into()))));
    }
    // All of these quotes as references would be too much for the central.
    let quotes = format!("[SETLOGS] [] [] \"{}é&\"", "\\\"".repeat(60_000));
    assert_eq!(world.node.send(quotes.clone().into()), Ok(()));
    server.receive(&world.sent());
    let Ok(Some(Event::Text(text))) = server.poll_event() else { panic!() };
    assert_eq!(entities::decode_message(std::str::from_utf8(&text).unwrap()), quotes);
    assert!(matches!(world.node.send(vec![b'&'; 60_000]), Err(NotSent::TooLarge { size_bytes: 300_000, .. })));
}

#[test]
fn messages_of_a_central_come_out_even_with_invalid_utf8() {
    let (mut world, mut server) = World::up(settings(None, false));
    server.send_text(b"[COMMAND] [t] [] {\"a\":\"\xe9&amp;\"}".to_vec());
    server.send_text(b"nonsense".to_vec());
    server.send_ping();
    world.receive(&drain(server.send_queue()), at(1));
    let outputs = world.outputs();
    let [WebSocketDialerOutput::Message(message), WebSocketDialerOutput::Malformed { .. }] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    assert_eq!(message.data, "{\"a\":\"é&amp;\"}");
    server.receive(&world.sent());
    assert_eq!(server.poll_event(), Ok(Some(Event::Pong)));
}

#[test]
fn a_silent_central_is_asked_and_then_given_up() {
    let (mut world, mut server) = World::up(settings(None, false));
    assert_eq!(world.node.poll_timeout(), Some(Monotonic::from_millis(60_000)));
    world.node.handle_timeout(at(60_000), &mut world.random);
    server.receive(&world.sent());
    assert_eq!(server.poll_event(), Ok(Some(Event::Ping)));
    world.receive(&drain(server.send_queue()), at(61_000));
    assert_eq!(world.node.poll_timeout(), Some(Monotonic::from_millis(121_000)));
    world.node.handle_timeout(at(121_000), &mut world.random);
    world.node.handle_timeout(at(181_000), &mut world.random);
    let (reason, delay) = world.down(181_000);
    assert!(reason.contains("silent for 120 s"), "{reason}");
    assert!(delay <= 10, "{delay}");
}

#[test]
fn each_step_has_its_time_and_the_next_attempt_follows_by_itself() {
    let mut world = World::started(settings(None, true));
    world.outputs();
    world.node.handle_timeout(at(9_999), &mut world.random);
    assert_eq!(world.outputs(), []);
    world.node.handle_timeout(at(10_000), &mut world.random);
    let (_, delay) = world.down(10_000);
    assert!(delay <= 10);
    world.node.handle_timeout(at(10_100), &mut world.random);
    assert_eq!(world.outputs(), [connect("central", 8443)]);
    world.node.handle_connected(at(10_100), &mut world.random);
    world.outputs();
    world.node.handle_timeout(at(20_100), &mut world.random);
    let (reason, delay) = world.down(20_100);
    assert!(reason.contains("TLS"), "{reason}");
    assert!((7..=15).contains(&delay), "{delay}");
    world.node.handle_timeout(at(30_000), &mut world.random);
    world.outputs();
    world.node.handle_disconnected("refused", at(30_000), &mut world.random);
    assert!(matches!(world.outputs().as_slice(), [WebSocketDialerOutput::Down { .. }]));
}

#[test]
fn a_stop_sends_what_waits_and_closes() {
    let (mut world, mut server) = World::up(settings(None, false));
    world.node.send(b"[UNREGISTERNODES] [] [] {}".to_vec()).unwrap();
    world.node.stop(at(1));
    assert_eq!(world.outputs(), []);
    server.receive(&world.sent());
    assert_eq!(server.poll_event(), Ok(Some(Event::Text(b"[UNREGISTERNODES] [] [] {}".to_vec()))));
    assert_eq!(server.poll_event(), Ok(Some(Event::Closed { code: Some(1001), reason: String::new() })));
    world.receive(&drain(server.send_queue()), at(2));
    assert_eq!(world.outputs(), [WebSocketDialerOutput::Disconnect]);
    assert!(world.node.is_stopped());
    let (mut world, _server) = World::up(settings(None, false));
    world.node.stop(at(1));
    world.node.handle_timeout(at(2_001), &mut world.random);
    assert_eq!(world.outputs(), [WebSocketDialerOutput::Disconnect]);
}

#[test]
fn a_reset_dials_again_at_once() {
    let (mut world, _server) = World::up(settings(None, false));
    world.node.reset(at(1));
    let outputs = world.outputs();
    let [WebSocketDialerOutput::Disconnect, WebSocketDialerOutput::Down { .. }, again] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    assert_eq!(*again, connect("central", 8443));
}
