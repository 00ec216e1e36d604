use super::*;
use crate::session::forwarded::Ranges;
use crate::session::web_tokens::Verdict;
use crate::wire::gorgone::envelope;
use crate::wire::gorgone::seeded_random::SeededRandom;
use crate::wire::http::bearer_auth::TokenHash;
use crate::wire::websocket::upgrade::UpgradeCall;

const REGISTER: &str = r#"[REGISTERNODES] [] [] {"nodes":[{"id":"5","type":"wss","identity":5}]}"#;

fn at(milliseconds: u64) -> Now {
    Now { monotonic: Monotonic::from_millis(milliseconds), ..Now::default() }
}

fn random() -> SeededRandom {
    SeededRandom::new(&[7; 32])
}

/// A central's connection, and a client that speaks to it.
struct Pair {
    central: WebSocketServer,
    client: WebSocketConnection,
    outputs: Vec<WebSocketServerOutput>,
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

/// A connection with a token that is bound to node 5.
fn bound() -> Pair {
    let hash = TokenHash::of(b"its-own");
    let token = NamedToken { name: "paris".to_owned(), hash, node: NodeId::new(5).ok() };
    let access = Rc::new(WebSocketAccess::new(None, vec![token], WebSocketServerSettings::default()));
    Pair::of(WebSocketServer::new(access, PeerAddress::Local, at(0)), "paris:its-own")
}

fn fresh() -> WebSocketServer {
    let access = Rc::new(WebSocketAccess::new(Some("s3cret"), Vec::new(), WebSocketServerSettings::default()));
    WebSocketServer::new(access, PeerAddress::Local, at(0))
}

/// A connection with a token that only the web API may know; it has sent its first message already.
fn asked() -> Pair {
    let access = WebSocketAccess::new(Some("s3cret"), Vec::new(), WebSocketServerSettings::default());
    let central = WebSocketServer::new(Rc::new(access.with_web_api(true)), PeerAddress::Local, at(0));
    let mut pair = Pair::of(central, "paris:value");
    assert_eq!(outputs(&mut pair.central), [WebSocketServerOutput::CheckToken]);
    assert!(pair.central.claim().is_some_and(|claim| claim.name == "paris"));
    pair.say(REGISTER, at(0));
    pair
}

fn outputs(central: &mut WebSocketServer) -> Vec<WebSocketServerOutput> {
    std::iter::from_fn(|| central.poll_output())
        .filter(|output| !matches!(output, WebSocketServerOutput::Log(_)))
        .collect()
}

impl Pair {
    fn upgraded(token: &str) -> Self {
        Self::of(fresh(), token)
    }

    fn of(mut central: WebSocketServer, token: &str) -> Self {
        let call = UpgradeCall::new(&mut random());
        for byte in call.request("central", 443, true, "/", token) {
            central.receive(&[byte], at(0));
        }
        let mut received = ReceiveBuffer::new();
        received.extend_from_slice(&drain(central.send_queue()));
        assert_eq!(call.read_response(&mut received), Ok(true));
        let client = WebSocketConnection::client(Settings::default(), received, &mut random());
        central.handle_sent(at(0));
        Self { central, client, outputs: Vec::new() }
    }

    fn registered() -> Self {
        let mut pair = Self::upgraded("s3cret");
        pair.say(REGISTER, at(0));
        assert_eq!(pair.central.node(), NodeId::new(5).ok());
        pair.outputs.clear();
        pair
    }

    fn say(&mut self, text: &str, now: Now) {
        self.client.send_text(text.as_bytes().to_vec());
        self.exchange(now);
    }

    fn exchange(&mut self, now: Now) {
        let bytes = drain(self.client.send_queue());
        self.central.receive(&bytes, now);
        self.client.receive(&drain(self.central.send_queue()));
        self.central.handle_sent(now);
        self.outputs.extend(outputs(&mut self.central));
    }

    fn heard(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event().unwrap()).collect()
    }

    /// Returns the refusal that the client reads. A close follows, then the connection ends.
    fn refusal(&mut self, now: Now) -> String {
        let heard = self.heard();
        let [Event::Text(text), Event::Closed { code: Some(1008), .. }] = heard.as_slice() else { panic!("{heard:?}") };
        let text = String::from_utf8(text.clone()).unwrap();
        self.exchange(now);
        assert_eq!(self.outputs.last(), Some(&WebSocketServerOutput::Close));
        text
    }
}

fn refused(message: &str) -> String {
    format!(r#"{{"code":500,"message":"{message}"}}"#)
}

#[test]
fn the_first_message_is_given_out_and_names_the_node() {
    let mut pair = Pair::upgraded("s3cret");
    assert_eq!(pair.central.node(), None);
    pair.say(REGISTER, at(0));
    let message = envelope::parse(REGISTER.as_bytes()).unwrap();
    assert_eq!(pair.outputs, [WebSocketServerOutput::Message(message)]);
    assert_eq!(pair.central.node(), NodeId::new(5).ok());
}

#[test]
fn a_wrong_token_is_refused_after_the_upgrade() {
    for token in ["", "S3cret", "s3cret2", "s3cre"] {
        let mut pair = Pair::upgraded(token);
        pair.exchange(at(1));
        assert_eq!(pair.refusal(at(1)), refused(WRONG_TOKEN), "{token}");
    }
}

#[test]
fn a_bound_token_registers_its_node_only_at_first_and_later() {
    let other = REGISTER.replace("\"id\":\"5\"", "\"id\":\"6\"");
    let message = refused("the token 'paris' speaks for node 5, not for node 6");
    let mut pair = bound();
    pair.say(&other, at(1));
    assert_eq!(pair.refusal(at(1)), message);
    assert_eq!(pair.outputs, [WebSocketServerOutput::Close]);
    let mut pair = bound();
    pair.say(REGISTER, at(1));
    assert_eq!(pair.central.node(), NodeId::new(5).ok());
    pair.say(REGISTER, at(1));
    assert_eq!(pair.outputs.len(), 2);
    pair.say(&other, at(1));
    assert_eq!(pair.refusal(at(1)), message);
}

#[test]
fn a_node_with_a_token_of_its_own_does_not_come_with_another_one() {
    let access = |value: &str| {
        let token = |name: &str, node| NamedToken { name: name.to_owned(), hash: TokenHash::of(name.as_bytes()), node };
        let named = vec![token("paris", NodeId::new(5).ok()), token("any", None)];
        Rc::new(WebSocketAccess::new(Some(value), named, WebSocketServerSettings::default()))
    };
    let central = |access: &Rc<WebSocketAccess>| WebSocketServer::new(Rc::clone(access), PeerAddress::Local, at(0));
    let message = refused("node 5 has a token of its own, 'paris', and must come with it");
    for token in ["s3cret", "any"] {
        let mut pair = Pair::of(central(&access("s3cret")), token);
        pair.say(REGISTER, at(1));
        assert_eq!(pair.refusal(at(1)), message, "{token}");
    }
    for (token, after) in [("paris", "other"), ("any", "other"), ("s3cret", "s3cret")] {
        let mut pair = Pair::of(central(&access("s3cret")), token);
        let id = if token == "paris" { "5" } else { "6" };
        pair.say(&REGISTER.replace("\"id\":\"5\"", &format!("\"id\":{id}")), at(1));
        pair.central.renew_access(&access(after), at(2));
        assert!(pair.central.node().is_some(), "{token}: still there");
    }
    let mut pair = Pair::of(central(&access("s3cret")), "s3cret");
    pair.say(&REGISTER.replace("\"id\":\"5\"", "\"id\":6"), at(1));
    pair.heard();
    pair.central.renew_access(&access("other"), at(2));
    assert_eq!(pair.central.node(), None);
    pair.exchange(at(2));
    assert_eq!(pair.refusal(at(2)), refused("the token is not valid any more"));
}

#[test]
fn whoever_does_not_register_first_is_refused() {
    for (text, message) in [
        ("[PONG] [] [] {}", NOT_REGISTERED),
        ("hello", NOT_REGISTERED),
        ("[REGISTERNODES] [] [] {nodes", UNREADABLE),
        ("[REGISTERNODES] [] [] {\"nodes\":[]}", NOT_REGISTERED),
        ("[REGISTERNODES] [] [] {\"nodes\":[{\"type\":\"wss\"}]}", NOT_REGISTERED),
        ("[REGISTERNODES] [] [] {\"nodes\":[{\"id\":5,\"type\":\"pull\"}]}", NOT_REGISTERED),
        ("[REGISTERNODES] [] [] {\"nodes\":[{\"id\":5,\"type\":\"wss\"},{\"id\":6,\"type\":\"wss\"}]}", NOT_REGISTERED),
    ] {
        let mut pair = Pair::upgraded("s3cret");
        pair.say(text, at(1));
        assert_eq!(pair.refusal(at(1)), refused(message), "{text}");
        assert_eq!(pair.outputs, [WebSocketServerOutput::Close]);
    }
}

#[test]
fn a_silent_peer_is_told_and_closed() {
    let mut pair = Pair::upgraded("s3cret");
    let deadline = pair.central.poll_timeout().unwrap();
    assert!(deadline.as_millis() <= 15_000);
    pair.central.handle_timeout(at(deadline.as_millis()));
    pair.exchange(at(deadline.as_millis()));
    assert_eq!(pair.refusal(at(deadline.as_millis())), refused(SILENT));

    let mut pair = Pair::registered();
    pair.say(REGISTER, at(200_000));
    assert_eq!(pair.central.poll_timeout(), Some(Monotonic::from_millis(500_000)));
    pair.central.handle_timeout(at(499_999));
    assert_eq!(pair.central.node(), NodeId::new(5).ok());
    pair.central.handle_timeout(at(500_000));
    assert_eq!(pair.central.node(), None);
    // It does not even answer our close.
    drain(pair.central.send_queue());
    pair.central.handle_sent(at(500_001));
    pair.central.handle_timeout(at(505_000));
    assert_eq!(outputs(&mut pair.central), [WebSocketServerOutput::Close]);
}

#[test]
fn messages_are_read_as_html_and_as_latin1() {
    let mut pair = Pair::registered();
    pair.say("[PONG] [t] [] {&quot;a&quot;:&quot;&eacute;&#8364;&amp;&quot;}", at(1));
    pair.client.send_text(b"[SETLOGS] [] [] {\"a\":\"\xe9\"}".to_vec());
    pair.exchange(at(1));
    let expected = ["[PONG] [t] [] {\"a\":\"é€&\"}", "[SETLOGS] [] [] {\"a\":\"é\"}"]
        .map(|text| WebSocketServerOutput::Message(envelope::parse(text.as_bytes()).unwrap()));
    assert_eq!(pair.outputs, expected);
}

#[test]
fn other_messages_do_not_get_through() {
    let mut pair = Pair::registered();
    pair.say("[COMMAND] [t] [1] {}", at(1));
    pair.say("[GETLOG] [t] [] {}", at(1));
    assert_eq!(pair.outputs, []);
    pair.say("no message", at(1));
    assert!(matches!(pair.outputs.as_slice(), [WebSocketServerOutput::Malformed { token: None, .. }]));
    assert_eq!(pair.central.node(), NodeId::new(5).ok());
}

#[test]
fn what_is_sent_goes_out_as_it_is_and_has_its_bounds() {
    let mut pair = Pair::upgraded("s3cret");
    assert_eq!(pair.central.send(b"[PING] [] [] {}".to_vec(), at(1)), Err(NotSent::NotConnected));
    pair.say(REGISTER, at(1));
    assert_eq!(pair.central.send("[PING] [] [] {\"é\"}".into(), at(1)), Ok(()));
    pair.exchange(at(1));
    assert_eq!(pair.heard(), [Event::Text("[PING] [] [] {\"é\"}".into())]);
    let too_large = NotSent::TooLarge { size_bytes: 262_145, limit_bytes: 262_144 };
    assert_eq!(pair.central.send(vec![b' '; 262_145], at(1)), Err(too_large));
    let taken = (0..1000).take_while(|_| pair.central.send(vec![b' '; 262_144], at(1)).is_ok()).count();
    assert!((60..70).contains(&taken), "{taken}");
    assert!(!pair.central.wants_read());
    assert_eq!(pair.central.poll_timeout(), Some(Monotonic::from_millis(30_001)));
    pair.central.handle_timeout(at(30_001));
    assert_eq!(outputs(&mut pair.central), [WebSocketServerOutput::Close]);
}

#[test]
fn a_replaced_connection_hears_why_and_gives_out_nothing_more() {
    let mut pair = Pair::registered();
    pair.central.close(Some(&refused("replaced")), at(1));
    pair.say("[PONG] [] [] {}", at(1));
    assert_eq!(pair.refusal(at(1)), refused("replaced"));
    assert_eq!(pair.outputs, [WebSocketServerOutput::Close]);
    let mut pair = Pair::registered();
    pair.central.close(None, at(1));
    pair.exchange(at(1));
    assert_eq!(pair.heard(), [Event::Closed { code: Some(1000), reason: String::new() }]);
}

#[test]
fn a_broken_frame_is_answered_with_its_code_and_an_end() {
    let mut pair = Pair::registered();
    pair.central.receive(b"\x81\x01x", at(1));
    pair.exchange(at(1));
    assert_eq!(pair.heard(), [Event::Closed { code: Some(1002), reason: String::new() }]);
    assert_eq!(pair.outputs, [WebSocketServerOutput::Shutdown]);
    pair.central.handle_end(at(2));
    pair.exchange(at(2));
    assert_eq!(pair.outputs, [WebSocketServerOutput::Shutdown, WebSocketServerOutput::Close]);
}

#[test]
fn plain_http_is_answered_and_closed() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        ("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "426"),
        ("GET /\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "413"),
        ("\x16\x03\x01", "400"),
    ] {
        let mut central = fresh();
        central.receive(request.as_bytes(), at(1));
        let response = String::from_utf8(drain(central.send_queue())).unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        central.handle_sent(at(1));
        assert_eq!(outputs(&mut central), [WebSocketServerOutput::Shutdown]);
        central.handle_timeout(at(2_001));
        assert_eq!(outputs(&mut central), [WebSocketServerOutput::Close]);
        assert_eq!(central.poll_timeout(), None);
    }
    let mut central = fresh();
    central.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", at(1));
    central.handle_end(at(1));
    assert_eq!(outputs(&mut central), [], "the answer still goes out");
    drain(central.send_queue());
    central.handle_sent(at(1));
    assert_eq!(outputs(&mut central), [WebSocketServerOutput::Close]);
    let mut central = fresh();
    central.receive(b"GET / HTTP/1.1\r\nHost:", at(9_999));
    central.handle_timeout(at(10_000));
    assert_eq!(outputs(&mut central), [WebSocketServerOutput::Close]);
}

#[test]
fn a_client_behind_a_trusted_proxy_is_the_one_that_is_named_and_of_any_other_the_word_counts_for_nothing() {
    let proxy = PeerAddress::Ip("127.0.0.1".parse().unwrap());
    let client = PeerAddress::Ip("192.0.2.9".parse().unwrap());
    for (trusted, expected) in [("127.0.0.1", client), ("10.0.0.1", proxy)] {
        let ranges = Ranges::one(trusted, 32);
        let access = WebSocketAccess::new(Some("s3cret"), Vec::new(), WebSocketServerSettings::default());
        let mut central = WebSocketServer::new(Rc::new(access.with_trusted_proxies(ranges)), proxy, at(0));
        let request = UpgradeCall::new(&mut random()).request("central", 443, true, "/", "wrong");
        let text = String::from_utf8(request).unwrap();
        let text = text.replacen("\r\n", "\r\nX-Forwarded-For: 198.51.100.1, 192.0.2.9\r\n", 1);
        central.receive(text.as_bytes(), at(0));
        assert_eq!(central.client(), expected);
        let logged = std::iter::from_fn(|| central.poll_output()).any(
            |output| matches!(output, WebSocketServerOutput::Log(line) if line.text.contains(&expected.to_string())),
        );
        assert!(logged, "{trusted}");
    }
}

#[test]
fn nothing_is_read_of_a_node_before_the_web_api_knows_its_token() {
    let mut pair = asked();
    assert!(!pair.central.wants_read() && pair.outputs.is_empty() && pair.central.node().is_none());
    pair.central.handle_verdict(Verdict::Right(Monotonic::from_millis(300_000)), at(5_000));
    pair.exchange(at(5_000));
    assert!(pair.central.wants_read() && pair.central.node() == NodeId::new(5).ok());
    assert!(matches!(pair.outputs.as_slice(), [WebSocketServerOutput::Message(_)]));
}

#[test]
fn a_token_that_is_wrong_or_cannot_be_checked_is_refused() {
    for (verdict, message) in [
        (Verdict::Wrong, "token authorization unallowed"),
        (Verdict::Unknown, "the token cannot be checked now, try again later"),
    ] {
        let mut pair = asked();
        pair.central.handle_verdict(verdict, at(1));
        pair.exchange(at(1));
        assert_eq!(pair.refusal(at(1)), refused(message));
        pair.central.handle_verdict(Verdict::Right(Monotonic::from_millis(300_000)), at(2));
        assert!(pair.central.node().is_none(), "a late word changes nothing");
    }
    let mut pair = asked();
    assert_eq!(pair.central.poll_timeout(), Some(Monotonic::from_millis(10_000)));
    pair.central.handle_timeout(at(10_000));
    pair.exchange(at(10_000));
    assert_eq!(pair.refusal(at(10_000)), refused("the token cannot be checked now, try again later"));
}

#[test]
fn a_token_is_checked_again_and_its_node_goes_where_it_was_revoked() {
    let mut pair = asked();
    pair.central.handle_verdict(Verdict::Right(Monotonic::from_millis(250_000)), at(0));
    for (time, verdict) in [(250_000, Verdict::Unknown), (310_000, Verdict::Right(Monotonic::from_millis(400_000)))] {
        pair.say(REGISTER, at(time - 1));
        pair.outputs.clear();
        assert_eq!(pair.central.poll_timeout(), Some(Monotonic::from_millis(time)));
        pair.central.handle_timeout(at(time));
        assert_eq!(outputs(&mut pair.central), [WebSocketServerOutput::CheckToken]);
        pair.central.handle_verdict(verdict, at(time));
        assert!(pair.central.node().is_some());
    }
    pair.central.handle_timeout(at(400_000));
    pair.central.handle_verdict(Verdict::Wrong, at(400_000));
    pair.exchange(at(400_000));
    assert_eq!(pair.refusal(at(400_000)), refused("the token is not valid any more"));
}

#[test]
fn a_reload_keeps_a_node_whose_token_the_web_api_knows_as_long_as_it_is_asked() {
    for is_asked in [true, false] {
        let mut pair = asked();
        pair.central.handle_verdict(Verdict::Right(Monotonic::from_millis(300_000)), at(0));
        let access = WebSocketAccess::new(Some("other"), Vec::new(), WebSocketServerSettings::default());
        pair.central.renew_access(&Rc::new(access.with_web_api(is_asked)), at(1));
        assert_eq!(pair.central.node().is_some(), is_asked);
    }
}
